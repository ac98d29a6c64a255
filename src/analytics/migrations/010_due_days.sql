-- What jobs and watches look for every minute is found by an index, however long the history is.

-- Columns that were written while their site was erased: nobody would find them any more.
DELETE FROM day_columns c WHERE NOT EXISTS (SELECT FROM sites s WHERE s.site = c.site);

-- Read before site_days is locked, for there may be very many columns.
CREATE TABLE sealed_days AS SELECT site, day, revision FROM day_columns WHERE name = 'head';
ANALYZE sealed_days;

-- Rows of the default partitions by time alone (store/postgres/time-partitions.ts, processor/retention.ts). Partitions
-- of months need no such index: they are dropped as a whole. A load locks events, site_days and visitor_days in this
-- order, and so does this file.
CREATE INDEX events_default_timestamp ON events_default ("timestamp");

-- Days to be sealed (columns/seal.ts). `sealed`: the revision of the day's columns, or of a day that is left without.
-- The load changes `revision` with every batch and `due` hardly ever, so its updates stay within the page (HOT). An
-- index that names `revision`, if only in its WHERE, would make each of them write to all indexes.
ALTER TABLE site_days ADD COLUMN sealed integer;
UPDATE site_days d SET sealed = h.revision FROM sealed_days h WHERE h.site = d.site AND h.day = d.day;
ALTER TABLE site_days ADD COLUMN due boolean NOT NULL GENERATED ALWAYS AS (sealed IS DISTINCT FROM revision) STORED;
CREATE INDEX site_days_due ON site_days (day, site) WHERE due;
ANALYZE site_days;
DROP TABLE sealed_days;

CREATE INDEX visitor_days_default_day ON visitor_days_default (day);
