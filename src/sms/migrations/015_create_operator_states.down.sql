DROP TABLE sms_operator_states;
