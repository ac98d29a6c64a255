/**
 * Conversion: one event of the collector (events/schema.ts), as /px.gif and /collect take it, as the line of an event
 * of analytics (event.ts).
 *
 *   site_id     props.site_id, a text; else exactly the host of url, in lower case and without its port ("www." stays:
 *               www.example.com and example.com may be two sites)
 *   event_type  e; `pageview` is page_view, any other word is taken literally
 *   user_id     uid        path  of url        referrer  ref        title  props.title
 *   timestamp   ts, by the rules of clock.ts
 *   utm_*       utm, and each that is missing from the query of url; others of utm become props: utm_id
 *   props       the others, flat: numbers, booleans and texts, by the limits of event.ts. Of a parameter that the pixel
 *               has several times the last one counts. Objects and arrays are left out
 *   sid, ip, geo, device   left out; `ua` of a server that reports for a browser decides device, bot and visitor
 *
 * An event that has no site, too long a name, or a time that is too old cannot be converted.
 */
import type { ItemErrorCode } from '../../events/batch-result.ts';
import { eventErrors } from '../../events/errors.ts';
import { DAY_MS, dayOf } from '../dimensions.ts';
import { limits, utmKeys } from '../event.ts';
import { campaignOf, pathOf } from '../page-url.ts';
import { ageRule, firstMsOf, settledMs } from '../processor/clock.ts';
import { hostOf } from '../processor/source.ts';
import type { Receipts } from './receipts.ts';
import type { SentOrigin } from './sender.ts';
import type { UnrecordedReason } from './visitor-metrics.ts';

/** The members of a collector's line that are read. */
interface CollectorLine {
  readonly event_id: string;
  readonly e: string;
  readonly uid?: string;
  readonly url?: string;
  readonly ref?: string;
  readonly ua?: string;
  readonly utm?: Readonly<Record<string, unknown>>;
  readonly props?: Readonly<Record<string, unknown>>;
}

export type Via = 'px' | 'collect';

/** Why an event cannot be converted, and the words for it. */
export interface Unconvertible {
  readonly reason: UnrecordedReason;
  readonly code: ItemErrorCode;
  readonly message: string;
}

export interface Converted {
  readonly line: string;
  /** Key of the record: what stays in order. */
  readonly key: string;
}

/** Years 1 to 9999: what both toISOString() and Postgres write with four digits. */
const FIRST_MS = -62_135_596_800_000;
const FOUND_CHARS_MAX = 64;
const UTM = 'utm_';
const campaignKeys = utmKeys.map((key) => ({ key, word: key.slice(UTM.length) }));
const campaignWords: ReadonlySet<string> = new Set(campaignKeys.map(({ word }) => word));
/** Members of props that have a place of their own. */
const placed: Readonly<Record<Via, ReadonlySet<string>>> = {
  collect: new Set(['site_id', 'title']),
  // ?key= is the ingest key of an image's address (access/credentials.ts). It is a secret.
  px: new Set(['site_id', 'title', 'key']),
};

/** `tsMs`: the time of the line. `ageMs`: how old it may be. */
export function convert(
  text: string,
  tsMs: number,
  via: Via,
  origin: SentOrigin,
  ageMs: number,
  receipts: Receipts,
): Converted | Unconvertible {
  const event = JSON.parse(text) as CollectorLine;
  const { url = '', props = {} } = event;
  const siteId = siteOf(props['site_id'], url);
  // Mended, two names could become one.
  if (!isWhole(siteId)) return invalid('bad_event', 'props.site_id', 'well-formed text without U+0000', siteId);
  if (!isWhole(event.e)) return invalid('bad_event', 'e', 'well-formed text without U+0000', event.e);
  if (siteId === '')
    return invalid('no_site', 'props.site_id', `1 to ${limits.siteId} characters, or url have a host`, url);
  if (isLonger(siteId, limits.siteId))
    return invalid('no_site', 'props.site_id', `1 to ${limits.siteId} characters`, siteId);
  const eventType = event.e === 'pageview' ? 'page_view' : event.e;
  if (isLonger(eventType, limits.eventType))
    return invalid('bad_event', 'e', `1 to ${limits.eventType} characters`, eventType);
  const userId = origin.anonymous ? '' : clean(event.uid ?? '');
  if (isLonger(userId, limits.userId)) return invalid('bad_event', 'uid', `1 to ${limits.userId} characters`, userId);
  const timestampMs = settledMs(tsMs, origin.receivedMs, ageMs);
  if (Number.isNaN(timestampMs))
    return invalid('too_old', 'ts', ageRule(ageMs), new Date(Math.max(tsMs, FIRST_MS)).toISOString());
  if (timestampMs < FIRST_MS) return invalid('bad_event', 'ts', 'a time after the year 0', 'year 0');
  const { grant } = origin;
  if (grant !== undefined && !grant.admits(siteId)) {
    const refusal = grant.refusal(siteId);
    return { reason: refusal.code === 'ACCESS_UNKNOWN' ? 'unavailable' : 'forbidden', ...refusal };
  }
  const retentionDays = grant?.retentionDays(siteId) ?? Number.POSITIVE_INFINITY;
  if (timestampMs < firstMsOf(retentionDays, origin.receivedMs))
    return invalid('too_old', 'ts', ageRule(retentionDays * DAY_MS), new Date(tsMs).toISOString());

  const own = event.ua !== undefined && event.ua !== '' && !origin.anonymous ? event.ua : undefined;
  const day = dayOf(timestampMs);
  let visitor = '';
  if (userId === '') visitor = own === undefined ? origin.visitorOf(siteId, day) : origin.visitorBy(own, siteId, day);
  const traits = own === undefined ? origin.traits : origin.traitsBy(own);
  let line = `{"event_id":"${event.event_id}"`;
  line += member('site_id', siteId) + member('event_type', eventType);
  line += member('path', cut(clean(pathOf(url)), limits.text)) + member('user_id', userId);
  line += `,"timestamp":"${new Date(timestampMs).toISOString()}","received_at":"${receipts.text(origin.receivedMs)}"`;
  line += member('visitor', visitor) + member('url', cut(clean(url), limits.text));
  line += member('referrer', cut(clean(event.ref ?? ''), limits.text));
  line += member('title', cut(clean(textOf(last(props['title']))), limits.text));
  line += propsOf(props, event.utm, placed[via]);
  line += campaignText(event.utm ?? {}, url);
  if (traits.length > 0) line += `,${traits.toString()}`;
  line += `,"via":"${via}"}`;
  return { line, key: `${siteId}:${userId || visitor || event.event_id}` };
}

/** The host of url decides only where no site is named. */
function siteOf(named: unknown, url: string): string {
  const text = textOf(last(named));
  return text === '' ? hostOf(url) : text;
}

function campaignText(utm: Readonly<Record<string, unknown>>, url: string): string {
  const inUrl = campaignOf(url);
  let members = '';
  for (const { key, word } of campaignKeys) {
    const value = textOf(last(utm[word])) || (inUrl?.get(key) ?? '');
    members += member(key, cut(clean(value), limits.text));
  }
  return members;
}

function propsOf(
  props: Readonly<Record<string, unknown>>,
  utm: Readonly<Record<string, unknown>> = {},
  elsewhere: ReadonlySet<string>,
): string {
  const kept: string[] = [];
  const keep = (name: string, value: unknown) => {
    const spelled = spell(value);
    if (spelled === '' || kept.length === limits.props || isLonger(name, limits.propKey)) return;
    kept.push(`${JSON.stringify(clean(name))}:${spelled}`);
  };
  for (const [name, value] of Object.entries(props)) if (!elsewhere.has(name)) keep(name, last(value));
  // A member of props wins over one of utm that would have its name.
  for (const [word, value] of Object.entries(utm))
    if (!campaignWords.has(word) && !Object.hasOwn(props, UTM + word)) keep(UTM + word, last(value));
  return kept.length === 0 ? '' : `,"props":{${kept.join(',')}}`;
}

/** JSON of a flat value; '' for any other. */
function spell(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(cut(clean(value), limits.propValue));
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : '';
}

/** The pixel encoder makes an array of texts of a parameter that comes again. */
const last = (value: unknown): unknown =>
  Array.isArray(value) && value.every((each) => typeof each === 'string') ? value.at(-1) : value;

const textOf = (value: unknown): string => {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : '';
};

const member = (key: string, value: string): string => (value === '' ? '' : `,"${key}":${JSON.stringify(value)}`);

const isWhole = (text: string): boolean => text.isWellFormed() && !text.includes('\0');

/** Postgres holds neither U+0000 nor a half of a surrogate pair. */
function clean(text: string): string {
  return isWhole(text) ? text : text.toWellFormed().replaceAll('\0', '\ufffd');
}

/** Characters are code points, as varchar counts them. A text has at most as many as UTF-16 units. */
function isLonger(text: string, max: number): boolean {
  return text.length > max && (text.length > 2 * max || [...text].length > max);
}

function cut(text: string, max: number): string {
  return isLonger(text, max) ? [...text.slice(0, 2 * max)].slice(0, max).join('') : text;
}

function invalid(reason: Unconvertible['reason'], field: string, must: string, found: string): Unconvertible {
  const shown = found === '' ? 'nothing' : cut(clean(found), FOUND_CHARS_MAX);
  return { reason, code: 'INVALID_EVENT', message: eventErrors.INVALID_EVENT.text({ field, must, found: shown }) };
}
