/** Kafka sink: its options. What each does to delivery is said here, once; the README's table is made from this. */
import {
  bool,
  type ConfigOf,
  defineConfig,
  duration,
  integer,
  list,
  oneOf,
  path,
  secret,
  text,
} from '../../kernel/config.ts';

export const kafkaConfig = defineConfig('kafka', {
  kafkaBrokers: list({
    default: ['127.0.0.1:9092'],
    must: 'host:port',
    test: (item) => /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+)(:\d{1,5})?$/.test(item),
    doc: 'Brokers to ask first, host:port with commas between; the others are learned from them. Kafka 2.4 or newer.',
  }),
  kafkaTopic: text({
    default: 'gotrack.events',
    must: 'a topic name: letters, digits, dot, underscore, dash, at most 249',
    test: (name) => /^[A-Za-z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..',
    doc: 'Topic that events go to.',
  }),
  kafkaAcks: oneOf(['all', '1', '0'], {
    default: 'all',
    doc:
      'all: an event counts as delivered when every in-sync replica has it, and the producer is idempotent: a retry makes no duplicate. ' +
      '1: the leader alone; its loss loses events, a retry may duplicate them. 0: nobody answers; events are lost silently whenever a connection ends.',
  }),
  kafkaCompression: oneOf(['none', 'gzip', 'snappy', 'lz4', 'zstd'], {
    default: 'lz4',
    doc: 'Codec of a record batch. lz4 and snappy cost least, zstd makes the smallest batches, gzip is for consumers that know nothing else.',
  }),
  kafkaSaslMechanism: oneOf(['plain', 'scram-sha-256', 'scram-sha-512'], {
    doc: 'How to log in. plain sends the password as it is: use it with TLS only.',
    unset: 'no login',
  }),
  kafkaSaslUser: text({ doc: 'User of the login.', unset: 'no login' }),
  kafkaSaslPassword: secret({ doc: 'Password of the login.', unset: 'no login' }),
  kafkaTls: bool({
    default: false,
    doc: "Speak TLS, with the system's certificate authorities. Any of the KAFKA_TLS_ options below switches it on, too.",
  }),
  kafkaTlsCa: path({
    doc: 'PEM file of the certificate authorities that the brokers are checked against.',
    unset: "the system's",
  }),
  kafkaTlsCert: path({
    doc: 'PEM file of our certificate, for brokers that ask for one. Needs KAFKA_TLS_KEY.',
    unset: 'none',
  }),
  kafkaTlsKey: path({ doc: 'PEM file of the key to KAFKA_TLS_CERT.', unset: 'none' }),
  kafkaTlsSkipVerify: bool({
    default: false,
    doc: 'Do not check the certificates of the brokers: anybody on the way can read and change events. For tests.',
  }),
  kafkaLingerMs: duration({
    default: 5,
    min: 0,
    max: 60_000,
    doc: 'How long a batch may wait for more events. Longer: larger batches, less CPU and traffic per event, later delivery.',
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
  kafkaConnectTimeoutMs: duration({
    default: 5000,
    min: 100,
    max: 300_000,
    doc: 'Limit for a connection with its TLS handshake and login, and for each question about the cluster.',
  }),
  kafkaRequestTimeoutMs: duration({
    default: 30_000,
    min: 100,
    max: 600_000,
    doc: 'Limit for the answer to a batch. Then the connection is closed and the batch goes again, with the same sequence numbers.',
  }),
  kafkaMetadataMaxAgeMs: duration({
    default: 300_000,
    min: 1000,
    max: 86_400_000,
    doc: 'How old knowledge of the topic may grow before it is asked for again, so that new partitions are used.',
  }),
});

export type KafkaConfig = ConfigOf<typeof kafkaConfig>;
