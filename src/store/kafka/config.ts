/**
 * Options of every connection to Kafka: the sink's and the consumer's. The sink's set (sinks/kafka/config.ts) declares
 * them.
 */

import type { ConfigSet } from '../../kernel/config.ts';
import { bool, type ConfigOf, duration, list, oneOf, path, secret, text } from '../../kernel/config.ts';

export const brokerOptions = {
  kafkaBrokers: list({
    default: ['127.0.0.1:9092'],
    must: 'host:port pairs',
    test: (item) => /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+)(:\d{1,5})?$/.test(item),
    doc: 'Bootstrap brokers; the others are discovered. Requires Kafka 2.4 or newer.',
  }),
};

export const loginOptions = {
  kafkaSaslMechanism: oneOf(['plain', 'scram-sha-256', 'scram-sha-512'], {
    doc: 'SASL mechanism. plain sends the password in clear text: use it only with TLS.',
    unset: 'no authentication',
  }),
  kafkaSaslUser: text({ doc: 'SASL user name.', unset: 'no authentication' }),
  kafkaSaslPassword: secret({ doc: 'SASL password.', unset: 'no authentication' }),
  kafkaTls: bool({
    default: false,
    doc: "Connect over TLS, with the system's certificate authorities. Any KAFKA_TLS_ option below turns it on, too.",
  }),
  kafkaTlsCa: path({
    doc: 'PEM file with the certificate authorities that broker certificates are verified against.',
    unset: "the system's",
  }),
  kafkaTlsCert: path({
    doc: 'PEM file with our client certificate, for brokers that require one. Requires KAFKA_TLS_KEY.',
    unset: 'none',
  }),
  kafkaTlsKey: path({ doc: 'PEM file with the private key of KAFKA_TLS_CERT.', unset: 'none' }),
  kafkaTlsSkipVerify: bool({
    default: false,
    doc:
      'Do not verify broker certificates: anybody on the network path can then read and change events. For tests ' +
      'only.',
  }),
};

export const limitOptions = {
  kafkaConnectTimeoutMs: duration({
    default: 5000,
    min: 100,
    max: 300_000,
    doc: 'Timeout for connecting, including TLS handshake and authentication, and for each metadata request.',
  }),
  kafkaRequestTimeoutMs: duration({
    default: 30_000,
    min: 100,
    max: 600_000,
    doc:
      'Timeout for the answer to a batch. Then the connection is closed and the batch is sent again with the same ' +
      'sequence numbers.',
  }),
  kafkaMetadataMaxAgeMs: duration({
    default: 300_000,
    min: 1000,
    max: 86_400_000,
    doc: 'Maximum age of topic metadata before it is refreshed, so that new partitions are used.',
  }),
};

type ConnectionOptions = typeof brokerOptions & typeof loginOptions & typeof limitOptions;
export type KafkaConnectionConfig = ConfigOf<ConfigSet<'kafka', ConnectionOptions>>;
