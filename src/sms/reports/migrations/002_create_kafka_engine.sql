-- Only with CLICKHOUSE_INGEST=kafka: the server reads the topics itself. {brokers} is CLICKHOUSE_KAFKA_BROKERS,
-- {topics} sms.accepted and sms.status behind KAFKA_PREFIX, {group} the consumer group of reports likewise. A batch
-- whose offsets were not committed is read again; that is harmless (001). A line that is no record is left out and
-- stands in the server's log.
--
-- The view writes a column that 004 adds: it is made here, too, where the table is of an older build.
ALTER TABLE sms_raw ADD COLUMN IF NOT EXISTS resends UInt32,
  MODIFY ORDER BY (minute, customer_id, message_id, status, resends);

CREATE TABLE IF NOT EXISTS sms_queue (
  message_id String,
  customer_id String,
  type String,
  status String,
  operator String,
  reason String,
  attempts UInt32,
  resends UInt32,
  segments UInt32,
  cost UInt64,
  at UInt64,
  accepted_at UInt64
)
ENGINE = Kafka
SETTINGS
  kafka_broker_list = '{brokers}',
  kafka_topic_list = '{topics}',
  kafka_group_name = '{group}',
  kafka_format = 'JSONEachRow',
  kafka_handle_error_mode = 'stream',
  kafka_flush_interval_ms = 1000,
  kafka_num_consumers = 1,
  input_format_skip_unknown_fields = 1,
  input_format_null_as_default = 1;

-- Columns of the Kafka engine have no defaults: what a record lacks is empty there.
CREATE MATERIALIZED VIEW IF NOT EXISTS sms_queue_reader TO sms_raw AS
SELECT
  message_id, customer_id, if(type = '', 'normal', type) AS type, if(status = '', 'accepted', status) AS status,
  operator, reason, attempts, resends, if(segments = 0, 1, segments) AS segments, cost, at,
  if(accepted_at = 0, at, accepted_at) AS accepted_at
FROM sms_queue
WHERE _error = '' AND message_id != '' AND customer_id != '';
