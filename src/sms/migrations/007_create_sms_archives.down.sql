DROP TABLE sms_archives;
