-- Before which UTC day something may have been deleted because it was too old (processor/retention.ts): `site` 0 by
-- RETENTION_DAYS, of all sites; others by the retention of that site. It only grows: no later setting brings back what
-- visitors did on such a day, and without that a late event would count its visitor again.
CREATE TABLE kept_from (
  site integer PRIMARY KEY,
  day integer NOT NULL
);
-- What was deleted until now, by the settings of now.
INSERT INTO kept_from (site, day)
  SELECT site, floor(extract(epoch FROM now()) / 86400)::integer - retention_days FROM sites
  WHERE retention_days IS NOT NULL;
