/**
 * Kafka sink: its options. What each does to delivery is said here, once; the table in deploy/CONFIGURATION.md is made
 * from this.
 */
import { bool, type ConfigOf, defineConfig, duration, integer, oneOf, text } from '../../kernel/config.ts';
import { brokerOptions, limitOptions, loginOptions } from '../../store/kafka/config.ts';

export const kafkaConfig = defineConfig('kafka', {
  ...brokerOptions,
  kafkaTopic: text({
    default: 'gotrack.events',
    must: 'a topic name: at most 249 letters, digits, dots, underscores and dashes',
    test: (name) => /^[A-Za-z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..',
    doc: 'Topic that events are written to.',
  }),
  kafkaTimestamp: oneOf(['received', 'event'], {
    default: 'received',
    doc:
      'Timestamp of a Kafka record. received: when the event was accepted. event: its ts, but no more than 24 ' +
      'hours before it was accepted, and not after. Brokers reject timestamps by message.timestamp.before.max.ms ' +
      '(unlimited by default) and message.timestamp.after.max.ms (one hour since Kafka 4.0), and delete by record ' +
      'timestamps, so a client clock must decide neither. If a broker rejects a timestamp all the same (its ' +
      'clock, or ours, is wrong), the record is written without one (-1). The value keeps ts in any case.',
  }),
  kafkaAcks: oneOf(['all', '1', '0'], {
    default: 'all',
    doc:
      'all: an event is delivered once every in-sync replica has it; the producer is idempotent, so a retry makes ' +
      'no duplicate. 1: only the leader acknowledges; if it dies, events are lost, and a retry may duplicate ' +
      'them. 0: nobody acknowledges; events are lost silently whenever a connection closes.',
  }),
  kafkaCompression: oneOf(['none', 'gzip', 'snappy', 'lz4', 'zstd'], {
    default: 'lz4',
    doc:
      'Codec of record batches. lz4 and snappy cost the least CPU, zstd makes the smallest batches, gzip is for ' +
      'consumers that support nothing else.',
  }),
  ...loginOptions,
  kafkaLingerMs: duration({
    default: 5,
    min: 0,
    max: 60_000,
    doc:
      'How long a batch may wait for more events. Longer: larger batches, less CPU and traffic per event, ' +
      'later delivery.',
  }),
  kafkaMaxInFlight: integer({
    default: 5,
    min: 1,
    max: 5,
    doc: 'Maximum batches in flight; brokers deduplicate at most five in-flight batches.',
  }),
  kafkaCreateTopic: bool({
    default: true,
    doc: 'Create the topic if it does not exist. false: wait until somebody creates it.',
  }),
  kafkaPartitions: integer({
    default: 0,
    min: 0,
    max: 100_000,
    doc: "Partitions of a topic that Ringmain creates; 0: the broker's default.",
  }),
  kafkaReplication: integer({
    default: 0,
    min: 0,
    max: 100,
    doc: "Replicas of a topic that Ringmain creates; 0: the broker's default.",
  }),
  ...limitOptions,
});

export type KafkaConfig = ConfigOf<typeof kafkaConfig>;
