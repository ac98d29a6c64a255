/**
 * Goal: what Plausible documents for its stats API v2 runs here with the same names, and says the right numbers. Method:
 * the examples of their reference (plausible/docs, src/js/apiv2-examples), asked of a running service whose events are
 * known; those about what is not held here are refused with what is.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { countryCode } from '../../../src/analytics/api/v2/words.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { buildMmdb } from '../../visitor/mmdb.ts';
import { type Running, startAnalytics } from '../running.ts';

const scope = fileScope();
let postgres: PostgresServer;
let running: Running;

const DAY = 86_400_000;
const today = new Date().toISOString().slice(0, 10);
const daysAgo = (days: number) => new Date(Date.parse(today) - days * DAY).toISOString().slice(0, 10);

/** Events of one visitor: what is looked at from two days ago, a minute after the other. */
function visit(user: string, day: string, first: Readonly<Record<string, unknown>>, ...events: readonly object[]) {
  return [first, ...events].map((event, i) => ({
    site_id: 'dummy.site',
    event_type: 'page_view',
    user_id: user,
    timestamp: `${day}T00:0${i}:00Z`,
    ...event,
  }));
}

const sent = [
  ...visit(
    'a',
    daysAgo(2),
    { path: '/docs/Blog', utm_medium: 'social', utm_source: 'twitter', utm_campaign: 'Referral' },
    { path: '/pricing' },
    { event_type: 'Signup', path: '/pricing', props: { is_customer: true } },
  ),
  ...visit('b', daysAgo(2), { path: '/docs/blog', utm_medium: 'social', utm_source: 'twitter' }),
  ...visit(
    'c',
    daysAgo(1),
    { path: '/pricing', utm_source: 'google' },
    { event_type: 'Signup', props: { is_customer: false } },
  ),
  ...visit('d', today, { path: '/', props: { 'odd "key",': 'odd "key",', plain: 'odd "key",' } }),
  ...visit('a', today, { path: '/' }),
];

beforeAll(async () => {
  postgres = await startPostgres(scope, { port: 23_170, settings: fastSettings });
  const geo = join(temporaryFolder('v2-geo-').folder, 'geo.mmdb');
  const berlin = { country: { iso_code: 'DE' }, subdivisions: [{ iso_code: 'BE', names: { en: 'Land Berlin' } }] };
  writeFileSync(geo, buildMmdb({ '10.1.0.0/16': berlin }));
  const env = { DATABASE_URL: postgres.dsn, GEOIP_DB: geo, TRUST_PROXY: 'true' };
  running = await startAnalytics(scope, { port: 23_171, env });
  expect((await running.post('/events', sent)).status).toBe(202);
  const client = new pg.Client({ connectionString: postgres.dsn });
  await client.connect();
  scope.onTestFinished(() => client.end());
  const stored = async () => (await client.query('SELECT count(*)::int AS n FROM events')).rows[0].n as number;
  await running.process.until(async () => (await stored()) === sent.length, 180_000);
  await client.query(`INSERT INTO goals (site, kind, match, name)
    SELECT site, 'event', 'Signup', 'Signup' FROM sites WHERE site_id = 'dummy.site'`);
});
afterAll(() => running.process.end('SIGKILL'));

interface Answer {
  readonly results: readonly { readonly dimensions: readonly string[]; readonly metrics: readonly number[] }[];
  readonly meta: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
}

async function ask(query: object): Promise<Answer> {
  const answer = await running.post('/api/v2/query', { site_id: 'dummy.site', ...query });
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  return JSON.parse(text) as Answer;
}
const rows = async (query: object) =>
  (await ask(query)).results.map(({ dimensions, metrics }) => [...dimensions, ...metrics]);

describe('their examples', () => {
  test('aggregate', async () => {
    const found = await ask({ metrics: ['visitors', 'events'], date_range: '7d' });
    expect(found.results).toEqual([{ dimensions: [], metrics: [4, sent.length] }]);
    expect(found.query).toMatchObject({
      site_id: 'dummy.site',
      metrics: ['visitors', 'events'],
      dimensions: [],
      filters: [],
    });
  });
  test('custom date range', async () => {
    expect(await rows({ metrics: ['visitors'], date_range: [daysAgo(2), daysAgo(1)] })).toEqual([[3]]);
    const times = [`${daysAgo(2)}T00:00:00+00:00`, `${daysAgo(2)}T23:59:59+00:00`];
    expect(await rows({ metrics: ['visitors'], date_range: times })).toEqual([[2]]);
    // Sums are kept by quarters of an hour: one that has begun is in it.
    const minutes = [`${daysAgo(2)}T00:00:00Z`, `${daysAgo(2)}T00:02:59Z`];
    expect(await rows({ metrics: ['visitors'], date_range: minutes })).toEqual([[2]]);
  });
  test('each named range has its days', async () => {
    const monthsBack = (months: number) =>
      new Date(Date.UTC(Number(today.slice(0, 4)), Number(today.slice(5, 7)) - 1 - months, 1))
        .toISOString()
        .slice(0, 10);
    const first = {
      day: today,
      '7d': daysAgo(6),
      '28d': daysAgo(27),
      '30d': daysAgo(29),
      '91d': daysAgo(90),
      month: monthsBack(0),
      '6mo': monthsBack(5),
      '12mo': monthsBack(11),
      year: `${today.slice(0, 4)}-01-01`,
      all: daysAgo(2),
    };
    for (const [date_range, day] of Object.entries(first)) {
      const { query } = await ask({ metrics: ['visitors'], date_range });
      expect(query['date_range'], date_range).toEqual([`${day}T00:00:00.000Z`, `${today}T23:59:59.000Z`]);
    }
  });
  test('filtering: contains, or, not', async () => {
    const filters = [
      ['contains', 'event:page', ['/docs', '/pricing']],
      [
        'or',
        [
          ['not', ['is', 'visit:utm_campaign', ['Referral']]],
          ['is', 'visit:country_name', ['Estonia', 'United States of America']],
        ],
      ],
    ];
    expect(await rows({ metrics: ['visitors'], date_range: '7d', filters })).toEqual([[2]]);
    // Not (this or that) is neither, and not (this and that) is all but both: of pages of four visitors.
    const [docs, social] = [
      ['contains', 'event:page', ['/docs']],
      ['is', 'visit:utm_campaign', ['Referral']],
    ];
    const not = async (word: string) => {
      const query = { metrics: ['events'], date_range: '7d', filters: [['not', [word, [docs, social]]]] };
      return (await rows(query))[0]![0];
    };
    // Of eight events three are of the campaign, one of those and one other of /docs.
    expect([await not('or'), await not('and')]).toEqual([sent.length - 4, sent.length - 1]);
  });
  test('filtering without regard to letters', async () => {
    const filters = [['contains', 'event:page', ['blog'], { case_sensitive: false }]];
    expect(await rows({ metrics: ['visitors'], date_range: '7d', filters })).toEqual([[2]]);
    expect(
      await rows({ metrics: ['visitors'], date_range: '7d', filters: [['contains', 'event:page', ['blog']]] }),
    ).toEqual([[1]]);
  });
  test('filtering by regular expressions', async () => {
    const of = (...filters: unknown[]) => rows({ metrics: ['visitors'], date_range: '7d', filters });
    const contained = await of(['contains', 'event:page', ['/docs', '/pricing']]);
    expect(contained).not.toEqual([[0]]);
    expect(await of(['matches', 'event:page', ['^/(docs|pricing)']])).toEqual(contained);
    expect(await of(['not', ['matches_not', 'event:page', ['/docs', '/pric.ng$']]])).toEqual(contained);
    expect(await of(['matches', 'event:page', ['^/docs/BLOG$'], { case_sensitive: false }])).toEqual([[2]]);
    expect(await of(['matches', 'event:props:is_customer', ['^t.*e$']])).toEqual(
      await of(['is', 'event:props:is_customer', ['true']]),
    );
  });
  test('what a visit has done, and has not', async () => {
    const of = (...filters: unknown[]) =>
      rows({ metrics: ['visitors', 'visits', 'pageviews', 'events'], date_range: '7d', filters });
    const signedUp = ['is', 'event:name', ['Signup']];
    // Whole visits, with all of their events: those of a and c.
    expect(await of(['has_done', signedUp])).toEqual([[2, 2, 3, 5]]);
    expect(await of(signedUp)).toEqual([[2, 2, 0, 2]]);
    // One of b, one of d, and the second of a.
    expect(await of(['has_not_done', signedUp])).toEqual([[3, 3, 3, 3]]);
    expect(await of(['not', ['has_not_done', ['is', 'event:goal', ['Signup']]]])).toEqual([[2, 2, 3, 5]]);
    // Both in one visit, not in one event; and pages of those who signed up.
    expect(await of(['has_done', signedUp], ['has_done', ['is', 'event:page', ['/docs/Blog']]])).toEqual([
      [1, 1, 2, 3],
    ]);
    expect(await of(['has_done', signedUp], ['is', 'event:page', ['/pricing']])).toEqual([[2, 2, 2, 3]]);
    expect(await of(['has_done', ['is', 'event:props:is_customer', ['true']]])).toEqual([[1, 1, 2, 3]]);
    expect(
      await rows({
        metrics: ['visitors'],
        date_range: '7d',
        dimensions: ['event:page'],
        filters: [['has_done', signedUp]],
      }),
    ).toEqual([
      ['/pricing', 2],
      ['/docs/Blog', 1],
    ]);
  });
  test('the last 24 hours, by the hour', async () => {
    const found = await ask({
      metrics: ['visitors'],
      date_range: '24h',
      dimensions: ['time'],
      include: { time_labels: true },
    });
    expect((found.meta['time_labels'] as unknown[]).length).toBeGreaterThanOrEqual(24);
    expect(found.results).toEqual([{ dimensions: [`${today} 00:00:00`], metrics: [2] }]);
    const [from, to] = found.query['date_range'] as [string, string];
    expect(Date.parse(to) - Date.parse(from)).toBe(DAY - 1000);
    expect(Math.abs(Date.parse(to) - Date.now())).toBeLessThan(16 * 60_000);
    expect(await rows({ metrics: ['visitors'], date_range: '24h' })).toEqual([[2]]);
  });
  test('time series', async () => {
    const found = await ask({
      metrics: ['visitors', 'events'],
      date_range: '7d',
      filters: [['is', 'visit:os', ['GNU/Linux', 'Linux', '']]],
      dimensions: ['time:day'],
    });
    expect(found.results).toEqual([
      { dimensions: [daysAgo(2)], metrics: [2, 4] },
      { dimensions: [daysAgo(1)], metrics: [1, 2] },
      { dimensions: [today], metrics: [2, 2] },
    ]);
    expect(found.query['order_by']).toEqual([
      ['time:day', 'asc'],
      ['visitors', 'desc'],
    ]);
  });
  test('hours with labels', async () => {
    const found = await ask({
      metrics: ['visitors'],
      date_range: 'day',
      dimensions: ['time:hour'],
      include: { time_labels: true },
    });
    expect(found.results).toEqual([{ dimensions: [`${today} 00:00:00`], metrics: [2] }]);
    expect(found.meta['time_labels']).toHaveLength(24);
  });
  test('medium and source, and a page of them', async () => {
    const query = {
      metrics: ['visitors', 'events', 'pageviews'],
      date_range: '7d',
      dimensions: ['visit:utm_medium', 'visit:utm_source'],
    };
    expect(await rows(query)).toEqual([
      ['(not set)', '(not set)', 2, 2, 2],
      ['social', 'twitter', 2, 4, 3],
      ['(not set)', 'google', 1, 2, 1],
    ]);
    const page = await ask({ ...query, include: { total_rows: true }, pagination: { limit: 1, offset: 1 } });
    expect(page.results).toEqual([{ dimensions: ['social', 'twitter'], metrics: [2, 4, 3] }]);
    expect(page.meta['total_rows']).toBe(3);
  });
  test('custom properties by day', async () => {
    const query = {
      metrics: ['visitors'],
      date_range: '7d',
      dimensions: ['time:day', 'event:props:is_customer'],
      order_by: [
        ['time:day', 'asc'],
        ['event:props:is_customer', 'desc'],
      ],
    };
    expect(await rows(query)).toEqual([
      [daysAgo(2), 'true', 1],
      [daysAgo(1), 'false', 1],
    ]);
    expect(
      await rows({ metrics: ['visitors'], date_range: '7d', filters: [['is', 'event:props:is_customer', ['true']]] }),
    ).toEqual([[1]]);
  });
  test('rates by time: of the whole range, and of the visitors of each day', async () => {
    const metrics = ['visitors', 'conversion_rate', 'group_conversion_rate'];
    const filters = [['is', 'event:goal', ['Signup']]];
    expect(await rows({ metrics, date_range: '7d', dimensions: ['time:day'], filters })).toEqual([
      [daysAgo(2), 1, 25, 50],
      [daysAgo(1), 1, 25, 100],
    ]);
    expect(await rows({ metrics, date_range: '7d', dimensions: ['time:day', 'event:goal'] })).toEqual([
      [daysAgo(2), 'Signup', 1, 25, 50],
      [daysAgo(1), 'Signup', 1, 25, 100],
    ]);
    const bySource = { metrics, date_range: '7d', dimensions: ['visit:source'], filters };
    expect((await rows(bySource)).toSorted()).toEqual([
      ['google', 1, 25, 100],
      ['twitter', 1, 25, 50],
    ]);
  });
  test('a property is told from others whose names or values look like it', async () => {
    const found = await ask({
      metrics: ['events'],
      date_range: '7d',
      dimensions: ['event:props:odd "key",'],
      include: { total_rows: true },
    });
    expect(found.results).toEqual([{ dimensions: ['odd "key",'], metrics: [1] }]);
    expect(found.meta).toEqual({ total_rows: 1 });
  });
  test('imports are said not to be in it', async () => {
    const found = await ask({
      metrics: ['visitors'],
      date_range: 'all',
      dimensions: ['visit:source'],
      include: { imports: true },
    });
    expect(found.meta).toMatchObject({ imports_included: false });
    expect(found.results[0]).toEqual({ dimensions: ['Direct / None'], metrics: [2] });
  });
  test('goals: conversions and their rate', async () => {
    expect(
      await rows({ metrics: ['visitors', 'events', 'conversion_rate'], date_range: '7d', dimensions: ['event:goal'] }),
    ).toEqual([['Signup', 2, 2, 50]]);
    expect(
      await rows({ metrics: ['conversion_rate'], date_range: '7d', filters: [['is', 'event:goal', ['Signup']]] }),
    ).toEqual([[50]]);
    expect(
      await rows({
        metrics: ['visitors', 'percentage', 'bounce_rate'],
        date_range: '7d',
        dimensions: ['visit:utm_medium'],
      }),
    ).toEqual([['social', 2, 50, 50]]);
  });
});

test('regions have names where the GeoIP database had them', async () => {
  const sent = await fetch(`${running.url}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': '10.1.0.1', 'user-agent': 'curl/8.5.0' },
    body: JSON.stringify({ site_id: 'places', event_type: 'page_view', path: '/', user_id: 'berliner' }),
  });
  expect(sent.status).toBe(202);
  const of = (query: object) => rows({ site_id: 'places', metrics: ['visitors'], date_range: 'day', ...query });
  // The name is stored beside the event, at its own pace.
  await expect.poll(() => of({ dimensions: ['visit:region_name'] }).catch(String)).toEqual([['Land Berlin', 1]]);
  expect(await of({ dimensions: ['visit:region'] })).toEqual([['DE-BE', 1]]);
  expect(await of({ dimensions: ['visit:country_name', 'visit:region_name'] })).toEqual([
    ['Germany', 'Land Berlin', 1],
  ]);
  const by = (...filter: unknown[]) => of({ filters: [filter] });
  expect(await by('is', 'visit:region_name', ['Land Berlin'])).toEqual([[1]]);
  expect(await by('contains', 'visit:region_name', ['berlin'], { case_sensitive: false })).toEqual([[1]]);
  expect(await by('matches', 'visit:region_name', ['^Land'])).toEqual([[1]]);
  expect(await by('is', 'visit:region_name', ['Bavaria'])).toEqual([[0]]);
  expect(await by('is_not', 'visit:region_name', ['Land Berlin'])).toEqual([[0]]);
});

test('countries are found by their names, and none that is no more', () => {
  const names = ['Germany', 'United Kingdom', 'Russia', 'United States of America', 'Nowhere'];
  expect(names.map(countryCode)).toEqual(['DE', 'GB', 'RU', 'US', 'Nowhere']);
});

test.each([
  ['a city', { dimensions: ['visit:country_name', 'visit:city_name'] }, /visit:country_name/],
  ['a segment', { filters: [['is', 'segment', ['2']]] }, /event:page/],
  ['revenue', { metrics: ['total_revenue'], dimensions: ['event:goal'] }, /visitors, visits, pageviews/],
  ['a visit that has done what visits have', { filters: [['has_done', ['is', 'visit:os', ['Mac']]]] }, /event:/],
  ['scroll depth', { metrics: ['scroll_depth'], dimensions: ['event:page'] }, /time_on_page/],
  ['a regular expression that is none', { filters: [['matches', 'event:page', ['^/(x$']]] }, /missing closing \)/],
  ['a regular expression that backtracks', { filters: [['matches', 'event:page', ['(a)\\1']]] }, /RE2/],
  ['sessions of pages', { metrics: ['bounce_rate'], dimensions: ['event:page'] }, /pageviews/],
  ['an unknown range', { date_range: 'fortnight' }, /28d/],
  ['an order by what is not asked', { order_by: [['events', 'asc']] }, /order_by must/],
])('%s is refused with what there is', async (_, query, detail) => {
  const answer = await running.post('/api/v2/query', {
    site_id: 'dummy.site',
    metrics: ['visitors'],
    date_range: '7d',
    ...query,
  });
  const problem = (await answer.json()) as { readonly code: string; readonly detail: string };
  expect(answer.status).toBe(400);
  expect(problem.code).toBe('BAD_PARAMETER');
  expect(problem.detail).toMatch(detail);
});
