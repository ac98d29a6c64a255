/**
 * Words of Plausible's stats API v2 (plausible.io/docs/stats-api) that are answered here, and what they are called by
 * the engine of queries.
 */
import type { AskedDimension, Interval, Metric } from '../../query/types.ts';

/** Metrics that come from the sums of a row, each with what they are here; rates are percentages there. */
export const plainMetrics = {
  visitors: 'visitors',
  visits: 'visits',
  pageviews: 'views',
  views_per_visit: 'views_per_visit',
  bounce_rate: 'bounce_rate',
  visit_duration: 'visit_duration',
  events: 'events',
  time_on_page: 'engaged_time',
} as const satisfies Readonly<Record<string, Metric>>;
/**
 * Metrics that need other visitors beside a row: conversion_rate those of the whole range, group_conversion_rate those of
 * the row's own values (of its day, of its source), both without filters by goals and properties.
 */
export const ratioMetrics = ['percentage', 'conversion_rate', 'group_conversion_rate'] as const;
export const metricWords = [...Object.keys(plainMetrics), ...ratioMetrics] as readonly MetricWord[];
export type MetricWord = keyof typeof plainMetrics | (typeof ratioMetrics)[number];

const visitWords = {
  'visit:entry_page': 'entry_page',
  'visit:exit_page': 'exit_page',
  'visit:source': 'source',
  'visit:referrer': 'referrer',
  'visit:utm_medium': 'utm_medium',
  'visit:utm_source': 'utm_source',
  'visit:utm_campaign': 'utm_campaign',
  'visit:utm_content': 'utm_content',
  'visit:utm_term': 'utm_term',
  'visit:device': 'device',
  'visit:browser': 'browser',
  'visit:os': 'os',
  'visit:country': 'country',
  'visit:country_name': 'country',
  'visit:region': 'region',
  'visit:region_name': 'region',
} as const satisfies Readonly<Record<string, AskedDimension>>;
const eventWords = { 'event:page': 'path', 'event:name': 'event_type' } as const;
const timeWords = {
  'time:hour': 'hour',
  'time:day': 'day',
  'time:week': 'week',
  'time:month': 'month',
} as const satisfies Readonly<Record<string, Interval>>;
const PROPS = 'event:props:';

export const dimensionWords: readonly string[] = [
  ...Object.keys(eventWords),
  'event:goal',
  `${PROPS}<name>`,
  ...Object.keys(visitWords),
  'time',
  ...Object.keys(timeWords),
];

export type Meaning =
  | { readonly kind: 'plain'; readonly dimension: Exclude<AskedDimension, 'prop'>; readonly level: 'event' | 'visit' }
  | { readonly kind: 'goal' }
  /** A property of events of any type. */
  | { readonly kind: 'prop'; readonly key: string }
  /** Undefined: by the length of the range. */
  | { readonly kind: 'time'; readonly interval: Interval | undefined };

/** Undefined: it is not held here. */
export function meaningOf(word: string): Meaning | undefined {
  if (word === 'event:goal') return { kind: 'goal' };
  if (word === 'time') return { kind: 'time', interval: undefined };
  if (word.startsWith(PROPS) && word.length > PROPS.length) return { kind: 'prop', key: word.slice(PROPS.length) };
  if (Object.hasOwn(timeWords, word)) return { kind: 'time', interval: timeWords[word as keyof typeof timeWords] };
  if (Object.hasOwn(visitWords, word))
    return { kind: 'plain', level: 'visit', dimension: visitWords[word as keyof typeof visitWords] };
  if (Object.hasOwn(eventWords, word))
    return { kind: 'plain', level: 'event', dimension: eventWords[word as keyof typeof eventWords] };
  return undefined;
}

const regions = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });
let codes: Map<string, string> | undefined;

/** Name of a country in English; the code where it has none. */
export const countryName = (code: string): string => (/^[A-Z]{2}$/.test(code) ? (regions.of(code) ?? code) : code);

/** Code of a country by its name; the text itself where no country is called so. */
export function countryCode(name: string): string {
  if (codes === undefined) {
    codes = new Map();
    const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
    for (const code of letters.flatMap((a) => letters.map((b) => a + b))) {
      const found = regions.of(code);
      // DD, of a country that is no more, is called as its successor.
      const lasts = new Intl.Locale(`und-${code}`).region === code;
      if (found !== undefined && (lasts || !codes.has(found))) codes.set(found, code);
    }
    codes.set('United States of America', 'US');
  }
  return codes.get(name) ?? name;
}
