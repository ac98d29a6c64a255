-- Raw events: a row per message and state, as sms.accepted and sms.status carry them. The columns have the names of the
-- records' members (topics.ts), so a line of JSON is a row; what a record lacks has the default here.
--
-- A record that comes again has the same key and takes the place of the first one when parts merge. Until then both are
-- there: whoever reads this table groups by message, so that neither the order of the records nor their number shows.
CREATE TABLE IF NOT EXISTS sms_raw (
  message_id String,
  customer_id String,
  type LowCardinality(String) DEFAULT 'normal',
  status LowCardinality(String) DEFAULT 'accepted',
  operator LowCardinality(String) DEFAULT '',
  reason LowCardinality(String) DEFAULT '',
  attempts UInt32 DEFAULT 0,
  segments UInt32 DEFAULT 1,
  cost UInt64 DEFAULT 0,
  -- Ms since 1970. When this state began, and when the message was accepted: sms.accepted has the first alone.
  at UInt64 CODEC(Delta, ZSTD),
  accepted_at UInt64 DEFAULT at CODEC(Delta, ZSTD),
  -- The minute of acceptance, UTC: every state of a message stands there, however late it comes.
  minute DateTime('UTC') MATERIALIZED toStartOfMinute(toDateTime(intDiv(accepted_at, 1000), 'UTC')) CODEC(Delta, ZSTD),
  inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD),
  INDEX inserted inserted_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (minute, customer_id, message_id, status)
-- The log forgets a record when ClickHouse has answered: what was answered is on the disk.
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
