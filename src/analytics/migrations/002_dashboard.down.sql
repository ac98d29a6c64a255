DROP TABLE goals;
ALTER TABLE rollups DROP COLUMN engaged_ms;
