-- What `ringmain import` keeps (src/analytics/import/).

-- Imports that have begun and not ended: the salt of their visitors' ids, so that one that was interrupted goes on with
-- the same. It is deleted with the end of the import.
CREATE TABLE imports (
  site integer PRIMARY KEY REFERENCES sites ON DELETE CASCADE,
  salt bytea NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now()
);

-- Lines that were imported: a digest of the text of each and of its occurrence, for ever. event_ids forgets after a week,
-- and a log may be imported again after a year.
CREATE TABLE import_lines (
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE,
  line uuid NOT NULL,
  PRIMARY KEY (site, line)
);

-- Daily totals of another tool, by the kind of its file and by dimension (dimensions.ts); a day is one of the time zone
-- that the site had there, counted from 1970.
CREATE TABLE imported_days (
  site integer NOT NULL REFERENCES sites ON DELETE CASCADE,
  kind text NOT NULL,
  dimension smallint NOT NULL,
  day integer NOT NULL,
  value text NOT NULL,
  visitors bigint NOT NULL DEFAULT 0,
  visits bigint NOT NULL DEFAULT 0,
  views bigint NOT NULL DEFAULT 0,
  bounces bigint NOT NULL DEFAULT 0,
  duration_ms bigint NOT NULL DEFAULT 0,
  events bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (site, kind, dimension, day, value)
);
CREATE INDEX idx_imported_days_site_dimension_day ON imported_days (site, dimension, day);
