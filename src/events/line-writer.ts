/**
 * Line writer: writes one event record (record.ts) at a time into a draft: the fixed fields and the line, its keys in
 * schema order.
 *
 * A record whose upper bound fits the event limit is written in place. A larger bound says little about the real length
 * (the bound for a query is twelve times its characters), so the writer puts such an event into a buffer of its own,
 * measures it and copies it if it fits. So a draft is never asked for more than recordBytesMax(eventBytesMax), and an
 * event over the limit never touches it.
 *
 * Order of calls: open, givenId | newId, instant, texts, then for each object field key and the encoder's value, close.
 * The id comes first and the rest in schema order; a record that is opened and not closed leaves nothing behind.
 */
import { parseUuid, UUID_TEXT_BYTES, type UuidMaker } from '../kernel/ids.ts';
import { align8 } from '../kernel/record.ts';
import { ISO_BYTES, TimestampWriter } from '../kernel/timestamp.ts';
import type { Draft } from './draft.ts';
import { copyMended } from './json-mend.ts';
import { copyEscaped, copyPlain, SLACK, viewOf } from './json-text.ts';
import { ESCAPE, F, firstOf, MEND, PLAIN, putFragment, type Slots, textSet } from './line-plan.ts';
import { EVENT_KIND, EVENT_VERSION, recordBytes, at as recordField } from './record.ts';

const QUOTE = 0x22;
const CLOSE = 0x7d;
const NEWLINE = 0x0a;
const DASH = 0x2d;
const LETTER_T = 0x54;
const LETTER_Z = 0x5a;
/** The first digit of the seconds 60. */
const LEAP_SECOND = 0x36;

const EVENT_ID = F.event_id;
const TS = F.ts;
const E = F.e;
const UID = F.uid;

/** An encoder with this event limit asks a draft for at most this many bytes in one begin(). */
export const recordBytesMax = (eventBytesMax: number): number => recordBytes(eventBytesMax) + SLACK;

/** The two lower-case hex digits of each byte, as one little-endian word. */
const hexPairs = Uint16Array.from({ length: 256 }, (_, byte) =>
  Buffer.from(byte.toString(16).padStart(2, '0'), 'latin1').readUInt16LE(0),
);

/** Writes 16 bytes as the text of a UUID, unrolled, two digits per store: a loop costs a twentieth of the hot path. */
export function putUuid(view: DataView, from: number, at: number): void {
  const pairs = hexPairs;
  view.setUint16(at, pairs[view.getUint8(from)]!, true);
  view.setUint16(at + 2, pairs[view.getUint8(from + 1)]!, true);
  view.setUint16(at + 4, pairs[view.getUint8(from + 2)]!, true);
  view.setUint16(at + 6, pairs[view.getUint8(from + 3)]!, true);
  view.setUint8(at + 8, DASH);
  view.setUint16(at + 9, pairs[view.getUint8(from + 4)]!, true);
  view.setUint16(at + 11, pairs[view.getUint8(from + 5)]!, true);
  view.setUint8(at + 13, DASH);
  view.setUint16(at + 14, pairs[view.getUint8(from + 6)]!, true);
  view.setUint16(at + 16, pairs[view.getUint8(from + 7)]!, true);
  view.setUint8(at + 18, DASH);
  view.setUint16(at + 19, pairs[view.getUint8(from + 8)]!, true);
  view.setUint16(at + 21, pairs[view.getUint8(from + 9)]!, true);
  view.setUint8(at + 23, DASH);
  for (let i = 10; i < 16; i += 1) view.setUint16(at + 4 + 2 * i, pairs[view.getUint8(from + i)]!, true);
}

export class LineWriter {
  /** The buffer that holds the record; `at` is the next free byte. The encoders write the values of objects here. */
  buffer: Buffer;
  view: DataView;
  at = 0;
  /** Length of the last closed line, without its newline, whether it fitted or not. */
  jsonBytes = 0;
  readonly #eventBytesMax: number;
  readonly #inPlaceMax: number;
  readonly #ids: UuidMaker;
  readonly #timestamps = new TimestampWriter();
  /** Text of the last instant, with its closing quote. */
  readonly #instant = Buffer.alloc(ISO_BYTES + 1 + SLACK, QUOTE);
  readonly #instantView = viewOf(this.#instant);
  #instantMs = Number.NaN;
  #start = 0;
  #inPlace = true;
  #own: Buffer = Buffer.allocUnsafeSlow(0);

  constructor(eventBytesMax: number, ids: UuidMaker) {
    this.#eventBytesMax = eventBytesMax;
    this.#inPlaceMax = recordBytesMax(eventBytesMax);
    this.#ids = ids;
    this.buffer = this.#own;
    this.view = viewOf(this.#own);
  }

  /** Begins a record of at most `bound` bytes, SLACK and padding included. */
  open(draft: Draft, bound: number, source: number, receivedMs: number): void {
    this.#inPlace = bound <= this.#inPlaceMax;
    if (this.#inPlace) {
      this.#start = draft.begin(bound);
      this.#use(draft.buffer);
    } else {
      if (this.#own.length < bound) this.#own = Buffer.allocUnsafeSlow(Math.max(bound, 2 * this.#own.length));
      this.#start = 0;
      this.#use(this.#own);
    }
    const { view } = this;
    const start = this.#start;
    view.setInt32(start + recordField.source, source, true);
    view.setFloat64(start + recordField.receivedMs, receivedMs, true);
    view.setInt32(start + recordField.uidOffset, 0, true);
    view.setInt32(start + recordField.uidLength, 0, true);
    this.at = start + recordField.json;
  }

  /** Takes the id that the ASCII bytes [from, to) spell. Returns false and writes nothing when they spell no id. */
  givenId(source: Buffer, from: number, to: number): boolean {
    if (!parseUuid(source, from, to - from, this.buffer, this.#start + recordField.eventId)) return false;
    this.#putId();
    return true;
  }

  /** Makes an id. */
  newId(nowMs: number): void {
    this.#ids.write(this.buffer, this.#start + recordField.eventId, nowMs);
    this.#putId();
  }

  instant(tsMs: number): void {
    const { buffer, view } = this;
    view.setFloat64(this.#start + recordField.tsMs, tsMs, true);
    const at = putFragment(TS, view, this.at);
    // At 100 k events/s about a hundred events share one ms.
    if (tsMs !== this.#instantMs) {
      this.#timestamps.write(this.#instant, 0, tsMs);
      this.#instantMs = tsMs;
    }
    this.at = copyPlain(this.#instant, this.#instantView, 0, ISO_BYTES + 1, buffer, view, at);
  }

  /** The same for an instant whose text [from, to) was parsed: a text in our own spelling is copied. */
  givenInstant(tsMs: number, source: Buffer, sourceView: DataView, from: number, to: number): void {
    const asWeWrite =
      to - from === ISO_BYTES &&
      source[to - 1] === LETTER_Z &&
      source[from + 10] === LETTER_T &&
      source[from + 17] !== LEAP_SECOND;
    if (!asWeWrite) {
      this.instant(tsMs);
      return;
    }
    const { buffer, view } = this;
    view.setFloat64(this.#start + recordField.tsMs, tsMs, true);
    const at = putFragment(TS, view, this.at);
    this.at = copyPlain(source, sourceView, from, to, buffer, view, at);
    this.byte(QUOTE);
  }

  /** Writes the text fields that are present. */
  texts(source: Buffer, sourceView: DataView, slots: Slots): void {
    const { buffer, view } = this;
    const { from, to, how } = slots;
    const json = this.#start + recordField.json;
    let { at } = this;
    for (let set = slots.present & textSet; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const start = from[field]!;
      const end = to[field]!;
      at = putFragment(field, view, at);
      const offset = at - json;
      const kind = how[field];
      if (kind === PLAIN) at = copyPlain(source, sourceView, start, end, buffer, view, at);
      else if (kind === ESCAPE) at = copyEscaped(source, sourceView, start, end, buffer, view, at);
      else at = copyMended(source, start, end, true, buffer, at);
      if (field === E) {
        view.setInt32(json - recordField.json + recordField.eOffset, offset, true);
        view.setInt32(json - recordField.json + recordField.eLength, at - json - offset, true);
      } else if (field === UID) {
        view.setInt32(json - recordField.json + recordField.uidOffset, offset, true);
        view.setInt32(json - recordField.json + recordField.uidLength, at - json - offset, true);
      }
      buffer[at++] = QUOTE;
    }
    this.at = at;
  }

  /** Writes the fragment before an object field's value. */
  key(field: number): void {
    this.at = putFragment(field, this.view, this.at);
  }

  /** Writes an object given as JSON, with its key. */
  object(field: number, json: Buffer): void {
    this.key(field);
    json.copy(this.buffer, this.at);
    this.at += json.length;
  }

  /** Copies JSON from a scanned body; `how` is PLAIN or MEND. */
  slice(source: Buffer, sourceView: DataView, from: number, to: number, how: number): void {
    this.at =
      how === MEND
        ? copyMended(source, from, to, false, this.buffer, this.at)
        : copyPlain(source, sourceView, from, to, this.buffer, this.view, this.at);
  }

  byte(value: number): void {
    this.buffer[this.at++] = value;
  }

  /** Ends the line and commits the record; returns its bytes. A line over the limit is not committed and returns 0. */
  close(draft: Draft): number {
    const { buffer } = this;
    let { at } = this;
    buffer[at++] = CLOSE;
    const json = this.#start + recordField.json;
    this.jsonBytes = at - json;
    if (this.jsonBytes > this.#eventBytesMax) return 0;
    this.view.setInt32(this.#start + recordField.jsonLength, this.jsonBytes, true);
    buffer[at++] = NEWLINE;
    if (this.#inPlace) draft.commit(at, EVENT_KIND, EVENT_VERSION);
    else {
      const start = draft.begin(at);
      buffer.copy(draft.buffer, start, 0, at);
      draft.commit(start + at, EVENT_KIND, EVENT_VERSION);
    }
    return align8(at - this.#start);
  }

  #putId(): void {
    const { buffer, view } = this;
    const at = putFragment(EVENT_ID, view, this.at);
    putUuid(view, this.#start + recordField.eventId, at);
    buffer[at + UUID_TEXT_BYTES] = QUOTE;
    this.at = at + UUID_TEXT_BYTES + 1;
  }

  #use(buffer: Buffer): void {
    if (buffer === this.buffer) return;
    this.buffer = buffer;
    this.view = viewOf(buffer);
  }
}
