-- People: who may look at the dashboard (people/), and what they did.

-- `name`: what somebody logs in with, an address of mail or any other name; upper and lower case are the same.
-- `password`: a digest by scrypt with its parameters (access/password.ts).
CREATE TABLE users (
  user_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL CHECK (name <> '' AND length(name) <= 200),
  role text NOT NULL CHECK (role IN ('owner', 'viewer')),
  password text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_login_at timestamptz,
  disabled_at timestamptz
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

-- Logins that last. Only a digest of the token in the cookie is kept. A user has a bounded number of them.
CREATE TABLE user_sessions (
  digest bytea PRIMARY KEY,
  user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Written once a minute at most.
  seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX user_sessions_user ON user_sessions (user_id);

-- Links that show one site to whoever has them. The link holds the token, this its digest.
CREATE TABLE site_shares (
  share_id text PRIMARY KEY,
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE,
  digest bytea NOT NULL UNIQUE,
  label text NOT NULL DEFAULT '',
  -- As of users; null: the link alone does.
  password text,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz
);
CREATE INDEX site_shares_site ON site_shares (site);

-- What people did about access; deleted by the job `people`. `actor`: the user, or null for the command line and for
-- somebody who is not logged in. `subject`: whom or what it is about. `network`: of who asked, /24 or /48; no address.
CREATE TABLE audit_lines (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  action text NOT NULL,
  actor text,
  subject text,
  network cidr
);
CREATE INDEX audit_lines_at ON audit_lines (at);
