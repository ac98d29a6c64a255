-- Which statement recorded the attempt that stands: one whose answer was lost knows its own again (delivery/attempts.ts).
ALTER TABLE sms_logs ADD COLUMN attempt_token bigint;
-- sms_queue.attempts counts tries that used up MAX_RETRIES; sms_logs.attempts counts all of them.
COMMENT ON COLUMN sms_queue.attempts IS 'tries that count against MAX_RETRIES';
