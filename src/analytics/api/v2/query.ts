/**
 * A query of POST /api/v2/query, from the body of the request to plain data. What is not held is a 400 that says what
 * is.
 */
import { regexOf } from '../../columns/regex.ts';
import { checkSiteId, wrong } from '../../query/parameter.ts';
import { parseDate } from '../../query/range.ts';
import { filtersMax, filterValuesMax } from '../../query/types.ts';
import { dimensionWords, type MetricWord, meaningOf, metricWords } from './words.ts';

export const rangeWords = ['day', '24h', '7d', '28d', '30d', '91d', 'month', '6mo', '12mo', 'year', 'all'] as const;
export type RangeWord = (typeof rangeWords)[number];
const ops = ['is', 'is_not', 'contains', 'contains_not', 'matches', 'matches_not'] as const;

/** As it came; `anyOf` is "or", and "not" has been taken into what it negates. */
export type V2Filter =
  | {
      readonly op: (typeof ops)[number];
      readonly dimension: string;
      readonly values: readonly string[];
      readonly ignoreCase: boolean;
    }
  | { readonly op: 'any' | 'all'; readonly of: readonly V2Filter[] }
  /** Of visits: some event of the visit is one for which the filter holds, or none is. */
  | { readonly op: 'done' | 'not_done'; readonly what: V2Filter };

export interface V2Query {
  readonly site_id: string;
  readonly metrics: readonly MetricWord[];
  /** Days since 1970 for dates; ms since 1970 for times. */
  readonly date_range:
    | { readonly word: RangeWord }
    | { readonly days: readonly [first: number, last: number] }
    | { readonly ms: readonly [from: number, to: number] };
  readonly dimensions: readonly string[];
  readonly filters: readonly V2Filter[];
  readonly order_by: readonly (readonly [word: string, direction: 'asc' | 'desc'])[];
  readonly include: { readonly time_labels: boolean; readonly total_rows: boolean; readonly imports: boolean };
  readonly pagination: { readonly limit: number; readonly offset: number };
  /** What came, for the answer to repeat. */
  readonly came: Readonly<Record<string, unknown>>;
}

export const ROWS_MAX = 10_000;
const METRICS_MAX = 20;
const DIMENSIONS_MAX = 4;
const DEPTH_MAX = 5;
const SLOT_MS = 900_000;

const shown = (value: unknown): string | undefined => (typeof value === 'string' ? value : JSON.stringify(value));
const isText = (value: unknown): value is string => typeof value === 'string' && !value.includes('\0');
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function objectOf(body: unknown): Readonly<Record<string, unknown>> {
  if (!isObject(body)) throw wrong('body', 'be an object with site_id, metrics and date_range', shown(body));
  return body;
}

/** The site that is asked about, before anything else of the body is judged. Throws BAD_PARAMETER. */
export function v2SiteOf(body: unknown): string {
  const { site_id: siteId } = objectOf(body);
  return checkSiteId(typeof siteId === 'string' ? siteId : undefined);
}

/** Throws BAD_PARAMETER. */
export function v2QueryOf(found: unknown): V2Query {
  const body = objectOf(found);
  const known = ['site_id', 'metrics', 'date_range', 'dimensions', 'filters', 'order_by', 'include', 'pagination'];
  const other = Object.keys(body).find((key) => !known.includes(key));
  if (other !== undefined) throw wrong('body', `have the keys ${known.join(', ')}`, other);
  const { dimensions: words = [], filters = [] } = body;
  const site_id = v2SiteOf(body);
  const metrics = metricsFrom(body['metrics']);
  const dimensions = dimensionsFrom(words);
  if (!Array.isArray(filters)) throw wrong('filters', 'be an array', shown(filters));
  return {
    site_id,
    metrics,
    date_range: rangeFrom(body['date_range']),
    dimensions,
    filters: filters.map((one) => filterFrom(one, false, 0)),
    order_by: orderFrom(body['order_by'], metrics, dimensions),
    include: includeFrom(body['include'], dimensions),
    pagination: pageFrom(body['pagination']),
    came: body,
  };
}

function metricsFrom(found: unknown): readonly MetricWord[] {
  const must = `be an array of ${metricWords.join(', ')}`;
  if (!Array.isArray(found) || found.length === 0 || found.length > METRICS_MAX)
    throw wrong('metrics', must, shown(found));
  return found.map((word: unknown) => {
    const metric = metricWords.find((one) => one === word);
    if (metric === undefined) throw wrong('metrics', must, shown(word));
    return metric;
  });
}

function dimensionsFrom(found: unknown): readonly string[] {
  const must = `be an array of at most ${DIMENSIONS_MAX} of ${dimensionWords.join(', ')}`;
  if (!Array.isArray(found) || found.length > DIMENSIONS_MAX) throw wrong('dimensions', must, shown(found));
  for (const word of found as readonly unknown[])
    if (!isText(word) || meaningOf(word) === undefined) throw wrong('dimensions', must, shown(word));
  if (new Set(found).size < found.length) throw wrong('dimensions', 'be different', shown(found));
  return found as readonly string[];
}

function rangeFrom(found: unknown): V2Query['date_range'] {
  const word = rangeWords.find((one) => one === found);
  if (word !== undefined) return { word };
  const must = `be one of ${rangeWords.join(', ')}, or [from, to] as dates or as times with an offset`;
  if (!Array.isArray(found) || found.length !== 2 || !found.every(isText))
    throw wrong('date_range', must, shown(found));
  const [from, to] = found as [string, string];
  const [first, last] = [parseDate(from), parseDate(to)];
  if (first !== undefined && last !== undefined && first <= last) return { days: [first, last] };
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$/;
  const [begin, end] = [from, to].map((text) => (time.test(text) ? Date.parse(text) : Number.NaN)) as [number, number];
  if (!(begin < end)) throw wrong('date_range', must, shown(found));
  // Sums are kept by quarters of an hour; the last moment is meant to be in it, such as 15:59:59.
  return { ms: [Math.floor(begin / SLOT_MS) * SLOT_MS, Math.ceil(end / SLOT_MS) * SLOT_MS] };
}

const opposite = {
  is: 'is_not',
  is_not: 'is',
  contains: 'contains_not',
  contains_not: 'contains',
  matches: 'matches_not',
  matches_not: 'matches',
} as const;

function filterFrom(found: unknown, negated: boolean, depth: number): V2Filter {
  const shape = `be [op, dimension, [values]] with an op of ${ops.join(', ')}, or ["and" | "or", [filters]], or ["not" | "has_done" | "has_not_done", filter]`;
  if (!Array.isArray(found) || depth > DEPTH_MAX) throw wrong('filters', shape, shown(found));
  const [word, second, values, modifiers] = found as readonly unknown[];
  if (word === 'not' && found.length === 2) return filterFrom(second, !negated, depth + 1);
  if ((word === 'has_done' || word === 'has_not_done') && found.length === 2) {
    const what = filterFrom(second, false, depth + 1);
    if (!isAboutEvents(what))
      throw wrong('filters', `have a filter of event: dimensions within ${word}`, shown(second));
    return { op: (word === 'has_done') !== negated ? 'done' : 'not_done', what };
  }
  if (word === 'and' || word === 'or') {
    if (!Array.isArray(second) || second.length === 0 || second.length > filtersMax || found.length !== 2)
      throw wrong('filters', shape, shown(found));
    // De Morgan: not both is either not.
    const op = (word === 'or') !== negated ? 'any' : 'all';
    return { op, of: second.map((one) => filterFrom(one, negated, depth + 1)) };
  }
  const op = ops.find((one) => one === word);
  if (op === undefined || found.length < 3 || found.length > 4) throw wrong('filters', shape, shown(found));
  const meaning = isText(second) ? meaningOf(second) : undefined;
  if (meaning === undefined || meaning.kind === 'time')
    throw wrong(
      'filters',
      `have a dimension of ${dimensionWords.filter((one) => !one.startsWith('time')).join(', ')}`,
      shown(second),
    );
  if (!Array.isArray(values) || values.length === 0 || values.length > filterValuesMax || !values.every(isText))
    throw wrong('filters', `have 1 to ${filterValuesMax} texts as values`, shown(found));
  const ignoreCase =
    modifiers !== undefined && (modifiers as { case_sensitive?: unknown } | null)?.case_sensitive === false;
  if (op.startsWith('matches')) for (const value of values) mustCompile(value, ignoreCase);
  return {
    op: negated ? opposite[op] : op,
    dimension: second as string,
    values: values as readonly string[],
    ignoreCase,
  };
}

const isAboutEvents = (filter: V2Filter): boolean =>
  'of' in filter ? filter.of.every(isAboutEvents) : 'dimension' in filter && filter.dimension.startsWith('event:');

function mustCompile(pattern: string, ignoreCase: boolean): void {
  try {
    regexOf(pattern, ignoreCase);
  } catch (error) {
    throw wrong('filters', `have regular expressions of RE2 with matches: ${(error as Error).message}`, pattern);
  }
}

function orderFrom(found: unknown, metrics: readonly MetricWord[], dimensions: readonly string[]): V2Query['order_by'] {
  const time = dimensions.find((word) => meaningOf(word)?.kind === 'time');
  if (found === undefined)
    return [...(time === undefined ? [] : [[time, 'asc'] as const]), [metrics[0]!, 'desc'] as const];
  const must = 'be an array of [metric or dimension of the query, "asc" or "desc"]';
  if (!Array.isArray(found) || found.length > METRICS_MAX) throw wrong('order_by', must, shown(found));
  return found.map((one: unknown) => {
    const [word, direction] = Array.isArray(one) ? (one as readonly unknown[]) : [];
    const isKnown = metrics.some((name) => name === word) || dimensions.some((name) => name === word);
    if (!isKnown || (direction !== 'asc' && direction !== 'desc')) throw wrong('order_by', must, shown(one));
    return [word as string, direction] as const;
  });
}

function includeFrom(found: unknown = {}, dimensions: readonly string[]): V2Query['include'] {
  const keys = ['imports', 'time_labels', 'total_rows'];
  if (!isObject(found) || Object.keys(found).some((key) => !keys.includes(key)))
    throw wrong('include', `be an object with ${keys.join(', ')}`, shown(found));
  const time_labels = found['time_labels'] === true;
  if (time_labels && !dimensions.some((word) => meaningOf(word)?.kind === 'time'))
    throw wrong('include', 'have time_labels only with a time dimension', shown(found));
  return { time_labels, total_rows: found['total_rows'] === true, imports: found['imports'] === true };
}

function pageFrom(found: unknown = {}): V2Query['pagination'] {
  const { limit = ROWS_MAX, offset = 0 } = isObject(found) ? found : { limit: -1 };
  const isCount = (value: unknown, least: number, most: number): value is number =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  if (!isCount(limit, 1, ROWS_MAX) || !isCount(offset, 0, 1_000_000))
    throw wrong('pagination', `have a limit of 1 to ${ROWS_MAX} and an offset from 0`, shown(found));
  return { limit, offset };
}
