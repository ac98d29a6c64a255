DROP INDEX sms_queue_held_number;
