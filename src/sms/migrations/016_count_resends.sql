-- How often a message was sent again by command: reports tell states of one life of it from those of the next.
ALTER TABLE sms_logs ADD COLUMN resends smallint NOT NULL DEFAULT 0;
