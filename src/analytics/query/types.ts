/**
 * Types of questions: what the dashboard and the query API may ask, and what the two that answer (rollups, and columns
 * for what has filters) agree on.
 */
import type { ScanAnswer } from '../columns/store.ts';
import { type Dimension, dimensions } from '../dimensions.ts';

/**
 * A stretch of time, from `fromMs` on and before `toMs`; both are multiples of a quarter of an hour. `timeZone`: an
 * IANA name; it says where the days, weeks and months of a time series begin.
 */
export interface Range {
  readonly fromMs: number;
  readonly toMs: number;
  readonly timeZone: string;
}

/**
 *   is, is_not                the value is one of `values`; is none of them
 *   contains, contains_not    the value contains one of `values`; contains none of them
 *   matches, matches_not      the value fits one of the patterns; fits none. `*` stands for any characters but `/`,
 *                             `**` for any characters
 *
 * Letters count as they are. A missing value is '': `is ['']` asks for events without one.
 */
export const filterOps = ['is', 'is_not', 'contains', 'contains_not', 'matches', 'matches_not'] as const;
export type FilterOp = (typeof filterOps)[number];

/** What can be asked about: `site` is asked for by itself, and bots are counted apart. */
export type AskedDimension = Exclude<Dimension, 'site' | 'bot'>;
export const askedDimensions = (Object.keys(dimensions) as Dimension[]).filter(
  (name): name is AskedDimension => name !== 'site' && name !== 'bot',
);

/**
 * Several filters must all hold. One of level `visit` is about whole visits, with all of their events. One of level
 * `event` (path, event_type, prop) keeps the events for which it holds; a visit or a visitor counts when it has kept
 * one, and a visit's bounce and duration are those of the whole visit. The value of `prop` is the JSON text of
 * [event_type, key, value].
 */
export interface Filter {
  readonly dimension: AskedDimension;
  readonly op: FilterOp;
  readonly values: readonly string[];
  /** Of `prop`: the filter is about the value of this key of events of this type ('': of any), as a text. */
  readonly within?: readonly [eventType: string, key: string];
  /** Letters count the same whether they are large or small. With is and contains, and regular expressions. */
  readonly ignoreCase?: true;
  /** With matches: the values are regular expressions in the syntax of RE2, found anywhere (columns/regex.ts). */
  readonly regex?: true;
}

/**
 * A filter; several of which any or all must hold; or, about whole visits, that some event of the visit is one for which
 * a condition holds (done), or none is. One about events makes all of it about events, but for what has been done.
 */
export type Condition =
  | Filter
  | { readonly op: 'any' | 'all'; readonly of: readonly Condition[] }
  | { readonly op: 'done' | 'not_done'; readonly what: Condition };

export const isFilter = (condition: Condition): condition is Filter => 'dimension' in condition;

/** The filters that it is made of. */
export const filtersOf = (condition: Condition): readonly Filter[] =>
  isFilter(condition) ? [condition] : 'what' in condition ? filtersOf(condition.what) : condition.of.flatMap(filtersOf);

/** Rows of one breakdown, and how far its pages reach. */
export const LIMIT_MAX = 1000;
export const OFFSET_MAX = 100_000;

export const intervals = ['quarter', 'hour', 'day', 'week', 'month'] as const;
export type Interval = (typeof intervals)[number];
/** Intervals of one series: more points fit no picture. */
export const POINTS_MAX = 4000;

/** Filters of a question, and values of a filter, at most. */
export const filtersMax = 20;
export const filterValuesMax = 100;

/**
 * bounce_rate: of visits, 0 to 1. visit_duration: mean of visits, seconds. views_per_visit: views / visits.
 * engaged_time: seconds that somebody looked, per visit; of a path, per view.
 */
export const metrics = [
  'visitors',
  'visits',
  'views',
  'views_per_visit',
  'bounce_rate',
  'visit_duration',
  'events',
  'engaged_time',
] as const;
export type Metric = (typeof metrics)[number];

/** Metrics that have a meaning under a value of an event: a visit has one entry page, but no path. */
export const eventMetrics = ['visitors', 'views', 'events'] as const satisfies readonly Metric[];

/** Metrics that a breakdown by the dimension has. Who looked how long is not known by values of visits. */
export function metricsOf(dimension: AskedDimension): readonly Metric[] {
  if (dimension === 'path') return [...eventMetrics, 'engaged_time'];
  return dimensions[dimension].level === 'visit' ? metrics.filter((name) => name !== 'engaged_time') : eventMetrics;
}

/** The sums that every metric is made of. */
export interface Sums {
  readonly visitors: number;
  readonly visits: number;
  readonly views: number;
  readonly bounces: number;
  readonly durationMs: number;
  readonly events: number;
  readonly engagedMs: number;
}

/**
 * What a scan is asked (columns/scan.ts). Rules are those of dimensions.ts and rollup/measures.ts: events of bots do
 * not count; a visit counts in the range and the group where its first event lies.
 */
export interface ScanQuestion {
  /** `sites.site`. */
  readonly site: number;
  readonly range: Pick<Range, 'fromMs' | 'toMs'>;
  readonly filters: readonly Condition[];
  readonly group: ScanGroup;
}

/**
 * all: one row, with the key ''. dimension: a row for each value, without the value that is missing (but for `source`,
 * where '' is a value). values: of several dimensions of level `visit`, a row for each JSON text of a list of their
 * values, missing ones among them. time: a row for each stretch between two edges, ms ascending, its key the text of
 * its begin; the first edge is `fromMs` and the last is `toMs`.
 */
export type ScanGroup =
  | { readonly by: 'all' }
  | { readonly by: 'dimension'; readonly dimension: AskedDimension }
  | { readonly by: 'values'; readonly dimensions: readonly AskedDimension[] }
  | { readonly by: 'time'; readonly edges: readonly number[] };

export interface ScanRow extends Sums {
  readonly key: string;
}

/** Answers for filters; rows come in any order, and rows of nothing but zeros may be missing. */
export type Scan = (question: ScanQuestion) => Promise<ScanAnswer>;

/**
 * How sure a number of visitors is.
 *   exact      it is so
 *   estimate   signed-in visitors come from sketches: the standard error, in visitors
 *   at_most    of a part of a UTC day that holds neither its begin nor its end: who was there before and after, and
 *              perhaps not in between, is in it
 */
export type Certainty =
  | { readonly kind: 'exact' }
  | { readonly kind: 'estimate'; readonly error: number }
  | { readonly kind: 'at_most' };

/** Sums with how sure the visitors are. */
export interface Measured extends Sums {
  readonly certainty: Certainty;
}

export const exact: Certainty = { kind: 'exact' };

/** How sure the visitors of a scan are, which keeps one user for `weight` of them (columns/user-set.ts). */
export function sampled(visitors: number, weight: number): Certainty {
  return weight === 1 ? exact : { kind: 'estimate', error: Math.ceil(Math.sqrt((weight - 1) * visitors)) };
}

/** What a metric is, of these sums. */
export function metricOf(name: Metric, sums: Sums): number {
  const { visits } = sums;
  switch (name) {
    case 'views_per_visit':
      return visits === 0 ? 0 : sums.views / visits;
    case 'bounce_rate':
      return visits === 0 ? 0 : sums.bounces / visits;
    case 'visit_duration':
      return visits === 0 ? 0 : sums.durationMs / 1000 / visits;
    case 'engaged_time':
      return visits === 0 ? 0 : sums.engagedMs / 1000 / visits;
    default:
      return sums[name];
  }
}

/** The same under a value of a dimension. */
export function metricUnder(dimension: AskedDimension, name: Metric, sums: Sums): number {
  if (name !== 'engaged_time' || dimension !== 'path') return metricOf(name, sums);
  return sums.views === 0 ? 0 : sums.engagedMs / 1000 / sums.views;
}
