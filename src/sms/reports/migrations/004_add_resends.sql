-- How often the message had been sent again when this state was told (topics.ts). It is in the key: what is told after a
-- resend must not take the place of what was told before, or a record that comes again could bring the old state back.
ALTER TABLE sms_raw ADD COLUMN IF NOT EXISTS resends UInt32,
  MODIFY ORDER BY (minute, customer_id, message_id, status, resends);
