ALTER TABLE pipeline_lag DROP COLUMN since;
