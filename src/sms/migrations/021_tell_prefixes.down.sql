ALTER TABLE sms_operator_states DROP COLUMN prefixes;
