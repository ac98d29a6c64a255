-- Properties that have values of their own on a day (rollup/guard.ts), and how many each has, in the same order. Read and
-- written with the row that was read and written before, so that no batch asks twice.
ALTER TABLE site_days ADD COLUMN property_ids bigint[] NOT NULL DEFAULT '{}';
ALTER TABLE site_days ADD COLUMN property_counts integer[] NOT NULL DEFAULT '{}';
