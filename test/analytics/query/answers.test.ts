/**
 * Goal: summary, series and breakdown say what a count of the events themselves says, for ranges of any shape; where a
 * number of visitors may be another, the answer says so. Method: random events as rows of a real Postgres (filled.ts),
 * and the same questions answered in the plainest way here.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { dimensions } from '../../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { breakdown } from '../../../src/analytics/query/breakdown.ts';
import { type Snapshot, snapshotOf } from '../../../src/analytics/query/database.ts';
import { parseDate, rangeOf } from '../../../src/analytics/query/range.ts';
import { summary } from '../../../src/analytics/query/summary.ts';
import { edgesOf, timeseries } from '../../../src/analytics/query/timeseries.ts';
import {
  type AskedDimension,
  intervals,
  type Metric,
  metricUnder,
  type Scan,
  type Sums,
} from '../../../src/analytics/query/types.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { isEngagement, OTHER_TEXT, visitsOf } from '../recount.ts';
import { random } from '../traffic.ts';
import { eventOf, fill } from './filled.ts';

const scope = fileScope();
const dictionaries = new Map(Object.values(dimensions).map(({ id, dictionary }) => [id as number, dictionary]));
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TIMEOUT = HOUR / 2;
const FIRST = Date.parse('2024-10-05T00:00:00Z');
const noScan: Scan = () => Promise.reject(new Error('nothing is filtered here'));
/** A day on which one path had no place. */
const fullDay = Math.floor(FIRST / DAY) + 20;
let snapshot: Snapshot;
let events: readonly CountedEvent[];
let people: readonly CountedEvent[];
let allVisits: readonly CountedEvent[][];

beforeAll(async () => {
  const { dsn } = await startPostgres(scope, { port: 23_114, settings: fastSettings });
  await migrateAnalytics(dsn);
  const link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
  events = someEvents();
  people = events.filter(({ event }) => event.bot === undefined);
  allVisits = visitsOf(people, TIMEOUT);
  await fill(link, events, (dimension) => dictionaries.get(dimension)!, { sessionTimeoutMs: TIMEOUT, admitted });
  snapshot = snapshotOf(link);
});

function admitted(_site: number, day: number, dimension: string, text: string): boolean {
  return dimension !== 'path' || text !== '/p0' || day !== fullDay;
}

/** 70 days of it: two whole months and what stands around them. */
function someEvents(): CountedEvent[] {
  const next = random(16);
  const below = (n: number) => Math.floor(next() * n);
  return Array.from({ length: 5000 }, (_, i) => {
    const ms = FIRST + below(70 * 96) * (HOUR / 4) + below(HOUR / 4);
    const who = next();
    return eventOf(i, 'site', 1, ms, {
      ...typeOf(next()),
      ...(next() < 0.9 ? { path: `/p${Math.floor(30 * next() ** 2)}` } : {}),
      ...(who < 0.4 ? { userId: `user-${below(80)}` } : who < 0.9 ? { visitor: `v${below(4)}` } : {}),
      ...(next() < 0.5 ? { referrer: `source-${below(5)}` } : {}),
      ...(next() < 0.6 ? { browser: `browser-${below(4)}` } : {}),
      ...(next() < 0.04 ? { bot: 'Googlebot' } : {}),
    });
  });
}

function typeOf(drawn: number): { readonly eventType: string; readonly props?: Readonly<Record<string, number>> } {
  if (drawn < 0.7) return { eventType: 'page_view' };
  return drawn < 0.85 ? { eventType: 'click' } : { eventType: 'engagement', props: { ms: Math.floor(drawn * 10_000) } };
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}
const within = ({ fromMs, toMs }: Span, { event }: CountedEvent) =>
  event.timestampMs >= fromMs && event.timestampMs < toMs;
const isView = ({ event }: CountedEvent) => event.eventType === 'page_view';
const distinct = (some: readonly CountedEvent[]) =>
  new Set(some.map(({ visitor }) => visitor).filter((visitor) => visitor !== undefined)).size;

/** The sums of a span, by the events. */
function sumsIn(span: Span): Sums {
  const seen = people.filter((one) => within(span, one) && !isEngagement(one));
  const visits = allVisits.filter(([first]) => within(span, first!));
  return {
    ...visitSums(visits),
    visitors: distinct(seen),
    views: seen.filter(isView).length,
    events: seen.length,
    engagedMs: engagedIn(span),
  };
}

function engagedIn(span: Span, counts: (one: CountedEvent) => boolean = () => true): number {
  return people
    .filter((one) => within(span, one) && isEngagement(one) && counts(one))
    .reduce((sum, { event }) => sum + (event.props!['ms'] as number), 0);
}

const engagedUnder = (span: Span, text: string): number =>
  engagedIn(span, ({ event }) => {
    if (event.path === undefined) return false;
    return (admitted(1, Math.floor(event.timestampMs / DAY), 'path', event.path) ? event.path : OTHER_TEXT) === text;
  });

function visitSums(visits: readonly CountedEvent[][]): Sums {
  return {
    visitors: distinct(visits.map(([first]) => first!)),
    visits: visits.length,
    views: visits.flat().filter(isView).length,
    bounces: visits.filter(({ length }) => length === 1).length,
    durationMs: visits.reduce((sum, visit) => sum + visit.at(-1)!.event.timestampMs - visit[0]!.event.timestampMs, 0),
    events: visits.flat().length,
    engagedMs: 0,
  };
}

/** Sums under each value of a dimension. */
function valuesIn(span: Span, dimension: AskedDimension): Map<string, Sums> {
  if (dimension === 'path') {
    const named = people.filter((one) => within(span, one) && one.event.path !== undefined && !isEngagement(one));
    const groups = Map.groupBy(named, ({ event }) =>
      admitted(1, Math.floor(event.timestampMs / DAY), 'path', event.path!) ? event.path! : OTHER_TEXT,
    );
    const none = { visits: 0, bounces: 0, durationMs: 0 };
    return new Map(
      [...groups].map(([text, list]) => [
        text,
        {
          ...none,
          visitors: distinct(list),
          views: list.filter(isView).length,
          events: list.length,
          engagedMs: engagedUnder(span, text),
        },
      ]),
    );
  }
  const begun = allVisits.filter(([first]) => within(span, first!));
  const groups = Map.groupBy(begun, ([first]) =>
    dimension === 'source' ? first!.source : (first!.event[dimension as 'browser'] ?? OTHER_TEXT),
  );
  if (dimension !== 'source') groups.delete(OTHER_TEXT);
  return new Map([...groups].map(([text, visits]) => [text, visitSums(visits)]));
}

const plain = ({ visitors, visits, views, bounces, durationMs, events: all, engagedMs }: Sums): Sums => ({
  visitors,
  visits,
  views,
  bounces,
  durationMs,
  events: all,
  engagedMs,
});

/** Ranges that touch every kind of edge. */
const ranges: Readonly<Record<string, Span>> = {
  'a UTC day': { fromMs: FIRST + 3 * DAY, toMs: FIRST + 4 * DAY },
  'a month': { fromMs: Date.parse('2024-11-01T00:00:00Z'), toMs: Date.parse('2024-12-01T00:00:00Z') },
  everything: { fromMs: FIRST, toMs: FIRST + 70 * DAY },
  'days around a month': { fromMs: FIRST + 5 * DAY, toMs: FIRST + 65 * DAY },
  'a day of Kathmandu': rangeOf(parseDate('2024-10-25')!, parseDate('2024-10-25')!, 'Asia/Kathmandu'),
  'thirty days of Kathmandu': rangeOf(parseDate('2024-10-10')!, parseDate('2024-11-08')!, 'Asia/Kathmandu'),
  'a day of 25 hours': rangeOf(parseDate('2024-11-03')!, parseDate('2024-11-03')!, 'America/New_York'),
  'ninety days of New York': rangeOf(parseDate('2024-09-15')!, parseDate('2024-12-13')!, 'America/New_York'),
  'the begin of a day': { fromMs: FIRST + 9 * DAY, toMs: FIRST + 9 * DAY + 7 * HOUR },
  'the end of a day': { fromMs: FIRST + 9 * DAY + 7 * HOUR, toMs: FIRST + 10 * DAY },
  'two hours around midnight': { fromMs: FIRST + 9 * DAY - HOUR, toMs: FIRST + 9 * DAY + HOUR },
  'nothing at all': { fromMs: FIRST - 40 * DAY, toMs: FIRST - 20 * DAY },
};

describe.each(Object.keys(ranges))('%s', (name) => {
  const range = { ...ranges[name]!, timeZone: 'UTC' };

  test('summary', async () => {
    const found = await summary(snapshot, 1, range, [], noScan);
    expect(plain(found)).toEqual(sumsIn(range));
    expect(found.certainty.kind).toBe('exact');
    const bots = events.filter((one) => one.event.bot !== undefined && within(range, one));
    expect(found.bots).toEqual({ events: bots.length, views: bots.filter(isView).length });
  });

  test.each(['path', 'source', 'browser'] as const)('breakdown by %s', async (dimension) => {
    const expected = valuesIn(range, dimension);
    const rest = expected.get(OTHER_TEXT);
    expected.delete(OTHER_TEXT);
    const orders: Metric[] =
      dimension === 'path' ? ['visitors', 'views', 'events', 'engaged_time'] : ['visitors', 'visits', 'bounce_rate'];
    for (const metric of orders) {
      const order = { metric, descending: true };
      const found = await breakdown(
        snapshot,
        1,
        range,
        { dimension, order, limit: 100, offset: 0, filters: [] },
        noScan,
      );
      expect(new Map(found.values.map((value) => [value.text, plain(value)]))).toEqual(expected);
      expect(found.total).toBe(expected.size);
      expect(found.other === undefined ? undefined : plain(found.other)).toEqual(rest);
      const ranks = found.values.map((value) => metricUnder(dimension, metric, value));
      expect(ranks).toEqual(ranks.toSorted((a, b) => b - a));
      const page = await breakdown(snapshot, 1, range, { dimension, order, limit: 3, offset: 2, filters: [] }, noScan);
      expect(page.values.map((value) => metricUnder(dimension, metric, value))).toEqual(ranks.slice(2, 5));
    }
  });
});

test.each(intervals.filter((interval) => interval !== 'quarter'))(
  'series by %s, in zones that set their clocks',
  async (interval) => {
    for (const timeZone of ['UTC', 'Asia/Kathmandu', 'America/New_York', 'Australia/Lord_Howe']) {
      const range = rangeOf(
        parseDate('2024-10-03')!,
        parseDate(interval === 'hour' ? '2024-10-08' : '2024-12-10')!,
        timeZone,
      );
      const edges = edgesOf(range, interval)!;
      const points = await timeseries(snapshot, 1, range, edges, [], noScan);
      expect(points.map(({ fromMs }) => fromMs)).toEqual(edges.slice(0, -1));
      for (const point of points) {
        const expected = sumsIn(point);
        if (point.certainty.kind === 'at_most') {
          expect(point.visitors).toBeGreaterThanOrEqual(expected.visitors);
          expect({ ...plain(point), visitors: 0 }).toEqual({ ...expected, visitors: 0 });
        } else expect(plain(point), new Date(point.fromMs).toISOString()).toEqual(expected);
      }
    }
  },
);

test('edges are the begins of days, weeks and months of the zone, and hours have theirs', () => {
  const times = (from: string, to: string, zone: string, interval: (typeof intervals)[number]) =>
    edgesOf(rangeOf(parseDate(from)!, parseDate(to)!, zone), interval)?.map((ms) =>
      new Date(ms).toISOString().slice(0, 16),
    );
  expect(times('2024-10-30', '2024-12-02', 'Asia/Kathmandu', 'month')).toEqual([
    '2024-10-29T18:15',
    '2024-10-31T18:15',
    '2024-11-30T18:15',
    '2024-12-02T18:15',
  ]);
  expect(times('2024-10-30', '2024-11-11', 'UTC', 'week')).toEqual([
    '2024-10-30T00:00',
    '2024-11-04T00:00',
    '2024-11-11T00:00',
    '2024-11-12T00:00',
  ]);
  // The clocks go back by half an hour on Lord Howe, at 2 o'clock: the day has 24.5 hours.
  expect(times('2024-04-07', '2024-04-07', 'Australia/Lord_Howe', 'hour')).toHaveLength(26);
  expect(times('2024-11-03', '2024-11-03', 'America/New_York', 'hour')).toHaveLength(26);
  expect(times('2011-12-29', '2011-12-31', 'Pacific/Apia', 'day')).toHaveLength(3);
  expect(times('1969-12-28', '1970-01-06', 'UTC', 'week')).toEqual([
    '1969-12-28T00:00',
    '1969-12-29T00:00',
    '1970-01-05T00:00',
    '1970-01-07T00:00',
  ]);
  expect(times('2020-01-01', '2024-01-01', 'UTC', 'quarter')).toBeUndefined();
});
