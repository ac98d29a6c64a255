-- Receipts of messages whose answer nobody has read name them by reference and number (delivery/receipts.ts).
CREATE INDEX sms_queue_held_number ON sms_queue (recipient) WHERE held_ms IS NOT NULL;
