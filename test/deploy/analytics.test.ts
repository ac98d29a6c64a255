/**
 * Goal: analytics starts as its compose file, its document and its Postman collection say. Method: the commands and the
 * environment of the compose file, with other hosts, against a real Postgres and a real Kafka set up as its servers are;
 * api and processor from one folder, as on a machine where both are started by hand.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import analytics, { type AnalyticsValues } from '../../src/analytics/analytics.ts';
import { examineAccess, examineStore, topicFindings } from '../../src/analytics/examine.ts';
import type { Naming } from '../../src/kernel/config.ts';
import type { Finding } from '../../src/kernel/finding.ts';
import { configure } from '../../src/service/configured.ts';
import { freePort } from '../http/raw.ts';
import { ensureCommand } from '../servers/apt.ts';
import { main } from '../servers/collector.ts';
import { startKafka } from '../servers/kafka.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { runProgram, ServerProcess, temporaryFolder } from '../servers/process.ts';
import { instructions } from './image-build.ts';
import { deployFolder } from './local-postgres.ts';

const PORT = 22_330;
const KAFKA_PORT = 22_340;
const POSTGRES_PORT = 22_350;

interface Service {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
}
const compose = parse(readFileSync(join(deployFolder, 'analytics', 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Readonly<Record<'api' | 'processor' | 'migrator', Service>> & {
    postgres: { environment: Readonly<Record<'POSTGRES_USER' | 'POSTGRES_PASSWORD' | 'POSTGRES_DB', string>> };
  };
};
const {
  POSTGRES_USER: user,
  POSTGRES_PASSWORD: password,
  POSTGRES_DB: database,
} = compose.services.postgres.environment;
const dsn = `postgres://${user}:${password}@127.0.0.1:${POSTGRES_PORT}/${database}`;

/** What the image sets. */
const image = Object.fromEntries(
  instructions(readFileSync(join(deployFolder, 'docker', 'Dockerfile'), 'utf8'))
    .filter(([word]) => word === 'ENV')
    .flatMap(([, rest]) => [...rest.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!])),
);

beforeAll(async () => {
  const [kafka, postgres] = await Promise.all([
    startKafka(undefined, { port: KAFKA_PORT }),
    startPostgres(undefined, { port: POSTGRES_PORT, own: true, settings: { ...fastSettings } }),
    ensureCommand('psql', 'postgresql-client'),
  ]);
  await psql(postgres.dsn, `CREATE ROLE ${user} SUPERUSER LOGIN PASSWORD '${password}'`);
  await psql(postgres.dsn, `CREATE DATABASE ${database} OWNER ${user}`);
  return async () => {
    await Promise.all([kafka.kill9(), postgres.stop()]);
  };
});

const psql = (url: string, sql: string) => runProgram('psql', ['-X', '-A', '-t', '-c', sql, url]);

/** The environment of a service of the compose file with the hosts and folders of this test. */
function environmentOf(name: keyof typeof compose.services & ('api' | 'processor' | 'migrator'), folder: string) {
  const given = { PATH: process.env['PATH'] ?? '', ...image, ...compose.services[name].environment };
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      key,
      value
        .replace('@postgres:5432', `@127.0.0.1:${POSTGRES_PORT}`)
        .replace('kafka:29092', `127.0.0.1:${KAFKA_PORT}`)
        .replace(/^\/data/, folder),
    ]),
  );
}

/** What the doctor says of a configuration that is no praise. */
async function complaints(
  findings: (values: AnalyticsValues, named: Naming) => AsyncIterable<Finding>,
  more: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const env = { DATABASE_URL: dsn, KAFKA_BROKER_URLS: `127.0.0.1:${KAFKA_PORT}`, ...more };
  const { values, loaded } = configure(analytics, ['api', 'processor'], { env });
  const found: string[] = [];
  for await (const { severity, text } of findings(values as unknown as AnalyticsValues, loaded.named))
    if (severity === 'warning' || severity === 'error') found.push(text);
  return found;
}

/** Runs a command of the compose file, `ringmain` being the image's entry point. */
const ringmain = (words: readonly string[], env: Readonly<Record<string, string>>) =>
  runProgram(process.execPath, [main, ...words], { env });

async function start(name: 'api' | 'processor', folder: string, port: number) {
  const env = { ...environmentOf(name, folder), SERVER_ADDR: `127.0.0.1:${port}` };
  const { command, healthcheck } = compose.services[name];
  const server = new ServerProcess(process.execPath, [main, ...command], { cwd: folder, env }, folder);
  onTestFinished(() => server.end('SIGKILL'));
  const [cmd, program, ...asks] = healthcheck.test;
  expect([cmd, program]).toEqual(['CMD', 'ringmain']);
  const url = `http://127.0.0.1:${port}`;
  await server.until(async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200, 180_000);
  await ringmain(asks, env);
  // What the image sets for every service is no misspelled option of this one.
  expect(server.log).not.toContain('is not an option');
  return { url, server, unhealthy: () => ringmain(asks, { ...env, SERVER_ADDR: '127.0.0.1:1' }) };
}

interface PostmanItem {
  readonly name: string;
  readonly request: {
    readonly method: string;
    readonly header: readonly { readonly key: string; readonly value: string }[];
    readonly url: {
      readonly raw: string;
      readonly query?: readonly { readonly key: string; readonly value: string }[];
    };
    readonly body?: { readonly mode: string; readonly raw: string };
  };
}
const collection = JSON.parse(readFileSync(join(deployFolder, 'analytics', 'postman_collection.json'), 'utf8')) as {
  readonly info: { readonly name: string; readonly schema: string };
  readonly variable: readonly { readonly key: string; readonly value: string }[];
  readonly item: readonly PostmanItem[];
};

/** Sends a request of the collection as Postman would. */
async function sent({ method, header, url, body }: PostmanItem['request'], base: string) {
  const address = url.raw.replace('{{base}}', base);
  const answer = await fetch(address, {
    method,
    headers: { 'user-agent': 'PostmanRuntime/7.43.0', ...Object.fromEntries(header.map((h) => [h.key, h.value])) },
    ...(body === undefined ? {} : { body: body.raw }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

test('the Postman collection is one of format 2.1 whose parts say the same as its addresses', () => {
  expect(collection.info.schema).toBe('https://schema.getpostman.com/json/collection/v2.1.0/collection.json');
  expect(collection.variable).toEqual([{ key: 'base', value: 'http://localhost:8080' }]);
  for (const { name, request } of collection.item) {
    expect(name).not.toBe('');
    const { url } = request;
    const query = new URLSearchParams((url.query ?? []).map(({ key, value }): [string, string] => [key, value]));
    const { search, pathname } = new URL(url.raw.replace('{{base}}', 'http://localhost'));
    expect([search.slice(1), { ...url, query: undefined }]).toEqual([
      query.toString(),
      { raw: url.raw, host: ['{{base}}'], path: [pathname.slice(1)], query: undefined },
    ]);
    if (request.body !== undefined) JSON.parse(request.body.raw);
  }
});

test('the stack of the compose file takes the requests of the collection, stores them and answers them', async () => {
  const { folder } = temporaryFolder('ringmain-analytics-');
  // Twice: compose runs it at every `up`.
  const { command } = compose.services.migrator;
  expect(await ringmain(command, environmentOf('migrator', folder))).toContain('001_analytics');
  await ringmain(command, environmentOf('migrator', folder));

  // What a role that may only read and write lacks.
  await psql(dsn, "CREATE ROLE guest LOGIN PASSWORD 'guest'");
  const asGuest = { DATABASE_URL: dsn.replace(`${user}:${password}`, 'guest:guest') };
  expect(await complaints(examineStore, asGuest)).toEqual([
    'the role may not create tables in schema public, so no partition can be made',
    `the table events belongs to ${user}: the role can neither make its partitions nor change its schema`,
  ]);

  expect(await complaints(examineStore)).toEqual([
    expect.stringMatching(/^partitions are missing: events_\d{6}, events_\d{6}, visitor_days_/),
  ]);

  const port = await freePort(PORT);
  const api = await start('api', folder, port);
  const processor = await start('processor', folder, await freePort(port + 1));
  await expect(processor.unhealthy()).rejects.toThrow('ECONNREFUSED');

  const [one, several, stats, books] = collection.item;
  expect(await sent(one!.request, api.url)).toEqual({ status: 202, body: { message: 'Event accepted' } });
  expect(await sent(several!.request, api.url)).toEqual({
    status: 202,
    body: { message: 'Events accepted', accepted: 2 },
  });
  await expect
    .poll(() => sent(stats!.request, api.url))
    .toEqual({
      status: 200,
      body: {
        site_id: 'site-abc-123',
        date: '2025-11-15',
        total_views: 2,
        unique_users: 1,
        top_paths: [
          { path: '/home', views: 1 },
          { path: '/products', views: 1 },
        ],
      },
    });
  expect((await sent(books!.request, api.url)).status).toBe(200);
  // docker exec postgres psql -U admin -d analytics -c "SELECT COUNT(*) FROM events;"
  expect(await psql(dsn, 'SELECT COUNT(*) FROM events;')).toBe('3\n');
  // The lag of a topic is measured like that of a log: the alerts are the same.
  const metrics = async () => (await fetch(`${processor.url}/metrics`)).text();
  await expect.poll(metrics).toMatch(/^ringmain_sink_oldest_seconds\{sink="store"\} 0$/m);
  await expect.poll(metrics).toMatch(/^queue_depth\{sink="store"\} 0$/m);

  // And what the doctor says of the stack that runs.
  expect(await complaints(examineStore)).toEqual([]);
  expect(await complaints(examineStore, { KAFKA_CREATE_TOPIC: 'false' })).toEqual([
    expect.stringMatching(/^topic events\.dead is missing, and KAFKA_CREATE_TOPIC=false/),
  ]);
  expect(await complaints(examineAccess, { ACCESS: 'open' })).toEqual([]);
  expect(await complaints(examineAccess)).toEqual([
    'no site is registered: everybody may send events and read statistics',
    expect.stringMatching(/^everybody who reaches :8080 could look at the dashboard/),
  ]);
  await psql(
    dsn,
    `WITH one AS (INSERT INTO sites (site_id, registered) VALUES ('shop', true) RETURNING site)
     INSERT INTO site_keys (key_id, site, scope, digest, expires_at)
       SELECT 'key1', site, 'read', '', now() + interval '3 days' FROM one`,
  );
  expect(await complaints(examineAccess)).toEqual([
    'KEY_PEPPER is not set, and there are 1 keys: none of them is accepted',
    'keys that expire within 14 days: key1',
  ]);
  expect(await complaints(examineAccess, { KEY_PEPPER: 'x'.repeat(32) })).toEqual([
    'keys that expire within 14 days: key1',
  ]);
  await psql(dsn, "UPDATE ringmain_jobs SET failures = 3, reason = 'no rights' WHERE job = 'salts'");
  expect(await complaints(examineStore)).toEqual(['job salts has failed 3 times in a row: no rights']);

  await Promise.all([api, processor].map(({ server }) => server.end('SIGTERM')));
  expect(await Promise.all([api, processor].map(({ server }) => server.exited))).toEqual(['0', '0']);
});

test('the doctor warns of a topic that deletes events before somebody can read them', () => {
  const said = (settings: Record<string, string>) =>
    [...topicFindings('events', 3, new Map(Object.entries(settings)))]
      .filter(({ severity }) => severity === 'warning' || severity === 'error')
      .map(({ text }) => text);
  expect(said({ 'cleanup.policy': 'delete', 'retention.ms': '604800000' })).toEqual([]);
  expect(said({ 'cleanup.policy': 'delete', 'retention.ms': '-1' })).toEqual([]);
  expect(said({ 'cleanup.policy': 'compact,delete', 'retention.ms': '86400000' })).toEqual([
    'topic events is compacted: of all events of a visitor, only the last one would stay',
    'topic events keeps records for 1 days: what no processor has read by then is lost',
  ]);
});
