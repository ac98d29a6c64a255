ALTER TABLE site_days DROP COLUMN property_counts;
ALTER TABLE site_days DROP COLUMN property_ids;
