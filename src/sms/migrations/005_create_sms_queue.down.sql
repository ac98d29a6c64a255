DROP TABLE sms_stranded_looks;
DROP TABLE sms_dead_letters;
DROP INDEX sms_outbox_next;
DROP TABLE sms_queue;
