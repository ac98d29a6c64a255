-- What the dashboard needs beside 001_analytics.sql.

-- Sum of `props.ms` of `engagement` events, of a site and of its pages (rollup/measures.ts).
ALTER TABLE rollups ADD COLUMN engaged_ms bigint NOT NULL DEFAULT 0;

-- What a site wants its visitors to do: an event of the type `match` (kind event), or a page whose path fits the pattern
-- `match` (kind path).
CREATE TABLE goals (
  goal integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('event', 'path')),
  match text NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (site, name)
);
