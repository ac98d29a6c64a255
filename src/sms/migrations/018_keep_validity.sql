-- When a message was last sent again by command; NULL: never. Its validity counts from then, and is as long as it was.
ALTER TABLE sms_logs ADD COLUMN resent_at timestamptz;
