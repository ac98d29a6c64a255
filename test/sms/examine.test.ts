/**
 * Goal: `ringmain doctor --service=sms` finds what keeps messages from being sent. Method: its findings over a real
 * Postgres, an operator that listens and one that does not.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { beforeAll, expect, test } from 'vitest';
import { envName } from '../../src/kernel/config.ts';
import { configure, setsOf } from '../../src/service/configured.ts';
import { examineApi, examineWorker, inquireApi, inquireReporting, inquireWorker } from '../../src/sms/examine.ts';
import { smsDays } from '../../src/sms/partitions/days.ts';
import sms, { type SmsValues } from '../../src/sms/sms.ts';
import { main } from '../servers/collector.ts';
import { startKafka } from '../servers/kafka.ts';
import { type TestScope, temporaryFolder } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';
import { startSmsc } from '../servers/smsc.ts';
import { addCustomer, openLink, startDatabase } from './database.ts';
import { ADMIN_KEY, PEPPER } from './running.ts';

const PORT = 26_550;
/** Nobody listens there. */
const AWAY = 26_551;
const scope = fileScope();
let dsn: string;
let operatorPort: number;

beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, PORT));
  const link = await openLink(dsn);
  await smsDays.make(link);
  await addCustomer(link, 'acme', { balance: 10 });
  await link.close();
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.onTestFinished(() => void server.close());
  operatorPort = (server.address() as AddressInfo).port;
});

const operator = (name: string, port: number, more: object = {}) => ({
  ...{ name, driver: 'http', url: `http://127.0.0.1:${port}/messages`, token: 'a-token-of-the-operator' },
  ...more,
});

async function complaints(operators: readonly object[], env: Readonly<Record<string, string>> = {}) {
  const given = { KEY_PEPPER: 'p'.repeat(32), PG_DSN: dsn, ADMIN_KEY: 'a'.repeat(32), ...env };
  const { values: all, loaded } = configure(sms, ['api', 'worker', 'reporting', 'partitions'], {
    env: { ...given, OPERATORS: JSON.stringify(operators) },
  });
  const values = all as SmsValues;
  const found: string[] = [];
  const take = ({ severity, text, advice }: { severity: string; text: string; advice?: string }) => {
    if (severity === 'warning' || severity === 'error') expect(advice, text).toBeTruthy();
    if (severity !== 'ok') found.push(`${severity}: ${text}`);
  };
  for (const finding of [...examineApi(values), ...examineWorker(values)]) take(finding);
  for await (const finding of inquireApi(values, loaded.named)) take(finding);
  for await (const finding of inquireWorker(values)) take(finding);
  for await (const finding of inquireReporting(values)) take(finding);
  return found.filter((text) => !text.includes('reports are kept by chdb'));
}

test('a gateway whose operators, days and customers are right gets no complaint', async () => {
  expect(await complaints([operator('mci', operatorPort)])).toEqual([]);
});

test('no operator, one that is away, one without a token, and an open door are named', async () => {
  expect(await complaints([])).toEqual([
    expect.stringMatching(/^note: the role api has no OPERATORS: receipts over HTTP are refused/),
    expect.stringMatching(/^warning: OPERATORS names no operator/),
  ]);
  expect(await complaints([operator('mci', AWAY, { token: undefined, prefixes: ['+9891'] })])).toEqual([
    expect.stringMatching(/^note: no operator takes every number/),
    expect.stringMatching(/^note: operator mci has no token/),
    expect.stringMatching(/^error: operator mci cannot be reached: 127\.0\.0\.1:26551, reason=.*ECONNREFUSED/),
  ]);
  const open = { ACCESS: 'open', ADMIN_KEY: '', CALLBACK_ALLOW_PRIVATE: 'true' };
  expect(await complaints([operator('mci', operatorPort)], open)).toEqual([
    expect.stringMatching(/^warning: ACCESS=open/),
    expect.stringMatching(/^note: ADMIN_KEY is not set/),
    expect.stringMatching(/^warning: CALLBACK_ALLOW_PRIVATE is on/),
  ]);
});

test('an SMSC is bound to as a transmitter, and what it says is told', async (t) => {
  const smsc = await startSmsc(t, { systemId: 'ringmain', password: 'secret' });
  const bind = (more: object = {}) =>
    operator('mci', 0, { driver: 'smpp', url: smsc.url, system_id: 'ringmain', password: 'secret', ...more });
  const place = `127\\.0\\.0\\.1:${smsc.port}`;
  expect(await complaints([bind()])).toEqual([]);
  expect([smsc.binds, smsc.transmitters, smsc.unbinds]).toEqual([0, 1, 1]);
  expect(await complaints([bind({ password: 'wrong' })])).toEqual([
    expect.stringMatching(`^error: operator mci refuses the bind: ${place}, reason=.*0x0000000d: the bind failed`),
  ]);
  smsc.single = true;
  expect(await complaints([bind()])).toEqual([expect.stringMatching('^note: operator mci takes one bind')]);
  expect(await complaints([bind({ url: `smpp://127.0.0.1:${AWAY}` })])).toEqual([
    expect.stringMatching(/^error: operator mci cannot be reached: .*ECONNREFUSED/),
  ]);
  smsc.answering = false;
  expect(await complaints([bind()])).toEqual([
    expect.stringMatching(/^error: operator mci cannot be reached: .*no answer within 3000 ms/),
  ]);
});

test('ClickHouse that is away is an error', async () => {
  const env = { CLICKHOUSE_URL: `http://127.0.0.1:${AWAY}/sms` };
  expect(await complaints([operator('mci', operatorPort)], env)).toEqual([
    expect.stringMatching(/^error: ClickHouse cannot be asked: .*127\.0\.0\.1:26551/),
  ]);
});

interface Line {
  readonly section: string;
  readonly severity: string;
  readonly text: string;
  readonly advice?: string;
}

/** What the command says of an installation that is well but for `env`. */
async function doctor(t: TestScope, env: Readonly<Record<string, string>> = {}): Promise<readonly Line[]> {
  const { folder, remove } = temporaryFolder('ringmain-sms-doctor-');
  t.onTestFinished(remove);
  const child = spawn(process.execPath, [main, 'doctor', '--service=sms', '--json'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'] ?? '',
      ...{ PG_DSN: dsn, KEY_PEPPER: PEPPER, ADMIN_KEY, OPERATORS: JSON.stringify([operator('mci', operatorPort)]) },
      ...{ SERVER_ADDR: '127.0.0.1:26552', REPORTING_ADDR: '127.0.0.1:26553', CHDB_PORT: '26554', ...env },
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  await once(child, 'close');
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

test('the doctor has no fault to find where reports are kept by chdb, which runs with the service alone', async (t) => {
  const lines = await doctor(t);
  expect(lines.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(lines.filter(({ section }) => section === 'reporting')).toEqual([
    expect.objectContaining({ severity: 'note', text: expect.stringContaining('reports are kept by chdb') }),
  ]);
});

test('advice names commands and options that this service has', async (t) => {
  const { brokers } = await startKafka(t, { port: 26_560 });
  const lines = await doctor(t, {
    ...{ KAFKA_BROKERS: brokers.join(','), KAFKA_CREATE_TOPIC: 'false', KAFKA_PREFIX: 'nowhere.' },
    ...{ REPORTING_ADDR: '192.0.2.1:8081', CLICKHOUSE_URL: `http://127.0.0.1:${AWAY}/sms` },
  });
  const about = (text: RegExp) =>
    lines.filter((line) => text.test(line.text)).map(({ severity, advice }) => [severity, advice]);
  expect(about(/^topic nowhere\.sms\.\w+ does not exist/)).toEqual(
    Array.from({ length: 4 }, () => ['error', 'Run ringmain sms topics create, or correct KAFKA_PREFIX.']),
  );
  const groups = lines.flatMap(({ section, text }) => {
    const [, group] = /^permission to read as consumer group (.*)/.exec(text) ?? [];
    return group === undefined ? [] : [[section, group]];
  });
  expect(groups).toEqual([
    ['output work', 'nowhere.sms-worker'],
    ['output express-work', 'nowhere.sms-worker-express'],
    ['output reports', 'nowhere.sms-reporting'],
  ]);
  expect(about(/192\.0\.2\.1/)).toEqual([['error', 'Correct REPORTING_ADDR.']]);
  expect(about(/^ClickHouse cannot be asked/)).toEqual([['error', expect.stringMatching(/^Correct CLICKHOUSE_URL/)]]);
  const options = new Set(setsOf(sms).flatMap((set) => Object.entries(set.options).map((entry) => envName(...entry))));
  const named = lines.flatMap(({ advice = '' }) => advice.match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? []);
  expect(named).toContain('KAFKA_PREFIX');
  expect(named.filter((name) => !options.has(name))).toEqual([]);
});

test('an outbox that nobody relays, days that are missing and a database without customers are named', async (t) => {
  const link = await openLink(dsn);
  t.onTestFinished(() => link.close());
  await link.query(
    `INSERT INTO sms_outbox (topic, records) SELECT 'sms.status', E'a\\t{}' FROM generate_series(1, 1000)`,
  );
  await link.query('DELETE FROM customers');
  const { rows } = await link.query<{ name: string }>(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits
      WHERE inhparent = 'sms_logs'::regclass AND inhrelid <> 'sms_logs_default'::regclass`,
  );
  for (const { name } of rows) await link.query(`DROP TABLE ${name}`);
  expect(await complaints([operator('mci', operatorPort)])).toEqual([
    expect.stringMatching(/^warning: there is no customer/),
    expect.stringMatching(/^error: days are not made: sms_logs_/),
    expect.stringMatching(/^warning: 1000 rows wait in the outbox/),
  ]);
});
