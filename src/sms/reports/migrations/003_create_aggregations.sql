-- Sums of messages by the minute and the day in which they were accepted. They are computed from sms_raw for every
-- minute that records have come for (rollup.ts), and the newest computation of a key takes the place of the older ones.
-- A materialized view that adds up what is inserted would count a record twice that comes twice.
CREATE TABLE IF NOT EXISTS sms_minutes (
  customer_id String,
  minute DateTime('UTC') CODEC(Delta, ZSTD),
  accepted UInt64,
  sent UInt64,
  delivered UInt64,
  failed UInt64,
  unknown UInt64,
  cost UInt64,
  version UInt64 CODEC(Delta, ZSTD),
  INDEX computed version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (customer_id, minute);

CREATE TABLE IF NOT EXISTS sms_days (
  day Date,
  customer_id String,
  accepted UInt64,
  sent UInt64,
  delivered UInt64,
  failed UInt64,
  unknown UInt64,
  cost UInt64,
  version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (day, customer_id);

-- The same messages by operator and lane; '' is the operator of those that no operator has yet. Latencies in ms.
CREATE TABLE IF NOT EXISTS sms_operator_minutes (
  minute DateTime('UTC'),
  operator LowCardinality(String),
  type LowCardinality(String),
  accepted UInt64,
  sent UInt64,
  delivered UInt64,
  failed UInt64,
  unknown UInt64,
  cost UInt64,
  to_operator AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float32),
  to_handset AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float32),
  version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, operator, type);

-- How far the sums are: records that were inserted before `until` (ms since 1970) are in them.
CREATE TABLE IF NOT EXISTS sms_rollups (
  name String,
  until UInt64
)
ENGINE = ReplacingMergeTree(until)
ORDER BY name;
