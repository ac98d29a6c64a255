/**
 * Batch reader: what all encoders of JSON bodies share. A body is an object or an array of objects; a strict scanner
 * passes over it once, and the encoder makes a record of each object.
 *
 * Each item is judged by itself: a bad item is listed, the others are accepted. A byte order mark before the body is
 * skipped. A body that is not JSON is refused as a whole, although items before the error may be in the draft already:
 * the caller marks the draft before the call and rewinds it unless `code` is OK.
 *
 * Memory is bounded: a body of small items, a hundred thousand of them, would make as many records of 200 bytes;
 * batchBytesMax ends such a request.
 */
import { isUtf8 } from 'node:buffer';
import type { BatchResult, ItemError, ItemErrorCode } from './batch-result.ts';
import type { Draft } from './draft.ts';
import { eventErrors } from './errors.ts';
import { kindOf } from './item-reader.ts';
import { JsonScanner } from './json-scanner.ts';
import { viewOf } from './json-text.ts';
import { firstOf } from './line-plan.ts';

const COMMA = 0x2c;
const OPEN = 0x7b;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const MARK_BYTES = 3;
/** Returned instead of a position: the encoder does not read the rest of the body. */
const STOPPED = -2;
export const DEPTH_MAX = 64;
const ERRORS_MAX = 100;

export interface BatchLimits {
  /** The most bytes of records that one request may make. */
  readonly batchBytesMax: number;
  /** How deep objects and arrays may be nested in an event, the event itself counted as 1. */
  readonly depthMax?: number;
  /** How many rejected items the answer lists; the count covers all of them. */
  readonly errorsMax?: number;
}

export abstract class BatchReader<Input, Result extends BatchResult> {
  readonly result: Result;
  protected readonly scanner: JsonScanner;
  /** [texts of the request, ready for the line][body][SLACK zeros][room for unescaped texts] */
  protected text: Buffer = Buffer.allocUnsafeSlow(0);
  protected view: DataView = viewOf(this.text);
  /** Where the body begins. */
  protected bodyFrom = 0;
  readonly #batchBytesMax: number;
  readonly #errorsMax: number;
  #errors: ItemError[] = [];

  constructor(result: Result, { batchBytesMax, depthMax = DEPTH_MAX, errorsMax = ERRORS_MAX }: BatchLimits) {
    this.result = result;
    this.#batchBytesMax = batchBytesMax;
    this.#errorsMax = errorsMax;
    // The scanner does not count the item itself, so the item's values may be one level less deep.
    this.scanner = new JsonScanner(depthMax - 1);
  }

  /** Commits the good items to the draft. Copies the body first, so the caller may release it on return. */
  encode(draft: Draft, body: Buffer, input: Input): Result {
    const { result } = this;
    this.#forget();
    result.code = 'OK';
    if (result.mendedSet !== 0) result.mended.fill(0);
    result.mendedSet = 0;
    if (!isUtf8(body)) return this.#notJson(firstBadByte(body), 'expected UTF-8');
    this.take(body, input);
    const end = this.bodyFrom + body.length;
    const p = this.#read(draft, input);
    if (p === STOPPED) return result;
    if (p < 0) return this.#notJson(this.scanner.failedAt - this.bodyFrom, this.scanner.reason);
    const rest = this.scanner.skip(p);
    return rest === end ? result : this.#notJson(rest - this.bodyFrom, 'expected nothing more');
  }

  /** Copies the body into the text, to bodyFrom, with SLACK zeros behind it, and what the lines need of the request. */
  protected abstract take(body: Buffer, input: Input): void;

  /**
   * Reads the object at p, the whole body. Returns the position behind it, -1 for invalid JSON, or what a call that
   * stopped has returned.
   */
  protected abstract object(draft: Draft, input: Input, p: number): number;

  /** The same for the object at p, an item of an array. */
  protected abstract item(draft: Draft, input: Input, p: number, index: number): number;

  /** Takes back what is said of items: the body is no JSON. */
  protected forget(): void {}

  /** Makes the text at least so large; what it held is lost. */
  protected reserve(bytes: number): void {
    if (this.text.length >= bytes) return;
    this.text = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.text.length));
    this.view = viewOf(this.text);
  }

  protected array(draft: Draft, input: Input, start: number): number {
    const { text, scanner } = this;
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE_ARRAY) return p + 1;
    for (let index = 0; ; index += 1) {
      p = text[p] === OPEN ? this.item(draft, input, p, index) : this.#noObject(p, index);
      if (p < 0) return p;
      p = scanner.skip(p);
      if (text[p] === CLOSE_ARRAY) return p + 1;
      if (text[p] !== COMMA) return scanner.fail(p, 'expected , or ]');
      p = scanner.skip(p + 1);
    }
  }

  /** Counts an item that is committed. Returns `end`, or STOPPED when the records are too many. */
  protected accept(recordBytes: number, mended: number, end: number): number {
    const { result } = this;
    result.accepted += 1;
    result.recordBytes += recordBytes;
    result.mendedSet |= mended;
    for (let set = mended; set !== 0; set &= set - 1) result.mended[firstOf(set)]! += 1;
    if (result.recordBytes <= this.#batchBytesMax) return end;
    result.code = 'BATCH_TOO_LARGE';
    return STOPPED;
  }

  /** Counts a bad item. Returns whether the answer still lists it. */
  protected reject(): boolean {
    this.result.rejected += 1;
    return this.#errors.length < this.#errorsMax;
  }

  protected list(index: number, code: ItemErrorCode, message: string, eventId: string | undefined): void {
    this.#errors.push(eventId === undefined ? { index, code, message } : { index, event_id: eventId, code, message });
  }

  /** Reads the value of the body. Returns the position behind it, -1 for invalid JSON, STOPPED when `code` says why. */
  #read(draft: Draft, input: Input): number {
    const { text, scanner } = this;
    const p = scanner.skip(this.bodyFrom + (startsWithMark(text, this.bodyFrom) ? MARK_BYTES : 0));
    if (text[p] === OPEN) return this.object(draft, input, p);
    if (text[p] === OPEN_ARRAY) return this.array(draft, input, p);
    this.result.code = 'INVALID_BODY';
    this.result.found = kindOf(text[p]!);
    return scanner.value(p);
  }

  #noObject(p: number, index: number): number {
    const found = kindOf(this.text[p]!);
    const end = this.scanner.value(p);
    if (end >= 0 && this.reject()) {
      this.list(
        index,
        'INVALID_EVENT',
        eventErrors.INVALID_EVENT.text({ field: 'event', must: 'an object', found }),
        undefined,
      );
    }
    return end;
  }

  #notJson(offset: number, reason: string): Result {
    const { result } = this;
    this.#forget();
    result.code = 'INVALID_JSON';
    result.offset = offset;
    result.reason = reason;
    return result;
  }

  #forget(): void {
    const { result } = this;
    result.accepted = 0;
    result.rejected = 0;
    result.recordBytes = 0;
    this.#errors = [];
    result.errors = this.#errors;
    this.forget();
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
