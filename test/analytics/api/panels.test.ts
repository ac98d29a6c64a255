/**
 * Goal: what the API says of a period, whatever is filtered and compared, is what a count of the events themselves says.
 * Method: random events over the days on which New York sets its clocks, as rows of a real Postgres (../query/filled.ts);
 * the same questions answered here in the plainest way, from nothing but the events.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { answerApi } from '../../../src/analytics/api/answers.ts';
import type {
  BreakdownAnswer,
  Compare,
  Dimension,
  Filter,
  Metric,
  Period,
  SummaryAnswer,
  TimeseriesAnswer,
} from '../../../src/analytics/api/contract.ts';
import { type ApiQuestion, askedBreakdown, askedSite } from '../../../src/analytics/api/questions.ts';
import { Columns } from '../../../src/analytics/columns/store.ts';
import { dimensions } from '../../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { type Snapshot, snapshotOf } from '../../../src/analytics/query/database.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { eventOf, fill } from '../query/filled.ts';
import { isEngagement, visitsOf } from '../recount.ts';
import { random } from '../traffic.ts';

const scope = fileScope();
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TIMEOUT = HOUR / 2;
const FIRST = Date.parse('2024-10-20T00:00:00Z');
/** A Tuesday afternoon in New York, two days after its clocks were set back. */
const NOW = Date.parse('2024-11-05T20:40:00Z');
const dictionaries = new Map(Object.values(dimensions).map(({ id, dictionary }) => [id as number, dictionary]));
let link: PostgresLink;
let snapshot: Snapshot;
let columns: Columns;
let people: readonly CountedEvent[];
let engagements: readonly CountedEvent[];
let visits: readonly CountedEvent[][];
let visitByEvent: ReadonlyMap<CountedEvent, readonly CountedEvent[]>;

beforeAll(async () => {
  const { dsn } = await startPostgres(scope, { port: 23_160, settings: fastSettings });
  await migrateAnalytics(dsn);
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
  const events = someEvents();
  const persons = events.filter(({ event }) => event.bot === undefined);
  people = persons.filter((one) => !isEngagement(one));
  engagements = persons.filter((one) => isEngagement(one));
  visits = visitsOf(people, TIMEOUT);
  visitByEvent = new Map(visits.flatMap((visit) => visit.map((one) => [one, visit] as const)));
  await fill(link, events, (dimension) => dictionaries.get(dimension)!, { sessionTimeoutMs: TIMEOUT });
  await link.query(`UPDATE sites SET time_zone = 'America/New_York';
    INSERT INTO goals (site, kind, match, name) VALUES (1, 'event', 'signup', 'Signed up'), (1, 'path', '/p3', 'Page 3'),
      (1, 'path', '/docs/**', 'Docs'), (1, 'event', 'never', 'Never')`);
  snapshot = snapshotOf(link);
  columns = new Columns({ gapMs: TIMEOUT, cacheBytes: 1 << 24 });
});

function someEvents(): CountedEvent[] {
  const next = random(29);
  const below = (n: number) => Math.floor(next() * n);
  return Array.from({ length: 1500 }, (_, i) => {
    const ms = FIRST + below(17 * 96 - 14) * (HOUR / 4) + below(HOUR / 4);
    const [who, kind] = [next(), next()];
    const eventType = kind < 0.6 ? 'page_view' : kind < 0.75 ? 'signup' : kind < 0.85 ? 'click' : 'engagement';
    const props = {
      engagement: { ms: 1 + below(9000) },
      signup: { plan: ['free', 'pro'][below(2)]!, seats: below(3) },
    };
    return eventOf(i, 'site', 1, ms, {
      eventType,
      ...(next() < 0.9 ? { path: next() < 0.2 ? `/docs/${below(3)}/${below(2)}` : `/p${below(6)}` } : {}),
      ...(who < 0.4 ? { userId: `user-${below(40)}` } : who < 0.9 ? { visitor: `v${below(5)}` } : {}),
      ...(next() < 0.5 ? { referrer: `source-${below(3)}` } : {}),
      ...(next() < 0.7 ? { browser: ['Firefox', 'Chrome', 'Safari'][below(3)]! } : {}),
      ...(next() < 0.04 ? { bot: 'Googlebot' } : {}),
      ...(eventType in props && next() < 0.9 ? { props: props[eventType as 'signup'] } : {}),
    });
  });
}

// The plain way ----------------------------------------------------------------------------------------------------------

type Span = readonly [fromMs: number, toMs: number];
interface Sums {
  readonly visitors: number;
  readonly visits: number;
  readonly views: number;
  readonly bounces: number;
  readonly durationMs: number;
  readonly events: number;
  readonly engagedMs: number;
}

const visitLevel = new Set<string>(['source', 'browser', 'entry_page']);
const visitOf = (one: CountedEvent) => visitByEvent.get(one);

function names([op, dimension, values]: Filter, text: string): boolean {
  if (dimension === 'goal') {
    const patterns = values.map(
      (name) => ({ 'Signed up': /^signup\n/, 'Page 3': /\n\/p3$/, Docs: /\n\/docs\/.*$/ })[name]!,
    );
    return patterns.some((pattern) => pattern.test(text));
  }
  if (op.startsWith('is')) return values.includes(text);
  if (op.startsWith('contains')) return values.some((value) => text.includes(value));
  return values.some((value) => new RegExp(`^${value.replaceAll('**', '.+').replaceAll('*', '[^/]*')}$`).test(text));
}

function textOf(filter: Filter, { event, source }: CountedEvent): string {
  const [, dimension] = filter;
  if (dimension === 'source') return source;
  if (dimension === 'browser') return event.browser ?? '';
  if (dimension === 'path') return event.path ?? '';
  if (dimension === 'goal') return `${event.eventType}\n${event.path ?? ''}`;
  if (dimension === 'event_type') return event.eventType;
  const [, type, key] = dimension.split(':');
  const value = event.eventType === type ? event.props?.[key!] : undefined;
  return value === undefined ? '\0none' : String(value);
}

function keeps(filters: readonly Filter[], one: CountedEvent): boolean {
  return filters.every((filter) => {
    const negative = filter[0].endsWith('_not');
    if (!visitLevel.has(filter[1])) return names(filter, textOf(filter, one)) !== (negative || filter[0] === 'is_not');
    const visit = visitOf(one);
    if (visit === undefined) return false;
    const text =
      filter[1] === 'entry_page'
        ? (visit.find(({ event }) => event.eventType === 'page_view' && event.path)?.event.path ?? '')
        : textOf(filter, visit[0]!);
    return names(filter, text) !== (negative || filter[0] === 'is_not');
  });
}

const within = ([from, to]: Span, { event }: CountedEvent) => event.timestampMs >= from && event.timestampMs < to;
const isView = ({ event }: CountedEvent) => event.eventType === 'page_view';
const distinct = (some: readonly CountedEvent[]) =>
  new Set(some.map(({ visitor }) => visitor).filter((visitor) => visitor !== undefined)).size;

function sumsIn(span: Span, filters: readonly Filter[]): Sums {
  const kept = people.filter((one) => keeps(filters, one));
  const keptSet = new Set(kept);
  const seen = kept.filter((one) => within(span, one));
  const begun = visits.filter((visit) => within(span, visit[0]!) && visit.some((one) => keptSet.has(one)));
  return {
    visitors: distinct(seen),
    visits: begun.length,
    views: seen.filter(isView).length,
    bounces: begun.filter(({ length }) => length === 1).length,
    durationMs: begun.reduce((sum, visit) => sum + visit.at(-1)!.event.timestampMs - visit[0]!.event.timestampMs, 0),
    events: seen.length,
    engagedMs: engagedIn(span, filters, keptSet),
  };
}

function engagedIn(span: Span, filters: readonly Filter[], kept: ReadonlySet<CountedEvent>): number {
  const onPath = filters.filter(
    ([, dimension, values]) => dimension === 'path' || (dimension === 'goal' && !values.includes('Signed up')),
  );
  return engagements
    .filter((one) => within(span, one) && keeps(onPath, one))
    .filter((one) => {
      if (filters.length === 0) return true;
      const day = Math.floor(one.event.timestampMs / DAY);
      const before = visits
        .filter(([first]) => first!.visitor === one.visitor && one.visitor !== undefined)
        .filter(([first]) => Math.floor(first!.event.timestampMs / DAY) === day)
        .filter(([first]) => first!.event.timestampMs <= one.event.timestampMs)
        .toSorted(([a], [b]) => a!.event.timestampMs - b!.event.timestampMs)
        .at(-1);
      return before === undefined ? onPath.length === filters.length : before.some((event) => kept.has(event));
    })
    .reduce((sum, { event }) => sum + ((event.props?.['ms'] as number | undefined) ?? 0), 0);
}

function metricsOf(sums: Sums): Record<Metric, number> {
  const { visitors, visits: count, views, events } = sums;
  const per = (value: number) => (count === 0 ? 0 : value / count);
  return {
    visitors,
    visits: count,
    views,
    views_per_visit: per(views),
    bounce_rate: per(sums.bounces),
    visit_duration: per(sums.durationMs) / 1000,
    events,
    engaged_time: per(sums.engagedMs) / 1000,
  };
}

/** Midnights of New York: EDT until 3 November, then EST. */
const midnight = (date: string): number => Date.parse(`${date}T0${date <= '2024-11-03' ? 4 : 5}:00:00Z`);
const until = (ms: number) => Math.ceil(ms / (HOUR / 4)) * (HOUR / 4);

// Questions ----------------------------------------------------------------------------------------------------------------

async function ask<A>(question: ApiQuestion): Promise<A> {
  await link.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    return (await answerApi(snapshot, question as never, (asked) => columns.answerWithin(link, asked))) as A;
  } finally {
    await link.query('COMMIT');
  }
}

const parameters =
  (given: Readonly<Record<string, string>>) =>
  (name: string): string | undefined =>
    given[name];

const asked = (
  period: Period,
  compare: Compare,
  filters: readonly Filter[],
  more: Readonly<Record<string, string>> = {},
) => askedSite('site', parameters({ period, compare, filters: JSON.stringify(filters), ...more }), NOW);

const near = (found: number, expected: number) => expect(found).toBeCloseTo(expected, 9);

const filterSets: Readonly<Record<string, readonly Filter[]>> = {
  nothing: [],
  'a path': [['is', 'path', ['/p1']]],
  'not a path': [['is_not', 'path', ['/p1', '/p2']]],
  'pages by pattern': [['matches', 'path', ['/docs/**']]],
  'a browser and sources': [
    ['is', 'browser', ['Firefox', '']],
    ['contains_not', 'source', ['-1']],
  ],
  'an entry page and an event': [
    ['is', 'entry_page', ['/p1', '/p2', '/p3']],
    ['is', 'event_type', ['signup']],
  ],
  'a property': [['is', 'prop:signup:plan', ['pro']]],
  'a number of a property': [['is_not', 'prop:signup:seats', ['1']]],
  'a goal': [['is', 'goal', ['Signed up']]],
  'a goal of pages, and a browser': [
    ['is', 'goal', ['Docs']],
    ['matches_not', 'browser', ['*fox']],
  ],
  'any of an event and pages': [['is', 'goal', ['Signed up', 'Docs']]],
  'neither an event nor pages': [['is_not', 'goal', ['Signed up', 'Docs', 'Page 3']]],
};

interface Asking {
  readonly period: Period;
  readonly compare: Compare;
  readonly span: Span;
  readonly before?: Span;
  readonly more?: Readonly<Record<string, string>>;
}

describe.each(Object.keys(filterSets))('under filters: %s', (name) => {
  const filters = filterSets[name]!;
  const spans: readonly Asking[] = [
    {
      period: 'today',
      compare: 'previous',
      span: [midnight('2024-11-05'), midnight('2024-11-06')],
      before: [midnight('2024-11-04'), until(NOW - DAY)],
    },
    { period: 'yesterday', compare: 'none', span: [midnight('2024-11-04'), midnight('2024-11-05')] },
    {
      period: '7d',
      compare: 'previous',
      span: [midnight('2024-10-30'), midnight('2024-11-06')],
      // The same time of the day by the clocks there, which were an hour ahead.
      before: [midnight('2024-10-23'), until(NOW - 7 * DAY - HOUR)],
    },
    {
      period: 'custom',
      compare: 'previous',
      span: [midnight('2024-11-03'), midnight('2024-11-04')],
      before: [midnight('2024-11-02'), midnight('2024-11-03')],
      more: { from: '2024-11-03', to: '2024-11-03' },
    },
    { period: 'all', compare: 'previous', span: [midnight('2024-10-19'), midnight('2024-11-06')] },
  ];

  test.each(spans)('summary of $period, compared with $compare', async ({ period, compare, span, before, more }) => {
    const found = await ask<SummaryAnswer>({ name: 'summary', ...asked(period, compare, filters, more) });
    expect(found.time_zone).toBe('America/New_York');
    const now = metricsOf(sumsIn(span, filters));
    const then = before && metricsOf(sumsIn(before, filters));
    expect(found.compare === null).toBe(before === undefined);
    for (const metric of Object.keys(now) as Metric[]) {
      const figure = found.metrics[metric];
      near(figure.value, now[metric]);
      if (then === undefined) expect(figure.previous).toBeNull();
      else near(figure.previous!, then[metric]);
      const ratio = then === undefined || then[metric] === 0 ? null : now[metric] / then[metric] - 1;
      if (metric !== 'bounce_rate') expect(figure.change === null).toBe(ratio === null);
      if (metric !== 'bounce_rate' && ratio !== null) near(figure.change!, ratio);
    }
    expect(found.bots === null).toBe(filters.length > 0);
  });

  test('series by days, the running one marked, the ones ahead empty', async () => {
    for (const metric of ['visitors', 'events', 'engaged_time'] as const) {
      const question = asked('month', 'previous', filters);
      const found = await ask<TimeseriesAnswer>({ name: 'timeseries', ...question, metric, interval: 'day' });
      expect(found.points.map(({ at }) => at)).toEqual(
        Array.from({ length: 30 }, (_, i) => `2024-11-${String(i + 1).padStart(2, '0')}`),
      );
      expect(found.previous).toHaveLength(31);
      for (const [i, { at, value, running }] of found.points.entries()) {
        expect(running).toBe(i === 4 ? true : undefined);
        if (i > 4) expect(value).toBeNull();
        else near(value!, metricsOf(sumsIn([midnight(at), midnight(found.points[i + 1]!.at)], filters))[metric]);
      }
      near(
        found.previous![24]!.value!,
        metricsOf(sumsIn([midnight('2024-10-25'), midnight('2024-10-26')], filters))[metric],
      );
    }
  });

  test('a day of 25 hours has 25 points', async () => {
    const question = asked('custom', 'none', filters, { from: '2024-11-03', to: '2024-11-03' });
    const found = await ask<TimeseriesAnswer>({
      name: 'timeseries',
      ...question,
      metric: 'views',
      interval: undefined,
    });
    expect(found.interval).toBe('hour');
    expect(found.points.map(({ at }) => at.slice(11))).toEqual(
      ['00', '01', ...Array.from({ length: 23 }, (_, i) => String(i + 1).padStart(2, '0'))].map((hour) => `${hour}:00`),
    );
    for (const [i, { value }] of found.points.entries()) {
      const from = midnight('2024-11-03') + i * HOUR;
      near(value!, sumsIn([from, from + HOUR], filters).views);
    }
  });

  test('breakdowns by page, source and property, page by page', async () => {
    const span: Span = [midnight('2024-10-30'), midnight('2024-11-06')];
    const all = sumsIn(span, filters);
    for (const dimension of ['path', 'source', 'prop:signup:seats'] as const) {
      const rows = await allRows(dimension, filters);
      const expected = valuesIn(span, filters, dimension);
      expect(new Map(rows.map(({ value, visitors }) => [value, visitors]))).toEqual(
        new Map([...expected].map(([value, some]) => [value, distinct(some)])),
      );
      for (const { value, events, share } of rows) {
        expect(events).toBe(expected.get(value)!.length);
        near(share!, distinct(expected.get(value)!) / all.visitors);
      }
    }
  });

  test('goals: who reached them, how often, and which share of all', async () => {
    const span: Span = [midnight('2024-10-30'), midnight('2024-11-06')];
    const all = sumsIn(span, filters).visitors;
    const rows = await allRows('goal', filters);
    expect(rows.map(({ value }) => value).sort()).toEqual(['Docs', 'Never', 'Page 3', 'Signed up']);
    for (const [value, pattern] of [
      ['Signed up', /^signup$/],
      ['Page 3', /^\/p3$/],
      ['Docs', /^\/docs\//],
    ] as const) {
      const reached = people.filter(
        (one) =>
          within(span, one) &&
          keeps(filters, one) &&
          pattern.test(value === 'Signed up' ? one.event.eventType : (one.event.path ?? '')),
      );
      const row = rows.find((one) => one.value === value)!;
      expect(row.visitors).toBe(distinct(reached));
      expect(row.conversions).toBe(value === 'Signed up' ? reached.length : reached.filter(isView).length);
      near(row.conversion_rate!, all === 0 ? 0 : distinct(reached) / all);
    }
  });
});

async function allRows(dimension: Dimension, filters: readonly Filter[]): Promise<BreakdownAnswer['rows'][number][]> {
  const rows: BreakdownAnswer['rows'][number][] = [];
  for (let page = 1; ; page += 1) {
    const given = { period: '7d', filters: JSON.stringify(filters), dimension, limit: '4', page: String(page) };
    const found = await ask<BreakdownAnswer>({ name: 'breakdown', ...askedBreakdown('site', parameters(given), NOW) });
    rows.push(...found.rows);
    if (!found.more) {
      expect(rows).toHaveLength(found.total);
      return rows;
    }
  }
}

/** Events under each value, as a breakdown counts them. */
function valuesIn(span: Span, filters: readonly Filter[], dimension: Dimension): Map<string, CountedEvent[]> {
  const kept = people.filter((one) => keeps(filters, one));
  if (dimension === 'source') {
    const begun = kept.filter((one) => {
      const first = visitOf(one)?.[0];
      return first !== undefined && within(span, first);
    });
    return Map.groupBy(begun, (one) => visitOf(one)![0]!.source);
  }
  const seen = kept.filter((one) => within(span, one));
  const value = ({ event }: CountedEvent) =>
    dimension === 'path'
      ? (event.path ?? '')
      : event.eventType === 'signup' && event.props !== undefined
        ? String(event.props['seats'])
        : '';
  const found = Map.groupBy(seen, value);
  found.delete('');
  return found;
}

test('a search finds values that contain it, and keys of properties have their events', async () => {
  const given = (dimension: string, search: string) => parameters({ period: '7d', dimension, search, limit: '100' });
  const pages = await ask<BreakdownAnswer>({
    name: 'breakdown',
    ...askedBreakdown('site', given('path', 'DOCS/1'), NOW),
  });
  expect(pages.rows.map(({ value }) => value).sort()).toEqual(['/docs/1/0', '/docs/1/1']);
  const filters = JSON.stringify([['is', 'event_type', ['page_view', 'signup', 'click']]]);
  const filtered = parameters({ period: '7d', dimension: 'path', search: 'Docs/1', limit: '100', filters });
  const same = await ask<BreakdownAnswer>({ name: 'breakdown', ...askedBreakdown('site', filtered, NOW) });
  expect(same.rows.map(({ value }) => value).sort()).toEqual(['/docs/1/0', '/docs/1/1']);
  const keys = await ask<BreakdownAnswer>({
    name: 'breakdown',
    ...askedBreakdown('site', given('prop:signup', ''), NOW),
  });
  const span: Span = [midnight('2024-10-30'), midnight('2024-11-06')];
  const signups = people.filter(({ event }) => event.eventType === 'signup' && event.props !== undefined);
  const some = signups.filter((one) => within(span, one)).length;
  expect(keys.metrics).toEqual(['events']);
  expect(new Map(keys.rows.map(({ value, events }) => [value, events]))).toEqual(
    new Map([
      ['plan', some],
      ['seats', some],
    ]),
  );
});

test('the year before a day that it did not have is compared by the day before', async () => {
  const given = { from: '2024-02-29', to: '2024-03-01' };
  const found = await ask<SummaryAnswer>({ name: 'summary', ...asked('custom', 'year', [], given) });
  expect(found.compare).toMatchObject({ from: '2023-02-28', to: '2023-03-01' });
});
