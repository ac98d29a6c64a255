/**
 * Goal: the service runs as it is built and installed, and an event that is acknowledged is stored, counted and
 * answered, by every way in. Method: processes from dist/ with a real Postgres, alone and with a real Kafka; the tools on
 * the same database.
 */
import type pg from 'pg';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { makePartitions } from '../../src/analytics/processor/partitions.ts';
import { openLink } from '../../src/store/postgres/connection.ts';
import { main } from '../servers/collector.ts';
import { startKafka } from '../servers/kafka.ts';
import { poolOf, startPostgres } from '../servers/postgres.ts';
import { runProgram, temporaryFolder } from '../servers/process.ts';
import { type Running, startAnalytics } from './running.ts';

const scope = { onTestFinished: (fn: () => unknown) => onTestFinished(async () => void (await fn())) };
let brokers = '';
let dsn = '';
let pool: pg.Pool;

beforeAll(async () => {
  const [kafka, postgres] = await Promise.all([
    startKafka(undefined, { port: 23_060 }),
    startPostgres(undefined, { port: 23_070 }),
  ]);
  brokers = kafka.brokers.join(',');
  dsn = postgres.dsn;
  pool = poolOf(dsn);
  return async () => {
    await pool.end();
    await Promise.all([kafka.kill9(), postgres.stop()]);
  };
});

const ringmain = (...words: readonly string[]) =>
  runProgram(process.execPath, [main, ...words], { env: { PATH: process.env['PATH'], DATABASE_URL: dsn } });

test('the schema is changed by the tool from dist, up and down', async () => {
  expect(await ringmain('migrate', 'analytics', 'up')).toContain('001_analytics');
  expect(await ringmain('migrate', 'analytics', 'status')).toMatch(/^001_analytics +applied/);
  await ringmain('migrate', 'analytics', 'down');
  await expect(ringmain('migrate', 'analytics', 'status')).rejects.toThrow(/ +pending/);
});

const today = () => new Date().toISOString().slice(0, 10);

/** Sends one event by each way in, all of one user, and one of the example of 2025. */
async function send(api: Running, site: string): Promise<void> {
  const view = { site_id: site, event_type: 'page_view', path: '/home', user_id: 'user-001' };
  const one = await api.post('/events', view);
  expect([one.status, await one.json()]).toEqual([202, { message: 'Event accepted' }]);
  const old = { ...view, timestamp: '2025-11-15T05:00:00Z' };
  const many = await api.post('/events', [{ ...view, path: '/products', user_id: 'user-002' }, old]);
  expect([many.status, await many.json()]).toEqual([202, { message: 'Events accepted', accepted: 2 }]);
  const pixel = await api.get(`/px.gif?e=pageview&uid=user-001&site_id=${site}&url=https%3A%2F%2Fa.example%2Fhome`);
  expect(pixel.status).toBe(200);
  const collect = await api.post('/collect', {
    e: 'pageview',
    uid: 'user-003',
    url: 'https://a.example/home',
    props: { site_id: site },
  });
  expect(collect.status).toBe(202);
}

async function answered(api: Running, site: string): Promise<void> {
  const stats = async (date: string) => (await api.get(`/stats?site_id=${site}&date=${date}`)).json();
  await expect
    .poll(() => stats(today()))
    .toEqual({
      site_id: site,
      date: today(),
      total_views: 4,
      unique_users: 3,
      top_paths: [
        { path: '/home', views: 3 },
        { path: '/products', views: 1 },
      ],
    });
  await expect
    .poll(() => stats('2025-11-15'))
    .toEqual({
      site_id: site,
      date: '2025-11-15',
      total_views: 1,
      unique_users: 1,
      top_paths: [{ path: '/home', views: 1 }],
    });
  const { rows } = await pool.query('SELECT count(*)::int AS n FROM events WHERE site_id = $1', [site]);
  expect(rows).toEqual([{ n: 5 }]);
  const reconcile = async () => (await api.get(`/reconcile?site_id=${site}&date=${today()}`)).json();
  await expect
    .poll(reconcile)
    .toMatchObject({ site_id: site, accepted: 5, stored: 5, duplicates: 0, rejected: 0, pending: 0 });
}

test('one process with Postgres alone makes its schema, and answers what it was sent', async () => {
  const api = await startAnalytics(scope, { port: 23_080, env: { DATABASE_URL: dsn } });
  await send(api, 'alone');
  await answered(api, 'alone');
  // The example's month was made for it.
  const { rows } = await pool.query("SELECT count(*)::int AS n FROM events_202511 WHERE site_id = 'alone'");
  expect(rows).toEqual([{ n: 1 }]);
});

test('/readyz is red while next month has no partition and says so; it is made as soon as it can be', async () => {
  await ringmain('migrate', 'analytics', 'up');
  const link = await openLink(dsn);
  onTestFinished(() => link.close());
  await makePartitions(link);
  const { rows } = await pool.query<{ name: string }>(
    "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYYMM') AS name",
  );
  const name = `events_${rows[0]!.name}`;
  // While the table is there nobody can make another of its name.
  await pool.query(`ALTER TABLE events DETACH PARTITION ${name}`);
  const { get } = await startAnalytics(scope, { port: 23_080, env: { DATABASE_URL: dsn }, ready: '/healthz' });
  await expect
    .poll(async () => (await get('/readyz')).text())
    .toContain(`partitions are missing: ${name}; they are made`);
  expect((await get('/readyz')).status).toBe(503);
  await pool.query(`DROP TABLE ${name}`);
  await expect.poll(async () => (await get('/readyz')).status).toBe(200);
});

test('api and processor apart, with Kafka between them', async () => {
  const env = { DATABASE_URL: dsn, KAFKA_BROKER_URLS: brokers };
  const api = await startAnalytics(scope, { port: 23_080, words: ['api'], env });
  await startAnalytics(scope, { port: 23_085, words: ['processor'], env });
  await send(api, 'apart');
  await answered(api, 'apart');
});

test('a processor whose Kafka is away names Kafka, and not the database', async () => {
  const env = { DATABASE_URL: dsn, KAFKA_BROKER_URLS: '127.0.0.1:9' };
  const { get } = await startAnalytics(scope, { port: 23_085, words: ['processor'], env, ready: '/healthz' });
  const reasons = async () => {
    const { sinks } = (await (await get('/readyz')).json()) as { sinks: readonly { reason: string }[] };
    return sinks.map(({ reason }) => reason);
  };
  await expect.poll(reasons).toEqual([expect.stringMatching(/^metadata from 127\.0\.0\.1:9: /)]);
});

test('TEST_MODE sends events by each way in, and says that they arrived, also when sites are registered', async () => {
  await ringmain('site', 'add', 'registered.example');
  onTestFinished(async () => void (await ringmain('site', 'rm', 'registered.example', '--yes')));
  const env = { DATABASE_URL: dsn, TEST_MODE: 'true' };
  const { process: server } = await startAnalytics(scope, { port: 23_080, env });
  for (const sink of ['accepted', 'store'])
    await expect.poll(() => server.log).toMatch(new RegExp(`"sink":"${sink}"[^\n]*"msg":"test events arrived"`));
  // The processor takes none, and says nothing of them.
  expect(server.log).not.toContain('"events":0');
  const { rows } = await pool.query(
    `SELECT sum(accepted)::int AS accepted, sum(stored)::int AS stored
     FROM accepted_hours JOIN outcome_hours USING (site_id, hour) WHERE site_id = 'ringmain_test'`,
  );
  expect(rows).toEqual([{ accepted: 4, stored: 4 }]);
});

test.each(['api', 'processor'])('%s alone without Kafka is refused, with what to do', async (role) => {
  await expect(ringmain('analytics', role)).rejects.toThrow(/status=78.*KAFKA_BROKER_URLS.*must be set/s);
});

test('the doctor knows the service and the names of its options', async () => {
  const text = await ringmain('doctor', '--service=analytics', '--access=open').catch(({ message }: Error) => message);
  expect(text).toContain('output accepted');
  expect(text).not.toContain('ERROR');
  const shown = await ringmain('analytics', '--print-config');
  expect(shown).toMatch(/^PG_DSN="?\*\*\*"? {2}# environment, DATABASE_URL$/m);
  expect(shown).toMatch(/^KAFKA_TOPIC=events /m);
});

test('a password that is wrong ends the start with 78, so that nobody starts it again', async () => {
  const env = { PATH: process.env['PATH'], DATABASE_URL: dsn.replace(/:[^:@/]*@/, ':wrong@') };
  const start = runProgram(process.execPath, [main, 'analytics', '--server-addr=127.0.0.1:23085'], {
    env,
    cwd: temporaryFolder('ringmain-analytics-').folder,
  });
  await expect(start).rejects.toThrow(/status=78.*password authentication failed/s);
});

test('without a database nothing starts', async () => {
  const bare = { env: { PATH: process.env['PATH'] } };
  await expect(runProgram(process.execPath, [main, 'analytics'], bare)).rejects.toThrow(/DATABASE_URL.* must be set/);
});
