DROP TABLE sms_outbox;
DROP TABLE idempotency_keys;
DROP TABLE sms_logs;
