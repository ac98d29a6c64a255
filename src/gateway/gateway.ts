/**
 * Gateway: users, keys, limits, quotas and load balancing in front of imgproxy.
 *
 *   request > key > networks > limits > quota > cache > backend      record > lanes > request_logs and usage in
 *   Postgres
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { believesClients } from '../http/client-address.ts';
import { formatEndpoint, parseEndpoint } from '../http/endpoint.ts';
import { directoryProblem } from '../kernel/config.ts';
import { defineService, type ValuesOf, type WorkerSpec } from '../service/contract.ts';
import { DATABASE_WORKER } from '../service/database/questions.ts';
import { sibling } from '../service/sibling.ts';
import { CHECKS_WORKER } from './balance/balancer.ts';
import { balanceMetrics } from './balance/metrics.ts';
import { cacheMetrics } from './cache/metrics.ts';
import { gatewayConfigs } from './config.ts';
import { gatewayJobNames } from './job-names.ts';
import { limitMetrics } from './limits/metrics.ts';
import { frontMetrics, logMetrics } from './metrics.ts';
import { quotaMetrics } from './quota/metrics.ts';
import { USAGE_WORKER } from './quota/quotas.ts';
import { REQUEST_KIND } from './record.ts';
import { REGISTRY_WORKER } from './registry/view.ts';
import { gatewayRouteNames } from './route-names.ts';
import { createShared } from './shared.ts';

export type GatewayValues = ValuesOf<typeof gatewayConfigs>;

const FORGEABLE =
  'clients can forge their address: the first one in the header is believed, so the limit of addresses and the networks ' +
  'of keys hold nobody; set TRUST_PROXY to the number of proxies in front, or to their networks';

const dsn = ({ postgres }: Pick<GatewayValues, 'postgres'>): string | undefined => postgres.pgDsn;

/** Threads that several workers share. */
const FOLLOWERS = 'followers';
const CHORES = 'chores';

const worker = (name: string, module: string, thread?: string): WorkerSpec => ({
  name,
  module: sibling(import.meta, module),
  onDeath: 'restart',
  ...(thread === undefined ? {} : { thread }),
});

export default defineService({
  name: 'gateway',
  summary: 'keys, limits and quotas in front of imgproxy',
  module: import.meta.url,
  config: gatewayConfigs,
  defaults: { SERVER_ADDR: ':8080' },
  without: ['PG_TABLE', 'PG_GIN', 'PG_COPY'],
  aliases: { DB_DSN: 'PG_DSN', 'database.dsn': 'PG_DSN' },
  roles: {
    all: {
      summary: 'serve pictures, uploads and the API',
      routes: gatewayRouteNames,
      acceptor: sibling(import.meta, './acceptor.ts'),
      address,
      metrics: [frontMetrics, logMetrics, limitMetrics, quotaMetrics, balanceMetrics, cacheMetrics],
      outputs: [
        {
          name: 'logs',
          kind: 'postgres',
          load: sibling(import.meta, './logs/load.ts'),
          records: [REQUEST_KIND],
          counts: true,
          // All batches change the same few rows of usage: a second session would only wait for the first.
          options: () => ({ pgConnections: 1 }),
        },
      ],
      // Three threads for six workers and the jobs. Who asks the database for a caller waits for nobody: it is alone.
      // What must know of a change within a second waits for sockets and computes little; chores may take a second.
      workers: () => [
        worker(REGISTRY_WORKER, './registry/worker.ts', FOLLOWERS),
        worker(USAGE_WORKER, './quota/worker.ts', FOLLOWERS),
        worker(CHECKS_WORKER, './balance/checks-worker.ts', FOLLOWERS),
        worker(DATABASE_WORKER, './database/worker.ts'),
        worker('janitor', './cache/janitor-worker.ts', CHORES),
        worker('partitions', './logs/partition-worker.ts', CHORES),
      ],
      jobs: { module: sibling(import.meta, './jobs.ts'), names: gatewayJobNames, dsn, thread: CHORES },
      prepare: ({ gateway, http }, { log }) => {
        if (believesClients(http)) log.warn({ TRUST_PROXY: http.trustProxy }, FORGEABLE);
        return createShared(gateway);
      },
      problems,
      storeProblems: async ({ access, postgres }) =>
        (await import('../access/pepper.ts')).pepperProblems({
          ...{ pepper: access.keyPepper, dsn: postgres.pgDsn, service: 'gateway' },
        }),
      inquire: async function* (values, named) {
        const { examineGateway, inquireGateway } = await import('./examine.ts');
        yield* examineGateway(values);
        yield* inquireGateway(values, named);
      },
      ready: ({ gateway }) => ({ admin: gateway.adminKey === undefined ? 'off: ADMIN_KEY is not set' : 'on' }),
      welcome,
    },
  },
  commands: {
    user: {
      summary: 'users: add, list, show, change, remove; what administrators did',
      tool: async (service, argv) => (await import('./tool/user-command.ts')).runUser(service, argv),
    },
    key: {
      summary: 'keys of users: add, list, change, rotate, revoke',
      tool: async (service, argv) => (await import('./tool/key-command.ts')).runKey(service, argv),
    },
    limits: {
      summary: 'how often a user may ask',
      tool: async (service, argv) => (await import('./tool/limits-command.ts')).runLimits(service, argv),
    },
    quota: {
      summary: 'what a user may use in a month',
      tool: async (service, argv) => (await import('./tool/limits-command.ts')).runQuota(service, argv),
    },
    networks: {
      summary: 'from where the keys of a user may be used',
      tool: async (service, argv) => (await import('./tool/limits-command.ts')).runNetworks(service, argv),
    },
    backend: {
      summary: 'backends: add, list, change, drain, remove',
      tool: async (service, argv) => (await import('./tool/backend-command.ts')).runBackend(service, argv),
    },
    usage: {
      summary: 'what users have used in a month',
      tool: async (service, argv) => (await import('./tool/limits-command.ts')).runUsage(service, argv),
    },
    logs: {
      summary: 'requests, also refused ones, the newest first',
      tool: async (service, argv) => (await import('./tool/logs-command.ts')).runLogs(service, argv),
    },
    purge: {
      summary: 'let caches serve a picture no more',
      tool: async (service, argv) => (await import('./tool/logs-command.ts')).runPurge(service, argv),
    },
    sign: {
      summary: 'sign a path, so that a browser may get it without a key',
      tool: async (service, argv) => (await import('./tool/key-command.ts')).runSign(service, argv),
    },
  },
  migrations: { folder: new URL('migrations/', import.meta.url), dsn, atStart: () => true },
});

/** Where it listens: SERVER_PORT, the name that the port had first, changes that of SERVER_ADDR. */
function address({ http, gateway }: GatewayValues): string {
  const { serverPort: port } = gateway;
  return port === undefined ? http.serverAddr : formatEndpoint({ ...parseEndpoint(http.serverAddr)!, port });
}

/** Uploads need a folder, keys a pepper to be told from each other, and nothing is known without a database. */
function problems({ access, gateway, postgres }: GatewayValues): readonly string[] {
  const folder = directoryProblem('UPLOAD_DIR', gateway.uploadDir);
  return [
    ...(folder === undefined ? [] : [folder]),
    ...(gateway.redisTlsCa === undefined ? [] : caProblem('REDIS_TLS_CA', gateway.redisTlsCa)),
    ...(access.keyPepper === undefined
      ? [
          'KEY_PEPPER (or KEY_PEPPER_FILE) must be set: keys are kept as digests under it; openssl rand -hex 32 makes one',
        ]
      : []),
    ...(dsn({ postgres }) === undefined ? ['PG_DSN (or DB_DSN) must be set: users and keys are kept there'] : []),
  ];
}

function caProblem(option: string, file: string): readonly string[] {
  try {
    return new X509Certificate(readFileSync(file)).ca
      ? []
      : [`${option} must hold a certificate authority: path=${file}`];
  } catch (error) {
    return [`${option} must be a readable PEM file: ${(error as Error).message}, path=${file}`];
  }
}

/** What somebody reads who has just started it by hand. */
function welcome({ gateway }: Pick<GatewayValues, 'gateway'>, at: string): readonly string[] {
  const admin =
    gateway.adminKey === undefined
      ? 'off: ADMIN_KEY is not set; the command line still changes everything'
      : `on, by ADMIN_KEY: ${at}/admin`;
  return [
    `Ringmain Gateway listens on ${at}`,
    `administrators   ${admin}`,
    'a first key      ringmain gateway user add ada ada@example.com; ringmain gateway key add ada',
    `try              curl -i -H "X-API-Key: $KEY" --data-binary @picture.jpg ${at}/api/v1/upload`,
  ];
}
