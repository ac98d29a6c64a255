/**
 * Options of every connection to Kafka: the sink's and the consumer's. The sink's set (sinks/kafka/config.ts) declares
 * them.
 */

import type { ConfigSet } from '../../kernel/config.ts';
import { bool, type ConfigOf, duration, list, oneOf, path, secret, text } from '../../kernel/config.ts';

export const brokerOptions = {
  kafkaBrokers: list({
    default: ['127.0.0.1:9092'],
    must: 'host:port',
    test: (item) => /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+)(:\d{1,5})?$/.test(item),
    doc: 'Brokers to ask first, host:port with commas between; the others are learned from them. Kafka 2.4 or newer.',
  }),
};

export const loginOptions = {
  kafkaSaslMechanism: oneOf(['plain', 'scram-sha-256', 'scram-sha-512'], {
    doc: 'How to log in. plain sends the password as it is: use it with TLS only.',
    unset: 'no login',
  }),
  kafkaSaslUser: text({ doc: 'User of the login.', unset: 'no login' }),
  kafkaSaslPassword: secret({ doc: 'Password of the login.', unset: 'no login' }),
  kafkaTls: bool({
    default: false,
    doc:
      "Speak TLS, with the system's certificate authorities. " +
      'Any of the KAFKA_TLS_ options below switches it on, too.',
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
};

export const limitOptions = {
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
    doc:
      'Limit for the answer to a batch. Then the connection is closed and the batch goes again, ' +
      'with the same sequence numbers.',
  }),
  kafkaMetadataMaxAgeMs: duration({
    default: 300_000,
    min: 1000,
    max: 86_400_000,
    doc: 'How old knowledge of the topic may grow before it is asked for again, so that new partitions are used.',
  }),
};

type ConnectionOptions = typeof brokerOptions & typeof loginOptions & typeof limitOptions;
export type KafkaConnectionConfig = ConfigOf<ConfigSet<'kafka', ConnectionOptions>>;
