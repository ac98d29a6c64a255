/**
 * Collect encoder: turns the body of one POST /collect, an event object, an array of event objects or an envelope
 * around such an array, into event records in the draft. A strict scanner passes over the body once and finds where
 * each member lies (json-scanner.ts, item-reader.ts); the encoder copies the members as they are, in schema order.
 * JSON.parse and JSON.stringify cost four times as much (measured), and they lose digits of big integers. Only an
 * envelope is scanned twice, and an item that may hold equal names (json-twins.ts).
 *
 * The table in item-reader.ts says how each member of an item is read. The encoder adds:
 *   e          pageview when absent
 *   event_id   a new id when absent
 *   ts         the time of receipt when absent
 *   sid        the item's, else the cookie's, else a new one if the caller allows it, the same for the whole request
 *   ua         the item's (a server that reports for a browser), else the User-Agent header
 *   ip, geo, device   the server's
 *
 * An envelope is an object that has none of the keys that a client may set, and an array under "batch" or "events". It
 * is taken as this array; what stands beside is left. Any other object without such a key is no event: {} is no page
 * view.
 *
 * Each item is judged by itself: a bad item is listed, the others are accepted. A byte order mark before the body is
 * skipped. A body that is not JSON is refused as a whole, although items before the error may be in the draft already:
 * the caller marks the draft before the call and rewinds it unless `code` is OK.
 *
 * Memory is bounded: a body of {"e":1}, a hundred thousand times, would make as many records of 200 bytes;
 * batchBytesMax ends such a request.
 */
import { isUtf8 } from 'node:buffer';
import { SID_TEXT_BYTES, type SidMaker } from '../kernel/ids.ts';
import type { Draft } from './draft.ts';
import { eventErrors } from './errors.ts';
import { beginsNumber, type Invalid, ItemReader, kindOf, nothingKnown } from './item-reader.ts';
import { JsonScanner } from './json-scanner.ts';
import { copyEscaped, ESCAPE_GROWTH, SLACK, viewOf } from './json-text.ts';
import { emptyLineBytes, F, firstOf, MEND, PLAIN, personalSet, Slots, textSet } from './line-plan.ts';
import { LineWriter } from './line-writer.ts';
import { asItIs, type EncoderOptions, type Origin } from './origin.ts';
import { recordBytes } from './record.ts';
import { defaultEvent, eventFields } from './schema.ts';

export interface CollectOptions extends EncoderOptions {
  /** The most bytes of records that one request may make. */
  readonly batchBytesMax: number;
  /** How deep objects and arrays may be nested in an event, the event itself counted as 1. */
  readonly depthMax?: number;
  /** How many rejected items the answer lists; the count covers all of them. */
  readonly errorsMax?: number;
}

/** Why an item is rejected. */
export type ItemErrorCode = 'INVALID_EVENT' | 'EVENT_TOO_LARGE';

/** A rejected item. The answer's `errors` have this shape, so changing it changes the contract. */
export interface ItemError {
  readonly index: number;
  readonly event_id?: string;
  readonly code: ItemErrorCode;
  readonly message: string;
}

/** One object per encoder; the next call overwrites it. */
export interface CollectResult {
  /** Unless OK, the caller rewinds the draft. OK with accepted = 0 and rejected > 0: nothing is stored either. */
  code: 'OK' | 'INVALID_JSON' | 'INVALID_BODY' | 'BATCH_TOO_LARGE';
  accepted: number;
  rejected: number;
  errors: readonly ItemError[];
  /** Bytes that the records take in the draft. */
  recordBytes: number;
  /** Fields of accepted items whose value was not of their kind: as a set, and by field in how many items. */
  mendedSet: number;
  readonly mended: Int32Array;
  /** INVALID_JSON: the byte of the body where the error lies, and what was expected there. */
  offset: number;
  reason: string;
  /** INVALID_BODY: what the body is instead of an object or an array. */
  found: string;
  /** The sid that was made for this request, for Set-Cookie; '' when none was made. */
  mintedSid: string;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN = 0x7b;
const COMMA = 0x2c;
const CLOSE = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
/** A UTF-16 unit takes at most this many bytes of UTF-8. */
const UNIT_BYTES = 3;
const MARK_BYTES = 3;
/** Returned instead of a position: the encoder does not read the rest of the body. */
const STOPPED = -2;
const DEPTH_MAX = 64;
const ERRORS_MAX = 100;
const DEFAULT_EVENT = Buffer.from(defaultEvent, 'latin1');
/** Bytes of a record besides what comes from the request. */
const FIXED_BYTES = recordBytes(emptyLineBytes) + SLACK;

export class CollectEncoder {
  readonly result: CollectResult = {
    code: 'OK',
    accepted: 0,
    rejected: 0,
    errors: [],
    recordBytes: 0,
    mendedSet: 0,
    mended: new Int32Array(eventFields.length),
    offset: 0,
    reason: '',
    found: '',
    mintedSid: '',
  };
  readonly #writer: LineWriter;
  readonly #sids: SidMaker;
  readonly #headerText: (text: string) => string;
  readonly #eventBytesMax: number;
  readonly #batchBytesMax: number;
  readonly #errorsMax: number;
  readonly #scanner: JsonScanner;
  readonly #item: ItemReader;
  /** [texts of the request, ready for the line][body][SLACK zeros][room for unescaped names] */
  #text: Buffer = Buffer.allocUnsafeSlow(0);
  #view: DataView = viewOf(this.#text);
  /** Where the texts of the request (headers, address) lie in #text. */
  readonly #own = new Slots();
  /** Where a new sid may be written; 0: no sid may be made. */
  #mintAt = 0;
  #bodyFrom = 0;
  #errors: ItemError[] = [];

  constructor(options: CollectOptions) {
    const { eventBytesMax, batchBytesMax, depthMax = DEPTH_MAX, errorsMax = ERRORS_MAX, ids, sids } = options;
    this.#writer = new LineWriter(eventBytesMax, ids);
    this.#sids = sids;
    this.#headerText = options.headerText ?? asItIs;
    this.#eventBytesMax = eventBytesMax;
    this.#batchBytesMax = batchBytesMax;
    this.#errorsMax = errorsMax;
    // The scanner does not count the item itself, so the item's values may be one level less deep.
    this.#scanner = new JsonScanner(depthMax - 1);
    this.#item = new ItemReader(this.#scanner, depthMax);
  }

  /** Commits the good items to the draft. Copies the body first, so the caller may release it on return. */
  encode(draft: Draft, body: Buffer, origin: Origin): CollectResult {
    const { result } = this;
    result.code = 'OK';
    result.accepted = 0;
    result.rejected = 0;
    result.recordBytes = 0;
    result.mintedSid = '';
    if (result.mendedSet !== 0) result.mended.fill(0);
    result.mendedSet = 0;
    this.#errors = [];
    result.errors = this.#errors;
    if (!isUtf8(body)) return this.#notJson(firstBadByte(body), 'expected UTF-8');
    this.#take(body, origin);
    const end = this.#bodyFrom + body.length;
    const p = this.#read(draft, origin);
    if (p === STOPPED) return result;
    if (p < 0) return this.#notJson(this.#scanner.failedAt - this.#bodyFrom, this.#scanner.reason);
    const rest = this.#scanner.skip(p);
    return rest === end ? result : this.#notJson(rest - this.#bodyFrom, 'expected nothing more');
  }

  /** Copies the body, and the texts of the request in the form in which every line holds them. */
  #take(body: Buffer, origin: Origin): void {
    const { userAgent, ip, cookieSid } = origin;
    const units = userAgent.length + ip.length + cookieSid.length;
    const own = DEFAULT_EVENT.length + SID_TEXT_BYTES + ESCAPE_GROWTH * units + SLACK;
    const need = own + body.length + SLACK + Math.max(body.length, UNIT_BYTES * units) + SLACK;
    if (this.#text.length < need) {
      this.#text = Buffer.allocUnsafeSlow(Math.max(need, 2 * this.#text.length));
      this.#view = viewOf(this.#text);
    }
    this.#own.present = 0;
    DEFAULT_EVENT.copy(this.#text);
    this.#own.put(F.e, 0, DEFAULT_EVENT.length, PLAIN);
    let at = DEFAULT_EVENT.length;
    this.#mintAt = 0;
    if (!origin.anonymous) {
      at = this.#putOwn(F.ua, userAgent, at, own);
      at = this.#putOwn(F.ip, ip, at, own);
      if (cookieSid !== '') at = this.#putOwn(F.sid, cookieSid, at, own);
      else if (origin.mintSid) {
        this.#mintAt = at;
        at += SID_TEXT_BYTES;
      }
    }
    this.#bodyFrom = at;
    body.copy(this.#text, at);
    const arena = at + body.length + SLACK;
    this.#text.fill(0, at + body.length, arena);
    this.#scanner.use(this.#text, this.#view);
    this.#item.use(this.#text, this.#view, arena);
  }

  #putOwn(field: number, text: string, at: number, spare: number): number {
    if (text === '') return at;
    let spareEnd = spare + this.#text.write(text, spare, 'utf8');
    if (spareEnd - spare !== text.length) spareEnd = spare + this.#text.write(this.#headerText(text), spare, 'utf8');
    const end = copyEscaped(this.#text, this.#view, spare, spareEnd, this.#text, this.#view, at);
    this.#own.put(field, at, end, PLAIN);
    return end;
  }

  /** Reads the value of the body. Returns the position behind it, -1 for invalid JSON, STOPPED when `code` says why. */
  #read(draft: Draft, origin: Origin): number {
    const text = this.#text;
    const scanner = this.#scanner;
    const p = scanner.skip(this.#bodyFrom + (startsWithMark(text, this.#bodyFrom) ? MARK_BYTES : 0));
    if (text[p] === OPEN) return this.#readObject(draft, origin, p);
    if (text[p] !== OPEN_ARRAY) {
      const found = kindOf(text[p]!);
      this.result.code = 'INVALID_BODY';
      this.result.found = found;
      return scanner.value(p);
    }
    return this.#readArray(draft, origin, p);
  }

  /** Reads an event, or the array of an envelope. */
  #readObject(draft: Draft, origin: Origin, p: number): number {
    const item = this.#item;
    const end = item.scan(p);
    if (end < 0) return -1;
    const array = item.slots.present === 0 ? item.envelope() : -1;
    if (array < 0) return this.#takeItem(draft, origin, 0, p, end);
    const read = this.#readArray(draft, origin, array);
    return read < 0 ? read : end;
  }

  #readArray(draft: Draft, origin: Origin, start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE_ARRAY) return p + 1;
    for (let index = 0; ; index += 1) {
      p = this.#readItem(draft, origin, p, index);
      if (p < 0) return p;
      p = scanner.skip(p);
      if (text[p] === CLOSE_ARRAY) return p + 1;
      if (text[p] !== COMMA) return scanner.fail(p, 'expected , or ]');
      p = scanner.skip(p + 1);
    }
  }

  #readItem(draft: Draft, origin: Origin, p: number, index: number): number {
    const first = this.#text[p]!;
    if (first !== OPEN) {
      const end = this.#scanner.value(p);
      if (end >= 0) {
        this.#item.forget();
        this.#invalid(index, { field: 'event', must: 'an object', found: kindOf(first) });
      }
      return end;
    }
    const end = this.#item.scan(p);
    return end < 0 ? -1 : this.#takeItem(draft, origin, index, p, end);
  }

  /** Judges the scanned item [from, end) and writes it. */
  #takeItem(draft: Draft, origin: Origin, index: number, from: number, end: number): number {
    const { result } = this;
    const invalid = this.#item.settle();
    if (invalid !== undefined) this.#invalid(index, invalid);
    else {
      this.#write(draft, origin, index, end - from);
      if (result.recordBytes > this.#batchBytesMax) {
        result.code = 'BATCH_TOO_LARGE';
        return STOPPED;
      }
    }
    return end;
  }

  #write(draft: Draft, origin: Origin, index: number, itemBytes: number): void {
    const { result } = this;
    const { geo, device, receivedMs } = origin;
    const writer = this.#writer;
    const item = this.#item;
    const { slots, tsMs } = item;
    const text = this.#text;
    const view = this.#view;
    this.#fill(origin.anonymous);
    // The line holds each byte of the item and of the request's texts at most once.
    let bound = FIXED_BYTES + this.#bodyFrom + itemBytes + (geo?.length ?? 0) + (device?.length ?? 0);
    // Quotes around numbers: two for a member of at least four bytes.
    if (item.utmMixed) bound += itemBytes;
    writer.open(draft, bound, origin.source, receivedMs);
    if (!slots.has(F.event_id)) writer.newId(receivedMs);
    else if (!writer.givenId(text, slots.from[F.event_id]!, slots.to[F.event_id]!)) {
      this.#invalid(index, item.invalidId());
      return;
    }
    if (Number.isNaN(tsMs)) writer.instant(receivedMs);
    else writer.givenInstant(tsMs, text, view, slots.from[F.ts]!, slots.to[F.ts]!);
    writer.texts(text, view, slots);
    if (item.utmMixed) this.#putTexts(F.utm);
    else if (slots.has(F.utm)) this.#putObject(F.utm);
    if (geo !== undefined) writer.object(F.geo, geo);
    if (item.movedCount > 0) this.#putProps();
    else if (slots.has(F.props)) this.#putObject(F.props);
    if (device !== undefined) writer.object(F.device, device);
    const bytes = writer.close(draft);
    if (bytes === 0) {
      this.#tooLarge(index, writer.jsonBytes);
    } else {
      result.accepted += 1;
      result.recordBytes += bytes;
      if (item.mended !== 0) this.#countMended(item.mended);
    }
  }

  #countMended(fields: number): void {
    const { result } = this;
    result.mendedSet |= fields;
    for (let set = fields; set !== 0; set &= set - 1) result.mended[firstOf(set)]! += 1;
  }

  /** Fills in the request's texts where the item has none, and drops personal fields of an anonymous event. */
  #fill(anonymous: boolean): void {
    const { slots } = this.#item;
    const own = this.#own;
    if (anonymous) slots.present &= ~personalSet;
    else if (this.#mintAt !== 0 && !slots.has(F.sid)) this.#mintSid();
    for (let set = own.present & ~slots.present & textSet; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      slots.put(field, own.from[field]!, own.to[field]!, PLAIN);
    }
  }

  #mintSid(): void {
    const from = this.#mintAt;
    const to = from + SID_TEXT_BYTES;
    this.#mintAt = 0;
    this.#sids.write(this.#text, from);
    this.#own.put(F.sid, from, to, PLAIN);
    this.result.mintedSid = this.#text.toString('latin1', from, to);
  }

  #putObject(field: number): void {
    const { from, to, how } = this.#item.slots;
    this.#writer.key(field);
    this.#writer.slice(this.#text, this.#view, from[field]!, to[field]!, how[field]!);
  }

  /** Writes those members of an object that are strings or numbers, numbers as strings; nothing when there are none. */
  #putTexts(field: number): void {
    const writer = this.#writer;
    const scanner = this.#scanner;
    const text = this.#text;
    const view = this.#view;
    const start = writer.at;
    writer.key(field);
    let mark = OPEN;
    let p = this.#item.slots.from[field]!;
    do {
      const nameFrom = scanner.skip(p + 1);
      const nameTo = scanner.string(nameFrom + 1);
      const from = scanner.skip(scanner.skip(nameTo) + 1);
      const to = scanner.value(from);
      const isNumber = beginsNumber(text[from]!);
      if (isNumber || text[from] === QUOTE) {
        writer.byte(mark);
        mark = COMMA;
        writer.slice(text, view, nameFrom, nameTo, MEND);
        writer.byte(COLON);
        if (isNumber) writer.byte(QUOTE);
        writer.slice(text, view, from, to, MEND);
        if (isNumber) writer.byte(QUOTE);
      }
      p = scanner.skip(to);
    } while (text[p] === COMMA);
    if (mark === OPEN) writer.at = start;
    else writer.byte(CLOSE);
  }

  /** Writes the members that move into props, then the members of props. */
  #putProps(): void {
    const writer = this.#writer;
    const item = this.#item;
    const text = this.#text;
    const view = this.#view;
    const { slots } = item;
    writer.key(F.props);
    writer.byte(OPEN);
    for (let i = 0; i < item.movedCount; i += 1) {
      if (i !== 0) writer.byte(COMMA);
      writer.slice(text, view, item.movedFrom(i), item.movedTo(i), item.movedHow(i));
    }
    if (slots.has(F.props)) {
      writer.byte(COMMA);
      writer.slice(text, view, slots.from[F.props]! + 1, slots.to[F.props]! - 1, slots.how[F.props]!);
    }
    writer.byte(CLOSE);
  }

  #invalid(index: number, invalid: Invalid): void {
    this.result.rejected += 1;
    if (this.#errors.length < this.#errorsMax) {
      const found = invalid === nothingKnown ? this.#item.invalidKeys() : invalid;
      this.#list(index, 'INVALID_EVENT', eventErrors.INVALID_EVENT.text(found));
    }
  }

  #tooLarge(index: number, bytes: number): void {
    this.result.rejected += 1;
    if (this.#errors.length < this.#errorsMax) {
      const fields = { bytes, limit: this.#eventBytesMax };
      this.#list(index, 'EVENT_TOO_LARGE', eventErrors.EVENT_TOO_LARGE.text(fields));
    }
  }

  #list(index: number, code: ItemErrorCode, message: string): void {
    const eventId = this.#item.eventId();
    this.#errors.push(eventId === undefined ? { index, code, message } : { index, event_id: eventId, code, message });
  }

  #notJson(offset: number, reason: string): CollectResult {
    const { result } = this;
    result.code = 'INVALID_JSON';
    result.offset = offset;
    result.reason = reason;
    result.accepted = 0;
    result.rejected = 0;
    result.recordBytes = 0;
    result.mintedSid = '';
    this.#errors.length = 0;
    return result;
  }
}

/** Whether the byte order mark of UTF-8 stands there, which some editors and libraries put before a text. */
const startsWithMark = (text: Buffer, p: number): boolean =>
  text[p] === 0xef && text[p + 1] === 0xbb && text[p + 2] === 0xbf;

/** The offset of the first byte that is not UTF-8. */
function firstBadByte(body: Buffer): number {
  const mended = Buffer.from(body.toString('utf8'));
  let p = 0;
  while (body[p] === mended[p]) p += 1;
  return p;
}
