/**
 * Goal: imported daily totals stand in the answers of the API where they belong, and the answers say so. Method: the tool
 * fills a real Postgres, the answers are made by the code of the worker `query`.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import service from '../../../src/analytics/analytics.ts';
import { importedNotes } from '../../../src/analytics/api/imported.ts';
import { runImport } from '../../../src/analytics/import/import-command.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { toolRun } from '../../service/tool/run.ts';
import { type Running, startAnalytics } from '../running.ts';

const scope = fileScope();
const startMs = Date.now();
const dateOf = (daysAgo: number): string => new Date(startMs - daysAgo * 86_400_000).toISOString().slice(0, 10);
let running: Running;
/** What the tool said of a site with more values than panels name. */
let saidOfWide = '';
let viewsOfBig = 0;

beforeAll(async () => {
  const { dsn } = await startPostgres(scope, { port: 21_735, settings: fastSettings });
  running = await startAnalytics(scope, { port: 21_736, env: { DATABASE_URL: dsn } });
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-imported-'));
  const written = (name: string, lines: readonly string[]) => {
    writeFileSync(join(folder, name), lines.join('\n'));
    return join(folder, name);
  };
  const runFor = (site: string, format: string, ...files: readonly string[]) =>
    toolRun(() => runImport(service, [`--site=${site}`, `--format=${format}`, `--pg-dsn=${dsn}`, ...files]));
  const run = (format: string, ...files: readonly string[]) => runFor('shop', format, ...files);
  const view = { event_type: 'page_view', path: '/a', user_id: 'u' };
  const own = ['2024-01-03T10:00:00Z', '2024-01-04T10:00:00Z'].map((timestamp) =>
    JSON.stringify({ ...view, timestamp }),
  );
  await run('json', written('own.ndjson', own));
  // Nobody but a crawler came that day: the imported one counts.
  const agent = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
  const crawled = `66.249.66.1 - - [02/Jan/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "${agent}"`;
  expect((await run('combined', written('bots.log', [crawled, '']))).code).toBe(0);
  const visitors = written('visitors.csv', [
    'date,visitors,pageviews,bounces,visits,visit_duration',
    '2024-01-01,10,30,4,10,600',
    '2024-01-02,20,50,6,30,600',
    // The site has events of its own that day.
    '2024-01-03,1000,1000,0,1000,0',
  ]);
  const pages = written('pages.csv', [
    'date,hostname,page,visitors,pageviews',
    '2024-01-01,x,/a,8,20',
    '2024-01-02,x,/old,9,40',
  ]);
  expect((await run('plausible-csv', visitors, pages)).code).toBe(0);
  const many = Array.from({ length: 2500 }, (_, i) => `2024-01-01,x,/${i},${1 + (i % 7)},${1 + (i % 11)}`);
  const moved = [
    written('moved_visitors.csv', ['date,visitors,pageviews,bounces,visits,visit_duration', '2024-01-01,9,9,0,9,0']),
    written('moved_pages.csv', ['date,hostname,page,visitors,pageviews', ...many]),
  ];
  const quiet = await runFor('moved', 'plausible-csv', ...moved);
  expect([quiet.code, quiet.said.includes('(other)')]).toEqual([0, false]);
  const today = written('today_visitors.csv', [
    'date,visitors,pageviews,bounces,visits,visit_duration',
    `${dateOf(1)},5,5,0,5,0`,
    `${dateOf(0)},700,700,0,700,0`,
  ]);
  expect((await runFor('today', 'plausible-csv', today)).code).toBe(0);
  const pagesOfWide = Array.from({ length: 10_003 }, (_, i) => `2024-01-01,x,/${i},${i < 10_000 ? 2 : 1},3`);
  const wide = await runFor(
    'wide',
    'plausible-csv',
    written('wide_visitors.csv', ['date,visitors,pageviews,bounces,visits,visit_duration', '2024-01-01,9,9,0,9,0']),
    written('wide_pages.csv', ['date,hostname,page,visitors,pageviews', ...pagesOfWide]),
  );
  expect(wide.code).toBe(0);
  saidOfWide = wide.said;
  // Each of 2,600 pages has one to four views, on days of their own and by visitors who come again: many ties.
  const views = Array.from({ length: 2600 }, (_, i) =>
    Array.from({ length: 1 + (i % 4) }, (_, n) => ({
      ...view,
      path: `/page/${i}`,
      user_id: `u${n % 2}-${i}`,
      timestamp: `2024-01-${String(1 + ((i + 5 * n) % 20)).padStart(2, '0')}T10:00:00Z`,
    })),
  ).flat();
  viewsOfBig = views.length;
  const file = written(
    'big.ndjson',
    views.map((one) => JSON.stringify(one)),
  );
  expect((await runFor('big', 'json', file)).code).toBe(0);
});

const PERIOD = 'period=custom&from=2024-01-01&to=2024-01-04&compare=none';
async function ask<T>(panel: string, more = ''): Promise<T> {
  const answer = await running.get(`/api/sites/shop/${panel}?${PERIOD}${more}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as T;
}
interface Notes {
  readonly notes: readonly string[];
}

test('they are added where nothing is filtered, but for days that the site has counted itself', async () => {
  const { metrics, notes } = await ask<Notes & { metrics: Record<string, { value: number }> }>('summary');
  const values = Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value]));
  expect(values).toMatchObject({
    visits: 42,
    views: 82,
    visitors: 31,
    bounce_rate: 12 / 42,
    visit_duration: 1200 / 42,
  });
  expect(notes).toContain(importedNotes.added);
  type Points = Notes & { points: { at: string; value: number }[] };
  const days = await ask<Points>('timeseries', '&metric=views&interval=day');
  expect(days.points.map(({ value }) => value)).toEqual([30, 50, 1, 1]);
  const hours = await ask<Points>('timeseries', '&metric=views&interval=hour');
  expect(hours.points.reduce((sum, { value }) => sum + value, 0)).toBe(2);
  expect(hours.notes).toContain(importedNotes.hours);
  const pages = await ask<Notes & { rows: { value: string; views: number }[]; total: number }>(
    'breakdown',
    '&dimension=path&order=views',
  );
  expect(pages.rows.map(({ value, views }) => [value, views])).toEqual([
    ['/old', 40],
    ['/a', 22],
  ]);
  expect([pages.total, pages.notes.includes(importedNotes.added)]).toEqual([2, true]);
  const second = await ask<{ rows: { value: string }[]; more: boolean }>(
    'breakdown',
    '&dimension=path&order=views&limit=1&page=2',
  );
  expect([second.rows.map(({ value }) => value), second.more]).toEqual([['/a'], false]);
});

test('the total of a day that is not over is left out of it', async () => {
  const visitors = async (query: string) => {
    const answer = await running.get(`/api/sites/today/summary?compare=none&${query}`);
    return ((await answer.json()) as { metrics: { visitors: { value: number } } }).metrics.visitors.value;
  };
  // By its date, which is that of the start of this test.
  expect(await visitors(`from=${dateOf(1)}&to=${dateOf(1)}`)).toBe(5);
  expect(await visitors(`from=${dateOf(1)}&to=${dateOf(0)}`)).toBe(5);
});

test('a site that was imported alone has something to show, and its files have all of it', async () => {
  const { sites } = (await (await running.get('/api/sites')).json()) as { sites: Record<string, unknown>[] };
  expect(sites).toContainEqual(expect.objectContaining({ site_id: 'moved', has_events: true }));
  const file = async (more: string) => {
    const answer = await running.get(`/api/sites/moved/export?${PERIOD}&dimension=path&format=csv${more}`);
    return (await answer.text()).trim().split('\r\n').slice(1);
  };
  const lines = await file('');
  const names = lines.map((line) => line.split(',')[0]!);
  expect(new Set(names)).toEqual(new Set(Array.from({ length: 2500 }, (_, i) => `/${i}`)));
  expect(lines).toHaveLength(2500);
  expect((await file('&search=/249')).map((line) => line.split(',')[0]!).toSorted()).toEqual(
    ['/249', ...Array.from({ length: 10 }, (_, i) => `/249${i}`)].toSorted(),
  );
});

test('of more values than have a row of their own the rest is together, and tool, answers and files say so', async () => {
  expect(saidOfWide).toContain(
    'path: 10,003 values were imported; panels and files name the 10,000 with the most visitors',
  );
  const answer = await running.get(`/api/sites/wide/breakdown?${PERIOD}&dimension=path&limit=5`);
  const { other, total, notes } = (await answer.json()) as {
    readonly other: Record<string, unknown>;
    readonly total: number;
    readonly notes: readonly string[];
  };
  expect([total, other]).toEqual([10_000, expect.objectContaining({ value: '(other)', visitors: 3, views: 9 })]);
  expect(notes).toContainEqual(expect.stringContaining('imported ones beyond 10,000 stand together under (other)'));
  const csv = await (await running.get(`/api/sites/wide/export?${PERIOD}&dimension=path&format=csv`)).text();
  const [head, ...lines] = csv.trim().split('\r\n');
  expect(lines).toHaveLength(10_001);
  const at = head!.split(',').indexOf('views');
  expect(lines.reduce((sum, line) => sum + Number(line.split(',')[at]), 0)).toBe(3 * 10_003);
  expect(lines.at(-1)).toMatch(/^\(other\),/);
});

describe('thousands of values over many days: each is there once', () => {
  const month = 'period=custom&from=2024-01-01&to=2024-01-31&compare=none';
  const all = Array.from({ length: 2600 }, (_, i) => `/page/${i}`).toSorted();
  const filters = `&filters=${encodeURIComponent('[["contains","path",["/page/"]]]')}`;
  test.each([
    ['of events', 'dimension=path'],
    ['of visits', 'dimension=entry_page'],
    ['under filters', `dimension=path${filters}`],
  ])('in files %s', async (_, what) => {
    const csv = await (await running.get(`/api/sites/big/export?${month}&${what}&format=csv`)).text();
    const [head, ...lines] = csv
      .trim()
      .split('\r\n')
      .map((line) => line.split(','));
    expect(lines.map(([name]) => name).toSorted()).toEqual(all);
    const json = (await (await running.get(`/api/sites/big/export?${month}&${what}&format=json`)).json()) as {
      readonly rows: readonly { readonly value: string; readonly views: number }[];
    };
    const at = head!.indexOf('views');
    expect(json.rows.map(({ value, views }) => [value, views])).toEqual(
      lines.map((line) => [line[0], Number(line[at])]),
    );
    expect(json.rows.reduce((sum, { views }) => sum + views, 0)).toBe(viewsOfBig);
  });

  test.each(['visitors', 'views', 'events'])('in the pages of a list by %s, in its order', async (order) => {
    const rows: Record<string, number | string>[] = [];
    for (let page = 1, more = true; more; page += 1) {
      const asked = `${month}&dimension=path&order=${order}&limit=700&page=${page}`;
      const answer = await running.get(`/api/sites/big/breakdown?${asked}`);
      const found = (await answer.json()) as { readonly rows: typeof rows; readonly more: boolean };
      expect(answer.status, JSON.stringify(found)).toBe(200);
      rows.push(...found.rows);
      more = found.more;
    }
    expect(rows.map(({ value }) => value).toSorted()).toEqual(all);
    const numbers = rows.map((row) => Number(row[order]));
    expect(numbers).toEqual(numbers.toSorted((a, b) => b - a));
  });
});

test('they are left out under filters, and the answer says so', async () => {
  const filters = `&filters=${encodeURIComponent('[["is","path",["/a"]]]')}`;
  const { metrics, notes } = await ask<Notes & { metrics: Record<string, { value: number }> }>('summary', filters);
  expect([metrics['views']!.value, notes]).toEqual([2, expect.arrayContaining([importedNotes.filtered])]);
  const all = await running.get('/api/sites/shop/summary?period=all');
  expect(await all.json()).toMatchObject({ from: '2024-01-01' });
});
