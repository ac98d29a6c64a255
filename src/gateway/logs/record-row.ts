/**
 * Record row: reads a request record (record.ts) where it lies in the journal, as places of its fields, so that a row
 * for COPY is made of bytes without an object and ten strings in between. Only lines as encodeRequest() writes them are
 * read so; of any other it says so.
 */
import { jsonLength, jsonStart } from '../../events/record.ts';

const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ZERO = 0x30;

const USER = bytesOf('{"user":');
const KEY = bytesOf(',"key":');
const BACKEND = bytesOf(',"backend":');
const ID = bytesOf(',"id":');
const METHOD = bytesOf(',"method":');
const PATH = bytesOf(',"path":');
const STATUS = bytesOf(',"status":');
const OUTCOME = bytesOf(',"outcome":');
const MS = bytesOf(',"ms":');
const IN = bytesOf(',"in":');
const OUT = bytesOf(',"out":');
const IP = bytesOf(',"ip":');
const MONTH = bytesOf(',"month":');
const END = bytesOf('}');
const NULL = bytesOf('null');

/** Where a text stands between its quotes; `from` below 0: null. */
export interface Place {
  from: number;
  to: number;
}

const place = (): Place => ({ from: -1, to: -1 });

/** One for all records, filled anew by each read(). NaN: null. */
export class RecordRow {
  userId = Number.NaN;
  readonly key = place();
  backendId = Number.NaN;
  readonly id = place();
  readonly method = place();
  readonly path = place();
  /** The path has escapes of JSON. */
  escaped = false;
  status = 0;
  readonly outcome = place();
  ms = 0;
  bytesIn = 0;
  bytesOut = 0;
  readonly ip = place();
  month = Number.NaN;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  #good = true;

  /** Reads the record at `record` of a batch. False: its line is written otherwise, and nothing of this holds. */
  read(buffer: Buffer, record: number): boolean {
    const start = jsonStart(record);
    const end = start + jsonLength(buffer, record);
    this.#buffer = buffer;
    this.#at = start;
    this.#good = true;
    this.userId = this.#number(USER);
    this.#text(KEY, this.key);
    this.backendId = this.#number(BACKEND);
    this.#text(ID, this.id);
    this.#text(METHOD, this.method);
    this.#path();
    this.status = this.#number(STATUS);
    this.#text(OUTCOME, this.outcome);
    this.ms = this.#number(MS);
    this.bytesIn = this.#number(IN);
    this.bytesOut = this.#number(OUT);
    this.#text(IP, this.ip);
    this.month = this.#number(MONTH);
    this.#skips(END);
    // Only those three may be null, and texts but the path have no escapes.
    const whole = this.status + this.ms + this.bytesIn + this.bytesOut;
    return this.#good && !Number.isNaN(whole) && this.id.from >= 0 && this.path.from >= 0 && this.#at === end;
  }

  #skips(literal: Uint8Array): boolean {
    const buffer = this.#buffer;
    const at = this.#at;
    for (let i = 0; i < literal.length; i += 1) {
      if (buffer[at + i] === literal[i]) continue;
      this.#good = false;
      return false;
    }
    this.#at = at + literal.length;
    return true;
  }

  #isNull(): boolean {
    return this.#buffer[this.#at] === NULL[0] && this.#skips(NULL);
  }

  /** A whole number from 0 on, or null: NaN. */
  #number(name: Uint8Array): number {
    if (!this.#skips(name) || this.#isNull()) return Number.NaN;
    const buffer = this.#buffer;
    let at = this.#at;
    let value = 0;
    for (let digit = buffer[at]! - ZERO; digit >= 0 && digit <= 9; digit = buffer[at]! - ZERO) {
      value = value * 10 + digit;
      at += 1;
    }
    const digits = at - this.#at;
    if (digits === 0 || (digits > 1 && buffer[this.#at] === ZERO) || !Number.isSafeInteger(value)) this.#good = false;
    this.#at = at;
    return value;
  }

  #text(name: Uint8Array, found: Place): void {
    found.from = -1;
    if (!this.#skips(name) || this.#isNull()) return;
    if (this.#quoted(found)) this.#good = false;
  }

  #path(): void {
    this.path.from = -1;
    if (this.#skips(PATH)) this.escaped = this.#quoted(this.path);
  }

  /** True: there are escapes in it. */
  #quoted(found: Place): boolean {
    const buffer = this.#buffer;
    const from = this.#at + 1;
    if (buffer[this.#at] !== QUOTE) this.#good = false;
    let escapes = false;
    let at = from;
    for (let byte = buffer[at]; byte !== QUOTE && byte !== undefined; byte = buffer[at]) {
      if (byte === BACKSLASH) {
        escapes = true;
        at += 1;
      }
      at += 1;
    }
    found.from = from;
    found.to = at;
    this.#at = at + 1;
    return escapes;
  }
}
