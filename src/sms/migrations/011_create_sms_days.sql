-- Days that are over, each while its partition is attached. sms_logs: no message of it waits, is being sent or has money
-- reserved. balance_txn: its sums are in balance_carries.
CREATE TABLE sms_days (
  parent text NOT NULL,
  day date NOT NULL,
  -- Of whom looks at the messages of the day: somebody who sends one of them again meanwhile deletes the row.
  look bigint GENERATED ALWAYS AS IDENTITY,
  -- NULL: it is being looked at.
  over_at timestamptz,
  -- Of the ledger.
  row_count bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (parent, day)
);

-- What the carried days of the ledger come to, also those that were archived: credits of the account less its debits.
CREATE TABLE balance_carries (
  customer_id text COLLATE "C" NOT NULL,
  account text COLLATE "C" NOT NULL CHECK (account IN ('external', 'available', 'reserved', 'revenue')),
  amount numeric NOT NULL,
  PRIMARY KEY (customer_id, account)
) WITH (fillfactor = 70);

-- Of each carried day: a row that comes late (its transaction began before midnight, or the clock was set back) is
-- carried at once, and so is whatever else becomes of the rows of the day.
CREATE FUNCTION carry_late_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM carry_transfer(OLD.customer_id, OLD.debit, OLD.credit, -OLD.amount);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM carry_transfer(NEW.customer_id, NEW.debit, NEW.credit, NEW.amount);
  END IF;
  RETURN NULL;
END
$$;
CREATE FUNCTION carry_transfer(customer text, debit text, credit text, amount bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO balance_carries AS c (customer_id, account, amount)
    SELECT customer, account, change FROM (VALUES (debit, -amount), (credit, amount)) AS v (account, change) ORDER BY 2
    ON CONFLICT (customer_id, account) DO UPDATE SET amount = c.amount + excluded.amount
$$;
