/** The kinds of sinks, loaded when they are used: a collector that writes files does not load a Kafka client. */
import type { SinkKind } from '../delivery/contract.ts';
import type { ConfigSet, Naming } from '../kernel/config.ts';
import type { Finding } from '../kernel/finding.ts';
import { fileConfig } from './file/config.ts';
import { httpSinkConfig } from './http/config.ts';
import { kafkaConfig } from './kafka/config.ts';
import { postgresConfig } from './postgres/config.ts';

/**
 * Every kind of sink there is. An output has a kind and a name of its own; the pixel's outputs are called like their
 * kinds.
 */
export const sinkKinds = ['log', 'kafka', 'postgres', 'http'] as const;
export type SinkKindName = (typeof sinkKinds)[number];

/** Options of every kind, for the command line and the reference. */
export const sinkConfigs: Readonly<Record<SinkKindName, ConfigSet>> = {
  log: fileConfig as ConfigSet,
  kafka: kafkaConfig as ConfigSet,
  postgres: postgresConfig as ConfigSet,
  http: httpSinkConfig as ConfigSet,
};

export async function loadSink(kind: SinkKindName): Promise<SinkKind<never>> {
  switch (kind) {
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

export interface Examination {
  /** The output keeps its own table of events (kind postgres). */
  readonly ownTable: boolean;
  /** What to do about a topic that is missing (kind kafka); undefined: KAFKA_TOPIC names it. */
  readonly topicAdvice?: string | undefined;
  /** What the operator calls an option. */
  readonly named: Naming;
}

/** Asks the target of an output what `ringmain doctor` wants to know, without changing anything there. */
export async function examineSink(
  kind: SinkKindName,
  config: never,
  { ownTable, topicAdvice, named }: Examination,
): Promise<AsyncIterable<Finding>> {
  switch (kind) {
    case 'log':
      return (await import('./file/examine.ts')).examineFile(config);
    case 'kafka':
      return (await import('./kafka/examine.ts')).examineKafka(config, { topicAdvice, named });
    case 'postgres':
      return (await import('./postgres/examine.ts')).examinePostgres(config, { ownTable, option: named('PG_DSN') });
    case 'http':
      return (await import('./http/examine.ts')).examineHttp(config);
  }
}
