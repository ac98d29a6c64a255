/**
 * Goal: what an option of analytics says is what people see who send events and ask. Method: the built service with a
 * real Postgres and small limits; events by HTTP, answers by HTTP.
 */
import { beforeAll, expect, test } from 'vitest';
import { openLink } from '../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';
import { sql } from '../sinks/postgres/fixture.ts';
import { type Running, startAnalytics } from './running.ts';

const scope = fileScope();
const DAY_MS = 86_400_000;
/** Whichever process runs a job. */
const jobs = { EVENT_ID_DAYS: '40', AUDIT_DAYS: '30', LOGIN_IDLE: '2d' };
let running: Running;
let dsn = '';
beforeAll(async () => {
  ({ dsn } = await startPostgres(scope, { port: 23_270, settings: fastSettings, own: true }));
  running = await startAnalytics(scope, {
    port: 23_271,
    env: {
      DATABASE_URL: dsn,
      MAX_EVENT_AGE: '30d',
      SESSION_TIMEOUT: '1m',
      DIMENSION_VALUES_MAX: '10',
      PROPERTIES_MAX: '2',
      QUERY_CONNECTIONS: '1',
      ...jobs,
      PG_FLUSH_MS: '20ms',
    },
  });
});

/** Noon of yesterday, so that no midnight falls into a test. */
const NOON = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS / 2;
const date = new Date(NOON).toISOString().slice(0, 10);
const at = (ms: number): string => new Date(NOON + ms).toISOString();
const ask = async (path: string): Promise<unknown> => (await running.get(path)).json();
const viewsOf = async (site: string): Promise<number> =>
  ((await ask(`/stats?site_id=${site}&date=${date}`)) as { total_views: number }).total_views;

test('MAX_EVENT_AGE: what is older is refused by each way in, and says why', async () => {
  const old = { site_id: 'age', event_type: 'page_view', timestamp: new Date(Date.now() - 31 * DAY_MS).toISOString() };
  const young = { ...old, timestamp: new Date(Date.now() - 29 * DAY_MS).toISOString() };
  const refused = await running.post('/events', old);
  expect([refused.status, ((await refused.json()) as { detail: string }).detail]).toEqual([
    400,
    expect.stringMatching(/timestamp must .*30 days.*found=/),
  ]);
  const some = await running.post('/events', [old, young]);
  expect([some.status, await some.json()]).toMatchObject([202, { accepted: 1, rejected: 1, errors: [{ index: 0 }] }]);
  const collected = await running.post('/collect', { e: 'pageview', url: 'https://age/', ts: old.timestamp });
  expect(collected.status).toBe(400);
  const pixel = await running.get(`/px.gif?e=pageview&url=https%3A%2F%2Fage%2F&ts=${old.timestamp}`);
  expect([pixel.status, pixel.headers.get('content-type')]).toEqual([200, 'image/gif']);
  const figures = await (await running.get('/metrics')).text();
  expect(figures).toMatch(/^ringmain_unrecorded_pixels_total\{[^}]*too_old[^}]*\} 1$/m);
});

test('SESSION_TIMEOUT: a pause that is longer begins another visit', async () => {
  const view = { site_id: 'pauses', event_type: 'page_view', path: '/', user_id: 'ada' };
  await running.post(
    '/events',
    [0, 60_000, 120_001].map((ms) => ({ ...view, timestamp: at(ms) })),
  );
  await expect.poll(() => viewsOf('pauses')).toBe(3);
  const found = await ask(`/api/sites/pauses/summary?period=custom&from=${date}&to=${date}`);
  expect(found).toMatchObject({
    metrics: { visits: { value: 2 }, visitors: { value: 1 }, bounce_rate: { value: 0.5 } },
  });
});

// The eleventh path of a day has no place left, and may be the most viewed one all the same.
test('DIMENSION_VALUES_MAX: values beyond it count under (other), and /stats names them where they are among the ten', async () => {
  const view = (path: string, n: number) => ({ site_id: 'many', event_type: 'page_view', path, timestamp: at(n) });
  const first = Array.from({ length: 10 }, (_, n) => view(`/p${n}`, n));
  await running.post('/events', first);
  await expect.poll(() => viewsOf('many')).toBe(10);
  await running.post(
    '/events',
    Array.from({ length: 5 }, (_, n) => view('/late', 100 + n)),
  );
  await expect.poll(() => viewsOf('many')).toBe(15);
  const { top_paths: paths } = (await ask(`/stats?site_id=many&date=${date}`)) as { top_paths: unknown[] };
  expect(paths).toHaveLength(10);
  expect(paths.slice(0, 2)).toEqual([
    { path: '/late', views: 5 },
    { path: '/p0', views: 1 },
  ]);
  const pages = await ask(`/api/sites/many/breakdown?dimension=path&period=custom&from=${date}&to=${date}`);
  expect(pages).toMatchObject({ total: 10, other: { value: '(other)', views: 5 } });
});

test('DIMENSION_VALUES_MAX of a property: its panel has an (other) of its own, in the export as well', async () => {
  const order = (n: number, props: object) => ({
    site_id: 'orders',
    event_type: 'order',
    user_id: `user-${n}`,
    props,
    timestamp: at(n),
  });
  const events = [
    ...Array.from({ length: 10 }, (_, n) => order(n, { number: n, plan: 'pro' })),
    ...Array.from({ length: 4 }, (_, n) => order(10 + n, { number: 10 + n, plan: 'free' })),
    // A third property: PROPERTIES_MAX has no place for it.
    order(20, { number: 20, coupon: 'x' }),
  ];
  for (const event of events) expect((await running.post('/events', event)).status).toBe(202);
  const range = `period=custom&from=${date}&to=${date}`;
  const panel = (name: string) => ask(`/api/sites/orders/breakdown?dimension=${name}&${range}`);
  await expect.poll(() => panel('event_type')).toMatchObject({ rows: [{ value: 'order', events: 15 }] });
  expect(await panel('prop:order:number')).toMatchObject({
    total: 10,
    other: { value: '(other)', events: 5, visitors: 5 },
  });
  expect(await panel('prop:order:plan')).toMatchObject({ total: 2, other: null });
  // What has no place of its own still is an event with this key.
  expect(await panel('prop:order')).toMatchObject({
    rows: [
      { value: 'number', events: 15 },
      { value: 'plan', events: 14 },
    ],
    notes: [expect.stringMatching(/^Properties beyond .* are missing here.*: 1 values\.$/)],
  });
  expect(await panel('prop:order:number&search=9')).toMatchObject({ rows: [{ value: '9' }], other: null });
  const csv = await (
    await running.get(`/api/sites/orders/export?format=csv&dimension=prop:order:number&${range}`)
  ).text();
  expect(csv.trimEnd().split('\r\n').at(-1)).toMatch(/^\(other\),/);
});

test('QUERY_CONNECTIONS: so many sessions answer, however many ask', async () => {
  await Promise.all(Array.from({ length: 12 }, () => ask(`/stats?site_id=many&date=${date}`)));
  const sessions = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'ringmain-query'";
  expect(await sql(dsn, sessions)).toEqual([{ n: 1 }]);
});

/** How long questions of a kind have taken so far, s. */
const secondsOf = async (question: string): Promise<number> => {
  const figures = await (await running.get('/metrics')).text();
  return Number(new RegExp(`^ringmain_query_seconds_sum\\{question="${question}"\\} (\\S+)$`, 'm').exec(figures)?.[1]);
};

test('ringmain_query_seconds counts a question from its turn among QUERY_CONNECTIONS on', async () => {
  const before = [await secondsOf('stats'), await secondsOf('reconcile')] as const;
  const holder = await openLink(dsn);
  await holder.query('BEGIN; LOCK TABLE site_names IN ACCESS EXCLUSIVE MODE');
  const stats = ask(`/stats?site_id=many&date=${date}`);
  const waits = "SELECT count(*)::int AS n FROM pg_locks WHERE relation = 'site_names'::regclass AND NOT granted";
  await expect.poll(async () => (await holder.query(waits)).rows).toEqual([{ n: 1 }]);
  // There is one connection, and the question before has it.
  const reconciled = ask(`/reconcile?site_id=many&date=${date}`);
  await holder.query('SELECT pg_sleep(0.6); COMMIT');
  await Promise.all([stats, reconciled]);
  await holder.close();
  const took = async (question: string, since: number) => (await secondsOf(question)) - since;
  expect(await took('stats', before[0])).toBeGreaterThan(0.5);
  expect(await took('reconcile', before[1])).toBeLessThan(0.5);
});

test('EVENT_ID_DAYS, AUDIT_DAYS, LOGIN_IDLE: jobs delete what is older, and nothing else', async () => {
  const week = Math.floor(Date.now() / (7 * DAY_MS));
  // The job runs once an hour, and when a process starts that finds it due.
  for (const ago of [5, 7])
    await sql(dsn, `CREATE TABLE event_ids_${week - ago} PARTITION OF event_ids FOR VALUES IN (${week - ago})`);
  await sql(dsn, "INSERT INTO users (name, role, password) VALUES ('ada', 'owner', '')");
  for (const days of [29, 31]) {
    const at = `now() - interval '${days} days'`;
    await sql(dsn, `INSERT INTO audit_lines (action, subject, at) VALUES ('login', '${days}', ${at})`);
  }
  for (const hours of [47, 49])
    await sql(
      dsn,
      `INSERT INTO user_sessions (digest, user_id, expires_at, seen_at) SELECT '\\x${hours}', user_id,
       now() + interval '9 days', now() - interval '${hours} hours' FROM users`,
    );
  await sql(dsn, "DELETE FROM ringmain_jobs WHERE job IN ('partitions', 'people')");
  await startAnalytics(scope, { port: 23_272, env: { DATABASE_URL: dsn, ...jobs } });
  const weeks = "SELECT count(*)::int AS n FROM pg_class WHERE relname IN ('event_ids_$5', 'event_ids_$7')"
    .replace('$5', String(week - 5))
    .replace('$7', String(week - 7));
  await expect.poll(() => sql(dsn, weeks)).toEqual([{ n: 1 }]);
  const lines = 'SELECT subject FROM audit_lines ORDER BY subject';
  await expect.poll(() => sql(dsn, lines)).toEqual([{ subject: '29' }]);
  const sessions = "SELECT encode(digest, 'hex') AS hours FROM user_sessions";
  await expect.poll(() => sql(dsn, sessions)).toEqual([{ hours: '47' }]);
});
