DROP VIEW IF EXISTS sms_queue_reader;
DROP TABLE IF EXISTS sms_queue;
