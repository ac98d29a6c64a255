DROP TABLE balance_credits;
DROP TABLE balance_txn;
