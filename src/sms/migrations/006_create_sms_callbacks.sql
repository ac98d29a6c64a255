-- What customers are still to be told. Each row is one state of a message; rows of a message are told in the order of
-- their ids, which is the order of its states, because whoever adds one holds the lock of the message.
CREATE TABLE sms_callbacks (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message_id text COLLATE "C" NOT NULL,
  customer_id text COLLATE "C" NOT NULL,
  url text NOT NULL,
  status text NOT NULL,
  operator text,
  reason text,
  at timestamptz NOT NULL,
  tries smallint NOT NULL DEFAULT 0,
  -- Nobody tries before this time: a pause after a failure, or the lease of who is trying now.
  next_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now()
);
-- Claims go from customer to customer, so that one with many rows, or with a receiver that is dead, delays only its own.
CREATE INDEX sms_callbacks_due ON sms_callbacks (customer_id, next_at);
CREATE INDEX sms_callbacks_message ON sms_callbacks (message_id, id);

-- Ids that operators gave to messages, for those whose receipts bear no other (SMPP).
CREATE TABLE sms_operator_ids (
  operator text COLLATE "C" NOT NULL,
  operator_id text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (operator, operator_id)
);
CREATE INDEX sms_operator_ids_age ON sms_operator_ids (created_at);
