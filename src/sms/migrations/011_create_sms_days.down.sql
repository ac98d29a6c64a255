-- Only while every day of the ledger is still there: what was archived is proved by the carries alone.
DO $$
BEGIN
  IF EXISTS (SELECT FROM sms_archives WHERE parent = 'balance_txn') THEN
    RAISE EXCEPTION 'days of the ledger were archived: balances cannot be proved without balance_carries';
  END IF;
END
$$;
DROP FUNCTION carry_late_transfer() CASCADE;
DROP FUNCTION carry_transfer(text, text, text, bigint);
DROP TABLE balance_carries;
DROP TABLE sms_days;
