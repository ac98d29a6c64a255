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
 * What bodies of events have in common is in batch-reader.ts.
 */
import { SID_TEXT_BYTES, type SidMaker } from '../kernel/ids.ts';
import { type BatchLimits, BatchReader, DEPTH_MAX } from './batch-reader.ts';
import type { BatchResult } from './batch-result.ts';
import type { Draft } from './draft.ts';
import { eventErrors } from './errors.ts';
import { beginsNumber, type Invalid, ItemReader, nothingKnown } from './item-reader.ts';
import { copyEscaped, ESCAPE_GROWTH, SLACK } from './json-text.ts';
import { emptyLineBytes, F, firstOf, MEND, PLAIN, personalSet, Slots, textSet } from './line-plan.ts';
import { LineWriter } from './line-writer.ts';
import { asItIs, type EncoderOptions, type Origin } from './origin.ts';
import { recordBytes } from './record.ts';
import { defaultEvent, eventFields } from './schema.ts';

export interface CollectOptions extends EncoderOptions, BatchLimits {}

/** One object per encoder; the next call overwrites it. */
export interface CollectResult extends BatchResult {
  /** The sid that was made for this request, for Set-Cookie; '' when none was made. */
  mintedSid: string;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN = 0x7b;
const COMMA = 0x2c;
const CLOSE = 0x7d;
/** A UTF-16 unit takes at most this many bytes of UTF-8. */
const UNIT_BYTES = 3;
const DEFAULT_EVENT = Buffer.from(defaultEvent, 'latin1');
/** Bytes of a record besides what comes from the request. */
const FIXED_BYTES = recordBytes(emptyLineBytes) + SLACK;

export class CollectEncoder extends BatchReader<Origin, CollectResult> {
  readonly #writer: LineWriter;
  readonly #sids: SidMaker;
  readonly #headerText: (text: string) => string;
  readonly #eventBytesMax: number;
  readonly #item: ItemReader;
  /** Where the texts of the request (headers, address) lie in the text. */
  readonly #own = new Slots();
  /** Where a new sid may be written; 0: no sid may be made. */
  #mintAt = 0;

  constructor(options: CollectOptions) {
    const mended = new Int32Array(eventFields.length);
    const counts = { accepted: 0, rejected: 0, errors: [], recordBytes: 0, mendedSet: 0, mended };
    super({ code: 'OK', ...counts, offset: 0, reason: '', found: '', mintedSid: '' }, options);
    const { eventBytesMax, depthMax = DEPTH_MAX, ids, sids } = options;
    this.#writer = new LineWriter(eventBytesMax, ids);
    this.#sids = sids;
    this.#headerText = options.headerText ?? asItIs;
    this.#eventBytesMax = eventBytesMax;
    this.#item = new ItemReader(this.scanner, depthMax);
  }

  protected override forget(): void {
    this.result.mintedSid = '';
  }

  /** Copies the body, and the texts of the request in the form in which every line holds them. */
  protected override take(body: Buffer, origin: Origin): void {
    const { userAgent, ip, cookieSid } = origin;
    const units = userAgent.length + ip.length + cookieSid.length;
    const own = DEFAULT_EVENT.length + SID_TEXT_BYTES + ESCAPE_GROWTH * units + SLACK;
    this.reserve(own + body.length + SLACK + Math.max(body.length, UNIT_BYTES * units) + SLACK);
    this.#own.present = 0;
    DEFAULT_EVENT.copy(this.text);
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
    this.bodyFrom = at;
    body.copy(this.text, at);
    const arena = at + body.length + SLACK;
    this.text.fill(0, at + body.length, arena);
    this.scanner.use(this.text, this.view);
    this.#item.use(this.text, this.view, arena);
  }

  #putOwn(field: number, text: string, at: number, spare: number): number {
    if (text === '') return at;
    let spareEnd = spare + this.text.write(text, spare, 'utf8');
    if (spareEnd - spare !== text.length) spareEnd = spare + this.text.write(this.#headerText(text), spare, 'utf8');
    const end = copyEscaped(this.text, this.view, spare, spareEnd, this.text, this.view, at);
    this.#own.put(field, at, end, PLAIN);
    return end;
  }

  /** Reads an event, or the array of an envelope. */
  protected override object(draft: Draft, origin: Origin, p: number): number {
    const item = this.#item;
    const end = item.scan(p);
    if (end < 0) return -1;
    const array = item.slots.present === 0 ? item.envelope() : -1;
    if (array < 0) return this.#take(draft, origin, 0, p, end);
    const read = this.array(draft, origin, array);
    return read < 0 ? read : end;
  }

  protected override item(draft: Draft, origin: Origin, p: number, index: number): number {
    const end = this.#item.scan(p);
    return end < 0 ? -1 : this.#take(draft, origin, index, p, end);
  }

  /** Judges the scanned item [from, end) and writes it. */
  #take(draft: Draft, origin: Origin, index: number, from: number, end: number): number {
    const invalid = this.#item.settle();
    if (invalid === undefined) return this.#write(draft, origin, index, from, end);
    this.#invalid(index, invalid);
    return end;
  }

  #write(draft: Draft, origin: Origin, index: number, start: number, end: number): number {
    const { geo, device, receivedMs } = origin;
    const writer = this.#writer;
    const item = this.#item;
    const { slots, tsMs } = item;
    const text = this.text;
    const view = this.view;
    this.#fill(origin.anonymous);
    // The line holds each byte of the item and of the request's texts at most once.
    let bound = FIXED_BYTES + this.bodyFrom + (end - start) + (geo?.length ?? 0) + (device?.length ?? 0);
    // Quotes around numbers: two for a member of at least four bytes.
    if (item.utmMixed) bound += end - start;
    writer.open(draft, bound, origin.source, receivedMs);
    if (!slots.has(F.event_id)) writer.newId(receivedMs);
    else if (!writer.givenId(text, slots.from[F.event_id]!, slots.to[F.event_id]!)) {
      this.#invalid(index, item.invalidId());
      return end;
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
    if (bytes !== 0) return this.accept(bytes, item.mended, end);
    this.#tooLarge(index, writer.jsonBytes);
    return end;
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
    this.#sids.write(this.text, from);
    this.#own.put(F.sid, from, to, PLAIN);
    this.result.mintedSid = this.text.toString('latin1', from, to);
  }

  #putObject(field: number): void {
    const { from, to, how } = this.#item.slots;
    this.#writer.key(field);
    this.#writer.slice(this.text, this.view, from[field]!, to[field]!, how[field]!);
  }

  /** Writes those members of an object that are strings or numbers, numbers as strings; nothing when there are none. */
  #putTexts(field: number): void {
    const writer = this.#writer;
    const scanner = this.scanner;
    const text = this.text;
    const view = this.view;
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
    const text = this.text;
    const view = this.view;
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
    if (!this.reject()) return;
    const found = invalid === nothingKnown ? this.#item.invalidKeys() : invalid;
    this.list(index, 'INVALID_EVENT', eventErrors.INVALID_EVENT.text(found), this.#item.eventId());
  }

  #tooLarge(index: number, bytes: number): void {
    if (!this.reject()) return;
    const fields = { bytes, limit: this.#eventBytesMax };
    this.list(index, 'EVENT_TOO_LARGE', eventErrors.EVENT_TOO_LARGE.text(fields), this.#item.eventId());
  }
}
