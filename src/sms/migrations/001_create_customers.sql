-- Money is in whole units of COST_PER_SMS, at most 2^53 - 1 of a customer, so that JSON carries it exactly. balance is
-- what may be spent: what is reserved is not in it.
CREATE TABLE customers (
  customer_id text COLLATE "C" PRIMARY KEY CHECK (customer_id ~ '^[A-Za-z0-9._-]{1,64}$'),
  name text NOT NULL DEFAULT '',
  active boolean NOT NULL DEFAULT true,
  balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
  reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  -- Messages whose money is reserved, which wait for their turn: what BACKLOG_LIMIT bounds.
  waiting bigint NOT NULL DEFAULT 0 CHECK (waiting >= 0),
  -- NULL: the option of the same meaning.
  cost_per_sms bigint CHECK (cost_per_sms BETWEEN 0 AND 1000000000),
  rate_per_s integer CHECK (rate_per_s > 0),
  -- What messages are that do not say: normal or express.
  lane text NOT NULL DEFAULT 'normal' CHECK (lane IN ('normal', 'express')),
  callback_secret bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customers_money_exact CHECK (balance + reserved <= 9007199254740991)
) WITH (fillfactor = 50);

-- Prices by the beginning of the number, without the plus; the longest that fits wins.
CREATE TABLE customer_prices (
  customer_id text COLLATE "C" NOT NULL REFERENCES customers ON DELETE CASCADE,
  prefix text COLLATE "C" NOT NULL CHECK (prefix ~ '^[0-9]{1,15}$'),
  cost bigint NOT NULL CHECK (cost BETWEEN 0 AND 1000000000),
  PRIMARY KEY (customer_id, prefix)
);
