-- Messages that wait for a worker, and those whose fate is not known. The content is in sms_logs. Times are ms since 1970.
CREATE TABLE sms_queue (
  message_id text COLLATE "C" PRIMARY KEY,
  customer_id text COLLATE "C" NOT NULL,
  -- Of the customer (delivery/shard.ts): who owns it sends.
  shard smallint NOT NULL,
  express boolean NOT NULL,
  segments smallint NOT NULL,
  attempts smallint NOT NULL DEFAULT 0,
  recipient text NOT NULL,
  -- Names of operators that would not take it in this round, separated by blanks.
  tried text NOT NULL DEFAULT '',
  accepted_ms bigint NOT NULL,
  valid_ms bigint NOT NULL,
  -- Not before; of held rows: when the operator is asked next.
  due_ms bigint NOT NULL,
  -- Since when nobody knows whether the operator has it; NULL: it may be sent.
  held_ms bigint
) WITH (
  fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0
);
-- The first of a customer is found without those before it, however many wait.
CREATE INDEX sms_queue_next ON sms_queue (shard, express, customer_id, due_ms, message_id) WHERE held_ms IS NULL;
CREATE INDEX sms_queue_held ON sms_queue (shard, due_ms) WHERE held_ms IS NOT NULL;

-- The order in which the relay takes them.
CREATE INDEX sms_outbox_next ON sms_outbox (express DESC, id);

-- Messages that will not be sent any more, unless somebody sends them again (ringmain sms resend).
CREATE TABLE sms_dead_letters (
  message_id text COLLATE "C" PRIMARY KEY,
  customer_id text COLLATE "C" NOT NULL,
  status text NOT NULL CHECK (status IN ('failed', 'unknown')),
  operator text,
  attempts smallint NOT NULL,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sms_dead_letters_customer ON sms_dead_letters (customer_id, message_id);

-- How far each look for stranded messages has come: the time in their ids.
CREATE TABLE sms_stranded_looks (
  after_s integer PRIMARY KEY,
  upto timestamptz NOT NULL
);
