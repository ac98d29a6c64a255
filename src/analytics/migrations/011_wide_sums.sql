-- Sums of a day or a month that may pass 2,147,483,647: that many events in a month are 800 a second without a pause,
-- and each further one was refused as out of range. The others of this kind stay as they are: `lasts` is counted by
-- slot alone, and `users` by day, of which each has a row in visitor_days.
--
-- The table and its index are written anew under an exclusive lock: 2 to 4 s for a million rows (deploy/UPGRADE.md), in
-- which nobody reads or counts. That needs free room for a second copy of both. All columns are in one statement, so
-- there is one copy.
ALTER TABLE rollups
  ALTER COLUMN events TYPE bigint,
  ALTER COLUMN views TYPE bigint,
  ALTER COLUMN visits TYPE bigint,
  ALTER COLUMN bounces TYPE bigint,
  ALTER COLUMN firsts TYPE bigint;
