/**
 * SMS: the gateway between customers and operators. `api` accepts messages against a balance, `worker` hands them to
 * operators at each customer's rate, `reporting` answers what happened, `partitions` keeps tables small. With Kafka
 * between them each may run many times; one process without Kafka does all.
 *
 *   POST /v1/sms/send > one transaction: balance, message, ledger, outbox > relay > work > operator > outcome > reports
 */
import { FOREIGN_KIND } from '../events/foreign.ts';
import type { Naming } from '../kernel/config.ts';
import { defineService, type ValuesOf } from '../service/contract.ts';
import { sibling } from '../service/sibling.ts';
import { acceptedMetrics, acceptMetrics } from './accept/metrics.ts';
import type { SmsShared } from './bounded.ts';
import { callbackMetrics } from './callbacks/metrics.ts';
import { smsConfigs } from './config.ts';
import { derived } from './connections.ts';
import { callersWorker } from './customers/callers-worker.ts';
import { CUSTOMERS_WORKER, REPORT_CALLERS_WORKER } from './customers/questions.ts';
import { deliveryJobNames } from './delivery/job-names.ts';
import { deliveryMetrics, handOverMetrics } from './delivery/metrics.ts';
import { moneyJobNames } from './money/job-names.ts';
import { moneyMetrics } from './money/metrics.ts';
import { operatorMetrics } from './operators/metrics.ts';
import { carrierNames, operatorNames } from './operators/names.ts';
import { outboxMetrics } from './outbox/metrics.ts';
import { partitionJobNames } from './partitions/job-names.ts';
import { smsPartitionMetrics } from './partitions/metrics.ts';
import { receiptMetrics } from './receipts/metrics.ts';
import { reportNames, reportsMetrics } from './reports/metrics.ts';
import { ingestOptions } from './reports/place.ts';
import { REPORTS_WORKER } from './reports/standing.ts';
import { smsRouteNames } from './route-names.ts';
import { apiProblems, partitionProblems, reportingProblems, welcome, workerProblems } from './start.ts';
import {
  ACCEPTED_KIND,
  DELIVERY_KIND,
  EXPRESS_KIND,
  REPORTS_GROUP,
  reportTopics,
  STATUS_KIND,
  type TopicName,
} from './topics.ts';

export type SmsValues = ValuesOf<typeof smsConfigs>;

/** Requests wait some ms for their group: with the default a quarter of an acceptor's time is collecting garbage. */
const ACCEPTOR_YOUNG_MIB = 24;
/** Messages live while Postgres and an operator work: with the default a third of the thread's time goes to the collector. */
const DELIVERY_YOUNG_MIB = 48;

/**
 * The jobs of all roles and the watch of partitions wait for Postgres most of the time: one thread for them, and no
 * customer waits for it.
 */
const CHORES = 'chores';

const dsn = ({ postgres }: Pick<SmsValues, 'postgres'>): string | undefined => postgres.pgDsn;
/** Main alone needs what it takes: every thread imports this module. */
const prepare = async (): Promise<SmsShared> => (await import('./bounded.ts')).createShared();
const withKafka = ({ kafka }: Pick<SmsValues, 'kafka'>): boolean => kafka.kafkaBrokers.length > 0;

/** Names of this installation, among others on the same Kafka. */
const named = ({ worker }: Pick<SmsValues, 'worker'>, name: string): string => worker.kafkaPrefix + name;

/** A topic of Kafka, where there is one; otherwise the lanes of the process are read where the record is needed. */
const topicOutput = (name: string, topic: TopicName, kind: number) =>
  ({
    name,
    kind: 'kafka',
    when: { text: 'with KAFKA_BROKERS', holds: withKafka },
    records: [kind],
    options: (values: SmsValues) => ({ kafkaTopic: named(values, topic) }),
    topicAdvice: (calls: Naming) => `Run ringmain sms topics create, or correct ${calls('KAFKA_PREFIX')}.`,
  }) as const;

/** What a worker is to send, into sms_queue: out of its topic, or out of the lanes where there is no Kafka. */
const workOutput = (name: string, topic: TopicName, kind: number, flushMs: number, group: string) =>
  ({
    name,
    kind: 'postgres',
    load: sibling(import.meta, './delivery/queue-load.ts'),
    // What a topic holds is foreign; lanes of this service hold no foreign records.
    records: [kind, FOREIGN_KIND],
    options: () => ({ pgConnections: 1, pgFlushMs: flushMs }),
    source: (values: SmsValues) =>
      withKafka(values)
        ? {
            topics: [named(values, topic)],
            groupId: named(values, `${values.worker.kafkaGroupId}${group}`),
            start: 'earliest' as const,
            sessionTimeoutMs: values.worker.kafkaSessionTimeoutMs,
          }
        : undefined,
  }) as const;

export default defineService({
  name: 'sms',
  summary: 'send messages against a balance, through operators',
  module: import.meta.url,
  config: smsConfigs,
  defaults: {
    SERVER_ADDR: ':8080',
    KAFKA_BROKERS: '',
    // A batch of 1,000 messages as long as they may be, each letter escaped.
    MAX_BODY_BYTES: '16MiB',
    // What ClickHouse likes: few inserts, large ones.
    HTTP_SINK_BATCH_SIZE: '50000',
    HTTP_SINK_BATCH_BYTES: '16MiB',
    HTTP_SINK_FLUSH_MS: '1s',
    HTTP_SINK_TIMEOUT_MS: '60s',
  },
  without: [
    ...['PG_TABLE', 'PG_GIN', 'PG_COPY', 'KAFKA_TOPIC'],
    ...['HTTP_SINK_URL', 'HTTP_SINK_AUTHORIZATION', 'HTTP_SINK_SECRET', 'HTTP_SINK_TLS_CA'],
  ],
  aliases: { DATABASE_URL: 'PG_DSN', KAFKA_BROKER_URLS: 'KAFKA_BROKERS' },
  derive: derived,
  roles: {
    api: {
      summary: 'accept messages, keep balances',
      routes: smsRouteNames,
      acceptor: sibling(import.meta, './acceptor.ts'),
      youngMiB: ACCEPTOR_YOUNG_MIB,
      prepare,
      metrics: [acceptMetrics, moneyMetrics, outboxMetrics, handOverMetrics],
      metricsOf: (values) => [acceptedMetrics(carrierNames(values)), receiptMetrics(operatorNames(values))],
      workers: () => [
        callersWorker(CUSTOMERS_WORKER),
        { name: 'relay', module: sibling(import.meta, './outbox/worker.ts'), publishes: true, onDeath: 'restart' },
      ],
      jobs: { module: sibling(import.meta, './money/jobs.ts'), names: moneyJobNames, dsn, thread: CHORES },
      outputs: [
        topicOutput('accepted', 'sms.accepted', ACCEPTED_KIND),
        topicOutput('delivery', 'sms.delivery', DELIVERY_KIND),
        topicOutput('express', 'sms.express', EXPRESS_KIND),
        topicOutput('status', 'sms.status', STATUS_KIND),
      ],
      problems: apiProblems,
      inquire: async function* (values, named) {
        const { examineApi, inquireApi } = await import('./examine.ts');
        yield* examineApi(values);
        yield* inquireApi(values, named);
      },
      storeProblems: async ({ access, postgres }) =>
        (await import('../access/pepper.ts')).pepperProblems({
          ...{ pepper: access.keyPepper, dsn: postgres.pgDsn, service: 'sms' },
        }),
      ready: ({ sms }) => ({
        access: sms.access === 'open' ? 'open: everybody may send for every customer' : 'by keys',
        admin: sms.adminKey === undefined ? 'off: ADMIN_KEY is not set' : 'on',
      }),
      welcome,
    },
    worker: {
      summary: 'hand messages to operators, at the rate of each customer',
      // It listens for operators only; beside the others of a machine, and without options.
      defaults: { SERVER_ADDR: ':8082' },
      metrics: [deliveryMetrics, handOverMetrics, callbackMetrics],
      metricsOf: (values) => [operatorMetrics(operatorNames(values))],
      workers: () => [
        {
          name: 'delivery',
          module: sibling(import.meta, './delivery/worker.ts'),
          onDeath: 'restart',
          youngMiB: DELIVERY_YOUNG_MIB,
        },
        { name: 'callbacks', module: sibling(import.meta, './callbacks/worker.ts'), onDeath: 'restart' },
      ],
      jobs: { module: sibling(import.meta, './delivery/jobs.ts'), names: deliveryJobNames, dsn, thread: CHORES },
      outputs: [
        workOutput('work', 'sms.delivery', DELIVERY_KIND, 20, ''),
        workOutput('express-work', 'sms.express', EXPRESS_KIND, 2, '-express'),
      ],
      problems: workerProblems,
      inquire: async function* (values) {
        const { examineWorker, inquireWorker } = await import('./examine.ts');
        yield* examineWorker(values);
        yield* inquireWorker(values);
      },
    },
    reporting: {
      summary: 'answer what happened to messages, from ClickHouse',
      routes: reportNames,
      acceptor: sibling(import.meta, './reports/acceptor.ts'),
      address: ({ reports }) => reports.reportingAddr,
      addressOption: 'REPORTING_ADDR',
      prepare,
      web: new URL('web/', import.meta.url),
      metrics: [reportsMetrics],
      outputs: [
        {
          name: 'reports',
          kind: 'http',
          when: {
            text: 'with REPORTS=on and CLICKHOUSE_INGEST=http',
            holds: ({ reports, clickhouse }) => reports.reports === 'on' && clickhouse.clickhouseIngest === 'http',
          },
          records: [ACCEPTED_KIND, STATUS_KIND, FOREIGN_KIND],
          inquired: true,
          options: ingestOptions,
          source: (values) =>
            withKafka(values)
              ? {
                  topics: reportTopics.map((topic) => named(values, topic)),
                  groupId: named(values, REPORTS_GROUP),
                  start: 'earliest',
                  sessionTimeoutMs: values.worker.kafkaSessionTimeoutMs,
                }
              : undefined,
        },
      ],
      workers: ({ reports }) =>
        reports.reports === 'off'
          ? []
          : [
              callersWorker(REPORT_CALLERS_WORKER),
              { name: REPORTS_WORKER, module: sibling(import.meta, './reports/worker.ts'), onDeath: 'restart' },
            ],
      problems: reportingProblems,
      inquire: async function* (values) {
        yield* (await import('./examine.ts')).inquireReporting(values);
      },
      ready: ({ reports, clickhouse }) => ({
        reports: reports.reports === 'off' ? 'off' : clickhouse.clickhouseUrl === undefined ? 'chdb' : 'ClickHouse',
      }),
    },
    partitions: {
      summary: 'make days ahead of time, archive those past their retention',
      // It listens for operators only; beside the others of a machine, and without options.
      defaults: { SERVER_ADDR: ':8083' },
      metrics: [smsPartitionMetrics],
      workers: () => [
        {
          name: 'partitions',
          module: sibling(import.meta, './partitions/watch-worker.ts'),
          onDeath: 'restart',
          thread: CHORES,
        },
      ],
      jobs: { module: sibling(import.meta, './partitions/jobs.ts'), names: partitionJobNames, dsn, thread: CHORES },
      problems: partitionProblems,
    },
  },
  commands: {
    customer: {
      summary: 'customers: add, list, show, change, credit, debit, statement; what administrators did',
      tool: async (service, argv) => (await import('./tool/customer-command.ts')).runCustomer(service, argv),
    },
    key: {
      summary: 'keys of customers: add, list, rotate, revoke',
      tool: async (service, argv) => (await import('./tool/key-command.ts')).runKey(service, argv),
    },
    resend: {
      summary: 'send messages again that have failed or are unknown, or list them',
      tool: async (service, argv) => (await import('./delivery/resend-command.ts')).runResend(service, argv),
    },
    settle: {
      summary: 'say what became of messages that had ended as unknown',
      tool: async (service, argv) => (await import('./delivery/settle-command.ts')).runSettle(service, argv),
    },
    audit: {
      summary: 'prove that balances are what the ledger and the messages come to',
      tool: async (service, argv) => (await import('./money/audit-command.ts')).runAudit(service, argv),
    },
    topics: {
      summary: 'make the topics between the roles',
      tool: async (service, argv) => (await import('./setup/topics-command.ts')).runTopics(service, argv),
    },
    seed: {
      summary: 'add customers for tries and load tests',
      tool: async (service, argv) => (await import('./setup/seed-command.ts')).runSeed(service, argv),
    },
  },
  migrations: { folder: new URL('migrations/', import.meta.url), dsn, atStart: () => true },
});
