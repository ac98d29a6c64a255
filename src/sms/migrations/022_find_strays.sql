-- Rows of the default partitions by time alone: the watch looks for them every few seconds, and the job that moves them.
-- Partitions of days need no such index.
CREATE INDEX sms_logs_default_created ON sms_logs_default (created_at);
CREATE INDEX balance_txn_default_created ON balance_txn_default (created_at);
