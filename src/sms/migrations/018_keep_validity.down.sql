ALTER TABLE sms_logs DROP COLUMN resent_at;
