/**
 * State: what is looked at, as one pure value. It lives in the address and nowhere else, so a link shows another person
 * the same view, and back and forward work. Everything at its default is left out of the address.
 *
 *   ?site=shop.example&period=7d&compare=year&is:country=DE&is:country=AT&contains:path=%2Fblog&pages=entry_page
 *
 * There is one filter for each pair of operator and dimension; its values stand in the address one by one.
 */
import type { Compare, Dimension, Filter, FilterOp, Interval, Metric, Period } from '../api/contract.ts';

export const periods: readonly Period[] = [
  'today',
  'yesterday',
  '7d',
  '30d',
  'month',
  'last_month',
  'year',
  'all',
  'custom',
];
export const compares: readonly Compare[] = ['previous', 'year', 'none'];
export const metricNames: readonly Metric[] = [
  'visitors',
  'visits',
  'views',
  'views_per_visit',
  'bounce_rate',
  'visit_duration',
  'engaged_time',
  'events',
];
export const intervals: readonly Interval[] = ['quarter', 'hour', 'day', 'week', 'month'];
export const ops: readonly FilterOp[] = ['is', 'is_not', 'contains', 'contains_not', 'matches', 'matches_not'];
const tabbed = ['pages', 'sources', 'places', 'devices', 'events'] as const;
export type Tabbed = (typeof tabbed)[number];

export interface View {
  /** '': the overview of all sites. */
  readonly site: string;
  readonly period: Period;
  /** Of the period `custom` alone: YYYY-MM-DD. */
  readonly from: string;
  readonly to: string;
  readonly compare: Compare;
  readonly filters: readonly Filter[];
  readonly metric: Metric;
  /** undefined: the server chooses. */
  readonly interval: Interval | undefined;
  /** The dimension that a panel shows; left out: its first. */
  readonly tabs: Readonly<Partial<Record<Tabbed, string>>>;
  /** The dimension whose long list is open; '': none. */
  readonly details: string;
  readonly live: boolean;
  /** Token of a share link; it goes with every question. */
  readonly share: string;
}

export const home: View = {
  site: '',
  period: '30d',
  from: '',
  to: '',
  compare: 'previous',
  filters: [],
  metric: 'visitors',
  interval: undefined,
  tabs: {},
  details: '',
  live: false,
  share: '',
};

const DATE = /^\d{4}-\d\d-\d\d$/;
const oneOf = <T extends string>(list: readonly T[], text: string | null): T | undefined =>
  list.find((one) => one === text);

export function parseView(search: string): View {
  const query = new URLSearchParams(search);
  const text = (name: string) => query.get(name) ?? '';
  const filters = new Map<string, [FilterOp, Dimension, string[]]>();
  for (const [name, value] of query) {
    const at = name.indexOf(':');
    const op = oneOf(ops, name.slice(0, Math.max(at, 0)));
    if (op === undefined) continue;
    const known = filters.get(name);
    if (known === undefined) filters.set(name, [op, name.slice(at + 1) as Dimension, [value]]);
    else if (!known[2].includes(value)) known[2].push(value);
  }
  const dated = DATE.test(text('from')) && DATE.test(text('to'));
  const period = oneOf(periods, query.get('period')) ?? home.period;
  const tabs = tabbed.flatMap((name) => (query.has(name) ? [[name, text(name)]] : []));
  return {
    site: text('site'),
    period: period === 'custom' && !dated ? home.period : period,
    from: period === 'custom' && dated ? text('from') : '',
    to: period === 'custom' && dated ? text('to') : '',
    compare: oneOf(compares, query.get('compare')) ?? home.compare,
    filters: [...filters.values()],
    metric: oneOf(metricNames, query.get('metric')) ?? home.metric,
    interval: oneOf(intervals, query.get('interval')),
    tabs: Object.fromEntries(tabs),
    details: text('details'),
    live: query.get('live') === '1',
    share: text('share'),
  };
}

export function formatView(view: View): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string, usual = '') => value !== usual && query.append(name, value);
  put('share', view.share);
  put('site', view.site);
  put('period', view.period, home.period);
  put('from', view.from);
  put('to', view.to);
  put('compare', view.compare, home.compare);
  put('metric', view.metric, home.metric);
  put('interval', view.interval ?? '');
  for (const [op, dimension, values] of view.filters)
    for (const value of values) query.append(`${op}:${dimension}`, value);
  for (const name of tabbed) put(name, view.tabs[name] ?? '');
  put('details', view.details);
  put('live', view.live ? '1' : '');
  // Readable where the address allows it.
  const search = query.toString().replace(/%3A/g, ':').replace(/%2F/g, '/');
  return search === '' ? '/' : `/?${search}`;
}

/** With these values as well, or, where all of them are there already, without them. */
export function toggleFilter(view: View, op: FilterOp, dimension: Dimension, value: string): View {
  const known = view.filters.find(([o, d]) => o === op && d === dimension);
  const values = known?.[2] ?? [];
  const next = values.includes(value) ? values.filter((one) => one !== value) : [...values, value];
  return putFilter(view, known, [op, dimension, next]);
}

/** Puts a filter in the place of `old`; one without values goes. */
export function putFilter(view: View, old: Filter | undefined, next: Filter): View {
  const [op, dimension, values] = next;
  const same = (one: Filter) => one[0] === op && one[1] === dimension;
  const twin = view.filters.find((one) => same(one) && one !== old);
  const merged: Filter = [op, dimension, [...new Set([...(twin?.[2] ?? []), ...values])]];
  const place = old ?? twin;
  const rest = view.filters.filter((one) => one === place || !same(one));
  const put = place === undefined ? [...rest, merged] : rest.map((one) => (one === place ? merged : one));
  return { ...view, filters: put.filter((one) => one[2].length > 0) };
}

/** Parameters of the query that all questions about the site of this view share. */
export function questionOf(view: View): URLSearchParams {
  const query = new URLSearchParams({ period: view.period });
  if (view.period === 'custom') {
    query.set('from', view.from);
    query.set('to', view.to);
  }
  query.set('compare', view.compare);
  if (view.filters.length > 0) query.set('filters', JSON.stringify(view.filters));
  if (view.share !== '') query.set('share', view.share);
  return query;
}
