/** Format: numbers, times and names as a person reads them, in the language of the browser. */
import type { BreakdownMetric, Dates, Dimension, Interval, Period } from '../api/contract.ts';

const language = navigator.language;
const plain = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { notation: 'compact', maximumFractionDigits: 1 });
const oneDigit = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const percents = new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 1 });
const wholePercents = new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 });
const regions = new Intl.DisplayNames([language], { type: 'region' });

export const count = (n: number): string => plain.format(n);
/** 1,234 as it is, 123,456 as 123.5K. */
export const brief = (n: number): string => (Math.abs(n) < 10_000 ? oneDigit.format(n) : short.format(n));
export const percent = (fraction: number): string => percents.format(fraction);
/** Changes: whole percents from 10 on; ten times as much and more as how many times it is. */
export function changeText(change: number): string {
  const size = Math.abs(change);
  return size >= 9 ? `${oneDigit.format(size + 1)}×` : (size >= 0.1 ? wholePercents : percents).format(size);
}

/** What is shown as no change at all. */
export const isSame = (change: number): boolean => Math.abs(change) < 0.0005;
export const sameText = `±${percents.format(0)}`;
export const arrowed = (change: number): string =>
  isSame(change) ? sameText : `${change < 0 ? '↓' : '↑'} ${changeText(change)}`;

export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${whole % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}

/** `exact`: all digits, for titles and tables. */
export function metricText(metric: BreakdownMetric, value: number, exact = false): string {
  switch (metric) {
    case 'bounce_rate':
    case 'conversion_rate':
      return percent(value);
    case 'visit_duration':
    case 'engaged_time':
      return duration(value);
    case 'views_per_visit':
      return twoDigits.format(value);
    default:
      return exact ? count(value) : brief(value);
  }
}

export const metricTitles: Readonly<Record<BreakdownMetric, string>> = {
  visitors: 'Visitors',
  visits: 'Visits',
  views: 'Views',
  views_per_visit: 'Views per visit',
  bounce_rate: 'Bounce rate',
  visit_duration: 'Visit duration',
  engaged_time: 'Engaged time',
  events: 'Events',
  conversions: 'Conversions',
  conversion_rate: 'Rate',
};

export const periodTitles: Readonly<Record<Period, string>> = {
  today: 'Today',
  yesterday: 'Yesterday',
  '7d': 'Last 7 days',
  '30d': 'Last 30 days',
  month: 'This month',
  last_month: 'Last month',
  year: 'This year',
  all: 'All time',
  custom: 'Custom range',
};

const dimensionTitles: Readonly<Record<string, string>> = {
  path: 'Page',
  entry_page: 'Entry page',
  exit_page: 'Exit page',
  referrer: 'Referrer',
  source: 'Source',
  utm_source: 'UTM source',
  utm_medium: 'UTM medium',
  utm_campaign: 'UTM campaign',
  utm_term: 'UTM term',
  utm_content: 'UTM content',
  country: 'Country',
  region: 'Region',
  device: 'Device',
  browser: 'Browser',
  os: 'System',
  event_type: 'Event',
  goal: 'Goal',
};

/** `prop:EVENT:KEY` taken apart; undefined: it is none. */
export function propertyOf(
  dimension: string,
): { readonly event: string; readonly key: string | undefined } | undefined {
  const [kind, event = '', key] = dimension.split(':');
  if (kind !== 'prop') return undefined;
  return { event: decoded(event), key: key === undefined ? undefined : decoded(key) };
}

export function propertyDimension(event: string, key?: string): Dimension {
  const encoded = (text: string) => text.replace(/[%:]/g, encodeURIComponent);
  return key === undefined ? `prop:${encoded(event)}` : `prop:${encoded(event)}:${encoded(key)}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function dimensionTitle(dimension: string): string {
  const property = propertyOf(dimension);
  if (property === undefined) return dimensionTitles[dimension] ?? dimension;
  return property.key === undefined ? `Properties of ${property.event}` : `${property.event}: ${property.key}`;
}

/** What stands for a missing value. */
const missing: Readonly<Record<string, string>> = {
  source: 'Direct / none',
  referrer: 'Direct / none',
  country: 'Unknown',
  region: 'Unknown',
  device: 'Unknown',
  browser: 'Unknown',
  os: 'Unknown',
};

const deviceNames: Readonly<Record<string, string>> = {
  desktop: 'Desktop',
  mobile: 'Mobile',
  tablet: 'Tablet',
  smarttv: 'TV',
  console: 'Console',
  wearable: 'Wearable',
};

/** Names of regions that answers have told, by their codes. */
const regionNames = new Map<string, string>();

/** Whether any of them is new. */
export function learnRegions(names: Iterable<readonly [code: string, name: string | undefined]>): boolean {
  let fresh = false;
  for (const [code, name] of names) {
    if (name === undefined || regionNames.get(code) === name) continue;
    regionNames.set(code, name);
    fresh = true;
  }
  return fresh;
}

/** The name of a value: a country or a region by its name, a missing value by words. */
export function valueText(dimension: string, value: string): string {
  if (value === '') return missing[dimension] ?? '(none)';
  if (dimension === 'region') return regionNames.get(value) ?? value;
  if (dimension === 'country') return countryName(value);
  if (dimension === 'device') return deviceNames[value] ?? value;
  return value;
}

/** Dimensions of few values, which are shown by other names than they have. */
export const isNamed = (dimension: string): boolean =>
  dimension === 'country' || dimension === 'region' || dimension === 'device';

/** The value that is called so, in large or small letters; the text itself where none is. */
export function valueNamed(dimension: string, text: string): string {
  const wanted = text.trim().toLowerCase();
  const isCalled = (value: string) => valueText(dimension, value).toLowerCase() === wanted;
  if (wanted === 'direct' ? 'source referrer'.includes(dimension) : isCalled('')) return '';
  if (dimension === 'device') return Object.keys(deviceNames).find(isCalled) ?? wanted;
  if (dimension === 'region') return [...regionNames.keys()].find(isCalled) ?? wanted.toUpperCase();
  if (dimension !== 'country') return text;
  if (/^[a-z]{2}$/.test(wanted)) return wanted.toUpperCase();
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  const codes = letters.flatMap((a) => letters.map((b) => a + b)).filter(isCalled);
  // DD, of a country that is no more, is called as its successor.
  return codes.find((code) => new Intl.Locale(`und-${code}`).region === code) ?? codes[0] ?? text;
}

function countryName(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return code;
  try {
    return regions.of(code) ?? code;
  } catch {
    return code;
  }
}

/** Local times without a zone, read as UTC and shown as UTC: the zone of the browser never moves them. */
const local = (at: string): Date => new Date(`${at.length === 10 ? `${at}T00:00` : at}:00Z`);
const times = (options: Intl.DateTimeFormatOptions) =>
  new Intl.DateTimeFormat(language, { timeZone: 'UTC', ...options });
const dayMonth = times({ day: 'numeric', month: 'short' });
const dayMonthYear = times({ day: 'numeric', month: 'short', year: 'numeric' });
const weekday = times({ weekday: 'short', day: 'numeric', month: 'short' });
const monthYear = times({ month: 'long', year: 'numeric' });
const monthShort = times({ month: 'short', year: '2-digit' });
const hour = times({ hour: 'numeric', minute: '2-digit' });

/** On the axis. `manyDays`: hours of several days, of which the day matters more. */
export function axisText(at: string, interval: Interval, manyDays: boolean): string {
  if (interval === 'month') return monthShort.format(local(at));
  if (interval === 'hour' || interval === 'quarter') return (manyDays ? dayMonth : hour).format(local(at));
  return dayMonth.format(local(at));
}

/** In the tooltip and in tables. */
export function pointText(at: string, interval: Interval): string {
  if (interval === 'month') return monthYear.format(local(at));
  if (interval === 'week') return `Week of ${dayMonthYear.format(local(at))}`;
  if (interval === 'day') return weekday.format(local(at));
  return `${weekday.format(local(at))}, ${hour.format(local(at))}`;
}

export function datesText({ from, to }: Pick<Dates, 'from' | 'to'>): string {
  if (from === to) return dayMonthYear.format(local(from));
  return dayMonthYear.formatRange(local(from), local(to));
}

export function addDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** The wall clock of an event that has just come, in the time zone of the browser. */
export const clockText = (at: string): string =>
  new Date(at).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
