/**
 * Record line: what a record of the log or of the topic holds, as an event, or the reason why it is none.
 *
 *   ours      lies in a lane, or has `received_at` with a sequence behind the ms and `via`, as intake writes them: of
 *             records by others a `received_at` of their own is a key like any other. Intake has judged its timestamp,
 *             and it has an id
 *   foreign   anybody may have written it in the shape of the contract. It counts as received when the broker took it,
 *             where the topic says so (message.timestamp.type=LogAppendTime), else when it is read; its clock is judged
 *             against that. Without an event_id it gets one that is the same whenever the record is read
 *
 * What others leave out of path and utm_* is read from url, as at intake.
 *
 * Strict about what an event is known by: site_id, event_type, timestamp, event_id, and how long user_id is. The rest is
 * mended as at intake: texts that are too long are cut, U+0000 and halves of surrogate pairs become U+FFFD, a number is
 * taken by its digits where a text belongs (also one that JavaScript does not hold: two users must not become one),
 * values of any other wrong type are left out. Keys that we do not know are ignored.
 *
 * JSON.parse is the parser here: 1.2 us of CPU for a line of 485 bytes, 2.3 us with everything that is done in this
 * file (measured). The event costs many times as much in Postgres.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { hasBrokerTime, isForeign, isTombstone, originOf } from '../../events/foreign.ts';
import { jsonLength, jsonStart, receivedMsAt } from '../../events/record.ts';
import { type AnalyticsEvent, limits, type PropValue } from '../event.ts';
import { RECEIPT_BYTES } from '../intake/receipts.ts';
import { campaignOf, pathOf } from '../page-url.ts';
import { instantOf, settledMs } from './clock.ts';
import { foreignReceipt, hashOf, receiptOf } from './receipt.ts';
import type { RejectReason } from './rejections.ts';

/** A record that is no event, and what is known for the books all the same. */
export interface Refusal {
  readonly reason: RejectReason;
  /** '' when it has none that could be one. */
  readonly siteId: string;
  readonly receivedMs: number;
  /** Nobody of ours has taken it: intake has not counted it. */
  readonly foreign: boolean;
}

export interface LineOptions {
  /** Topics of the source, by their index in a record. */
  readonly topics: readonly string[];
  readonly lineBytesMax: number;
  /** Foreign events that are older are refused; Infinity: any age is kept. */
  readonly ageMsMax: number;
}

/** An event that was read. */
export interface ReadEvent {
  /** Where its record stands in the buffer. */
  readonly record: number;
  readonly event: AnalyticsEvent;
  readonly foreign: boolean;
  /** Which acceptance of the event this is (receipt.ts). */
  readonly receipt: number;
}

/** What was read: an event, or a refusal. */
export type ReadRecord = ReadEvent | Refusal;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const VISITOR = /^[0-9a-f]{32}$/;
/** Longest text of an instant that is looked at: fractions may have many digits. */
const TIME_CHARS_MAX = 64;

/** Values of `via`. */
const ways: ReadonlySet<unknown> = new Set(['events', 'px', 'collect']);

type Json = Readonly<Record<string, unknown>>;

export class RecordReader {
  readonly #options: LineOptions;
  readonly #topics: readonly number[];
  /** The line has escapes \uXXXX: only then can a text hold what Postgres has no place for. */
  #escaped = false;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#topics = options.topics.map(hashOf);
  }

  /** An id of a refused record: the same whenever it is read. One of ours is known by its value, wherever it lies. */
  idOfRefused(buffer: Buffer, record: number, { foreign }: Pick<Refusal, 'foreign'>): string {
    return digestId(['rejected', ...(foreign ? this.#place(buffer, record) : [])], valueAt(buffer, record));
  }

  /** Reads the record at `record`. `readMs`: the time of reading. */
  read(buffer: Buffer, record: number, readMs: number): ReadRecord {
    const from = jsonStart(record);
    const length = jsonLength(buffer, record);
    // A record of a lane was taken by a process of ours; one of a topic may be anybody's, with anybody's time.
    const takenMs = !isForeign(buffer, record) || hasBrokerTime(buffer, record) ? receivedMsAt(buffer, record) : readMs;
    if (isTombstone(buffer, record)) return refusal('no_value', '', takenMs, true);
    if (length > this.#options.lineBytesMax) return refusal('too_large', '', takenMs, true);
    const text = buffer.toString('utf8', from, from + length);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return refusal('not_json', '', takenMs, true);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return refusal('not_object', '', takenMs, true);
    this.#escaped = text.includes('\\u');
    const json = value as Json;
    const receivedMs = !isForeign(buffer, record) || isOurs(json) ? instant(json['received_at']) : Number.NaN;
    const foreign = Number.isNaN(receivedMs);
    if (foreign && text.includes('\ufffd') && !isUtf8(buffer.subarray(from, from + length)))
      return refusal('not_json', '', takenMs, true);
    // Intake has seen to the numbers of ours.
    const exact = foreign ? (exactly(text, json) as Json) : json;
    return this.#event(exact, buffer, record, foreign ? takenMs : receivedMs, foreign);
  }

  #event(json: Json, buffer: Buffer, record: number, receivedMs: number, foreign: boolean): ReadRecord {
    const siteId = json['site_id'];
    if (!this.#named(siteId, limits.siteId)) {
      // In the books it stands under what intake has counted it by (accepted-load.ts).
      const name = typeof siteId === 'string' ? cut(this.#storable(siteId), limits.siteId) : '';
      return refusal('site_id', name, receivedMs, foreign);
    }
    const refuse = (reason: RejectReason): Refusal => refusal(reason, siteId, receivedMs, foreign);
    const eventType = json['event_type'];
    if (!this.#named(eventType, limits.eventType)) return refuse('event_type');
    const givenUser = json['user_id'];
    const userId =
      typeof givenUser === 'string'
        ? this.#storable(givenUser)
        : typeof givenUser === 'number'
          ? String(givenUser)
          : '';
    // Cut, it could be another user's.
    if (userId.length > limits.userId && cut(userId, limits.userId) !== userId) return refuse('user_id');
    const givenId = json['event_id'] ?? undefined;
    if (givenId === undefined ? !foreign : typeof givenId !== 'string' || !UUID.test(givenId))
      return refuse('event_id');
    const givenTime = json['timestamp'] ?? undefined;
    const statedMs = givenTime === undefined && foreign ? receivedMs : instant(givenTime);
    if (Number.isNaN(statedMs)) return refuse('timestamp');
    const timestampMs = settledMs(statedMs, receivedMs, foreign ? this.#options.ageMsMax : Number.POSITIVE_INFINITY);
    if (Number.isNaN(timestampMs)) return refuse('too_old');
    const visitor = json['visitor'];
    // Intake has done so for ours.
    const url = foreign && typeof json['url'] === 'string' ? json['url'] : '';
    const inUrl = campaignOf(url);
    const event: AnalyticsEvent = {
      eventId: givenId === undefined ? this.#idOf(buffer, record) : (givenId as string).toLowerCase(),
      siteId,
      eventType,
      path: this.#text(json['path']) ?? (url === '' ? undefined : this.#text(pathOf(url))),
      userId: userId === '' ? undefined : userId,
      timestampMs,
      receivedMs,
      visitor: typeof visitor === 'string' && VISITOR.test(visitor) ? visitor : undefined,
      url: this.#text(json['url']),
      referrer: this.#text(json['referrer']),
      title: this.#text(json['title']),
      props: this.#props(json['props']),
      bot: this.#text(json['bot']),
      via: this.#text(json['via']),
      utm_source: this.#text(json['utm_source']) ?? decoded(inUrl?.get('utm_source')),
      utm_medium: this.#text(json['utm_medium']) ?? decoded(inUrl?.get('utm_medium')),
      utm_campaign: this.#text(json['utm_campaign']) ?? decoded(inUrl?.get('utm_campaign')),
      utm_term: this.#text(json['utm_term']) ?? decoded(inUrl?.get('utm_term')),
      utm_content: this.#text(json['utm_content']) ?? decoded(inUrl?.get('utm_content')),
      country: this.#text(json['country']),
      region: this.#text(json['region']),
      device: this.#text(json['device']),
      browser: this.#text(json['browser']),
      os: this.#text(json['os']),
    };
    const receipt = foreign
      ? this.#foreignReceipt(buffer, record)
      : receiptOf(json['received_at'] as string, receivedMs);
    return { record, event, foreign, receipt };
  }

  #foreignReceipt(buffer: Buffer, record: number): number {
    const { topic, ...place } = originOf(buffer, record);
    return foreignReceipt(this.#topics[topic] ?? topic, place, receivedMsAt(buffer, record));
  }

  /** A text of 1 to `max` characters that Postgres can keep as it is. */
  #named(value: unknown, max: number): value is string {
    if (typeof value !== 'string' || value === '' || cut(value, max) !== value) return false;
    return !this.#escaped || (value.isWellFormed() && !value.includes('\0'));
  }

  #text(value: unknown): string | undefined {
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value === 'string') return cut(this.#storable(value), limits.text);
    return typeof value === 'number' ? String(value) : undefined;
  }

  #storable(text: string): string {
    return this.#escaped ? text.toWellFormed().replaceAll('\0', '\ufffd') : text;
  }

  /** As intake does it (intake/props-reader.ts): a name that is too long and a value that is no scalar are left out. */
  #props(value: unknown): AnalyticsEvent['props'] {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const found: [string, PropValue][] = [];
    for (const name of Object.keys(value)) {
      if (found.length === limits.props) break;
      const key = this.#storable(name);
      const prop = this.#prop((value as Json)[name]);
      if (prop !== undefined && cut(key, limits.propKey) === key) found.push([key, prop]);
    }
    return found.length === 0 ? undefined : Object.fromEntries(found);
  }

  #prop(value: unknown): PropValue | undefined {
    if (typeof value === 'string') return cut(this.#storable(value), limits.propValue);
    if (typeof value === 'boolean') return value;
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  }

  #place(buffer: Buffer, record: number): readonly (string | number)[] {
    const { topic, partition, offset } = originOf(buffer, record);
    return [this.#options.topics[topic] ?? String(topic), partition, offset, receivedMsAt(buffer, record)];
  }

  /** So a topic that was made anew, or another cluster, does not repeat the ids of records that have none. */
  #idOf(buffer: Buffer, record: number): string {
    return digestId(this.#place(buffer, record), valueAt(buffer, record));
  }
}

/** A UUID of version 8 (RFC 9562, 5.8): 122 bits of SHA-256 of where a record stands, and of its value. */
export function digestId(place: readonly (string | number)[], value: Buffer): string {
  const digest = createHash('sha256')
    .update(`${place.join('\0')}\0`)
    .update(value)
    .digest();
  digest[6] = (digest[6]! & 0x0f) | 0x80;
  digest[8] = (digest[8]! & 0x3f) | 0x80;
  return digest.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function valueAt(buffer: Buffer, record: number): Buffer {
  const from = jsonStart(record);
  return buffer.subarray(from, from + jsonLength(buffer, record));
}

/** Whether intake has written it (receipts.ts). */
function isOurs({ received_at: receivedAt, via }: Json): boolean {
  return typeof receivedAt === 'string' && receivedAt.length === RECEIPT_BYTES && ways.has(via);
}

/**
 * What a number may look like that JSON.parse reads as another one. Where a number may begin, for the digits of ids look
 * like one too, and a second reading with a function costs ten times as much as the first.
 */
const inexact = /[:,[]\s*-?\d(?:\d{15}|[\d.]*e\+?\d{3})/i;
/** Keys whose value must be a text: a number stays what it is, and is refused. */
const texts: ReadonlySet<string> = new Set(['site_id', 'event_type']);

/** `value`, which JSON.parse has read from the text; numbers that it cannot hold are texts, as they are spelled. */
export function exactly(text: string, value: unknown): unknown {
  if (!inexact.test(text)) return value;
  return JSON.parse(text, (key, read: unknown, context?: { readonly source?: string }) => {
    const spelled = context?.source;
    if (typeof read !== 'number' || spelled === undefined || texts.has(key)) return read;
    const holds = /^-?\d+$/.test(spelled) ? Number.isSafeInteger(read) : Number.isFinite(read);
    return holds ? read : spelled;
  });
}

/** A value of a query. Escapes of a URL, too, can stand for what Postgres has no place for. */
const decoded = (value: string | null | undefined): string | undefined =>
  value ? cut(value.replaceAll('\0', '\ufffd'), limits.text) : undefined;

/** Ms since 1970, or NaN. */
const instant = (value: unknown): number =>
  typeof value === 'string' && value.length <= TIME_CHARS_MAX ? instantOf(value) : Number.NaN;

const refusal = (reason: RejectReason, siteId: string, receivedMs: number, foreign: boolean): Refusal => ({
  reason,
  siteId,
  receivedMs,
  foreign,
});

/** The text, or its first `max` characters (code points, as varchar counts). */
function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  let units = 0;
  for (let count = 0; count < max && units < text.length; count += 1) {
    units += text.codePointAt(units)! > 0xffff ? 2 : 1;
  }
  return text.slice(0, units);
}
