-- The newest refusals of a status, and the newest requests of a key (logs/answers.ts): a rare one would be looked for
-- in the rows of months.
CREATE INDEX idx_request_logs_refused ON request_logs (response_status, created_at, id) WHERE response_status >= 400;
CREATE INDEX idx_request_logs_key_time ON request_logs (key_id, created_at) WHERE key_id IS NOT NULL;
