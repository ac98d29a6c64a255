-- Refused while there is a debit.
ALTER TABLE balance_credits DROP CONSTRAINT balance_credits_amount_check;
ALTER TABLE balance_credits ADD CONSTRAINT balance_credits_amount_check CHECK (amount > 0);
ALTER TABLE balance_txn DROP CONSTRAINT balance_txn_kind_check;
ALTER TABLE balance_txn ADD CONSTRAINT balance_txn_kind_check
  CHECK (kind IN ('credit', 'reserve', 'capture', 'refund', 'carry'));
