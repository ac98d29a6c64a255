-- An administrator takes money back: available > external. Rows that are there need not be checked: they had fewer kinds.
ALTER TABLE balance_txn DROP CONSTRAINT balance_txn_kind_check;
ALTER TABLE balance_txn ADD CONSTRAINT balance_txn_kind_check
  CHECK (kind IN ('credit', 'debit', 'reserve', 'capture', 'refund', 'carry')) NOT VALID;

-- Debits have keys as credits have, below zero: a key stands for one of them.
ALTER TABLE balance_credits DROP CONSTRAINT balance_credits_amount_check;
ALTER TABLE balance_credits ADD CONSTRAINT balance_credits_amount_check CHECK (amount <> 0);
