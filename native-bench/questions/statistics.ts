/** How fast are statistics of a site with 100 M events behind it, with and without filters, beside SQL over raw rows? */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { DAY_MS } from '../../src/analytics/dimensions.ts';
import { breakdown } from '../../src/analytics/query/breakdown.ts';
import { Database } from '../../src/analytics/query/database.ts';
import { askedDimensions } from '../../src/analytics/query/types.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { type BigSite, fillBigSite } from '../rig/analytics-data.ts';
import type { Scanned } from '../rig/analytics-scan.ts';
import { randomOf, textAt } from '../rig/analytics-traffic.ts';
import type { Bench, Question } from '../rig/bench.ts';
import { type Opened, openDashboard, withChromium } from '../rig/dashboard.ts';
import type { Goal } from '../rig/report.ts';
import { median, percentile } from '../rig/stats.ts';
import { startPinned, stopChild, untilListening } from '../rig/subject.ts';
import { count, us } from '../rig/table.ts';

const END_DAY = Date.UTC(2026, 9, 1) / DAY_MS;
const dateOf = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

function siteOf({ short }: Bench): BigSite {
  const common = { siteId: 'big', endDay: END_DAY };
  return short
    ? { ...common, days: 100, events: 2e5, columnDays: 30, columnEvents: 1e5, rawDays: 1 }
    : { ...common, days: 730, events: 100e6, columnDays: 30, columnEvents: 10e6, rawDays: 3 };
}

/** Milliseconds of GET /stats of these days, which all have views. */
async function askStats(url: string, site: BigSite, days: readonly number[], timeZone: string): Promise<number[]> {
  const ms: number[] = [];
  for (const day of days) {
    const begin = performance.now();
    const answer = await fetch(`${url}/stats?site_id=${site.siteId}&date=${dateOf(day)}&tz=${timeZone}`);
    const body = (await answer.json()) as { readonly total_views?: number };
    ms.push(performance.now() - begin);
    if (!(body.total_views! > 0)) throw new Error(`a day must have views: day=${day}, answer=${JSON.stringify(body)}`);
  }
  return ms;
}

/** Milliseconds of the first page of each dimension over 90 days, by each metric. */
async function askBreakdowns(database: Database, site: BigSite, rounds: number): Promise<number[]> {
  const range = { fromMs: (site.endDay - 90) * DAY_MS, toMs: site.endDay * DAY_MS };
  const noScan = (): never => {
    throw new Error('a breakdown without filters must not scan');
  };
  const ms: number[] = [];
  for (const dimension of askedDimensions.filter((name) => name !== 'prop')) {
    for (const metric of ['views', 'visitors'] as const) {
      for (let round = 0; round < rounds; round++) {
        const begin = performance.now();
        const page = { dimension, order: { metric, descending: true }, limit: 10, offset: 0, filters: [] };
        const { values } = await database.read((snapshot) => breakdown(snapshot, 1, range, page, noScan));
        ms.push(performance.now() - begin);
        if (values.length === 0) throw new Error(`a dimension must have values: ${dimension}`);
      }
    }
  }
  return ms;
}

/** What one writes who has nothing but the raw table: milliseconds. */
async function askRaw(link: PostgresLink, site: BigSite): Promise<[string, number][]> {
  const day = `site_id = 'big' AND "timestamp" >= '${dateOf(site.endDay - 1)}' AND "timestamp" < '${dateOf(site.endDay)}'`;
  const all = `site_id = 'big' AND "timestamp" >= '${dateOf(site.endDay - site.rawDays)}'`;
  const statements: [string, string][] = [
    [
      'count(*), count(distinct user_id) of one day',
      `SELECT count(*), count(DISTINCT user_id) FROM events WHERE ${day} AND event_type = 'page_view'`,
    ],
    [
      'ten paths of one day',
      `SELECT path, count(*) FROM events WHERE ${day} AND event_type = 'page_view' GROUP BY path ORDER BY 2 DESC LIMIT 10`,
    ],
    [
      `pages where country and browser are, of ${site.rawDays} days`,
      `SELECT path, count(*), count(DISTINCT visitor) FROM events WHERE ${all} AND country = '${textAt('country', 1)}'
         AND browser = '${textAt('browser', 1)}' GROUP BY path`,
    ],
  ];
  const answers: [string, number][] = [];
  for (const [name, sql] of statements) {
    const ms: number[] = [];
    for (let i = 0; i < 3; i++) {
      const begin = performance.now();
      await link.query(sql);
      ms.push(performance.now() - begin);
    }
    answers.push([name, median(ms)]);
  }
  return answers;
}

/** Periods of the dashboard: each is opened with an empty cache. */
const looks: readonly (readonly [name: string, days: number])[] = [
  ['30 days', 30],
  ['a year', 365],
  ['two years', 730],
];

async function askDashboard(url: string, site: BigSite, rounds: number): Promise<readonly (readonly Opened[])[]> {
  return withChromium(async (browser) => {
    const addressOf = (days: number) =>
      `${url}/?site=${site.siteId}&period=custom&from=${dateOf(site.endDay - Math.min(days, site.days))}` +
      `&to=${dateOf(site.endDay - 1)}`;
    // The browser itself starts.
    await openDashboard(browser, addressOf(30));
    const opened: (readonly Opened[])[] = [];
    for (const [, days] of looks) {
      const visits: Opened[] = [];
      for (let round = 0; round < rounds; round++) visits.push(await openDashboard(browser, addressOf(days)));
      opened.push(visits);
    }
    return opened;
  });
}

async function startAnalytics(bench: Bench, dsn: string): Promise<{ url: string; stop: () => Promise<unknown> }> {
  const { dir, port } = bench.place();
  const messages = join(dir, 'analytics.out');
  const child = startPinned({
    command: process.execPath,
    args: [join(bench.tree, 'dist/main.js'), 'analytics'],
    env: {
      SERVER_ADDR: `127.0.0.1:${port}`,
      DATABASE_URL: dsn,
      JOURNAL_DIR: join(dir, 'journal'),
      ACCESS: 'open',
      ACCEPTORS: '1',
    },
    cwd: dir,
    messages,
    core: '0,1',
  });
  await untilListening(child, port, messages);
  return { url: `http://127.0.0.1:${port}`, stop: () => stopChild(child) };
}

export const statistics: Question = {
  name: 'statistics',
  asks: 'Statistics of a site with 100 M events over two years behind it: GET /stats, filters, the dashboard in a browser, and SQL over raw rows.',
  async answer(bench) {
    const site = siteOf(bench);
    const undo: (() => unknown)[] = [];
    const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
    try {
      const { dsn } = await startPostgres(scope, {
        port: bench.place().port,
        own: true,
        settings: { fsync: 'off', max_wal_size: '4GB', shared_buffers: '512MB' },
      });
      const server = await startAnalytics(bench, dsn);
      undo.push(server.stop);
      const link = await openLink(dsn, { queryTimeoutMs: 600_000 });
      undo.push(() => link.close());
      const filled = await fillBigSite(link, site);
      console.error(`  filled: ${JSON.stringify(filled)}`);
      const random = randomOf(3);
      const days = Array.from(
        { length: bench.short ? 50 : 1000 },
        () => site.endDay - 1 - Math.floor(random() * site.days),
      );
      await askStats(server.url, site, days.slice(0, 20), 'UTC');
      const stats = await askStats(server.url, site, days, 'UTC');
      // These have slots of all dimensions around them.
      const edges = days.slice(0, bench.short ? 6 : 60).map((_, i) => site.endDay - [1, 30, 90][i % 3]!);
      const shifted = await askStats(server.url, site, edges, 'Europe/Berlin');
      const database = new Database({ dsn, sessions: 1, told: () => {} });
      undo.push(() => database.close());
      const breakdowns = await askBreakdowns(database, site, bench.short ? 1 : 5);
      const opened = await askDashboard(server.url, site, bench.short ? 2 : 15);
      const script = join(bench.tree, 'native-bench/rig/analytics-scan.ts');
      const first = site.endDay - site.columnDays;
      const args = [script, dsn, first, site.columnDays, bench.short ? 2 : 7].map(String);
      const scanned = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Scanned;
      const raw = await askRaw(link, site);
      return {
        tables: [
          {
            title: `GET /stats of a day and breakdowns without filters, ${count(site.events)} events over ${site.days} days`,
            head: ['', 'ms'],
            rows: [
              ['UTC, p50', us(percentile(stats, 0.5))],
              ['UTC, p95', us(percentile(stats, 0.95))],
              ['Europe/Berlin, p50', us(percentile(shifted, 0.5))],
              ['Europe/Berlin, p95', us(percentile(shifted, 0.95))],
              ['ten values of a dimension, 90 days, p50', us(percentile(breakdowns, 0.5))],
              ['ten values of a dimension, 90 days, p95', us(percentile(breakdowns, 0.95))],
              ...raw.map(([name, ms]) => [`raw table: ${name}`, us(ms)]),
            ],
          },
          {
            title: `Filters by two dimensions, ${site.columnDays} days with ${count(filled.columnEvents)} events`,
            head: ['question', 'ms', 'of these reading', 'scanning', 'MB read', 'ms, columns kept'],
            rows: scanned.cold.map(({ name, ms, times }, i) => [
              name,
              us(median(ms)),
              us(times.readMs),
              us(times.scanMs),
              us(times.bytesRead / 1e6),
              us(median(scanned.warm[i]!.ms)),
            ]),
          },
          {
            title: 'The dashboard in Chromium with an empty cache, medians',
            head: ['period', 'requests', 'KB in all', 'of these files', 'first contentful paint, ms', 'all shown, ms'],
            rows: looks.map(([name], i) => {
              const of = (pick: (visit: Opened) => number): string => us(median(opened[i]!.map(pick)));
              return [
                name,
                of(({ requests }) => requests),
                of(({ bytes }) => bytes / 1000),
                of(({ fileBytes }) => fileBytes / 1000),
                of(({ paintedMs }) => paintedMs),
                of(({ shownMs }) => shownMs),
              ];
            }),
          },
        ],
        goals: [...goals(stats, shifted, breakdowns, scanned), ...dashboardGoals(opened)],
        raw: { filled, stats, shifted, breakdowns, opened, scanned, raw },
      };
    } finally {
      for (const fn of undo.reverse()) await fn();
    }
  },
};

function dashboardGoals(opened: readonly (readonly Opened[])[]): Goal[] {
  const all = opened.flat();
  return [
    {
      goal: 'dashboard over two years of data: first contentful paint, median',
      bound: 'most',
      limit: 300,
      value: median(all.map(({ paintedMs }) => paintedMs)),
      unit: 'ms',
      headline: true,
    },
    {
      goal: 'the same: files of the page, on the wire',
      bound: 'most',
      limit: 60,
      value: Math.max(...all.map(({ fileBytes }) => fileBytes)) / 1000,
      unit: 'KB',
    },
    {
      goal: 'the same: requests until all of it is shown, icon and live stream among them',
      bound: 'most',
      limit: 14,
      value: Math.max(...all.map(({ requests }) => requests)),
      unit: '',
    },
  ];
}

function goals(
  stats: readonly number[],
  shifted: readonly number[],
  breakdowns: readonly number[],
  scanned: Scanned,
): Goal[] {
  const slowest = scanned.cold.map(({ ms }) => median(ms)).reduce((a, b) => Math.max(a, b));
  const goal = (goal: string, limit: number, value: number, unit: string, headline?: true): Goal => ({
    goal,
    bound: 'most',
    limit,
    value,
    unit,
    ...(headline ? { headline } : {}),
  });
  return [
    goal('GET /stats of one day, 100 M events behind it, p95', 10, percentile(stats, 0.95), 'ms', true),
    goal('the same of a day of Europe/Berlin, p95', 10, percentile(shifted, 0.95), 'ms'),
    goal('breakdown without filters, 90 days, p95', 100, percentile(breakdowns, 0.95), 'ms', true),
    goal(
      'breakdown filtered by two dimensions, 30 days, 10 M events: the slowest of the pairs',
      1000,
      slowest,
      'ms',
      true,
    ),
    goal('RSS of the process that scans', 300, scanned.rssMiBMax, 'MiB'),
  ];
}
