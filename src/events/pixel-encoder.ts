/**
 * Pixel encoder: turns one GET /px.gif into one event record in the draft. This is the hot path of the product: no
 * object, string, BigInt or closure is made per event.
 *
 *   query, referer, user agent, address, cookie  -- write -->  scratch  -- decode in place -->  ranges
 *   ranges  -- copy, escape -->  draft
 *
 * The table in query-reader.ts says how each parameter is read. The encoder adds:
 *   e          pageview when absent; an empty value counts as absent, here as everywhere
 *   event_id   any UUID, stored in lower case; for any other text a new id is made and props.event_id keeps the text
 *   ts         RFC 3339 or a number since 1970 (epoch.ts), stored in UTC; for any other text (a random one against
 *              caches) the time of receipt is stored and props.ts keeps the text
 *   sid        the query's, else the cookie's, else a new one if the caller allows it; `mintedSid` tells the caller to
 *              set the cookie
 *   url        the query's, else the Referer
 *   utm        utm_* of the query; each missing one from the query of url
 *   props      all other parameters under any name (ip, ua, geo, __proto__); their values are strings
 *   anonymous  no field that the schema calls personal is written, and no sid is made
 */
import { SID_TEXT_BYTES, type SidMaker } from '../kernel/ids.ts';
import { parseTimestamp } from '../kernel/timestamp.ts';
import type { Draft } from './draft.ts';
import { epochMs } from './epoch.ts';
import { copyEscaped, copyPlain, ESCAPE_GROWTH, SLACK, viewOf } from './json-text.ts';
import { ESCAPE, emptyLineBytes, F, PLAIN, personalSet } from './line-plan.ts';
import { LineWriter } from './line-writer.ts';
import { asItIs, type EncoderOptions, type Origin } from './origin.ts';
import { type NamedValues, QUERY_END, QueryReader } from './query-reader.ts';
import { recordBytes } from './record.ts';
import { defaultEvent } from './schema.ts';
import { findMark } from './url-mark.ts';

/** What a pixel request carries. */
export interface PixelInput extends Origin {
  /** The text behind the '?', as it was sent. */
  query: string;
  /** The Referer header. */
  referer: string;
}

/** One object per encoder; the next call overwrites it. */
export interface PixelResult {
  code: 'OK' | 'EVENT_TOO_LARGE';
  /** Length of the finished line, also of one that was too large. */
  jsonBytes: number;
  /** Bytes that the record takes in the draft; 0 when there is no record. */
  recordBytes: number;
  /** The sid that was made for this request, for Set-Cookie; '' when none was made. */
  mintedSid: string;
  /** The fields whose value was not of their kind, as a set. */
  mended: number;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const HASH = 0x23;
/** A UTF-16 unit takes at most this many bytes of UTF-8. */
const UNIT_BYTES = 3;
const SCRATCH_AT_START = 4096;
/** Lies at the start of every scratch: the default of "e". */
const DEFAULT_EVENT = Buffer.from(defaultEvent, 'latin1');
/** Bytes of a record besides what comes from the request. */
const FIXED_BYTES = recordBytes(emptyLineBytes + DEFAULT_EVENT.length + SID_TEXT_BYTES) + SLACK;

export class PixelEncoder {
  readonly result: PixelResult = { code: 'OK', jsonBytes: 0, recordBytes: 0, mintedSid: '', mended: 0 };
  readonly #writer: LineWriter;
  readonly #sids: SidMaker;
  readonly #headerText: (text: string) => string;
  readonly #query = new QueryReader();
  #scratch: Buffer = Buffer.allocUnsafeSlow(0);
  #view: DataView = viewOf(this.#scratch);

  constructor({ eventBytesMax, ids, sids, headerText = asItIs }: EncoderOptions) {
    this.#headerText = headerText;
    this.#writer = new LineWriter(eventBytesMax, ids);
    this.#sids = sids;
    this.#reserve(SCRATCH_AT_START);
  }

  /** Commits the event to the draft, or commits nothing when its line is over the limit. */
  encode(draft: Draft, input: PixelInput): PixelResult {
    const { result } = this;
    result.mintedSid = '';
    result.mended = 0;
    this.#read(input);
    this.#write(draft, input);
    return result;
  }

  /** Copies all texts into the scratch and fills the slots. */
  #read(input: PixelInput): void {
    const { query, referer, userAgent, ip, cookieSid } = input;
    const units = query.length + referer.length + userAgent.length + ip.length + cookieSid.length;
    // The query of url is decoded a second time behind the rest; it is no longer than query and referer together.
    this.#reserve(DEFAULT_EVENT.length + UNIT_BYTES * 2 * units + SID_TEXT_BYTES + 2 + SLACK);
    const scratch = this.#scratch;
    const reader = this.#query;
    const { slots } = reader;
    reader.reset();

    let at = DEFAULT_EVENT.length;
    if (query !== '') {
      const from = at;
      at += scratch.write(query, at, 'utf8');
      scratch[at] = QUERY_END;
      reader.read(scratch, this.#view, from, at);
      at += 1;
    }
    if (!slots.has(F.e)) slots.put(F.e, 0, DEFAULT_EVENT.length, PLAIN);
    if (!slots.has(F.url)) at = this.#text(F.url, referer, at);
    if (input.anonymous) slots.present &= ~personalSet;
    else {
      at = this.#text(F.ua, userAgent, at);
      at = this.#text(F.ip, ip, at);
      if (!slots.has(F.sid)) {
        if (cookieSid !== '') at = this.#text(F.sid, cookieSid, at);
        else if (input.mintSid) at = this.#mintSid(at);
      }
    }
    this.#readCampaign(at);
  }

  #write(draft: Draft, input: PixelInput): void {
    const { receivedMs } = input;
    const { slots } = this.#query;
    const scratch = this.#scratch;
    const writer = this.#writer;
    const { result } = this;
    writer.open(draft, bound(input), input.source, receivedMs);

    const hasId = slots.has(F.event_id);
    if (!hasId || !writer.givenId(scratch, slots.from[F.event_id]!, slots.to[F.event_id]!)) {
      if (hasId) {
        this.#query.keep(this.#view, F.event_id);
        result.mended |= 1 << F.event_id;
      }
      writer.newId(receivedMs);
    }
    let tsMs = receivedMs;
    if (slots.has(F.ts)) {
      tsMs = parseTimestamp(scratch, slots.from[F.ts]!, slots.to[F.ts]!);
      if (Number.isNaN(tsMs)) {
        result.mended |= 1 << F.ts;
        tsMs = epochMs(scratch, slots.from[F.ts]!, slots.to[F.ts]!);
        if (Number.isNaN(tsMs)) {
          this.#query.keep(this.#view, F.ts);
          tsMs = receivedMs;
        }
      }
    }
    writer.instant(tsMs);
    writer.texts(scratch, this.#view, slots);
    this.#putNamed(F.utm, this.#query.campaign);
    if (input.geo !== undefined) writer.object(F.geo, input.geo);
    this.#putNamed(F.props, this.#query.rest);
    if (input.device !== undefined) writer.object(F.device, input.device);
    result.recordBytes = writer.close(draft);
    result.jsonBytes = writer.jsonBytes;
    result.code = result.recordBytes === 0 ? 'EVENT_TOO_LARGE' : 'OK';
  }

  /** Copies a header's text into the scratch and fills its slot. */
  #text(field: number, text: string, at: number): number {
    if (text === '') return at;
    let end = at + this.#scratch.write(text, at, 'utf8');
    // More bytes than UTF-16 units: the text is not ASCII.
    if (end - at !== text.length) end = at + this.#scratch.write(this.#headerText(text), at, 'utf8');
    this.#query.slots.put(field, at, end, ESCAPE);
    return end;
  }

  #mintSid(at: number): number {
    const end = at + SID_TEXT_BYTES;
    this.#sids.write(this.#scratch, at);
    this.#query.slots.put(F.sid, at, end, PLAIN);
    this.result.mintedSid = this.#scratch.toString('latin1', at, end);
    return end;
  }

  /** Reads utm_* from the query of url. Decodes a copy behind `at`, because the line holds url as it was sent. */
  #readCampaign(at: number): void {
    const scratch = this.#scratch;
    const { slots } = this.#query;
    if (!slots.has(F.url)) return;
    const to = slots.to[F.url]!;
    const view = this.#view;
    const question = findMark(scratch, view, slots.from[F.url]!, to);
    if (question === to || scratch[question] === HASH) return;
    let last = question;
    do last = findMark(scratch, view, last + 1, to);
    while (last !== to && scratch[last] !== HASH);
    const end = copyPlain(scratch, view, question + 1, last, scratch, view, at);
    scratch[end] = QUERY_END;
    this.#query.readCampaign(scratch, view, at, end);
  }

  /** Writes {"name":"value","again":["a","b"]} under its key, or nothing when there is no name. */
  #putNamed(field: number, values: NamedValues): void {
    if (values.names.count === 0) return;
    const scratch = this.#scratch;
    const view = this.#view;
    const writer = this.#writer;
    writer.key(field);
    const { buffer, view: bufferView } = writer;
    const { names, nameHow, first, next, from, to, how } = values;
    let { at } = writer;
    buffer[at++] = OPEN;
    for (let entry = 0; entry < names.count; entry += 1) {
      if (entry !== 0) buffer[at++] = COMMA;
      buffer[at++] = QUOTE;
      at =
        nameHow[entry] === PLAIN
          ? copyPlain(scratch, view, names.from[entry]!, names.to[entry]!, buffer, bufferView, at)
          : copyEscaped(scratch, view, names.from[entry]!, names.to[entry]!, buffer, bufferView, at);
      buffer[at++] = QUOTE;
      buffer[at++] = COLON;
      let value = first[entry]!;
      const again = next[value] !== -1;
      if (again) buffer[at++] = OPEN_ARRAY;
      for (;;) {
        buffer[at++] = QUOTE;
        at =
          how[value] === PLAIN
            ? copyPlain(scratch, view, from[value]!, to[value]!, buffer, bufferView, at)
            : copyEscaped(scratch, view, from[value]!, to[value]!, buffer, bufferView, at);
        buffer[at++] = QUOTE;
        value = next[value]!;
        if (value === -1) break;
        buffer[at++] = COMMA;
      }
      if (again) buffer[at++] = CLOSE_ARRAY;
    }
    buffer[at++] = CLOSE;
    writer.at = at;
  }

  #reserve(bytes: number): void {
    if (this.#scratch.length >= bytes) return;
    this.#scratch = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.#scratch.length));
    this.#view = viewOf(this.#scratch);
    DEFAULT_EVENT.copy(this.#scratch);
  }
}

/**
 * Upper bound of this request's event. One unit of the query takes at most six bytes in the line, names, quotes and
 * commas included (a&: 7 bytes for 2 units; a control character: 6 for 1); the query of url may repeat all of it once.
 */
function bound(input: PixelInput): number {
  const { query, referer, userAgent, ip, cookieSid, geo, device } = input;
  return (
    FIXED_BYTES +
    2 * ESCAPE_GROWTH * (query.length + referer.length) +
    ESCAPE_GROWTH * (userAgent.length + ip.length + cookieSid.length) +
    (geo?.length ?? 0) +
    (device?.length ?? 0)
  );
}
