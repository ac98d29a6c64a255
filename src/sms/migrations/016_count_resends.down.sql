ALTER TABLE sms_logs DROP COLUMN resends;
