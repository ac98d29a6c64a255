-- Beginnings of numbers that the operator carries, so that an api refuses at once what nobody carries
-- (operators/carried.ts). A worker that does not tell them may carry every number.
ALTER TABLE sms_operator_states ADD COLUMN prefixes text[] NOT NULL DEFAULT '{+}';
