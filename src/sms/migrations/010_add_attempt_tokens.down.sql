COMMENT ON COLUMN sms_queue.attempts IS NULL;
ALTER TABLE sms_logs DROP COLUMN attempt_token;
