/** Options under the names that the gateway was asked for with: each ends up where the frame reads it. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configure } from '../../src/service/configured.ts';
import { sessionsEach } from '../../src/sms/connections.ts';
import type sms from '../../src/sms/sms.ts';
import service, { type SmsValues } from '../../src/sms/sms.ts';
import { temporaryFolder } from '../servers/process.ts';

const valuesOf = (
  env: Readonly<Record<string, string>>,
  argv: readonly string[] = [],
  roles: readonly string[] = Object.keys(service.roles),
): SmsValues => configure(service as typeof sms, roles, { env, argv }).values as unknown as SmsValues;
const DSN = { PG_DSN: 'postgres://one/two' };

describe('POSTGRES_* makes the connection string where none is set', () => {
  test.each([
    [{ POSTGRES_HOST: 'db' }, 'postgres://postgres@db:5432/sms'],
    [
      {
        POSTGRES_HOST: 'db',
        POSTGRES_PORT: '6000',
        POSTGRES_USER: 'a b',
        POSTGRES_PASSWORD: 'p@:/%',
        POSTGRES_DATABASE: 'x/y',
      },
      'postgres://a%20b:p%40%3A%2F%25@db:6000/x%2Fy',
    ],
    [{ POSTGRES_HOST: '2001:db8::1' }, 'postgres://postgres@[2001:db8::1]:5432/sms'],
    // What Kubernetes puts into each container beside a service called postgres.
    [{ POSTGRES_HOST: 'postgres', POSTGRES_PORT: 'tcp://10.0.0.1:5433' }, 'postgres://postgres@postgres:5433/sms'],
    [{ ...DSN, POSTGRES_HOST: 'db' }, DSN.PG_DSN],
    [{ DATABASE_URL: 'postgres://three/four', POSTGRES_HOST: 'db' }, 'postgres://three/four'],
  ])('%j', (env, dsn) => {
    expect(valuesOf(env as Record<string, string>).postgres.pgDsn).toBe(dsn);
  });
  test('without either, the start says what is missing', () => {
    expect(() => valuesOf({})).toThrow(/DATABASE_URL must be set/);
  });
});

test('CLICKHOUSE_* makes its URL, and CLICKHOUSE_URL wins', () => {
  expect(valuesOf({ ...DSN, CLICKHOUSE_HOST: 'ch', CLICKHOUSE_PASSWORD: 'p w' }).clickhouse.clickhouseUrl).toBe(
    'http://default:p%20w@ch:8123/default',
  );
  expect(valuesOf({ ...DSN, CLICKHOUSE_URL: 'http://a:1/b', CLICKHOUSE_HOST: 'ch' }).clickhouse.clickhouseUrl).toBe(
    'http://a:1/b',
  );
  expect(valuesOf(DSN).clickhouse.clickhouseUrl).toBeUndefined();
  // What holds between options is checked with what follows from others.
  const kafka = { ...DSN, KAFKA_BROKERS: 'k:9092', CLICKHOUSE_INGEST: 'kafka' };
  expect(() => valuesOf(kafka)).toThrow(/CLICKHOUSE_URL must be set/);
  expect(valuesOf({ ...kafka, CLICKHOUSE_HOST: 'ch' }).clickhouse.clickhouseUrl).toMatch(/ch:8123/);
});

test('HTTP_* changes host and port of SERVER_ADDR, and the times of a request', () => {
  const { http, connections } = valuesOf({
    ...DSN,
    HTTP_PORT: '9000',
    HTTP_READ_TIMEOUT: '3s',
    HTTP_WRITE_TIMEOUT: '20s',
  });
  expect(http).toMatchObject({ serverAddr: ':9000', bodyTimeoutMs: 3000 });
  expect(connections.httpWriteTimeoutMs).toBe(20_000);
  expect(valuesOf({ ...DSN, HTTP_HOST: '127.0.0.1', SERVER_ADDR: ':8000' }).http.serverAddr).toBe('127.0.0.1:8000');
  // A body that takes longer is cut off below HTTP.
  expect(valuesOf({ ...DSN, HTTP_READ_TIMEOUT: '30s' }).http.bodyTimeoutMs).toBe(10_000);
  expect(valuesOf(DSN).http).toMatchObject({ serverAddr: ':8080', bodyTimeoutMs: 7500 });
});

// Goal: no option is read and ignored: HTTP_PORT moves whatever port the process has, and never two to one place.
test.each([
  [['api', 'worker', 'reporting', 'partitions'], '127.0.0.1:9000', '127.0.0.1:8081'],
  [['api'], '127.0.0.1:9000', '127.0.0.1:8081'],
  [['worker'], '127.0.0.1:9000', '127.0.0.1:8081'],
  [['reporting'], '127.0.0.1:9000', '127.0.0.1:9000'],
  [['partitions'], '127.0.0.1:9000', '127.0.0.1:8081'],
])('HTTP_HOST and HTTP_PORT with the roles %j', (roles, serverAddr, reportingAddr) => {
  const env = { ...DSN, KAFKA_BROKERS: 'k:9092', HTTP_HOST: '127.0.0.1', HTTP_PORT: '9000' };
  const values = valuesOf(env, [], roles);
  expect(values.http.serverAddr).toBe(serverAddr);
  expect(values.reports.reportingAddr).toBe(reportingAddr);
  const own = valuesOf({ ...env, REPORTING_ADDR: '[::1]:7000' }, [], roles).reports.reportingAddr;
  expect(own).toBe(roles.length === 1 && roles[0] === 'reporting' ? '127.0.0.1:9000' : '127.0.0.1:7000');
});

test('the others are read by their names too, and a YAML file says them as the document did', () => {
  const {
    sms: own,
    accept,
    worker,
  } = valuesOf({
    ...DSN,
    ...{ COST_PER_SMS: '7', MAX_MESSAGE_LENGTH: '700', NUM_WORKERS: '70', QUEUE_SIZE: '777', MAX_RETRIES: '2' },
  });
  expect({ ...own, ...accept, ...worker }).toMatchObject({
    ...{ costPerSms: 7, maxMessageLength: 700, numWorkers: 70, queueSize: 777, maxRetries: 2 },
  });
  const { folder } = temporaryFolder('ringmain-sms-config-');
  const file = join(folder, 'config.yaml');
  writeFileSync(
    file,
    `http: {host: 127.0.0.1, port: 9001, read_timeout: 5s, write_timeout: 8s}
postgres: {host: db, port: 5433, user: u, password: p, database: d, max_open_conns: 20, max_idle_conns: 4}
clickhouse: {host: ch, database: reports}
kafka: {brokers: [k1:9092, k2:9092]}
sms: {cost_per_sms: 3, max_message_length: 160}
worker: {num_workers: 8, queue_size: 800, max_retries: 9}
`,
  );
  const values = valuesOf({}, [`--config=${file}`]);
  expect(values.http).toMatchObject({ serverAddr: '127.0.0.1:9001', bodyTimeoutMs: 5000 });
  expect(values.connections).toMatchObject({
    httpWriteTimeoutMs: 8000,
    postgresMaxOpenConns: 20,
    postgresMaxIdleConns: 4,
  });
  expect(values.postgres.pgDsn).toBe('postgres://u:p@db:5433/d');
  expect(values.clickhouse.clickhouseUrl).toBe('http://default@ch:8123/reports');
  expect(values.kafka.kafkaBrokers).toEqual(['k1:9092', 'k2:9092']);
  expect(values.sms.costPerSms).toBe(3);
  expect(values.accept.maxMessageLength).toBe(160);
  expect(values.worker).toMatchObject({ numWorkers: 8, queueSize: 800, maxRetries: 9 });
});

test.each([
  [{ POSTGRES_PORT: '0' }, /POSTGRES_PORT must be a port/],
  [{ HTTP_PORT: '70000' }, /HTTP_PORT must be a port/],
  [{ POSTGRES_HOST: 'a/b' }, /POSTGRES_HOST must be a host name/],
  [{ HTTP_READ_TIMEOUT: '30' }, /HTTP_READ_TIMEOUT must be/],
  [{ ADMIN_KEY: 'short' }, /ADMIN_KEY must be a string of at least 32 characters/],
])('%j is refused', (env, message) => {
  expect(() => valuesOf(env as Record<string, string>)).toThrow(message);
});

test('connections of questions are shared, and nobody is without one', () => {
  const given = { postgresMaxOpenConns: 8, postgresMaxIdleConns: 4 } as SmsValues['connections'];
  expect(sessionsEach(given, 1)).toEqual({ sessions: 4, idle: 2 });
  expect(sessionsEach(given, 3)).toEqual({ sessions: 2, idle: 1 });
  expect(sessionsEach(given, 20)).toEqual({ sessions: 1, idle: 0 });
});
