/** From options to what a connection needs: addresses, TLS files, login, limits. Fails with the name of the option. */
import { readFileSync } from 'node:fs';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import type { ConnectionOptions } from '@platformatic/kafka';
import type { KafkaConnectionConfig } from './config.ts';
import { KafkaFailure } from './failure.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const saslNames = { plain: 'PLAIN', 'scram-sha-256': 'SCRAM-SHA-256', 'scram-sha-512': 'SCRAM-SHA-512' } as const;

/** Reads the TLS files; one that cannot be read is a KafkaFailure with the verdict 'stop'. */
export function connectionOptions(config: KafkaConnectionConfig): ConnectionOptions {
  const tls = tlsOptions(config);
  const { kafkaSaslMechanism: mechanism, kafkaSaslUser: username, kafkaSaslPassword: password } = config;
  if (mechanism && (username === undefined || password === undefined)) {
    const names = 'KAFKA_SASL_USER and KAFKA_SASL_PASSWORD';
    throw new KafkaFailure(
      'stop',
      'REFUSED',
      `${names} must be set with KAFKA_SASL_MECHANISM: found ${mechanism} alone`,
    );
  }
  return {
    connectTimeout: config.kafkaConnectTimeoutMs,
    requestTimeout: config.kafkaRequestTimeoutMs,
    // Higher than the sink's own limit of batches in flight, so the library never holds a request back unseen.
    maxInflights: 64,
    ...(tls && { tls }),
    ...(mechanism && {
      sasl: { mechanism: saslNames[mechanism], username, password },
    }),
  };
}

/** Whether the options ask for TLS: KAFKA_TLS does, and so does any option that means nothing without TLS. */
export function usesTls(config: KafkaConnectionConfig): boolean {
  const { kafkaTls, kafkaTlsCa, kafkaTlsCert, kafkaTlsKey, kafkaTlsSkipVerify } = config;
  return kafkaTls || kafkaTlsSkipVerify || [kafkaTlsCa, kafkaTlsCert, kafkaTlsKey].some((file) => file !== undefined);
}

/** host:port; the port is 9092 when left out, an IPv6 address stands in brackets. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  return { host: match?.[1] ?? match?.[2] ?? text, port: Number(match?.[3] ?? 9092) };
}

function tlsOptions(config: KafkaConnectionConfig): TlsOptions | undefined {
  if (!usesTls(config)) return undefined;
  const { kafkaTlsCa, kafkaTlsCert, kafkaTlsKey, kafkaTlsSkipVerify } = config;
  const read = (option: string, path: string | undefined) => {
    if (!path) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new KafkaFailure(
        'stop',
        'TLS',
        `${option} must be a readable PEM file: ${(error as Error).message}`,
        error,
      );
    }
  };
  const ca = read('KAFKA_TLS_CA', kafkaTlsCa);
  const cert = read('KAFKA_TLS_CERT', kafkaTlsCert);
  const key = read('KAFKA_TLS_KEY', kafkaTlsKey);
  if ((cert === undefined) !== (key === undefined)) {
    throw new KafkaFailure('stop', 'TLS', 'KAFKA_TLS_CERT and KAFKA_TLS_KEY must be set together');
  }
  return { ...(ca && { ca }), ...(cert && { cert, key }), rejectUnauthorized: !kafkaTlsSkipVerify };
}
