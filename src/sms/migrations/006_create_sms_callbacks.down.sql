DROP TABLE sms_operator_ids;
DROP TABLE sms_callbacks;
