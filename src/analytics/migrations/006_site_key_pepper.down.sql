ALTER TABLE site_keys DROP COLUMN pepper_id;
