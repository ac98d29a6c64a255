/**
 * Goal: GET /stats is what count(*), count(distinct user_id) and group by path say of the stored page views of that
 * day, in every time zone. Method: random events around days on which clocks are set, as rows of a real Postgres and as
 * the sums that a plain recount makes of them; each answer is compared with SQL on the rows.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dimensions } from '../../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { type Snapshot, snapshotOf } from '../../../src/analytics/query/database.ts';
import { DayCounts } from '../../../src/analytics/query/day-counts.ts';
import { dateText, parseDate } from '../../../src/analytics/query/range.ts';
import { rawPaths } from '../../../src/analytics/query/raw-paths.ts';
import { stats } from '../../../src/analytics/query/stats.ts';
import type { Stats } from '../../../src/analytics/schemas.ts';
import { ManualClock } from '../../../src/kernel/clock.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { random } from '../traffic.ts';
import { eventOf, fill } from './filled.ts';

const dictionaries = new Map(Object.values(dimensions).map(({ id, dictionary }) => [id as number, dictionary]));
const HOUR = 3_600_000;
let link: PostgresLink;
let dsn = '';

/** Days around which events lie, and zones in which something happens then. */
const days = ['2024-03-31', '2024-11-03', '2011-12-30', '2018-11-04', '2024-04-07', '2025-11-15'];
const zones = [
  'UTC',
  'Asia/Kathmandu',
  'Europe/Berlin',
  'America/New_York',
  'America/Sao_Paulo',
  'America/Havana',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Pacific/Pago_Pago',
  'Asia/Kolkata',
  'America/St_Johns',
];

beforeAll(async () => {
  const postgres = await startPostgres(
    { onTestFinished: (end) => afterAll(async () => void (await end())) },
    {
      port: 23_110,
      settings: fastSettings,
    },
  );
  await migrateAnalytics(postgres.dsn);
  dsn = postgres.dsn;
  link = await openLink(dsn);
  await fill(link, randomEvents(), (dimension) => dictionaries.get(dimension)!, {
    sessionTimeoutMs: 1_800_000,
    // One path has no place on one day: it is counted under "(other)".
    admitted: (_, day, dimension, text) => dimension !== 'path' || text !== '/late' || dateText(day) !== '2025-11-15',
  });
});
afterAll(() => link.close());

function randomEvents(): CountedEvent[] {
  const next = random(15);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const paths = ['/', '/a', '/b', '/B', '/é', '/😀', '/ﬀ', '/late', ...Array.from({ length: 9 }, (_, i) => `/p${i}`)];
  const events = days.flatMap((day, d) =>
    Array.from({ length: 400 }, (_, i) => {
      const ms = Date.parse(`${day}T12:00:00Z`) + Math.floor((next() - 0.5) * 96 * HOUR);
      return eventOf(d * 1000 + i, 'site', 1, ms, {
        eventType: next() < 0.8 ? 'page_view' : 'click',
        ...(next() < 0.9 ? { path: pick(paths) } : {}),
        ...(next() < 0.5 ? { userId: `user-${Math.floor(next() * 60)}` } : next() < 0.8 ? { visitor: 'somebody' } : {}),
        ...(next() < 0.05 ? { bot: 'Googlebot' } : {}),
      });
    }),
  );
  for (let i = 0; i < 40; i += 1)
    events.push(eventOf(9100 + i, 'site', 1, Date.parse('2025-11-15T18:00:00Z') + i * 1000, { path: '/late' }));
  events.push(eventOf(9000, 'neighbour', 2, Date.parse('2025-11-15T12:00:00Z'), { path: '/theirs', userId: 'u' }));
  return events;
}

async function read<T>(work: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  await link.query('BEGIN');
  try {
    return await work(snapshotOf(link));
  } finally {
    await link.query('ROLLBACK');
  }
}
const ask = (siteId: string, date: string, timeZone = 'UTC', days = new DayCounts()): Promise<Stats> =>
  stats({ siteId, day: parseDate(date)!, timeZone }, { read, days, leave: () => {} });

/** The same by SQL on the rows; Postgres has the time zones' rules from elsewhere. */
async function counted(site: string, date: string, timeZone: string, hidden: readonly string[]): Promise<Stats> {
  const { rows } = await link.query<Omit<Stats, 'site_id' | 'date'>>(
    `WITH day AS (SELECT * FROM events WHERE site_id = $1 AND event_type = 'page_view' AND bot IS NULL
       AND ("timestamp" AT TIME ZONE $3)::date = $2::date)
     SELECT (SELECT count(*) FROM day)::int AS total_views, (SELECT count(DISTINCT user_id) FROM day)::int AS unique_users,
       (SELECT coalesce(json_agg(top), '[]') FROM (SELECT path, count(*) AS views FROM day
         WHERE path IS NOT NULL AND path <> ALL ($4) GROUP BY path ORDER BY 2 DESC, path COLLATE "C" LIMIT 10) top) AS top_paths`,
    [site, date, timeZone, hidden],
  );
  return { site_id: site, date, ...rows[0]! };
}

test.each(zones)('a day of %s is what SQL on the raw rows says', async (zone) => {
  let views = 0;
  for (const day of days) {
    for (let shift = -2; shift <= 2; shift += 1) {
      const date = dateText(parseDate(day)! + shift);
      const found = await ask('site', date, zone);
      expect(found, `${date} ${zone}`).toEqual(await counted('site', date, zone, []));
      views += found.total_views;
    }
  }
  expect(views).toBeGreaterThan(1000);
});

// A path that comes when the day has no place left may still become the most viewed one.
test('a path that the day counts under "(other)" is among the ten, or the answer says that one may be missing', async () => {
  const late = (paths: Stats['top_paths']) => paths.filter(({ path }) => path === '/late').length;
  const found = await ask('site', '2025-11-15');
  expect(late(found.top_paths)).toBe(1);
  expect(found).not.toHaveProperty('top_paths_incomplete');
  // Raw events go before the sums do: what is left of them says nothing.
  await link.query(`CREATE TABLE gone AS SELECT * FROM events WHERE site = 1 AND path = '/a'`);
  await link.query(`DELETE FROM events WHERE site = 1 AND path = '/a'`);
  const answer = await ask('site', '2025-11-15');
  await link.query('INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM gone');
  expect(answer).toEqual({
    ...(await counted('site', '2025-11-15', 'UTC', ['/late'])),
    top_paths_incomplete: true,
  });
  expect(await ask('site', '2025-11-15')).toEqual(found);
});

/** Views that the sums of 2025-11-15 have under "(other)", and the events have not. */
const addViews = (views: number) =>
  link.query(
    `UPDATE rollups SET views = views + $1 WHERE site = 1 AND dimension IN (0, 2) AND grain = 1 AND t = $2
      AND value IN (0, 1)`,
    [views, parseDate('2025-11-15')!],
  );

// Each count may read the database for seconds, and whoever looks at a day looks again.
test('a day that was counted from raw events is read again when it has another view, ten seconds later', async () => {
  const clock = new ManualClock();
  const days = new DayCounts(clock);
  const again = () => ask('site', '2025-11-15', 'UTC', days);
  const first = await again();
  // Whoever reads the raw events would see others, or wait for ever.
  await link.query('ALTER TABLE events RENAME TO events_away');
  try {
    clock.advance(3_600_000);
    expect(await again()).toEqual(first);
    await expect(ask('site', '2025-11-15')).rejects.toThrow('"events" does not exist');
    await addViews(1);
    // All of it is of one moment: no total that its paths do not have.
    expect(await again()).toEqual(first);
    clock.advance(10_000);
    await expect(again()).rejects.toThrow('"events" does not exist');
  } finally {
    await link.query('ALTER TABLE events_away RENAME TO events');
  }
  // The sums have a view that no event has, so it cannot be counted: the last answer stands in for a minute.
  expect(await again()).toEqual(first);
  clock.advance(50_000);
  expect(await again()).toEqual({
    ...first,
    total_views: first.total_views + 1,
    top_paths: expect.not.arrayContaining([expect.objectContaining({ path: '/late' })]),
    top_paths_incomplete: true,
  });
  await addViews(-1);
  expect(await again()).toEqual(first);
});

test('a count that takes too long leaves the answer that was right before it', async () => {
  const clock = new ManualClock();
  const days = new DayCounts(clock);
  const again = () => ask('site', '2025-11-15', 'UTC', days);
  const first = await again();
  await addViews(1);
  clock.advance(10_000);
  const lock = await openLink(dsn);
  await lock.query('BEGIN; LOCK TABLE events');
  try {
    expect(await again()).toEqual(first);
  } finally {
    await lock.query('ROLLBACK');
    await lock.close();
    await addViews(-1);
  }
});

test('reading a day that takes too long ends, and the session goes on', async () => {
  const lock = await openLink(dsn);
  await lock.query('BEGIN; LOCK TABLE events');
  await link.query('BEGIN');
  const slots = { from: 0, to: 96 * 40_000 };
  expect(await rawPaths(snapshotOf(link), 1, slots, 10, 50)).toBeUndefined();
  await lock.query('ROLLBACK');
  expect((await rawPaths(snapshotOf(link), 1, slots, 10, 50_000))!.paths).toHaveLength(10);
  const { rows } = await link.query<{ statement_timeout: string }>('SHOW statement_timeout');
  expect(rows[0]!.statement_timeout).toBe('0');
  await link.query('ROLLBACK');
  await lock.close();
});

test('keys stand in the order of the contract; an empty day, a day that was left out and an unknown site are zeros', async () => {
  const none = { total_views: 0, unique_users: 0, top_paths: [] };
  for (const [site, date, zone] of [
    ['site', '1999-01-01', 'UTC'],
    ['site', '2011-12-30', 'Pacific/Apia'],
    ['nobody', '2025-11-15', 'UTC'],
    ["' OR true --", '2025-11-15', 'UTC'],
  ] as const) {
    const found = await ask(site, date, zone);
    expect(JSON.stringify(found)).toBe(JSON.stringify({ site_id: site, date, ...none }));
  }
  expect(await ask('neighbour', '2025-11-15')).toEqual({
    site_id: 'neighbour',
    date: '2025-11-15',
    total_views: 1,
    unique_users: 1,
    top_paths: [{ path: '/theirs', views: 1 }],
  });
});

test('the name that a site had before leads to it', async () => {
  await link.query("INSERT INTO site_names VALUES ('before', 2)");
  expect(await ask('before', '2025-11-15')).toMatchObject({ site_id: 'before', total_views: 1 });
});
