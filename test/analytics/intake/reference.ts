/**
 * Reference: what POST /events makes of a body, by the book, with JSON.parse and plain strings, slow and short enough to be checked by
 * eye. It shares no code with src/analytics/intake but types. The encoder must write byte for byte the line it writes.
 */
import type { EventOrigin } from '../../../src/analytics/intake/origin.ts';
import { formPairs, nestingOf } from '../../events/reference.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i;
const DAY_MS = 86_400_000;
const utm = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'];
const soft = ['path', 'user_id', 'url', 'referrer', 'title', ...utm];

/** A number as it is spelled. */
class Spelled {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
type Value = null | boolean | string | Spelled | Value[] | { [key: string]: Value };
type Item = { [key: string]: Value };

function spelling(this: unknown, _key: string, value: Value, { source }: { source?: string } = {}): Value {
  return typeof value === 'number' ? new Spelled(source!) : value;
}
const parse = JSON.parse as (text: string, reviver: typeof spelling) => Value;

export type Outcome =
  | { readonly line: string; readonly key: string; readonly mended: readonly string[] }
  | { readonly bad: string };

/** Ms of an RFC 3339 time from year 1 on, NaN when it is none. Leap seconds are the kernel's own test. */
function instant(text: string): number {
  const [, main, fraction = '', zone] = RFC3339.exec(text) ?? [];
  if (main === undefined || main.slice(11, 13) === '24') return Number.NaN;
  const ms = Date.parse(`${main}.${fraction.slice(0, 3).padEnd(3, '0')}${zone}`.toUpperCase());
  // Date.parse takes the 31st of February.
  if (new Date(Date.parse(`${main}Z`.toUpperCase())).getUTCDate() !== Number(main.slice(8, 10))) return Number.NaN;
  return ms >= Date.parse('0001-01-01T00:00:00Z') && ms <= Date.parse('9999-12-31T23:59:59.999Z') ? ms : Number.NaN;
}

const clean = (text: string): string => text.toWellFormed().replaceAll('\0', '\ufffd');
const cut = (text: string, chars: number): string => [...text].slice(0, chars).join('');
const length = (text: string): number => [...text].length;

export interface Made {
  readonly eventId: string;
}

/** 'malformed', 'no events', or what becomes of each item. `made`: ids that the encoder made, by index of the line. */
export function referenceEvents(
  body: string,
  origin: EventOrigin,
  made: readonly Made[],
  { depthMax = 64, ageMs = Number.POSITIVE_INFINITY } = {},
): 'malformed' | 'no events' | Outcome[] {
  const text = body.replace(/^\ufeff/, '');
  let value: Value;
  try {
    value = parse(text, spelling);
  } catch {
    return 'malformed';
  }
  if (value === null || typeof value !== 'object' || value instanceof Spelled) return 'no events';
  const items = Array.isArray(value) ? value : [value];
  const texts = Array.isArray(value) ? itemTexts(text) : [text];
  let line = 0;
  return items.map((item, index) => {
    if (item === null || typeof item !== 'object' || Array.isArray(item) || item instanceof Spelled)
      return { bad: 'event' };
    const outcome = oneEvent(item, nestingOf(texts[index]!) > depthMax, origin, made[line]?.eventId ?? '', ageMs);
    if (!('bad' in outcome)) line += 1;
    return outcome;
  });
}

/** The texts of the items of an array. */
function itemTexts(text: string): string[] {
  const inner = text.trim().slice(1, -1);
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (const { 0: token, index } of inner.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},]/gs)) {
    if (token === '[' || token === '{') depth += 1;
    else if (token === ']' || token === '}') depth -= 1;
    else if (token === ',' && depth === 0) {
      found.push(inner.slice(from, index));
      from = index + 1;
    }
  }
  return [...found, inner.slice(from)];
}

function oneEvent(item: Item, deep: boolean, origin: EventOrigin, madeId: string, ageMs: number): Outcome {
  const mended = new Set<string>();
  const own = (key: string): Value | undefined => (Object.hasOwn(item, key) ? item[key] : undefined);
  // In the order of the line: the first that is no string is told.
  for (const key of ['event_id', 'site_id', 'event_type', 'timestamp']) {
    const value = own(key);
    if (value !== undefined && value !== null && typeof value !== 'string') return { bad: key };
    if (value === null) mended.add(key);
  }
  if (deep) return { bad: 'event' };
  for (const [key, max] of [
    ['site_id', 100],
    ['event_type', 50],
  ] as const) {
    const value = own(key);
    if (typeof value !== 'string' || value !== clean(value) || length(value) < 1 || length(value) > max)
      return { bad: key };
  }
  let ms = origin.receivedMs;
  const given = own('timestamp');
  if (typeof given === 'string') {
    ms = instant(given);
    if (Number.isNaN(ms) || origin.receivedMs - ms > ageMs) return { bad: 'timestamp' };
    if (ms > origin.receivedMs + 300_000) {
      ms = origin.receivedMs;
      mended.add('timestamp');
    }
  }
  const texts = new Map<string, string>();
  for (const key of soft) {
    const value = own(key);
    if (value === undefined) continue;
    if (typeof value !== 'string') mended.add(key);
    else if (clean(value) !== value) mended.add(key);
    const is = typeof value === 'string' ? clean(value) : value instanceof Spelled ? value.text : '';
    if (is !== '') texts.set(key, is);
  }
  if (length(texts.get('user_id') ?? '') > 100) return { bad: 'user_id' };
  const url = texts.get('url');
  if (url !== undefined) {
    const path = pathOf(url);
    if (path !== undefined && !texts.has('path')) texts.set('path', path);
    for (const [name, value] of formPairs(/^[^?#]*\?([^#]*)/.exec(url)?.[1] ?? '')) {
      if (utm.includes(name) && value !== '' && !texts.has(name)) texts.set(name, clean(value));
    }
  }
  for (const [key, value] of texts) {
    if (key === 'user_id' || length(value) <= 2000) continue;
    texts.set(key, cut(value, 2000));
    mended.add(key);
  }
  const props = propsOf(own('props'), mended);
  const id = own('event_id') ?? undefined;
  if (typeof id === 'string' && !UUID.test(id)) return { bad: 'event_id' };
  const site = own('site_id') as string;
  const user = origin.anonymous ? undefined : texts.get('user_id');
  const visitor = user !== undefined || origin.anonymous ? '' : origin.visitorOf(site, Math.floor(ms / DAY_MS));
  const eventId = typeof id === 'string' ? id.toLowerCase() : madeId;
  const members: [string, string | undefined][] = [
    ['event_id', eventId],
    ['site_id', site],
    ['event_type', own('event_type') as string],
    ['path', texts.get('path')],
    ['user_id', user],
    ['timestamp', new Date(ms).toISOString()],
    ['received_at', new Date(origin.receivedMs).toISOString()],
    ['visitor', visitor],
    ['url', url === undefined ? undefined : texts.get('url')],
    ['referrer', texts.get('referrer')],
    ['title', texts.get('title')],
  ];
  const strings = (of: readonly [string, string | undefined][]): string[] =>
    of.filter(([, value]) => value).map(([key, value]) => `"${key}":${JSON.stringify(value)}`);
  const parts = [
    ...strings(members),
    ...(props === '' ? [] : [`"props":{${props}}`]),
    ...strings(utm.map((key) => [key, texts.get(key)])),
    ...(origin.traits.length === 0 ? [] : [origin.traits.toString()]),
    '"via":"events"',
  ];
  const counted = ['event_id', 'timestamp', ...soft, 'props'].filter((key) => mended.has(key));
  return { line: `{${parts.join(',')}}`, key: `${site}:${user ?? (visitor || eventId)}`, mended: counted };
}

/** By the grammar of RFC 3986, appendix B: what has a path that begins with a slash. */
function pathOf(url: string): string | undefined {
  const [, scheme, authority, path] = /^([a-z0-9+.-]+:)?(\/\/[^/?#]*)?([^?#]*)/is.exec(url)!;
  if (authority === undefined) return scheme === undefined && path!.startsWith('/') ? path : undefined;
  return path === '' ? '/' : path;
}

function propsOf(value: Value | undefined, mended: Set<string>): string {
  if (value === undefined) return '';
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Spelled) {
    mended.add('props');
    return '';
  }
  const kept: string[] = [];
  const drop = () => void mended.add('props');
  // Equal names: JSON.parse has the last value at the first place; the line has it at the last.
  for (const [name, one] of Object.entries(value)) {
    const key = clean(name);
    const flat = typeof one === 'string' || typeof one === 'boolean' || one instanceof Spelled;
    if (!flat || kept.length === 30 || length(key) > 100) {
      drop();
      continue;
    }
    let json = JSON.stringify(one);
    if (typeof one === 'string') {
      const is = cut(clean(one), 500);
      if (is !== clean(one)) drop();
      json = JSON.stringify(is);
    } else if (one instanceof Spelled) {
      json = one.text;
      const number = Math.abs(Number(one.text));
      const whole = /^-?\d+$/.test(one.text) && number > Number.MAX_SAFE_INTEGER;
      const odd = whole || (/e/i.test(one.text) && !(number > 1e-300));
      if (one.text.length > 15 && (one.text.length > 500 || !Number.isFinite(number)))
        json = JSON.stringify(cut(one.text, 500));
      else if (odd || !Number.isFinite(number)) json = JSON.stringify(cut(one.text, 500));
      if (json !== one.text) drop();
    }
    kept.push(`${JSON.stringify(key)}:${json}`);
  }
  return kept.join(',');
}
