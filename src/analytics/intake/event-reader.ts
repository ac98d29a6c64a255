/**
 * Event reader: scans one item of a POST /events body and files its members under the fields of the event plan, as
 * ranges of the body.
 *
 *   known keys             compared after unescaping; the last of two equal keys counts; null means absent
 *   site_id, event_type    a string of 1 to 100 and 1 to 50 characters, without U+0000 and halves of surrogate pairs,
 *                          else the item is invalid: two names must not become one
 *   event_id               a string that spells a UUID, else the item is invalid
 *   timestamp              a string that is an RFC 3339 time and not too old (clock.ts), else the item is invalid
 *   user_id                a string of at most 100 characters; a longer one makes the item invalid: cut, it could be
 *                          another user's
 *   path, url, referrer,   strings, cut at 2,000 characters
 *   title, utm_*
 *   these and user_id      an empty one means absent; a number becomes its spelling, any other value is absent; U+0000
 *                          and halves of surrogate pairs become U+FFFD
 *   props                  a flat object (props-reader.ts), any other value is absent
 *   other keys             dropped: what the server knows of a visitor is not the client's to say
 *
 * What is absent and stands in url is taken from there: the path, and each utm_*.
 */

import { beginsNumber, type Invalid, kindOf } from '../../events/item-reader.ts';
import { decodeString } from '../../events/json-mend.ts';
import type { JsonScanner } from '../../events/json-scanner.ts';
import { copyPlain, ESCAPE_GROWTH } from '../../events/json-text.ts';
import { ESCAPE, firstOf, MEND, PLAIN, Slots } from '../../events/line-plan.ts';
import { QUERY_END, QueryReader } from '../../events/query-reader.ts';
import { findMark } from '../../events/url-mark.ts';
import { eventKeys, limits } from '../event.ts';
import { ageRule, instantIn, settledMs } from '../processor/clock.ts';
import { charsIn, cutAt, unescapeTo, withoutNul } from './chars.ts';
import { charsMax, E, FIELDS, fieldAt, softSet, utmFieldAt, utmSet } from './event-plan.ts';
import { PropsReader } from './props-reader.ts';

const HASH = 0x23;
const QUOTE = 0x22;
const PERCENT = 0x25;
const COMMA = 0x2c;
const SLASH = 0x2f;
const COLON = 0x3a;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;
const LETTER_N = 0x6e;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** An answer repeats at most this much of a bad value. */
const SHOWN_BYTES = 64;
const required = [E.site_id, E.event_type] as const;
const requiredSet = (1 << E.site_id) | (1 << E.event_type);
const PROPS_BIT = 1 << E.props;

/** Fields that are taken from url when they are absent. */
const fromUrl = utmSet | (1 << E.path);
/** Texts that are cut when they are too long. */
const cutSet = softSet & ~(1 << E.user_id);
const utmWord = Buffer.from('utm_').readInt32LE(0);
const HTTP = 'http';
const httpWord = Buffer.from(HTTP).readInt32LE(0);

/** Whether [from, to), a query, has the letters utm_ or an escape, which may stand for one of them. */
function mayHaveUtm(view: DataView, from: number, to: number): boolean {
  for (let p = from; p < to; p += 1) {
    const word = view.getInt32(p, true);
    if (word === utmWord || (word & 0xff) === PERCENT) return true;
  }
  return false;
}

/** 1: the byte may stand in the scheme of a URL (RFC 3986, 3.1). */
const inScheme = new Uint8Array(256);
for (const char of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-')
  inScheme[char.charCodeAt(0)] = 1;

export class EventReader {
  /** After settle() the range of a text excludes its quotes, that of props includes its braces; `how`: PLAIN or not. */
  readonly slots = new Slots(FIELDS);
  readonly props: PropsReader;
  /** The event's time; valid when the item has a timestamp. */
  timestampMs = 0;
  /** The fields whose value was mended, as a set. */
  mended = 0;
  /** Bytes that come from url a second time, at most. */
  extraBytes = 0;
  /** The fields that were given as strings. */
  #given = 0;
  /** The fields that settle() must look at: no strings, empty, with escapes, or maybe too long. */
  #odd = 0;
  #receivedMs = 0;
  readonly #scanner: JsonScanner;
  readonly #depthMax: number;
  readonly #ageMs: number;
  readonly #query = new QueryReader();
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** Where unescaped texts are written: behind the body, where twice as many bytes are free. */
  #arena = 0;
  #arenaAt = 0;
  /** Where the text "/" stands. */
  #root = 0;

  /**
   * `depthMax`: how deep an item may be nested; the scanner's bound is one less, for it does not count the item.
   * `ageMs`: how old a timestamp may be.
   */
  constructor(scanner: JsonScanner, depthMax: number, ageMs: number) {
    this.#scanner = scanner;
    this.#depthMax = depthMax;
    this.#ageMs = ageMs;
    this.props = new PropsReader(scanner);
  }

  /** Selects a text, the same one as the scanner's. `root`: where it has a "/" of its own. */
  use(text: Buffer, view: DataView, root: number, arena: number, receivedMs: number): void {
    this.#receivedMs = receivedMs;
    this.#text = text;
    this.#view = view;
    this.#root = root;
    this.#arena = arena;
    this.props.use(text, view);
  }

  /** Scans the object at p. Returns the position behind it, or -1 for invalid JSON (the scanner says why). */
  scan(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    this.slots.present = 0;
    this.#given = 0;
    this.#odd = 0;
    this.#arenaAt = this.#arena;
    scanner.tooDeep = false;
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE) return p + 1;
    for (;;) {
      if (text[p] !== QUOTE) return scanner.fail(p, 'expected a name in double quotes');
      p = this.#member(p);
      if (p < 0) return -1;
      p = scanner.skip(p);
      const next = text[p];
      if (next === CLOSE) return p + 1;
      if (next !== COMMA) return scanner.fail(p, 'expected , or }');
      p = scanner.skip(p + 1);
    }
  }

  /** Judges what scan() found and mends what can be mended; undefined: valid, but for the text of its id. */
  settle(): Invalid | undefined {
    const text = this.#text;
    const { slots } = this;
    const { from, to, how } = slots;
    this.mended = 0;
    this.extraBytes = 0;
    // Texts that may be too long: more bytes than they may have characters.
    let long = 0;
    for (let set = this.#odd & ~PROPS_BIT; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const bit = 1 << field;
      if ((this.#given & bit) !== 0) {
        if (how[field] !== PLAIN) this.#unescape(field);
        else if (from[field] === to[field] && (softSet & bit) !== 0) slots.drop(field);
      } else {
        const byte = text[from[field]!]!;
        if (byte !== LETTER_N && (softSet & bit) === 0) {
          return { field: eventKeys[field]!, must: 'a string', found: kindOf(byte) };
        }
        this.mended |= bit;
        if (!beginsNumber(byte)) slots.drop(field);
      }
      if (to[field]! - from[field]! > charsMax[field]!) long |= bit;
    }
    if (this.#scanner.tooDeep) {
      return { field: 'event', must: `nested at most ${this.#depthMax} levels deep`, found: 'more' };
    }
    // Both are there, and there is nothing about them to look at.
    if ((slots.present & ~this.#odd & requiredSet) !== requiredSet) {
      for (const field of required) {
        const invalid = this.#judgeName(field);
        if (invalid !== undefined) return invalid;
      }
    }
    const late = slots.has(E.timestamp) ? this.#judgeTimestamp(this.#receivedMs) : undefined;
    if (late !== undefined) return late;
    if ((long & slots.present & (1 << E.user_id)) !== 0) {
      const chars = charsIn(text, from[E.user_id]!, to[E.user_id]!);
      if (chars > limits.userId) {
        return { field: 'user_id', must: `at most ${limits.userId} characters`, found: `${chars}` };
      }
    }
    // Before url is cut.
    if (slots.has(E.url) && this.#readUrl()) long |= fromUrl;
    for (let set = long & slots.present & cutSet; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const end = cutAt(text, from[field]!, to[field]!, charsMax[field]!);
      if (end === to[field]) continue;
      to[field] = end;
      this.mended |= 1 << field;
    }
    if (slots.has(E.props)) this.#settleProps();
    return undefined;
  }

  /** The error of an item whose event_id is not a UUID. */
  invalidId(): Invalid {
    return { field: 'event_id', must: 'a UUID', found: this.#shown(E.event_id) };
  }

  /** The error of an item whose timestamp is older than this. */
  tooOld(ageMs: number): Invalid {
    return { field: 'timestamp', must: ageRule(ageMs), found: this.#shown(E.timestamp) };
  }

  /** The item's event_id as it was sent, for the answer; undefined when it is absent or very long. */
  eventId(): string | undefined {
    const from = this.slots.from[E.event_id]!;
    const length = this.slots.to[E.event_id]! - from;
    return (this.#given & (1 << E.event_id)) === 0 || length > SHOWN_BYTES
      ? undefined
      : this.#text.toString('utf8', from, from + length);
  }

  #shown(field: number): string {
    const from = this.slots.from[field]!;
    const to = cutAt(this.#text, from, this.slots.to[field]!, SHOWN_BYTES);
    return `"${this.#text.toString('utf8', from, to)}"`;
  }

  /** Scans "name": value at p and files it. Returns the position behind it. */
  #member(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    let keyFrom = start + 1;
    let p = scanner.string(keyFrom);
    if (p < 0) return -1;
    let keyTo = p - 1;
    if (scanner.escapedAt >= keyFrom) {
      const end = decodeString(text, keyFrom, keyTo, text, this.#arenaAt);
      keyFrom = this.#arenaAt;
      keyTo = end;
      this.#arenaAt = end;
    }
    p = scanner.skip(p);
    if (text[p] !== COLON) return scanner.fail(p, 'expected :');
    p = scanner.skip(p + 1);
    const from = p;
    const byte = text[p]!;
    const field = fieldAt(this.#view, keyFrom, keyTo);
    if (byte === QUOTE) {
      scanner.how = PLAIN;
      p = scanner.string(p + 1);
      if (field !== -1) this.#fileText(field, from + 1, p - 1, scanner.escapedAt > from ? scanner.how | ESCAPE : PLAIN);
    } else if (field === E.props && byte === OPEN) {
      p = this.props.scan(from);
      // Once more, with the depth of the whole object.
      if (p > 0 && this.props.nested) scanner.value(from);
      this.slots.put(field, from, p, PLAIN);
      this.#given &= ~PROPS_BIT;
    } else {
      p = scanner.value(p);
      if (field !== -1) this.#fileOther(field, from, p);
    }
    return p;
  }

  /** The range is the inside of the string. */
  #fileText(field: number, from: number, to: number, how: number): void {
    const bit = 1 << field;
    this.slots.put(field, from, to, how);
    this.#given |= bit;
    const length = to - from;
    if (how === PLAIN && length > 0 && length <= charsMax[field]!) this.#odd &= ~bit;
    else this.#odd |= bit;
  }

  #fileOther(field: number, from: number, to: number): void {
    const bit = 1 << field;
    this.slots.put(field, from, to, PLAIN);
    this.#given &= ~bit;
    this.#odd |= bit;
  }

  #unescape(field: number): void {
    const { from, to, how } = this.slots;
    const at = this.#arenaAt;
    const end = unescapeTo(this.#text, from[field]!, to[field]!, at);
    // Nothing else makes U+0000 or a half unreadable: both have become U+FFFD.
    if (how[field] === (MEND | ESCAPE) || this.#hasNul(from[field]!, to[field]!)) {
      how[field] = MEND;
      this.mended |= 1 << field;
    } else how[field] = ESCAPE;
    from[field] = at;
    to[field] = end;
    this.#arenaAt = end;
  }

  /** Whether the escaped text [from, to) has \u0000. */
  #hasNul(from: number, to: number): boolean {
    const text = this.#text;
    const view = this.#view;
    for (let p = from; p < to; p += 1) {
      if (text[p] !== BACKSLASH) continue;
      // "0000" as one word.
      if (text[p + 1] === 0x75 && view.getInt32(p + 2, true) === 0x30303030) return true;
      p += 1;
    }
    return false;
  }

  /** site_id and event_type. */
  #judgeName(field: number): Invalid | undefined {
    const { slots } = this;
    const max = charsMax[field]!;
    const must = `1 to ${max} characters`;
    if (!slots.has(field)) return { field: eventKeys[field]!, must, found: 'none' };
    const from = slots.from[field]!;
    const to = slots.to[field]!;
    if (slots.how[field] === MEND) {
      const found = this.#shown(field);
      return { field: eventKeys[field]!, must: 'without U+0000 and halves of surrogate pairs', found };
    }
    if (from !== to && to - from <= max) return undefined;
    const chars = charsIn(this.#text, from, to);
    return chars > 0 && chars <= max ? undefined : { field: eventKeys[field]!, must, found: `${chars}` };
  }

  #judgeTimestamp(receivedMs: number): Invalid | undefined {
    const { slots } = this;
    const ms = instantIn(this.#text, slots.from[E.timestamp]!, slots.to[E.timestamp]!);
    if (Number.isNaN(ms)) {
      return { field: 'timestamp', must: 'an RFC 3339 time from year 1 on', found: this.#shown(E.timestamp) };
    }
    this.timestampMs = settledMs(ms, receivedMs, this.#ageMs);
    if (Number.isNaN(this.timestampMs)) return this.tooOld(this.#ageMs);
    if (this.timestampMs !== ms) this.mended |= 1 << E.timestamp;
    return undefined;
  }

  /**
   * Takes the path and each utm_* that the item does not have from its url. Returns whether one of them may be too
   * long.
   */
  #readUrl(): boolean {
    const { slots } = this;
    const from = slots.from[E.url]!;
    const to = slots.to[E.url]!;
    const text = this.#text;
    const view = this.#view;
    const mark = findMark(text, view, from, to);
    if (!slots.has(E.path)) this.#takePath(from, mark);
    const long = to - from > limits.text;
    if (mark === to || text[mark] === HASH || (slots.present & utmSet) === utmSet) return long;
    let last = mark;
    do last = findMark(text, view, last + 1, to);
    while (last !== to && text[last] === QUESTION);
    if (!mayHaveUtm(view, mark + 1, last)) return long;
    // Decoded in a copy, because the line holds url as it was sent.
    const at = this.#arenaAt;
    const end = copyPlain(text, view, mark + 1, last, text, view, at);
    text[end] = QUERY_END;
    this.#arenaAt = end + 1;
    const query = this.#query;
    query.reset();
    query.readCampaign(text, view, at, end);
    const { names, first, from: values, to: ends, how } = query.campaign;
    for (let entry = 0; entry < names.count; entry += 1) {
      const field = utmFieldAt(view, names.from[entry]!, names.to[entry]!);
      if (field === -1 || slots.has(field)) continue;
      const value = first[entry]!;
      const valueFrom = values[value]!;
      const valueEnd = ends[value]!;
      if (how[value] === PLAIN) slots.put(field, valueFrom, valueEnd, PLAIN);
      // Behind a decoded text lies what is left of its escapes: room for the longer U+FFFD.
      else slots.put(field, valueFrom, withoutNul(text, valueFrom, valueEnd), ESCAPE);
      this.extraBytes += ESCAPE_GROWTH * (valueEnd - valueFrom);
    }
    return long;
  }

  /** The path of a URL with a scheme, of one without ("//host/path"), or of an absolute path. */
  #takePath(from: number, to: number): void {
    const text = this.#text;
    const { slots } = this;
    let p = from;
    // Nearly all urls begin like this.
    if (to - from > HTTP.length && this.#view.getInt32(from, true) === httpWord) p += HTTP.length;
    while (p < to && inScheme[text[p]!] === 1) p += 1;
    if (p !== from) {
      if (text[p] !== COLON || p === to) return;
      p += 1;
      if (p + 1 >= to || text[p] !== SLASH || text[p + 1] !== SLASH) return;
    }
    if (p >= to || text[p] !== SLASH) return;
    if (p + 1 < to && text[p + 1] === SLASH) {
      p += 2;
      while (p < to && text[p] !== SLASH) p += 1;
      if (p === to) {
        slots.put(E.path, this.#root, this.#root + 1, PLAIN);
        return;
      }
    }
    const how = slots.how[E.url]!;
    slots.put(E.path, p, to, how);
    this.extraBytes += (how === PLAIN ? 1 : ESCAPE_GROWTH) * (to - p);
  }

  #settleProps(): void {
    const { slots, props } = this;
    const from = slots.from[E.props]!;
    if ((this.#given & PROPS_BIT) !== 0 || this.#text[from] !== OPEN) {
      this.mended |= 1 << E.props;
      slots.drop(E.props);
    } else if (props.clean) {
      if (slots.to[E.props]! - from === 2) slots.drop(E.props);
    } else {
      this.#arenaAt = props.settle(from, this.#arenaAt);
      if (props.mended) this.mended |= 1 << E.props;
      if (props.kept === 0) slots.drop(E.props);
    }
  }
}
