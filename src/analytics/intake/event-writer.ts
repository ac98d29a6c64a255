/**
 * Event writer: writes one record of analytics (events/service-record.ts) at a time into a draft: its line in the order
 * of event.ts, then its key.
 *
 * A record whose upper bound fits the event limit is written in place. A larger bound says little about the real
 * length, so such a record is written into a buffer of the writer's own, measured, and copied if it fits: an event over
 * the limit never touches the draft.
 *
 * Order of calls: begin for each body; then for each record open, an id, the members in the order of the line, end,
 * key, close. A record that is opened and not closed leaves nothing behind.
 */
import type { Draft } from '../../events/draft.ts';
import { copyEscaped, copyPlain, SLACK, viewOf } from '../../events/json-text.ts';
import { firstOf, PLAIN, type Slots } from '../../events/line-plan.ts';
import { putUuid, recordBytesMax } from '../../events/line-writer.ts';
import { EVENT_VERSION, at as recordField } from '../../events/record.ts';
import { KEYED } from '../../events/record-key.ts';
import { parseUuid, UUID_TEXT_BYTES, type UuidMaker } from '../../kernel/ids.ts';
import { align8 } from '../../kernel/record.ts';
import { ISO_BYTES, TimestampWriter } from '../../kernel/timestamp.ts';
import { ANALYTICS_KIND, limits } from '../event.ts';
import { E, emptyLineBytes, putFragment, RECEIVED_AT, VIA, VISITOR } from './event-plan.ts';
import type { PropsReader } from './props-reader.ts';
import { RECEIPT_BYTES, Receipts } from './receipts.ts';

const QUOTE = 0x22;
const COLON = 0x3a;
const LETTER_T = 0x54;
const LETTER_Z = 0x5a;
/** The first digit of the seconds 60. */
const LEAP_SECOND = 0x36;
const ID_LEAD_BYTES = '{"event_id":"'.length;
/** Bytes of the largest key, with its length: a site, a colon and a user, whose characters take four bytes each. */
const KEY_BYTES_MAX = 4 * (limits.siteId + limits.userId) + 1 + 4;
/** Bytes of a record besides the texts of its line. */
export const FIXED_BYTES: number = align8(recordField.json + emptyLineBytes + KEY_BYTES_MAX) + 2 * SLACK;

/** Whether an RFC 3339 time stands there as we write it; a leap second is written as the one before. */
const isOurs = (source: Buffer, from: number, to: number): boolean =>
  to - from === ISO_BYTES &&
  source[to - 1] === LETTER_Z &&
  source[from + 10] === LETTER_T &&
  source[from + 17] !== LEAP_SECOND;

export class EventWriter {
  buffer: Buffer = Buffer.allocUnsafeSlow(0);
  view: DataView = viewOf(this.buffer);
  at = 0;
  /** Length of the last ended line, without its newline, whether it fitted or not. */
  jsonBytes = 0;
  readonly #eventBytesMax: number;
  readonly #inPlaceMax: number;
  readonly #ids: UuidMaker;
  readonly #timestamps = new TimestampWriter();
  /** Text of the last time of receipt, with its closing quote. */
  readonly #received = Buffer.alloc(ISO_BYTES + 1 + SLACK, QUOTE);
  readonly #receivedView = viewOf(this.#received);
  #receivedMs = Number.NaN;
  readonly #receipts = new Receipts();
  #start = 0;
  #keyFrom = 0;
  #inPlace = true;
  #own: Buffer = this.buffer;

  constructor(eventBytesMax: number, ids: UuidMaker) {
    this.#eventBytesMax = eventBytesMax;
    this.#inPlaceMax = recordBytesMax(eventBytesMax);
    this.#ids = ids;
  }

  /** The time of receipt of the records that follow. */
  begin(receivedMs: number): void {
    if (receivedMs === this.#receivedMs) return;
    this.#timestamps.write(this.#received, 0, receivedMs);
    this.#receipts.begin(receivedMs);
    this.#receivedMs = receivedMs;
  }

  /** Begins a record of at most `bound` bytes, SLACK, key and padding included. */
  open(draft: Draft, bound: number): void {
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
    const receivedMs = this.#receivedMs;
    view.setInt32(start + recordField.source, 0, true);
    view.setFloat64(start + recordField.receivedMs, receivedMs, true);
    view.setFloat64(start + recordField.tsMs, receivedMs, true);
    view.setFloat64(start + recordField.eOffset, 0, true);
    view.setFloat64(start + recordField.uidOffset, 0, true);
    this.at = start + recordField.json;
  }

  /** Writes the id that the ASCII bytes [from, to) spell. Returns false and writes nothing when they spell no id. */
  givenId(source: Buffer, from: number, to: number): boolean {
    if (!parseUuid(source, from, to - from, this.buffer, this.#start + recordField.eventId)) return false;
    this.#putId();
    return true;
  }

  newId(): void {
    this.#ids.write(this.buffer, this.#start + recordField.eventId, this.#receivedMs);
    this.#putId();
  }

  /** Writes members whose values are texts: a set of fields, PLAIN or with characters that JSON must escape. */
  texts(source: Buffer, sourceView: DataView, { from, to, how }: Slots, fields: number): void {
    const { buffer, view } = this;
    let { at } = this;
    for (let set = fields; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      at = putFragment(field, view, at);
      at =
        how[field] === PLAIN
          ? copyPlain(source, sourceView, from[field]!, to[field]!, buffer, view, at)
          : copyEscaped(source, sourceView, from[field]!, to[field]!, buffer, view, at);
      buffer[at++] = QUOTE;
    }
    this.at = at;
  }

  /** Writes the visitor, `length` bytes that need no escape. */
  visitor(source: Buffer, sourceView: DataView, length: number): void {
    const { buffer, view } = this;
    const at = copyPlain(source, sourceView, 0, length, buffer, view, putFragment(VISITOR, view, this.at));
    buffer[at] = QUOTE;
    this.at = at + 1;
  }

  /** Writes a member whose value is JSON already. */
  json(field: number, source: Buffer, sourceView: DataView, from: number, to: number): void {
    const { buffer, view } = this;
    this.at = copyPlain(source, sourceView, from, to, buffer, view, putFragment(field, view, this.at));
  }

  props(props: PropsReader): void {
    this.at = props.write(this.buffer, this.view, putFragment(E.props, this.view, this.at));
  }

  /** Writes the timestamp of the item, which the text [from, to) spells: a text in our own spelling is copied. */
  timestamp(
    { timestampMs }: { readonly timestampMs: number },
    source: Buffer,
    sourceView: DataView,
    from: number,
    to: number,
  ): void {
    if (timestampMs === this.#receivedMs) {
      this.now();
      return;
    }
    const { buffer, view } = this;
    const at = putFragment(E.timestamp, view, this.at);
    if (isOurs(source, from, to)) copyPlain(source, sourceView, from, to, buffer, view, at);
    else this.#timestamps.write(buffer, at, timestampMs);
    buffer[at + ISO_BYTES] = QUOTE;
    this.at = at + ISO_BYTES + 1;
  }

  /** Writes the time of receipt as the timestamp. */
  now(): void {
    const { buffer, view } = this;
    const at = putFragment(E.timestamp, view, this.at);
    this.at = copyPlain(this.#received, this.#receivedView, 0, ISO_BYTES + 1, buffer, view, at);
  }

  /** Writes received_at, a text of this record alone. */
  receipt(): void {
    const { buffer, view } = this;
    const receipts = this.#receipts;
    receipts.next();
    const at = putFragment(RECEIVED_AT, view, this.at);
    this.at = copyPlain(receipts.buffer, receipts.view, 0, RECEIPT_BYTES + 1, buffer, view, at);
  }

  /** Writes members that are ready but for the comma before them. */
  members(json: Buffer): void {
    if (json.length === 0) return;
    this.buffer[this.at] = 0x2c;
    this.at += 1 + json.copy(this.buffer, this.at + 1);
  }

  /** Ends the line. Returns false for one over the limit. */
  end(): boolean {
    this.at = putFragment(VIA, this.view, this.at);
    this.jsonBytes = this.at - 1 - this.#start - recordField.json;
    if (this.jsonBytes > this.#eventBytesMax) return false;
    this.view.setInt32(this.#start + recordField.jsonLength, this.jsonBytes, true);
    this.#keyFrom = this.at;
    return true;
  }

  /** Writes the texts [from, to) and [whoFrom, whoTo) of two sources as the key, with a colon between. */
  key(
    source: Buffer,
    sourceView: DataView,
    from: number,
    to: number,
    who: Buffer,
    whoView: DataView,
    whoFrom: number,
    whoTo: number,
  ): void {
    const { buffer, view } = this;
    const at = copyPlain(source, sourceView, from, to, buffer, view, this.at);
    buffer[at] = COLON;
    this.at = copyPlain(who, whoView, whoFrom, whoTo, buffer, view, at + 1);
  }

  /** Commits the record; returns its bytes. */
  close(draft: Draft): number {
    const { buffer } = this;
    this.view.setInt32(this.at, this.at - this.#keyFrom, true);
    const end = this.at + 4;
    if (this.#inPlace) draft.commit(end, ANALYTICS_KIND, EVENT_VERSION | KEYED);
    else {
      const start = draft.begin(end);
      buffer.copy(draft.buffer, start, 0, end);
      draft.commit(start + end, ANALYTICS_KIND, EVENT_VERSION | KEYED);
    }
    return align8(end - this.#start);
  }

  /** Where the text of the id stands. */
  get idAt(): number {
    return this.#start + recordField.json + ID_LEAD_BYTES;
  }

  #putId(): void {
    const { view } = this;
    const id = this.#start + recordField.eventId;
    const at = putFragment(E.event_id, view, this.at);
    putUuid(view, id, at);
    // A service's record has no event id in its head.
    view.setFloat64(id, 0, true);
    view.setFloat64(id + 8, 0, true);
    this.buffer[at + UUID_TEXT_BYTES] = QUOTE;
    this.at = at + UUID_TEXT_BYTES + 1;
  }

  #use(buffer: Buffer): void {
    if (buffer === this.buffer) return;
    this.buffer = buffer;
    this.view = viewOf(buffer);
  }
}
