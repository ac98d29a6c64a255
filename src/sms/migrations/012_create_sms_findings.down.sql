DROP TABLE sms_findings;
