/**
 * Goal: GET /stats and GET /reconcile answer byte for byte what their contract says, refuse what is no question with
 * words that help, and come back by themselves when the database does. Method: the built service with a real Postgres.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Running, startAnalytics } from '../running.ts';

const scope = fileScope();
let postgres: PostgresServer;
let running: Running;

beforeAll(async () => {
  postgres = await startPostgres(scope, { port: 23_112, own: true, settings: fastSettings });
  running = await startAnalytics(scope, { port: 23_113, env: { DATABASE_URL: postgres.dsn } });
});
afterAll(() => running.process.end('SIGKILL'));

const sql = async <R extends pg.QueryResultRow>(text: string): Promise<R[]> => {
  const client = new pg.Client({ connectionString: postgres.dsn });
  await client.connect();
  try {
    return (await client.query<R>(text)).rows;
  } finally {
    await client.end();
  }
};

test('an empty day is zeros, in the order of the contract', async () => {
  const answer = await running.get('/stats?site_id=site-abc-123&date=2025-11-15');
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(await answer.text()).toBe(
    '{"site_id":"site-abc-123","date":"2025-11-15","total_views":0,"unique_users":0,"top_paths":[]}',
  );
});

test('views, users and paths stand there as numbers and texts, whatever the texts are', async () => {
  const path = `/"quoted"\\<é\u2028>`;
  const day = 20407; // 2025-11-15
  const views = 7_000_000_007; // more than an int4 holds
  await sql(`INSERT INTO sites (site_id) VALUES ('s p+a%c/é');
    INSERT INTO site_names SELECT site_id, site FROM sites WHERE site_id = 's p+a%c/é';
    INSERT INTO dimension_values SELECT site, 2, 77, ${pg.escapeLiteral(path)} FROM sites WHERE site_id = 's p+a%c/é';
    INSERT INTO rollups (site, dimension, grain, t, value, events, views)
      SELECT site, d, 1, ${day}, v, 9, ${views} FROM sites, (VALUES (0, 0), (2, 77)) AS n(d, v) WHERE site_id = 's p+a%c/é';
    INSERT INTO user_gaps SELECT site, 0, ${day * 96 + 5}, 101, 3 FROM sites WHERE site_id = 's p+a%c/é'`);
  const query = new URLSearchParams({ site_id: 's p+a%c/é', date: '2025-11-15', tz: 'Etc/UTC' });
  const expected = {
    site_id: 's p+a%c/é',
    date: '2025-11-15',
    total_views: views,
    unique_users: 3,
    top_paths: [{ path, views }],
  };
  const plain = await running.get(`/stats?${new URLSearchParams([...query].slice(0, 2))}`);
  expect(await plain.text()).toBe(JSON.stringify(expected));
  // The same day by its slots, which nobody has filled here.
  expect(await (await running.get(`/stats?${query}`)).json()).toEqual(expected);
  // Paths that have no name, of a day whose raw events are gone: the answer says that one may be missing.
  await sql(`INSERT INTO rollups (site, dimension, grain, t, value, views)
    SELECT site, 2, 1, ${day}, 1, 1 FROM sites WHERE site_id = 's p+a%c/é'`);
  const partial = await running.get(`/stats?${query}`);
  expect(await partial.text()).toBe(JSON.stringify({ ...expected, top_paths_incomplete: true }));
});

// A count of raw events may take seconds; a lock on them lasts as long as the test needs.
test('who waits for a count of raw events keeps nobody else from an answer: all share one, and hold no session', async () => {
  await sql(`INSERT INTO sites (site_id) VALUES ('many');
    INSERT INTO site_names SELECT site_id, site FROM sites WHERE site_id = 'many';
    INSERT INTO rollups (site, dimension, grain, t, value, events, views)
      SELECT site, d, 1, 20407, v, 9, 7 FROM sites, (VALUES (0, 0), (2, 1)) AS n(d, v) WHERE site_id = 'many'`);
  const holder = new pg.Client({ connectionString: postgres.dsn });
  await holder.connect();
  await holder.query('BEGIN; LOCK TABLE events');
  const counts = async (): Promise<number> =>
    (
      await sql<{ n: number }>(`SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE application_name = 'ringmain-query' AND wait_event_type = 'Lock'`)
    )[0]!.n;
  let answered = 0;
  const asked = Array.from({ length: 8 }, async () => {
    const answer = await (await running.get('/stats?site_id=many&date=2025-11-15')).json();
    answered += 1;
    return answer;
  });
  try {
    await expect.poll(counts).toBeGreaterThan(0);
    expect((await running.get('/stats?site_id=nobody&date=2025-11-15')).status).toBe(200);
    expect(answered).toBe(0);
    expect(await counts()).toBe(1);
  } finally {
    await holder.end();
  }
  const some = { site_id: 'many', date: '2025-11-15', total_views: 7, unique_users: 0, top_paths: [] };
  for (const answer of await Promise.all(asked)) expect(answer).toEqual({ ...some, top_paths_incomplete: true });
});

describe('what is no question is answered 400 with the parameter, what it must hold, and what was found', () => {
  const day = 'site_id=a&date=2025-11-15';
  test.each([
    ['/stats?date=2025-11-15', 'site_id', 'site_id must name a site, in 1 to 100 characters: found=nothing'],
    ['/stats?site_id=&date=2025-11-15', 'site_id', 'site_id must name a site, in 1 to 100 characters: found='],
    [`/stats?site_id=${'x'.repeat(101)}&date=2025-11-15`, 'site_id', /found=x{100}…$/],
    ['/stats?site_id=a%00b&date=2025-11-15', 'site_id', /^site_id must name/],
    ['/stats?site_id=a', 'date', 'date must be a date of the calendar as YYYY-MM-DD: found=nothing'],
    ['/stats?site_id=a&date=2025-02-29', 'date', /found=2025-02-29$/],
    ['/stats?site_id=a&date=15.11.2025', 'date', /found=15\.11\.2025$/],
    ['/stats?site_id=a&date=2025-11-15T00:00:00Z', 'date', /YYYY-MM-DD/],
    [`/stats?${day}&tz=Mars/Olympus`, 'tz', 'tz must be an IANA time zone such as Asia/Kathmandu: found=Mars/Olympus'],
    [`/stats?${day}&tz=`, 'tz', /found=$/],
    [`/stats?${day}&tz=%2B05:45`, 'tz', /found=\+05:45$/],
    ['/stats?site_id=%&date=2025-11-15', 'site_id', 'site_id must be percent-encoded UTF-8: found=%'],
    ['/stats?site_id=%zz&date=2025-11-15', 'site_id', /UTF-8: found=%zz$/],
    ['/stats?site_id=a%ff&date=2025-11-15', 'site_id', /UTF-8: found=a%ff$/],
    ['/stats?site_id&date=2025-11-15', 'site_id', /found=$/],
    ['/stats?site_id=a&date=%', 'date', /UTF-8: found=%$/],
    [`/stats?${day}&tz=%`, 'tz', /UTF-8: found=%$/],
    ['/api/sites/a/summary?period=%', 'period', /UTF-8: found=%$/],
    ['/api/sites/a/export?format=%', 'format', /UTF-8: found=%$/],
    [`/reconcile?${day}&tz=Asia/Kathmandu`, 'tz', /^tz must be UTC or left out, .*found=Asia\/Kathmandu$/],
    [`/reconcile?${day}&tz=`, 'tz', /found=$/],
    ['/reconcile?date=2025-11-15', 'site_id', /found=nothing$/],
    ['/reconcile?site_id=a&date=today', 'date', /found=today$/],
  ])('%s', async (path, parameter, detail) => {
    const answer = await running.get(path);
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    const problem = (await answer.json()) as { detail: string };
    expect(problem).toMatchObject({ status: 400, code: 'BAD_PARAMETER', parameter });
    expect(problem.detail).toMatch(detail);
    if (typeof detail === 'string') expect(problem.detail).toBe(detail);
  });
  test('100 characters that take two units each are a name', async () => {
    const site = '😀'.repeat(100);
    const answer = await running.get(`/stats?site_id=${encodeURIComponent(site)}&date=2025-11-15`);
    expect(await answer.json()).toMatchObject({ site_id: site, total_views: 0 });
  });
});

test.each(['site_id=a+b%2Bc', 'site%5Fid=a%20b%2bc', 'site_id=a+b%2Bc&site_id=d&%=e'])(
  'a name is what a form would send: %s',
  async (query) => {
    const answer = await running.get(`/stats?${query}&date=2025-11-15`);
    expect(await answer.json()).toMatchObject({ site_id: 'a b+c' });
  },
);

test('HEAD says what GET would, without the body, also of a refusal', async () => {
  for (const path of [
    '/stats?site_id=a&date=2025-11-15',
    '/stats?site_id=a',
    '/api/sites',
    '/api/me',
    '/openapi.json',
  ]) {
    const [head, get] = [
      await fetch(`${running.url}${path}`, { method: 'HEAD' }),
      await fetch(`${running.url}${path}`),
    ];
    const told = ({ status, headers }: Response) => [
      status,
      headers.get('content-type'),
      headers.get('content-length'),
    ];
    expect(told(head), path).toEqual(told(get));
    expect(await head.text()).toBe('');
    await get.body?.cancel();
  }
});

test('the books may be asked for in UTC by name', async () => {
  expect((await running.get('/reconcile?site_id=a&date=2025-11-15&tz=UTC')).status).toBe(200);
});

test('the books of a day: 24 hours that add up to it, those of an earlier name of the site among them', async () => {
  const hour = 20407 * 24;
  await sql(`INSERT INTO sites (site_id) VALUES ('books');
    INSERT INTO site_names SELECT n, site FROM sites, (VALUES ('books'), ('old books')) AS names (n) WHERE site_id = 'books';
    INSERT INTO accepted_hours VALUES ('books', ${hour}, 5), ('old books', ${hour}, 2), ('books', ${hour + 23}, 10), ('books', ${hour + 24}, 99);
    INSERT INTO outcome_hours VALUES ('books', ${hour}, 3, 2, 1), ('books', ${hour + 23}, 6, 0, 0);
    INSERT INTO pipeline_lag VALUES ('dead', 'topic', 3, true, now() - interval '1 hour'),
      ('gone', 'topic', 50, false, now() - interval '1 hour'), ('older', 'topic', 50, true, now() - interval '3 days')`);
  const ask = async () => (await (await running.get('/reconcile?site_id=books&date=2025-11-15')).json()) as Books;
  const found = await ask();
  expect(Object.keys(found)).toEqual([
    'site_id',
    'date',
    'accepted',
    'stored',
    'duplicates',
    'rejected',
    'pending',
    'hours',
  ]);
  expect(found.hours.map(({ hour: h }) => h)).toEqual(Array.from({ length: 24 }, (_, i) => i));
  // Three are known to be on their way, in the newest hour. One more is missing there, and one in the first: both show.
  expect(found).toMatchObject({ accepted: 17, stored: 9, duplicates: 2, rejected: 1, pending: 3 });
  expect(found.hours[0]).toEqual({ hour: 0, accepted: 7, stored: 3, duplicates: 2, rejected: 1, pending: 0 });
  expect(found.hours[23]).toEqual({ hour: 23, accepted: 10, stored: 6, duplicates: 0, rejected: 0, pending: 3 });
  await sql("UPDATE pipeline_lag SET lag = 100 WHERE log_id = 'dead'");
  expect(await ask()).toMatchObject({ accepted: 17, pending: 5 });
  // A full pipe is none of hours that ended before anything in it was received, and of hours that begin after it died.
  const since = (hours: number) => `to_timestamp(${(hour + hours) * 3600})`;
  await sql(`UPDATE pipeline_lag SET lag = 1000, since = ${since(1)} WHERE log_id = 'dead'`);
  expect((await ask()).hours.map((one) => one.pending).filter(Boolean)).toEqual([4]);
  await sql(`UPDATE pipeline_lag SET since = ${since(24)} WHERE log_id = 'dead'`);
  expect(await ask()).toMatchObject({ accepted: 17, stored: 9, duplicates: 2, rejected: 1, pending: 0 });
  await sql("DELETE FROM pipeline_lag WHERE log_id = 'dead'");
  expect(await ask()).toMatchObject({ accepted: 17, pending: 0 });
});

interface Books {
  readonly hours: readonly { readonly hour: number; readonly pending: number }[];
}

test('while the database is away questions get 503 with Retry-After, and answers come back with it', async () => {
  const path = '/stats?site_id=a&date=2025-11-15';
  expect((await running.get(path)).status).toBe(200);
  await postgres.stop();
  const away = await running.get(path);
  expect(away.status).toBe(503);
  expect(away.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(await away.json()).toMatchObject({ code: 'STORE_AWAY' });
  expect(await (await running.get('/metrics')).text()).toContain('ringmain_query_up 0');
  await postgres.restart();
  await expect.poll(async () => (await running.get(path)).status).toBe(200);
  // A session that the server has closed while nobody used it costs no answer.
  await postgres.restart();
  expect((await running.get(path)).status).toBe(200);
  const metrics = await (await running.get('/metrics')).text();
  expect(metrics).toContain('ringmain_query_up 1');
  expect(metrics).toMatch(/ringmain_query_seconds_count\{question="stats"\} [1-9]/);
});
