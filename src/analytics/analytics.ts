/**
 * Analytics: site statistics on the engine. `api` takes events and answers queries, `processor` stores and counts them;
 * with Kafka between them each may run many times, and one process without Kafka does both.
 *
 *   POST /events, /px.gif, /collect > lanes > topic > processor > events and rollups in Postgres > GET /stats
 */
import { isLoopback } from '../http/endpoint.ts';
import { defineService, type ValuesOf } from '../service/contract.ts';
import { sibling } from '../service/sibling.ts';
import type { KafkaConfig } from '../sinks/kafka/config.ts';
import type { PostgresConfig } from '../sinks/postgres/config.ts';
import { apiRouteNames, TRACKER_ROUTE } from './api/names.ts';
import { analyticsConfigs } from './config.ts';
import { ANALYTICS_KIND } from './event.ts';
import { intakeMetricSets, intakeRouteNames } from './intake/metrics.ts';
import { createSaltsMemory } from './intake/salts-board.ts';
import { senderMetrics } from './intake/visitor-metrics.ts';
import { jobNames } from './job-names.ts';
import { liveMetrics } from './live/metrics.ts';
import { LIVE_ROUTE, LIVE_WORKER } from './live/questions.ts';
import { partitionMetrics } from './metrics.ts';
import { PEOPLE_WORKER, peopleRouteNames } from './people/questions.ts';
import { processorMetrics } from './processor/metrics.ts';
import { queryMetrics } from './query/metrics.ts';
import { QUERY_WORKER, queryRouteNames } from './query/names.ts';
import { analyticsSamples } from './samples.ts';

/** The values of the service with those of its outputs' kinds. */
export type AnalyticsValues = ValuesOf<typeof analyticsConfigs> & {
  readonly postgres: PostgresConfig;
  readonly kafka: KafkaConfig;
};
/** What all threads of the api share. */
export interface AnalyticsShared {
  /** Salts of visitors' ids (intake/salts-board.ts). */
  readonly salts: SharedArrayBuffer;
}
type Own = ValuesOf<typeof analyticsConfigs>;

/**
 * Events live until their rows are sent, and what they add to the sums until the commit. With the default a third of the
 * thread's time goes to copying them again and again.
 */
const STORE_YOUNG_MIB = 24;
/**
 * Some 50 MiB of its heap live. V8 would let them become 180; with this they become 100, and a batch of any size that
 * PG_BATCH_SIZE allows still has room (native-bench/TRIED.md).
 */
const STORE_OLD_MIB = 2000;

/** Jobs and the watch of partitions wait most of the time: one thread, 12 MiB less. */
const CHORES = 'chores-processor';

const all = (values: Own): AnalyticsValues => values as AnalyticsValues;
const dsn = (values: Own): string | undefined => all(values).postgres.pgDsn;
const withKafka = (values: Own): boolean => all(values).kafka.kafkaBrokers.length > 0;

/**
 * The dashboard's pages: own scripts, styles and answers, and nothing else. Links that are shared open in a tab of
 * their own: nobody frames them.
 */
const webCsp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export default defineService({
  name: 'analytics',
  summary: 'count visits: POST /events, GET /stats',
  module: import.meta.url,
  config: analyticsConfigs,
  defaults: {
    SERVER_ADDR: ':8080',
    // No Kafka: the lanes feed the writer themselves.
    KAFKA_BROKERS: '',
    KAFKA_TOPIC: 'events',
    // A batch reads and writes each of its rollups once: large ones share more.
    PG_BATCH_SIZE: '10000',
    // One session reads, dedupes and copies while the other one counts: client and server work at the same time.
    PG_CONNECTIONS: '2',
    PG_FLUSH_MS: '250ms',
  },
  // Its loads write tables of their own, by statements of their own.
  without: ['PG_TABLE', 'PG_GIN', 'PG_COPY'],
  aliases: { DATABASE_URL: 'PG_DSN', KAFKA_BROKER_URLS: 'KAFKA_BROKERS' },
  roles: {
    api: {
      summary: 'take events, answer queries',
      web: new URL('web/', import.meta.url),
      webCsp,
      routes: [
        ...intakeRouteNames,
        ...queryRouteNames,
        ...apiRouteNames,
        ...peopleRouteNames,
        LIVE_ROUTE,
        TRACKER_ROUTE,
      ],
      acceptor: sibling(import.meta, './acceptor.ts'),
      metrics: [...intakeMetricSets, queryMetrics, liveMetrics, senderMetrics],
      prepare: (): AnalyticsShared => ({ salts: createSaltsMemory() }),
      workers: () => [
        { name: 'registry', module: sibling(import.meta, './registry-worker.ts'), onDeath: 'restart' },
        { name: QUERY_WORKER, module: sibling(import.meta, './query/worker.ts'), onDeath: 'restart' },
        { name: LIVE_WORKER, module: sibling(import.meta, './live/worker.ts'), onDeath: 'restart' },
        { name: PEOPLE_WORKER, module: sibling(import.meta, './people/worker.ts'), onDeath: 'restart' },
      ],
      outputs: [
        {
          name: 'topic',
          kind: 'kafka',
          when: { text: 'with KAFKA_BROKERS', holds: withKafka },
          records: [ANALYTICS_KIND],
        },
        {
          name: 'accepted',
          kind: 'postgres',
          load: sibling(import.meta, './accepted-load.ts'),
          records: [ANALYTICS_KIND],
          counts: true,
          // All batches change the same few rows: a second session would only wait for the first.
          options: () => ({ pgConnections: 1 }),
        },
      ],
      recordBytesMax: ({ collect }) => collect.maxEventBytes,
      problems,
      storeProblems: async (values) => (await import('./people/standing.ts')).dashboardProblems(all(values)),
      ready: ({ analytics, collect }) => ({ access: analytics.access, ack: collect.ack }),
      examine: async function* ({ visitor, http }) {
        yield* (await import('../visitor/examine.ts')).examineOrigins(visitor, http);
      },
      inquire: async function* (values) {
        yield* (await import('./examine.ts')).examineAccess(all(values));
      },
      samples: () => analyticsSamples,
      welcome,
    },
    processor: {
      summary: 'store and count events',
      // It listens for operators only; beside an api of the same machine, and without options.
      defaults: { SERVER_ADDR: ':8081' },
      metrics: [processorMetrics, partitionMetrics],
      outputs: [
        {
          name: 'store',
          kind: 'postgres',
          load: sibling(import.meta, './processor/load.ts'),
          youngMiB: STORE_YOUNG_MIB,
          oldMiB: STORE_OLD_MIB,
          source: (values) =>
            withKafka(values)
              ? {
                  topics: [all(values).kafka.kafkaTopic],
                  groupId: values.analytics.kafkaGroupId,
                  start: 'earliest',
                  sessionTimeoutMs: values.analytics.kafkaSessionTimeoutMs,
                  rebalanceTimeoutMs: values.analytics.kafkaRebalanceTimeoutMs,
                  fetchBytesMax: values.analytics.kafkaFetchBytes,
                  fetchWaitMs: values.analytics.kafkaFetchWaitMs,
                  unpackedBytesMax: values.analytics.kafkaUnpackedBytes,
                }
              : undefined,
        },
      ],
      recordBytesMax: ({ collect }) => collect.maxEventBytes,
      inquire: async function* (values, named) {
        yield* (await import('./examine.ts')).examineStore(all(values), named);
      },
      workers: () => [
        {
          name: 'partitions',
          module: sibling(import.meta, './partition-watch.ts'),
          onDeath: 'restart',
          thread: CHORES,
        },
      ],
      jobs: { module: sibling(import.meta, './jobs.ts'), names: jobNames, dsn, thread: CHORES },
      problems,
    },
  },
  commands: {
    user: {
      summary: 'users of the dashboard: add, list, change, remove',
      tool: async (service, argv) => (await import('./people/user-command.ts')).runUser(service, argv),
    },
  },
  migrations: { folder: new URL('migrations/', import.meta.url), dsn, atStart: () => true },
});

/** Roles that share their events through Kafka are refused without it. */
function problems(values: Own, roles: readonly string[]): readonly string[] {
  if (roles.length > 1 || withKafka(values)) return [];
  return [
    `KAFKA_BROKER_URLS (or KAFKA_BROKERS) must be set when ${roles[0]} runs alone: without Kafka one process runs both ` +
      'roles (ringmain analytics all)',
  ];
}

/** What somebody reads who has just started it by hand. */
function welcome(values: Own, at: string): readonly string[] {
  const path = withKafka(values) ? `Kafka, topic ${all(values).kafka.kafkaTopic}, then Postgres` : 'Postgres';
  const access =
    values.analytics.access === 'open'
      ? 'open: anybody may send events and read statistics (ACCESS=open)'
      : 'open until a site is registered; then by its keys and origins (ringmain site)';
  const people =
    values.analytics.access === 'open'
      ? 'open: anybody may look'
      : isLoopback(all(values).http.serverAddr)
        ? 'open to this machine until there is a user (ringmain analytics user add); then by login'
        : 'by login (ringmain analytics user add), share link or read key';
  return [
    `Ringmain Analytics listens on ${at}`,
    `events go to     ${path}`,
    `access           ${access}`,
    `dashboard        ${people}`,
    `try              curl -i -H 'content-type: application/json' -d '{"site_id":"my-site","event_type":"page_view"}' ${at}/events`,
  ];
}
