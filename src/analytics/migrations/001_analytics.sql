-- Tables of `ringmain analytics`. src/analytics/README.md says what each is for; "slot" is a quarter of an hour and "day"
-- a UTC day, both counted from 1970. A visitor, an event and a visit belong to the UTC day of their timestamp.

-- Sites -----------------------------------------------------------------------------------------------------------------

-- `registered`: somebody has added it with `ringmain site add`. Others are made by their first event.
CREATE TABLE sites (
  site integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  site_id varchar(100) NOT NULL UNIQUE,
  registered boolean NOT NULL DEFAULT false,
  origins text[] NOT NULL DEFAULT '{}',
  time_zone text NOT NULL DEFAULT 'UTC',
  retention_days integer,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Names that lead to a site: its own, and those it had before it was renamed.
CREATE TABLE site_names (
  site_id varchar(100) PRIMARY KEY,
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE
);

-- Keys of sites. Only a digest of the secret is kept (access/api-key.ts).
CREATE TABLE site_keys (
  key_id text PRIMARY KEY,
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('ingest', 'read')),
  digest bytea NOT NULL,
  label text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
CREATE INDEX idx_site_keys_site ON site_keys (site);

-- Which registered sites were changed, so that every process learns of it (access/site-registry.ts). The lock makes
-- versions visible in their order: who has seen one has seen all below it. A site that is gone keeps its row.
CREATE TABLE site_changes (
  site integer PRIMARY KEY,
  version bigint NOT NULL UNIQUE
);
CREATE FUNCTION note_site_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed integer;
BEGIN
  IF TG_OP = 'DELETE' THEN changed := OLD.site; ELSE changed := NEW.site; END IF;
  LOCK TABLE site_changes IN SHARE ROW EXCLUSIVE MODE;
  INSERT INTO site_changes AS c (site, version)
    VALUES (changed, (SELECT coalesce(max(version), 0) + 1 FROM site_changes))
    ON CONFLICT (site) DO UPDATE SET version = excluded.version;
  NOTIFY site_changes;
  RETURN NULL;
END
$$;
-- A site that its first event makes is nobody's business: those come at the rate of the load.
CREATE TRIGGER site_added AFTER INSERT ON sites
  FOR EACH ROW WHEN (NEW.registered) EXECUTE FUNCTION note_site_change();
CREATE TRIGGER site_changed AFTER UPDATE ON sites
  FOR EACH ROW WHEN (NEW.registered OR OLD.registered) EXECUTE FUNCTION note_site_change();
CREATE TRIGGER site_removed AFTER DELETE ON sites
  FOR EACH ROW WHEN (OLD.registered) EXECUTE FUNCTION note_site_change();
CREATE TRIGGER site_key_changed AFTER INSERT OR UPDATE OR DELETE ON site_keys
  FOR EACH ROW EXECUTE FUNCTION note_site_change();

-- Salts of the ids of visitors without a user id, one for each UTC day; deleted when they are 48 hours old.
CREATE TABLE visitor_salts (
  day integer PRIMARY KEY,
  salt bytea NOT NULL
);

-- Events ----------------------------------------------------------------------------------------------------------------

CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY,
  site_id varchar(100) NOT NULL,
  event_type varchar(50) NOT NULL,
  path text,
  user_id varchar(100),
  "timestamp" timestamptz NOT NULL,
  event_id uuid NOT NULL,
  received_at timestamptz NOT NULL,
  site integer NOT NULL,
  visitor uuid,
  url text,
  referrer text,
  source text,
  title text,
  props jsonb,
  utm_source text,
  utm_medium text,
  utm_campaign text,
  utm_term text,
  utm_content text,
  country text,
  region text,
  device text,
  browser text,
  os text,
  bot text,
  PRIMARY KEY (id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE INDEX idx_events_site_id_timestamp ON events (site_id, "timestamp");
CREATE INDEX idx_events_user_id ON events (user_id);
CREATE INDEX idx_events_site_id_event_type_timestamp ON events (site_id, event_type, "timestamp");
-- Rows that no month takes: more than 120 months old, or of a month whose partition is missing. Watched.
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- Ids of events that were counted, by the week in which they were stored. The load looks into all weeks that are there.
-- `receipt`: which acceptance of the event was counted (processor/receipt.ts). Behind it the row is as long as without.
CREATE TABLE event_ids (
  event_id uuid NOT NULL,
  receipt integer NOT NULL,
  week integer NOT NULL,
  PRIMARY KEY (event_id, week)
) PARTITION BY LIST (week);

-- Events that the database has refused, and where they stand in the books: one that it takes later (a dead letter that is
-- sent again) moves there. Nearly always empty.
CREATE TABLE refused_events (
  event_id uuid NOT NULL,
  receipt integer NOT NULL,
  week integer NOT NULL,
  site_id text NOT NULL,
  hour integer NOT NULL,
  PRIMARY KEY (event_id, receipt)
);

-- Counting --------------------------------------------------------------------------------------------------------------

-- What one visitor did on one UTC day: from it, a late event corrects every rollup (rollup/visitor-day.ts).
CREATE TABLE visitor_days (
  site integer NOT NULL,
  day integer NOT NULL,
  visitor uuid NOT NULL,
  state bytea NOT NULL,
  PRIMARY KEY (site, day, visitor)
) PARTITION BY RANGE (day);
CREATE TABLE visitor_days_default PARTITION OF visitor_days DEFAULT;

-- Texts of values of dimensions. The id is a hash of site, dictionary and text, so it is known without asking.
CREATE TABLE dimension_values (
  site integer NOT NULL,
  dictionary smallint NOT NULL,
  value bigint NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (site, dictionary, value)
);

-- Sums per site, dimension (dimensions.ts), value, and slot (grain 0), day (1) or month (2, counted from year 0).
-- Columns are explained in rollup/measures.ts.
CREATE TABLE rollups (
  site integer NOT NULL,
  dimension smallint NOT NULL,
  grain smallint NOT NULL,
  t integer NOT NULL,
  value bigint NOT NULL,
  events integer NOT NULL DEFAULT 0,
  views integer NOT NULL DEFAULT 0,
  visits integer NOT NULL DEFAULT 0,
  bounces integer NOT NULL DEFAULT 0,
  duration_ms bigint NOT NULL DEFAULT 0,
  firsts integer NOT NULL DEFAULT 0,
  lasts integer NOT NULL DEFAULT 0,
  users integer NOT NULL DEFAULT 0,
  sketch bytea,
  PRIMARY KEY (site, dimension, grain, t, value)
) WITH (fillfactor = 70);

-- How many values a dimension has on a day, and which revision of the day's events is counted in.
CREATE TABLE site_days (
  site integer NOT NULL,
  day integer NOT NULL,
  revision integer NOT NULL DEFAULT 0,
  value_counts integer[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (site, day)
) WITH (fillfactor = 70);

-- Signed-in users who were there in a slot, by how many slots lie between it and the slot where they were before
-- (rollup/gaps.ts): exact distinct users of any window of up to 25 hours, from sums.
CREATE TABLE user_gaps (
  site integer NOT NULL,
  kind smallint NOT NULL,
  slot integer NOT NULL,
  gap smallint NOT NULL,
  users integer NOT NULL DEFAULT 0,
  PRIMARY KEY (site, kind, slot, gap)
) WITH (fillfactor = 70);

-- Closed days of a site as columns, for queries with filters (columns/).
CREATE TABLE day_columns (
  site integer NOT NULL,
  day integer NOT NULL,
  name text NOT NULL,
  revision integer NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (site, day, name)
);
ALTER TABLE day_columns ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The books ---------------------------------------------------------------------------------------------------------------

-- Events that a 2xx was given for, by UTC hour of receipt (since 1970), counted from the log of the process that took
-- them (accepted-load.ts); foreign records when they are read.
CREATE TABLE accepted_hours (
  site_id text NOT NULL,
  hour integer NOT NULL,
  accepted bigint NOT NULL,
  PRIMARY KEY (site_id, hour)
) WITH (fillfactor = 70);

-- What became of them (processor/).
CREATE TABLE outcome_hours (
  site_id text NOT NULL,
  hour integer NOT NULL,
  stored bigint NOT NULL DEFAULT 0,
  duplicates bigint NOT NULL DEFAULT 0,
  rejected bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (site_id, hour)
) WITH (fillfactor = 70);

-- What the outputs of each process have not dealt with of its log, told once a second (query/pipe.ts). `lasting`: the log
-- outlasts the process.
CREATE TABLE pipeline_lag (
  log_id text NOT NULL,
  output text NOT NULL,
  lag bigint NOT NULL,
  lasting boolean NOT NULL,
  told_at timestamptz NOT NULL,
  PRIMARY KEY (log_id, output)
) WITH (fillfactor = 70);
