/** The kinds of sinks, loaded when they are used: a collector that writes files does not load a Kafka client. */

import type { SinkKind } from '../delivery/contract.ts';
import type { ConfigSet } from '../kernel/config.ts';
import type { SinkName } from './config.ts';
import { fileConfig } from './file/config.ts';
import { httpSinkConfig } from './http/config.ts';
import { kafkaConfig } from './kafka/config.ts';
import { postgresConfig } from './postgres/config.ts';

/** Options of every kind, for the command line and the reference. */
export const sinkConfigs: Readonly<Record<string, ConfigSet>> = {
  log: fileConfig,
  kafka: kafkaConfig,
  postgres: postgresConfig,
  http: httpSinkConfig,
};

export async function loadSink(name: SinkName): Promise<SinkKind<never>> {
  switch (name) {
    case 'log':
      return (await import('./file/sink.ts')).fileSink as SinkKind<never>;
    case 'kafka':
      return (await import('./kafka/sink.ts')).kafkaSink as SinkKind<never>;
    case 'postgres':
      return (await import('./postgres/sink.ts')).postgresSink as SinkKind<never>;
    case 'http':
      return (await import('./http/sink.ts')).httpSink as SinkKind<never>;
  }
}
