ALTER TABLE customers ALTER COLUMN callback_secret DROP NOT NULL, ALTER COLUMN callback_secret DROP DEFAULT;
DROP FUNCTION make_callback_secret();
