/**
 * Goal: a site may have more events in a day or a month than an int4 holds: none is refused, and answers are exact.
 * Method: a real Postgres and the load with its rollups; the sums of the day and of the month are set to just below
 * 2 ** 31, as if so many events had come before, and some more come.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { breakdown } from '../../../src/analytics/query/breakdown.ts';
import { type Snapshot, snapshotOf } from '../../../src/analytics/query/database.ts';
import { DayCounts } from '../../../src/analytics/query/day-counts.ts';
import { parseDate, rangeOf } from '../../../src/analytics/query/range.ts';
import { stats } from '../../../src/analytics/query/stats.ts';
import { summary } from '../../../src/analytics/query/summary.ts';
import { edgesOf, timeseries } from '../../../src/analytics/query/timeseries.ts';
import type { Interval, Scan } from '../../../src/analytics/query/types.ts';
import { Rollups } from '../../../src/analytics/rollup/rollup.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { batchOf, migrate, ours, outcomesOf, processor, sql } from './fixture.ts';

const scope = fileScope();
const STOOD = 2_147_483_640;
const MORE = 20;
const SUM = STOOD + MORE;
/** A visitor of its own: each event is a visit and a bounce, and all sums grow alike. */
const lineOf = (n: number): string =>
  ours(n, { path: '/p', user_id: undefined, visitor: n.toString(16).padStart(32, '0') });
const all = { events: SUM, views: SUM, visits: SUM, bounces: SUM, visitors: SUM };
const noScan: Scan = () => Promise.reject(new Error('nothing is filtered here'));
let dsn = '';
let link: PostgresLink;
let snapshot: Snapshot;
let site = 0;

beforeAll(async () => {
  ({ dsn } = await startPostgres(scope, { port: 21_840, settings: fastSettings, own: true }));
  await migrate(dsn);
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
  snapshot = snapshotOf(link);
});

test('events beyond 2 ** 31 are stored and counted, and no letter is dead', async () => {
  const rollups = new Rollups({ sessionTimeoutMs: 1_800_000, dimensionValuesMax: 100, propertiesMax: 100 });
  const one = await processor(dsn, { rollups });
  await one.write(batchOf([lineOf(0)]));
  await sql(
    dsn,
    `UPDATE rollups SET events = ${STOOD}, views = ${STOOD}, visits = ${STOOD}, bounces = ${STOOD}, firsts = ${STOOD}
     WHERE grain > 0`,
  );
  const more = Array.from({ length: MORE }, (_, n) => lineOf(n + 1));
  await one.write(batchOf(more, { from: 1 }));
  expect(one.letters).toEqual([]);
  expect(await outcomesOf(dsn)).toEqual([expect.objectContaining({ stored: MORE + 1, rejected: 0 })]);
  expect(await sql(dsn, 'SELECT count(*)::int AS n FROM events')).toEqual([{ n: MORE + 1 }]);
  site = (await sql<{ site: number }>(dsn, 'SELECT site FROM sites'))[0]!.site;
});

// The day of Kathmandu is the UTC day without some slots, and some of the day before.
test.each(['UTC', 'Asia/Kathmandu'])('GET /stats of the day in %s', async (timeZone) => {
  const means = { read: <T>(work: (of: Snapshot) => Promise<T>) => work(snapshot), days: new DayCounts(), leave() {} };
  expect(await stats({ siteId: 'site', day: parseDate('2026-11-20')!, timeZone }, means)).toEqual({
    site_id: 'site',
    date: '2026-11-20',
    total_views: SUM,
    unique_users: 0,
    top_paths: [{ path: '/p', views: SUM }],
  });
});

const ranges = {
  day: rangeOf(parseDate('2026-11-20')!, parseDate('2026-11-20')!, 'UTC'),
  month: rangeOf(parseDate('2026-11-01')!, parseDate('2026-11-30')!, 'UTC'),
} as const;

test.each(['day', 'month'] satisfies Interval[])('summary, series and values of the %s', async (interval) => {
  const range = ranges[interval];
  expect(await summary(snapshot, site, range, [], noScan)).toMatchObject(all);
  const series = await timeseries(snapshot, site, range, edgesOf(range, interval)!, [], noScan);
  expect(series).toEqual([expect.objectContaining(all)]);
  for (const dimension of ['path', 'entry_page'] as const) {
    const order = { metric: 'visitors', descending: true } as const;
    const question = { dimension, order, limit: 10, offset: 0, filters: [] };
    const { values } = await breakdown(snapshot, site, range, question, noScan);
    expect(values).toEqual([expect.objectContaining({ text: '/p', events: SUM, views: SUM, visitors: SUM })]);
  }
});

test('the way back refuses sums that would not fit, and keeps those that do', async () => {
  const run = (name: string) =>
    link.query(readFileSync(new URL(`../../../src/analytics/migrations/${name}.sql`, import.meta.url), 'utf8'));
  const sums = async () => (await link.query('SELECT sum(events)::float8 AS n FROM rollups')).rows;
  await expect(run('011_wide_sums.down')).rejects.toThrow(/^sums of rollups must fit into integer columns: \d+ rows/);
  for (const name of ['events', 'views', 'visits', 'bounces', 'firsts'])
    await link.query(`UPDATE rollups SET ${name} = least(${name}, 2147483647)`);
  const before = await sums();
  await run('011_wide_sums.down');
  await expect(link.query('UPDATE rollups SET events = events + 2147483647')).rejects.toThrow('out of range');
  await run('011_wide_sums');
  await link.query('UPDATE rollups SET events = events + 1');
  await link.query('UPDATE rollups SET events = events - 1');
  expect(await sums()).toEqual(before);
});
