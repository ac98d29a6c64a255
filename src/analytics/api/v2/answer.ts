/**
 * Answers a query of the API v2 from the same engine as the panels. What can be asked:
 *
 *   no dimension, or time alone          sums by time
 *   one dimension                        a breakdown
 *   one dimension by time                a breakdown for each interval, of at most INTERVALS_MAX
 *   several dimensions of visits         one scan of the events' columns
 *
 * Rows are ordered and cut here; a breakdown has at most ROWS_MAX of them, the first in the order that is asked for
 * where it is that of a sum.
 */

import { byText } from '../../../kernel/by-text.ts';
import { regexOf } from '../../columns/regex.ts';
import { type Breakdown, breakdown } from '../../query/breakdown.ts';
import type { Snapshot } from '../../query/database.ts';
import { wrong } from '../../query/parameter.ts';
import { dateText, dayIn, localTime } from '../../query/range.ts';
import { summary } from '../../query/summary.ts';
import { edgesOf, timeseries } from '../../query/timeseries.ts';
import {
  type AskedDimension,
  type Condition,
  type Interval,
  type Metric,
  metricOf,
  metricsOf,
  metricUnder,
  POINTS_MAX,
  type Range,
  type Scan,
  type Sums,
} from '../../query/types.ts';
import type { Goal } from '../contract.ts';
import { filterOfGoal } from '../dimension.ts';
import { allRegionNames } from '../region-names.ts';
import { findSite, goalsOf } from '../site.ts';
import { ROWS_MAX, type V2Filter, type V2Query } from './query.ts';
import { rangeIn } from './range.ts';
import {
  countryCode,
  countryName,
  type Meaning,
  type MetricWord,
  meaningOf,
  plainMetrics,
  ratioMetrics,
} from './words.ts';

const INTERVALS_MAX = 100;
const DIRECT = 'Direct / None';
const REGION_NAME = 'visit:region_name';

export interface V2Answer {
  readonly results: readonly { readonly dimensions: readonly string[]; readonly metrics: readonly number[] }[];
  readonly meta: {
    readonly imports_included?: boolean;
    readonly imports_skip_reason?: string;
    readonly imports_warning?: string;
    readonly time_labels?: readonly string[];
    readonly total_rows?: number;
  };
  readonly query: Readonly<Record<string, unknown>>;
}

interface Asking {
  readonly snapshot: Snapshot;
  readonly scan: Scan;
  readonly site: number;
  readonly goals: readonly Goal[];
  /** Names of regions by their codes; empty where nobody asks for them. */
  readonly regions: ReadonlyMap<string, string>;
  readonly range: Range;
  readonly conditions: readonly Condition[];
  readonly query: V2Query;
}

interface Row {
  readonly dimensions: readonly string[];
  readonly sums: Sums;
  /** What its metrics are counted under. */
  readonly under: AskedDimension | undefined;
}

interface Rows {
  readonly rows: readonly Row[];
  /** How many there are in all. */
  readonly total: number;
}

const allOf = (rows: readonly Row[]): Rows => ({ rows, total: rows.length });

export async function answerV2(snapshot: Snapshot, query: V2Query, nowMs: number, scan: Scan): Promise<V2Answer> {
  const { site, timeZone } = await findSite(snapshot, query.site_id);
  const goals = await goalsOf(snapshot, site);
  const range = await rangeIn(snapshot, query, site, timeZone, nowMs);
  const asksForNames = JSON.stringify([query.dimensions, query.filters]).includes(`"${REGION_NAME}"`);
  const regions = asksForNames ? await allRegionNames(snapshot) : new Map<string, string>();
  const conditions = query.filters.map((filter) => conditionOf(filter, goals, regions));
  const asking: Asking = { snapshot, scan, site, goals, regions, range, conditions, query };
  const meanings = query.dimensions.map((word) => meaningOf(word)!);
  mustFit(query, meanings);
  const { rows, total } = await rowsOf(asking, meanings);
  const figures = await figuresOf(asking, meanings, rows);
  const ordered = figures.toSorted((a, b) => compare(a, b, query));
  const { limit, offset } = query.pagination;
  const { order_by, pagination, metrics, dimensions } = query;
  return {
    results: ordered.slice(offset, offset + limit),
    meta: metaOf(asking, meanings, total),
    query: {
      site_id: query.site_id,
      metrics,
      date_range: [new Date(range.fromMs).toISOString(), new Date(range.toMs - 1000).toISOString()],
      filters: query.came['filters'] ?? [],
      dimensions,
      order_by,
      include: query.came['include'] ?? {},
      pagination,
    },
  };
}

// What is asked -------------------------------------------------------------------------------------------------------

function conditionOf(filter: V2Filter, goals: readonly Goal[], regions: Asking['regions']): Condition {
  if ('what' in filter) return { op: filter.op, what: conditionOf(filter.what, goals, regions) };
  if ('of' in filter) return { op: filter.op, of: filter.of.map((one) => conditionOf(one, goals, regions)) };
  if (filter.dimension === REGION_NAME) return regionCondition(filter, regions);
  const { op, dimension, values, ignoreCase } = filter;
  const meaning = meaningOf(dimension)!;
  if (meaning.kind === 'goal') return goalCondition(op, values, goals);
  const letters = {
    ...(ignoreCase ? { ignoreCase: true as const } : {}),
    ...(op === 'matches' || op === 'matches_not' ? { regex: true as const } : {}),
  };
  // A property of events of any type: its values hold the type, the key and the value.
  if (meaning.kind === 'prop') {
    if (ignoreCase) throw wrong('filters', 'take letters of properties as they are', dimension);
    return { op, dimension: 'prop', values, within: ['', meaning.key], ...letters };
  }
  if (meaning.kind === 'time') throw new TypeError('nobody filters by time');
  const given = dimension === 'visit:country_name' ? values.map(countryCode) : values;
  const named = dimension === 'visit:source' ? given.map((value) => (value === DIRECT ? '' : value)) : given;
  return { op, dimension: meaning.dimension, values: named, ...letters };
}

/** By the codes of the regions that are called so. */
function regionCondition(
  filter: Extract<V2Filter, { readonly values: unknown }>,
  regions: Asking['regions'],
): Condition {
  const { op, values, ignoreCase } = filter;
  const plain = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  const fits = op.startsWith('matches')
    ? values.map((value) => regexOf(value, ignoreCase))
    : values.map(
        (value) => (name: string) =>
          op.startsWith('is') ? plain(name) === plain(value) : plain(name).includes(plain(value)),
      );
  const codes = [...regions].filter(([, name]) => fits.some((finds) => finds(name))).map(([code]) => code);
  // Where none is called so, the texts themselves: no region has them as its code, and '' is none at all.
  return { op: op.endsWith('_not') ? 'is_not' : 'is', dimension: 'region', values: codes.length > 0 ? codes : values };
}

function goalCondition(op: string, values: readonly string[], goals: readonly Goal[]): Condition {
  if (op !== 'is') throw wrong('filters', 'filter event:goal by is', op);
  const of = values.map((name) => {
    const goal = goals.find((one) => one.name === name);
    if (goal === undefined)
      throw wrong(
        'filters',
        `name goals of the site: it has ${goals.map((one) => one.name).join(', ') || 'none'}`,
        name,
      );
    return filterOfGoal(goal);
  });
  return of.length === 1 ? of[0]! : { op: 'any', of };
}

/** Throws BAD_PARAMETER for what cannot be put together. */
function mustFit({ metrics, dimensions, filters, date_range }: V2Query, meanings: readonly Meaning[]): void {
  const times = meanings.filter(({ kind }) => kind === 'time').length;
  const others = meanings.filter(({ kind }) => kind !== 'time');
  const visits = others.every((meaning) => meaning.kind === 'plain' && meaning.level === 'visit');
  if (times > 1 || (others.length > 1 && (times > 0 || !visits)))
    throw wrong('dimensions', 'be one, one by time, or several of visits', dimensions.join(', '));
  const under = others.length === 1 && others[0]!.kind === 'plain' ? others[0]!.dimension : undefined;
  const isEvent = others.some((meaning) => meaning.kind !== 'plain' || meaning.level === 'event');
  const have = isEvent ? metricsOf(under ?? 'prop') : metricsOf('source');
  const byGoal = JSON.stringify([dimensions, filters]).includes('"event:goal"');
  for (const word of metrics) {
    if (word === 'percentage' && dimensions.length === 0)
      throw wrong('metrics', 'have percentage only with dimensions', word);
    if ((word === 'conversion_rate' || word === 'group_conversion_rate') && !byGoal)
      throw wrong('metrics', `have ${word} only with event:goal as a dimension or filter`, word);
    if (word === 'group_conversion_rate' && dimensions.length === 0)
      throw wrong('metrics', 'have group_conversion_rate only with dimensions', word);
    if (ratioMetrics.some((one) => one === word)) continue;
    const metric: Metric = plainMetrics[word as keyof typeof plainMetrics];
    const fits = metric === 'engaged_time' ? under === 'path' : have.includes(metric);
    if (!fits)
      throw wrong(
        'metrics',
        `be of ${have.map((one) => wordOf(one)).join(', ')} with these dimensions (time_on_page with event:page)`,
        word,
      );
  }
  if ('ms' in date_range && meanings.some((meaning) => meaning.kind === 'time' && meaning.interval === undefined))
    throw wrong('dimensions', 'name the interval of time when date_range has times', 'time');
}

const wordOf = (metric: Metric): string =>
  Object.entries(plainMetrics).find(([, one]) => one === metric)?.[0] ?? metric;

// Rows ----------------------------------------------------------------------------------------------------------------

async function rowsOf(asking: Asking, meanings: readonly Meaning[]): Promise<Rows> {
  const { snapshot, site, range, conditions, scan } = asking;
  const time = meanings.find((meaning) => meaning.kind === 'time');
  const others = meanings.filter((meaning) => meaning.kind !== 'time');
  if (others.length > 1) return allOf(await byValues(asking, others));
  if (time === undefined) {
    if (others.length === 1) return byOne(asking, others[0]!, range, (value) => [value]);
    const sums = await summary(snapshot, site, range, conditions, scan);
    return allOf([{ dimensions: [], sums, under: undefined }]);
  }
  const interval = time.interval ?? intervalIn(range);
  const edges = edgesOf(range, interval);
  const most = others.length === 0 ? POINTS_MAX : INTERVALS_MAX;
  if (edges === undefined || edges.length > most + 1)
    throw wrong('dimensions', `have a time with at most ${most} intervals`, `time:${interval}`);
  const label = (ms: number) => labelOf(ms, interval, range.timeZone);
  if (others.length === 0) {
    const points = await timeseries(snapshot, site, range, edges, conditions, scan);
    return allOf(
      points
        .filter(({ events }) => events > 0)
        .map((sums) => ({ dimensions: [label(sums.fromMs)], sums, under: undefined })),
    );
  }
  const first = meanings[0] === time;
  const rows: Row[] = [];
  for (const [i, fromMs] of edges.slice(0, -1).entries()) {
    const stretch = { fromMs, toMs: edges[i + 1]!, timeZone: range.timeZone };
    const place = (value: string) => (first ? [label(fromMs), value] : [value, label(fromMs)]);
    rows.push(...(await byOne(asking, others[0]!, stretch, place)).rows);
  }
  return allOf(rows);
}

async function byOne(
  asking: Asking,
  meaning: Exclude<Meaning, { readonly kind: 'time' }>,
  range: Range,
  place: (value: string) => readonly string[],
): Promise<Rows> {
  const { snapshot, site, conditions, scan, goals, query } = asking;
  if (meaning.kind === 'goal') {
    const rows: Row[] = [];
    for (const goal of goals) {
      const sums = await summary(snapshot, site, range, [...conditions, filterOfGoal(goal)], scan);
      if (sums.events > 0) rows.push({ dimensions: place(goal.name), sums, under: 'event_type' });
    }
    return allOf(rows);
  }
  const under: AskedDimension = meaning.kind === 'prop' ? 'prop' : meaning.dimension;
  const page = { order: firstOrder(query, under), limit: ROWS_MAX, offset: 0, filters: conditions };
  const narrow = meaning.kind === 'prop' ? { pattern: patternOfKey(meaning.key) } : undefined;
  const found: Breakdown = await breakdown(snapshot, site, range, { dimension: under, ...page, narrow }, scan);
  if (meaning.kind === 'prop') {
    const rows = ofProperty(found, place);
    return { rows, total: found.total > ROWS_MAX ? found.total : rows.length };
  }
  const named = query.dimensions.includes('visit:country_name') && under === 'country';
  const rows = found.values.map(({ text, ...sums }) => ({
    dimensions: place(
      named
        ? countryName(text)
        : query.dimensions.includes(REGION_NAME) && under === 'region'
          ? (asking.regions.get(text) ?? text)
          : under === 'source' && text === ''
            ? DIRECT
            : text,
    ),
    sums,
    under,
  }));
  return { rows, total: found.total };
}

/** Which rows are the first ROWS_MAX: those that the first order puts there, where it is that of a sum. */
function firstOrder({ order_by }: V2Query, under: AskedDimension): { metric: Metric; descending: boolean } {
  const [word, direction] = order_by[0] ?? [];
  const metric = plainMetrics[word as keyof typeof plainMetrics] as Metric | undefined;
  if (metric === undefined || !metricsOf(under).includes(metric)) return { metric: 'visitors', descending: true };
  return { metric, descending: direction === 'desc' };
}

/** Fits the values of `prop`, JSON texts of [event_type, key, value], that are of this key. */
const patternOfKey = (key: string): string =>
  `^\\["([^"\\\\]|\\\\.)*",${JSON.stringify(key).replace(/[^\p{L}\p{N}_ ]/gu, '\\$&')},`;

/** Values of a key of events of any type. Visitors of two types under one value are counted under each. */
function ofProperty({ values }: Breakdown, place: (value: string) => readonly string[]): Row[] {
  const rows = new Map<string, Sums>();
  for (const { text, ...sums } of values) {
    const [, , value] = JSON.parse(text) as readonly [string, string, unknown];
    const before = rows.get(String(value));
    rows.set(String(value), before === undefined ? sums : added(before, sums));
  }
  return [...rows].map(([value, sums]) => ({ dimensions: place(value), sums, under: 'prop' as const }));
}

const added = (a: Sums, b: Sums): Sums => ({
  ...a,
  visitors: a.visitors + b.visitors,
  views: a.views + b.views,
  events: a.events + b.events,
});

async function byValues(asking: Asking, meanings: readonly Meaning[]): Promise<Row[]> {
  const { site, range, conditions, scan, query } = asking;
  const dimensions = meanings.flatMap((meaning) => (meaning.kind === 'plain' ? [meaning.dimension] : []));
  const { rows } = await scan({ site, range, filters: conditions, group: { by: 'values', dimensions } });
  return rows
    .filter(({ events }) => events > 0)
    .map(({ key, ...sums }) => ({
      dimensions: (JSON.parse(key) as readonly string[]).map((text, i) => {
        if (text === '') return dimensions[i] === 'source' ? DIRECT : '(not set)';
        if (query.dimensions[i] === REGION_NAME) return asking.regions.get(text) ?? text;
        return query.dimensions[i] === 'visit:country_name' ? countryName(text) : text;
      }),
      sums,
      under: undefined,
    }));
}

const intervalIn = ({ fromMs, toMs }: Range): Interval => {
  const days = (toMs - fromMs) / 86_400_000;
  return days <= 2 ? 'hour' : days <= 93 ? 'day' : days <= 731 ? 'week' : 'month';
};

/** As their answers have it: a date, or a date and a time. */
const labelOf = (ms: number, interval: Interval, timeZone: string): string =>
  interval === 'hour' ? `${localTime(ms, timeZone).replace('T', ' ')}:00` : dateText(dayIn(ms, timeZone));

// Figures -------------------------------------------------------------------------------------------------------------

type Figures = V2Answer['results'][number];

async function figuresOf(
  asking: Asking,
  meanings: readonly Meaning[],
  rows: readonly Row[],
): Promise<readonly Figures[]> {
  const { snapshot, site, range, scan, conditions, query } = asking;
  const { metrics } = query;
  const free = conditions.filter(
    (condition, i) => 'what' in condition || !/"event:(goal|props:)/.test(JSON.stringify(query.filters[i])),
  );
  const visitorsOf = async (some: readonly Condition[]) => (await summary(snapshot, site, range, some, scan)).visitors;
  const all = metrics.includes('percentage') ? await visitorsOf(conditions) : 0;
  const anybody = metrics.includes('conversion_rate') ? await visitorsOf(free) : 0;
  const groups = metrics.includes('group_conversion_rate')
    ? await groupsOf({ ...asking, conditions: free }, meanings)
    : () => 0;
  const share = (visitors: number, of: number): number => (of === 0 ? 0 : round((100 * visitors) / of, 2));
  return rows.map(({ dimensions, sums, under }) => ({
    dimensions,
    metrics: metrics.map((word) => {
      if (word === 'percentage') return share(sums.visitors, all);
      if (word === 'conversion_rate') return share(sums.visitors, anybody);
      if (word === 'group_conversion_rate') return share(sums.visitors, groups(dimensions));
      return shownFigure(word, sums, under);
    }),
  }));
}

/** The visitors of a row's values, whatever goal it is of. */
async function groupsOf(
  asking: Asking,
  meanings: readonly Meaning[],
): Promise<(dimensions: readonly string[]) => number> {
  const kept = meanings.map(({ kind }) => kind !== 'goal');
  const { rows } = await rowsOf(
    asking,
    meanings.filter((_, i) => kept[i]),
  );
  const visitors = new Map(rows.map(({ dimensions, sums }) => [JSON.stringify(dimensions), sums.visitors]));
  return (dimensions) => visitors.get(JSON.stringify(dimensions.filter((_, i) => kept[i]))) ?? 0;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Rates are percentages, durations whole seconds. */
function shownFigure(
  word: Exclude<MetricWord, (typeof ratioMetrics)[number]>,
  sums: Sums,
  under: AskedDimension | undefined,
): number {
  const metric = plainMetrics[word];
  const value = under === undefined ? metricOf(metric, sums) : metricUnder(under, metric, sums);
  if (metric === 'bounce_rate') return round(100 * value, 2);
  if (metric === 'visit_duration' || metric === 'engaged_time') return Math.round(value);
  return metric === 'views_per_visit' ? round(value, 2) : value;
}

function compare(a: Figures, b: Figures, { order_by, metrics, dimensions }: V2Query): number {
  for (const [word, direction] of order_by) {
    const sign = direction === 'asc' ? 1 : -1;
    const metric = metrics.indexOf(word as MetricWord);
    const at = dimensions.indexOf(word);
    const difference =
      metric >= 0 ? a.metrics[metric]! - b.metrics[metric]! : byText(a.dimensions[at]!, b.dimensions[at]!);
    if (difference !== 0) return sign * difference;
  }
  return byText(a.dimensions.join('\0'), b.dimensions.join('\0'));
}

function metaOf({ query, range }: Asking, meanings: readonly Meaning[], total: number): V2Answer['meta'] {
  const { include } = query;
  const time = meanings.find((meaning) => meaning.kind === 'time');
  const interval = time?.interval ?? intervalIn(range);
  return {
    ...(include.imports
      ? {
          imports_included: false,
          imports_skip_reason: 'unsupported_query',
          imports_warning: 'Imported daily totals are not part of these figures.',
        }
      : {}),
    ...(include.time_labels
      ? {
          time_labels: edgesOf(range, interval)!
            .slice(0, -1)
            .map((ms) => labelOf(ms, interval, range.timeZone)),
        }
      : {}),
    ...(include.total_rows ? { total_rows: total } : {}),
  };
}
