-- The ledger: transfers, each a debit of one account and a credit of another. available and reserved belong to the
-- customer; external and revenue are where money comes from and goes to. Rows are only ever added.
CREATE TABLE balance_txn (
  created_at timestamptz NOT NULL DEFAULT now(),
  id bigint GENERATED ALWAYS AS IDENTITY,
  customer_id text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('credit', 'reserve', 'capture', 'refund', 'carry')),
  debit text NOT NULL CHECK (debit IN ('external', 'available', 'reserved', 'revenue')),
  credit text NOT NULL CHECK (credit IN ('external', 'available', 'reserved', 'revenue') AND credit <> debit),
  amount bigint NOT NULL CHECK (amount >= 0),
  -- NULL for credits and carries.
  message_id text COLLATE "C",
  PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX balance_txn_customer ON balance_txn (customer_id, id);
CREATE TABLE balance_txn_default PARTITION OF balance_txn DEFAULT;

-- Credits by their idempotency key, for as long as the customer exists: a repeat must never add money twice.
CREATE TABLE balance_credits (
  customer_id text COLLATE "C" NOT NULL REFERENCES customers ON DELETE CASCADE,
  idempotency_key text COLLATE "C" NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  -- What the answer said then.
  balance bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (customer_id, idempotency_key)
);
