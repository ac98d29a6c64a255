/** Questions of the API to the worker `query`, as plain data, and how they are read from the query of a request. */
import {
  checkSiteId,
  countFrom,
  dayFrom,
  type Parameter,
  textFrom,
  timeZoneFrom,
  wordFrom,
  wrong,
} from '../query/parameter.ts';
import {
  filterOps,
  filtersMax,
  filterValuesMax,
  type Interval,
  intervals,
  LIMIT_MAX,
  type Metric,
  metrics,
  OFFSET_MAX,
} from '../query/types.ts';
import type { Dimension, Filter, NewGoal } from './contract.ts';
import { dimensionsText, ordersOf, targetOf } from './dimension.ts';
import { type AskedPeriod, compares, periods } from './period.ts';
import type { V2Query } from './v2/query.ts';

/** What all questions about a site have. */
export interface AskedSite extends AskedPeriod {
  readonly siteId: string;
  /** Undefined: that of the site. */
  readonly timeZone: string | undefined;
  readonly filters: readonly Filter[];
  readonly nowMs: number;
}

export interface AskedBreakdown extends AskedSite {
  readonly dimension: Dimension;
  readonly order: Metric;
  readonly limit: number;
  readonly offset: number;
  readonly search: string;
}

export type ApiQuestion =
  /** Sites by their numbers; undefined: all of them. */
  | { readonly name: 'sites'; readonly sites?: readonly number[] }
  | { readonly name: 'site'; readonly siteId: string }
  | { readonly name: 'change_site'; readonly siteId: string; readonly timeZone: string }
  | ({ readonly name: 'summary' } & AskedSite)
  | ({ readonly name: 'timeseries'; readonly metric: Metric; readonly interval: Interval | undefined } & AskedSite)
  | ({ readonly name: 'series'; readonly interval: Interval | undefined } & AskedSite)
  | ({ readonly name: 'breakdown' } & AskedBreakdown)
  | { readonly name: 'v2'; readonly query: V2Query; readonly nowMs: number }
  | { readonly name: 'goals'; readonly siteId: string }
  | { readonly name: 'add_goal'; readonly siteId: string; readonly goal: Required<NewGoal> }
  | { readonly name: 'remove_goal'; readonly siteId: string; readonly id: number };

/** Questions that change something; changes.ts answers them. */
export type Change = Extract<ApiQuestion, { readonly name: 'change_site' | 'add_goal' | 'remove_goal' }>;
export type Reading = Exclude<ApiQuestion, Change>;

export const isChange = (question: { readonly name: string }): question is Change =>
  question.name === 'change_site' || question.name === 'add_goal' || question.name === 'remove_goal';

const FILTERS_LENGTH_MAX = 16_384;
export const SEARCH_MAX = 500;
const LIMIT_DEFAULT = 10;

/** Reads what all questions share. */
export function askedSite(siteId: string | undefined, parameter: Parameter, nowMs: number): AskedSite {
  return {
    siteId: checkSiteId(siteId),
    ...periodFrom(parameter),
    compare: wordFrom(parameter, 'compare', compares, 'previous'),
    timeZone: timeZoneFrom(parameter),
    filters: filtersFrom(parameter),
    nowMs,
  };
}

function periodFrom(parameter: Parameter): Omit<AskedPeriod, 'compare'> {
  const dated = parameter('from') !== undefined || parameter('to') !== undefined;
  const period = wordFrom(parameter, 'period', periods, dated ? 'custom' : '30d');
  if (period !== 'custom') {
    if (dated) throw wrong('period', 'be custom, or left out, when from or to is given', period);
    return { period };
  }
  const [from, to] = [dayFrom(parameter, 'from'), dayFrom(parameter, 'to')];
  if (to < from) throw wrong('to', 'not be before from', parameter('to'));
  return { period, from, to };
}

const isText = (value: unknown): value is string => typeof value === 'string' && !value.includes('\0');

function filtersFrom(parameter: Parameter): readonly Filter[] {
  const text = parameter('filters');
  if (text === undefined || text === '') return [];
  const shape = 'be a JSON array of [op, dimension, [values]]';
  if (text.length > FILTERS_LENGTH_MAX) throw wrong('filters', `have at most ${FILTERS_LENGTH_MAX} characters`, text);
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw wrong('filters', shape, text);
  }
  if (!Array.isArray(found)) throw wrong('filters', shape, text);
  if (found.length > filtersMax) throw wrong('filters', `be at most ${filtersMax}`, String(found.length));
  return found.map((one) => filterFrom(one, shape));
}

function filterFrom(found: unknown, shape: string): Filter {
  const shown = JSON.stringify(found);
  if (!Array.isArray(found) || found.length !== 3) throw wrong('filters', shape, shown);
  const [word, dimension, values] = found as readonly unknown[];
  const op = filterOps.find((one) => one === word);
  if (op === undefined) throw wrong('filters', `have an op of ${filterOps.join(', ')}`, shown);
  const target = typeof dimension === 'string' ? targetOf(dimension) : undefined;
  if (target === undefined || target.kind === 'keys')
    throw wrong('filters', `have a dimension that may ${dimensionsText.replace('prop:EVENT, ', '')}`, shown);
  if (target.kind === 'goal' && op !== 'is' && op !== 'is_not')
    throw wrong('filters', 'filter goals by is or is_not', shown);
  if (!Array.isArray(values) || values.length < 1 || values.length > filterValuesMax || !values.every(isText))
    throw wrong('filters', `have 1 to ${filterValuesMax} texts as values`, shown);
  return [op, dimension as Dimension, values as readonly string[]];
}

export const metricFrom = (parameter: Parameter): Metric => wordFrom(parameter, 'metric', metrics, 'visitors');

export function intervalFrom(parameter: Parameter): Interval | undefined {
  return parameter('interval') === undefined ? undefined : wordFrom(parameter, 'interval', intervals, 'day');
}

export function dimensionFrom(parameter: Parameter): Dimension {
  const found = parameter('dimension');
  if (found === undefined || found.includes('\0') || targetOf(found) === undefined)
    throw wrong('dimension', dimensionsText, found);
  return found as Dimension;
}

export function askedBreakdown(siteId: string | undefined, parameter: Parameter, nowMs: number): AskedBreakdown {
  const site = askedSite(siteId, parameter, nowMs);
  const dimension = dimensionFrom(parameter);
  const orders = ordersOf(targetOf(dimension)!);
  const limit = countFrom(parameter, 'limit', LIMIT_MAX, LIMIT_DEFAULT);
  const page = countFrom(parameter, 'page', Math.floor(OFFSET_MAX / limit) + 1, 1);
  return {
    ...site,
    dimension,
    order: wordFrom(parameter, 'order', orders, orders[0]!),
    limit,
    offset: (page - 1) * limit,
    search: textFrom(parameter, 'search', SEARCH_MAX),
  };
}
