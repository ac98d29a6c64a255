DROP INDEX visitor_days_default_day, events_default_timestamp, site_days_due;
ALTER TABLE site_days DROP COLUMN due;
ALTER TABLE site_days DROP COLUMN sealed;
