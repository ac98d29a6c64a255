/** Kafka sink: its options. What each does to delivery is said here, once; the table in deploy/CONFIGURATION.md is made from this. */
import { bool, type ConfigOf, defineConfig, duration, integer, oneOf, text } from '../../kernel/config.ts';
import { brokerOptions, limitOptions, loginOptions } from '../../store/kafka/config.ts';

export const kafkaConfig = defineConfig('kafka', {
  ...brokerOptions,
  kafkaTopic: text({
    default: 'gotrack.events',
    must: 'a topic name: letters, digits, dot, underscore, dash, at most 249',
    test: (name) => /^[A-Za-z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..',
    doc: 'Topic that events go to.',
  }),
  kafkaTimestamp: oneOf(['received', 'event'], {
    default: 'received',
    doc:
      'Time of a record in the topic. received: when the event was accepted. event: its ts, but at most 24 hours before ' +
      'it was accepted, and not after it. Brokers refuse times by message.timestamp.before.max.ms (unlimited by default) ' +
      'and message.timestamp.after.max.ms (one hour since Kafka 4.0), and delete by record times: so the clock of a ' +
      'client decides neither. Times that a broker refuses all the same (its clock, or ours, is wrong) are left out, and ' +
      'the topic has those records without a time (-1). The value keeps ts in any case.',
  }),
  kafkaAcks: oneOf(['all', '1', '0'], {
    default: 'all',
    doc:
      'all: an event counts as delivered when every in-sync replica has it, and the producer is idempotent: ' +
      'a retry makes no duplicate. 1: the leader alone; its loss loses events, a retry may duplicate them. ' +
      '0: nobody answers; events are lost silently whenever a connection ends.',
  }),
  kafkaCompression: oneOf(['none', 'gzip', 'snappy', 'lz4', 'zstd'], {
    default: 'lz4',
    doc:
      'Codec of a record batch. lz4 and snappy cost least, zstd makes the smallest batches, ' +
      'gzip is for consumers that know nothing else.',
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
    doc: 'Batches on the way at a time. Five is what a broker can tell duplicates of.',
  }),
  kafkaCreateTopic: bool({
    default: true,
    doc: 'Create the topic when it is missing. false: wait until somebody has created it.',
  }),
  kafkaPartitions: integer({
    default: 0,
    min: 0,
    max: 100_000,
    doc: "Partitions of a topic that we create; 0: the broker's default.",
  }),
  kafkaReplication: integer({
    default: 0,
    min: 0,
    max: 100,
    doc: "Replicas of a topic that we create; 0: the broker's default.",
  }),
  ...limitOptions,
});

export type KafkaConfig = ConfigOf<typeof kafkaConfig>;
