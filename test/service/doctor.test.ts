/**
 * Goal: `ringmain doctor` finds what is wrong before the start does, says what to do, and is silent about what is right.
 * Method: the program is run against a real broker, a real database and a receiver, each right and wrong in one thing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';
import { type KafkaCluster, startKafka } from '../servers/kafka.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');
const PORT = 21_570;
const AWAY = 21_579;

let kafka: KafkaCluster;
let postgres: PostgresServer;
const scope = fileScope();
beforeAll(async () => {
  const durable = { ...fastSettings, fsync: 'on' };
  [kafka, postgres] = await Promise.all([
    startKafka(scope, { port: PORT, own: true }),
    startPostgres(scope, { port: PORT + 5, settings: durable, own: true }),
  ]);
});

interface Line {
  readonly section: string;
  readonly severity: string;
  readonly text: string;
  readonly advice?: string;
}

async function doctor(cwd: string, env: Record<string, string>, words: readonly string[] = ['--json']) {
  const child = spawn(process.execPath, [MAIN, 'doctor', ...words], {
    cwd,
    env: { PATH: process.env['PATH'], SERVER_ADDR: `127.0.0.1:${PORT + 8}`, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const lines = words.includes('--json')
    ? out
        .trim()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Line)
    : [];
  /** What was said that is no praise, as `section: text`. How fast the disk is now decides no test. */
  const complaints = lines
    .filter(({ severity, text }) => (severity === 'error' || severity === 'warning') && !text.startsWith('fdatasync'))
    .map(({ section, text }) => `${section}: ${text}`);
  const slow = lines.some(({ severity, text }) => severity === 'warning' && text.startsWith('fdatasync'));
  if (slow && code === 1 && complaints.length === 0) return { code: 0, out, err, lines, complaints };
  return { code, out, err, lines, complaints };
}

const pixel = (): Record<string, string> => ({
  OUTPUTS: 'log,kafka,postgres',
  KAFKA_BROKERS: kafka.brokers.join(),
  PG_DSN: postgres.dsn,
});

test('where all is well there is no complaint and the exit code is 0', async (t) => {
  const { code, complaints, lines } = await doctor(temporary(t), { ...pixel(), LOG_PATH: './new/folder/x.ndjson' });
  expect(complaints).toEqual([]);
  expect(code).toBe(0);
  const texts = lines.map(({ text }) => text).join('\n');
  for (const found of [
    /fdatasync on the journal's disk: p50 [\d.]+ ms/,
    /1 brokers answer without authentication/,
    /topic gotrack.events does not exist yet; it is created at startup/,
    /PostgreSQL 18\S* .*at 127\.0\.0\.1:\d+ answers as postgres/,
    /the clock of the database agrees with ours/,
    /table "events_json" does not exist yet; it is created at startup/,
  ])
    expect(texts).toMatch(found);
});

test('each thing that is wrong is one error with advice, and the exit code is 2', async (t) => {
  const folder = temporary(t);
  const rows: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ KAFKA_BROKERS: `127.0.0.1:${AWAY}` }, /^output kafka: .*127\.0\.0\.1:21579/],
    [
      { KAFKA_BROKERS: 'no-such-host.invalid:9092' },
      /^output kafka: the name no-such-host\.invalid cannot be resolved/,
    ],
    [{ KAFKA_CREATE_TOPIC: 'false', KAFKA_TOPIC: 'nowhere' }, /^output kafka: topic nowhere does not exist/],
    [{ KAFKA_REPLICATION: '3', KAFKA_TOPIC: 'wide' }, /^output kafka: topic wide does not exist and cannot be created/],
    [
      { PG_DSN: postgres.dsn.replace('ringmain@', 'wrong@') },
      /^output postgres: 127\.0\.0\.1:\d+: password authentication failed/,
    ],
    [{ PG_DSN: `postgres://x@127.0.0.1:${AWAY}/x` }, /^output postgres: .*ECONNREFUSED/],
    [{ PG_CREATE_TABLE: 'false' }, /^output postgres: table "events_json" does not exist, and PG_CREATE_TABLE=false/],
    [{ PG_TABLE: 'nowhere.events' }, /^output postgres: the schema of table "nowhere"\."events" does not exist/],
    [{ GEOIP_DB: MAIN }, /^pixel: GEOIP_DB must be a MaxMind database/],
  ];
  await Promise.all(
    rows.map(async ([env, complaint]) => {
      const { code, lines } = await doctor(folder, { ...pixel(), ...env });
      const errors = lines.filter(({ severity }) => severity === 'error');
      expect([env, code]).toEqual([env, 2]);
      expect(
        errors.map(({ section, text }) => `${section}: ${text}`).some((text) => complaint.test(text)),
        JSON.stringify(errors),
      ).toBe(true);
      for (const { advice } of errors) expect(advice).toBeTruthy();
    }),
  );
});

test('advice calls an option by the name that it was given by', async (t) => {
  const [broker, dsn] = [`127.0.0.1:${AWAY}`, `postgres://x@127.0.0.1:${AWAY}/x`];
  const rows: readonly (readonly [service: string, env: Record<string, string>, advice: readonly string[]])[] = [
    ['pixel', { ...pixel(), KAFKA_BROKERS: broker, PG_DSN: dsn }, ['correct KAFKA_BROKERS;', 'port in PG_DSN;']],
    ['gateway', { DB_DSN: dsn }, ['port in DB_DSN;']],
    ['gateway', { PG_DSN: dsn }, ['port in PG_DSN;']],
    [
      'analytics',
      { DATABASE_URL: dsn, KAFKA_BROKER_URLS: broker },
      ['port in DATABASE_URL;', 'correct KAFKA_BROKER_URLS;'],
    ],
  ];
  for (const [service, env, advice] of rows) {
    const { lines } = await doctor(temporary(t), env, ['--json', `--service=${service}`]);
    const given = lines.map((line) => line.advice ?? '').join('\n');
    for (const text of advice) expect(given).toContain(text);
    const others = ['PG_DSN', 'DB_DSN', 'DATABASE_URL'].filter((name) => !Object.hasOwn(env, name));
    for (const name of others) expect(given).not.toContain(name);
  }
});

test('a role without rights on the table hears which are lacking', async (t) => {
  const client = new pg.Client(postgres.dsn);
  await client.connect();
  await client.query(`CREATE TABLE events_json (id bigserial PRIMARY KEY, event_id uuid UNIQUE NOT NULL,
      ts timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL);
    CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON events_json TO reader`);
  await client.end();
  const { code, complaints } = await doctor(temporary(t), {
    ...pixel(),
    PG_DSN: postgres.dsn.replace('postgres:ringmain@', 'reader:reader@'),
  });
  expect(code).toBe(2);
  expect(complaints).toContain('output postgres: the role lacks INSERT on "events_json"');
  expect(complaints.join()).toMatch(/may not create table "ringmain_cursors"/);
});

test('a receiver whose clock is an hour off is a warning, one that refuses the credentials an error', async (t) => {
  let status = 204;
  const receiver = createServer((_, response) => {
    response.writeHead(status, { date: new Date(Date.now() + 3_600_000).toUTCString() }).end();
  });
  await new Promise<void>((resolve) => receiver.listen(PORT + 7, '127.0.0.1', resolve));
  t.onTestFinished(() => void receiver.close());
  const env = { OUTPUTS: 'http', HTTP_SINK_URL: `http://127.0.0.1:${PORT + 7}/in` };
  const late = await doctor(temporary(t), env);
  expect([late.code, late.complaints]).toEqual([
    1,
    [expect.stringMatching(/the clock of the receiver is (359\d|36\d\d)\.\d s ahead/)],
  ]);
  status = 401;
  const refused = await doctor(temporary(t), env);
  expect(refused.code).toBe(2);
  expect(refused.complaints.join()).toMatch(/answers OPTIONS with 401/);
});

test('beside a running collector it says who connects, and changes nothing', async (t) => {
  const collector = new Collector(t, { port: PORT + 8 });
  await collector.start();
  // An address that nobody else comes from.
  const client = connect({ host: '127.0.0.1', port: PORT + 8, localAddress: '127.8.7.6' });
  t.onTestFinished(() => void client.destroy());
  await once(client, 'connect');
  const { code, lines } = await doctor(collector.folder, {});
  expect(code).toBe(0);
  expect(lines.find(({ text }) => text.startsWith('connected now: '))).toMatchObject({
    section: 'front',
    severity: 'note',
    text: expect.stringContaining('127.8.7.6'),
  });
  expect(lines.map(({ text }) => text)).toContain(
    `127.0.0.1:${PORT + 8} is in use, by a running Ringmain or by something else`,
  );
  expect((await collector.ready()).status).toBe(200);
});

test('the text is for people: sections, marks, advice, a count; unreadable options end with 78 or 64', async (t) => {
  const folder = temporary(t);
  const { code, out } = await doctor(folder, { GEOIP_DB: MAIN }, []);
  expect(code).toBe(2);
  expect(out).toMatch(/^machine$/m);
  expect(out).toMatch(/^ {2}ERROR {4}GEOIP_DB must be .*\n {11}Correct GEOIP_DB\.$/m);
  expect(out).toMatch(/\n1 error, \d warnings?\n$/);
  expect((await doctor(folder, { ACK: 'maybe' })).code).toBe(78);
  expect((await doctor(folder, {}, ['--bogus'])).code).toBe(64);
});

test('--check-config refuses what the start would refuse; --print-config shows what defaults come to', async (t) => {
  const folder = temporary(t);
  writeFileSync(join(folder, 'file'), '');
  const run = async (words: readonly string[], env: Record<string, string>) => {
    const child = spawn(process.execPath, [MAIN, 'pixel', ...words], {
      cwd: folder,
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
    return { code: await new Promise((resolve) => child.once('close', resolve)), said };
  };
  for (const [env, found] of [
    [{ JOURNAL_DIR: join(folder, 'file', 'below') }, /JOURNAL_DIR must be a writable directory/],
    [{ GEOIP_DB: MAIN }, /GEOIP_DB must be a MaxMind database/],
    [{ TLS_CERT: MAIN, TLS_KEY: MAIN }, /TLS_CERT and TLS_KEY must be a PEM pair/],
    [{ LOG_PATH: folder }, /LOG_PATH must be a writable file/],
  ] as const) {
    const { code, said } = await run(['--check-config'], env);
    expect([env, code]).toEqual([env, 78]);
    expect(said).toMatch(found);
  }
  const kubernetes = { KAFKA_SERVICE_HOST: '10.0.0.1', KAFKA_PORT: 'tcp://10.0.0.1:9092' };
  expect(await run(['--check-config'], kubernetes)).toEqual({ code: 0, said: 'the configuration is valid\n' });
  const { said } = await run(['--print-config'], {});
  expect(said).toMatch(/^#ACCEPTORS=\d+ {2}# default: number of cores minus one, at least 1$/m);
  expect(said).toMatch(/^#JOURNAL_MAX_BYTES=\d+\w* {2}# default: the smaller of 10 GiB and half of the free space$/m);
});
