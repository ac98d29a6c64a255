-- created_at is the time in the ULID, so a message is found by its id alone. Days are made by the partition manager; the
-- default partition takes what comes before it has run.
CREATE TABLE sms_logs (
  created_at timestamptz NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  customer_id text COLLATE "C" NOT NULL,
  recipient text NOT NULL,
  sender text NOT NULL DEFAULT '',
  body text NOT NULL,
  lane text NOT NULL DEFAULT 'normal',
  segments smallint NOT NULL,
  cost bigint NOT NULL,
  status text NOT NULL DEFAULT 'accepted'
    CHECK (status IN ('accepted', 'sending', 'sent', 'delivered', 'failed', 'unknown')),
  -- Each reservation is captured or refunded once.
  money text NOT NULL DEFAULT 'reserved' CHECK (money IN ('reserved', 'captured', 'refunded')),
  operator text,
  operator_id text,
  attempts smallint NOT NULL DEFAULT 0,
  reason text,
  valid_until timestamptz NOT NULL,
  callback_url text,
  sent_at timestamptz,
  done_at timestamptz,
  PRIMARY KEY (message_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX sms_logs_customer ON sms_logs (customer_id, message_id);
CREATE TABLE sms_logs_default PARTITION OF sms_logs DEFAULT WITH (fillfactor = 70);

CREATE TABLE idempotency_keys (
  customer_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  -- Of the request that came first: the same key with another one is refused.
  fingerprint bytea NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  -- What the answer said then.
  segments smallint NOT NULL,
  cost bigint NOT NULL,
  balance bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (customer_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Records on their way out of the database, several in a row: lines of key, tab and JSON (topics.ts). Rows are claimed
-- by FOR UPDATE SKIP LOCKED and deleted, in no order of ids: a smaller id may be committed later.
CREATE TABLE sms_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  express boolean NOT NULL DEFAULT false,
  topic text NOT NULL,
  records text NOT NULL
);
