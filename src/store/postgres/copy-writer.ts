/**
 * Copy writer: rows of a binary COPY (copy.ts), field by field, into one buffer that grows. The buffer belongs to the
 * session until the server has taken it; after a failure it may still stand in a socket's queue, so the next batch gets
 * another.
 *
 *   begin()  row(columns) text() instant() ...  row(columns) ...  end()  >  copyIn  >  done() | abandon()
 */
import { copyHeader, copyTrailer, POSTGRES_EPOCH_MS } from './copy.ts';
import { putUuid } from './uuid.ts';

const JSONB_VERSION = 1;
const NULL_FIELD = -1;
const TWO_32 = 2 ** 32;
const MICROS = 1000;
/** The longest field of a fixed length, with its own length. */
const FIELD_BYTES_MAX = 32;
/** UTF-8 takes no more than this for one unit of a string. */
const UNIT_BYTES_MAX = 3;
const GROW_BYTES = 1 << 20;
/** A buffer that one batch has made larger is not kept for the next. */
const KEPT_BYTES_MAX = 32 << 20;
/** Families of inet (src/include/utils/inet.h of PostgreSQL): AF_INET and the one behind it. */
const IPV4 = 2;
const IPV6 = 3;

export class CopyWriter {
  #buffer = Buffer.alloc(0);
  #at = 0;
  #busy = false;

  begin(): void {
    if (this.#busy) throw new Error('the writer still belongs to the batch before');
    this.#busy = true;
    this.#at = 0;
    this.#reserve(copyHeader.length);
    this.#at += copyHeader.copy(this.#buffer);
  }

  /** The whole COPY. Valid until done(). */
  end(): Buffer {
    this.#reserve(copyTrailer.length);
    this.#at += copyTrailer.copy(this.#buffer, this.#at);
    return this.#buffer.subarray(0, this.#at);
  }

  /** The server has everything: the buffer may be filled again. */
  done(): void {
    this.#busy = false;
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = Buffer.alloc(0);
  }

  /** The socket may still read the buffer: the next batch gets another. */
  abandon(): void {
    if (!this.#busy) return;
    this.#busy = false;
    this.#buffer = Buffer.alloc(0);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#at;
  }

  /** Takes holes [begin, end) out again, which ascend: what lies behind one moves up. */
  cut(holes: readonly (readonly [begin: number, end: number])[]): void {
    let to = holes[0]?.[0] ?? this.#at;
    for (let i = 0; i < holes.length; i += 1) {
      const from = holes[i]![1];
      const next = holes[i + 1]?.[0] ?? this.#at;
      this.#buffer.copyWithin(to, from, next);
      to += next - from;
    }
    this.#at = to;
  }

  row(columns: number): void {
    this.#reserve(2);
    this.#at = this.#buffer.writeInt16BE(columns, this.#at);
  }

  text(value: string | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#reserve(4 + value.length * UNIT_BYTES_MAX);
    const bytes = this.#buffer.write(value, this.#at + 4, 'utf8');
    this.#buffer.writeInt32BE(bytes, this.#at);
    this.#at += 4 + bytes;
  }

  /** A text that is UTF-8 already: from[begin, end). */
  bytes(from: Buffer, begin: number, end: number): void {
    const bytes = end - begin;
    this.#reserve(4 + bytes);
    this.#buffer.writeInt32BE(bytes, this.#at);
    from.copy(this.#buffer, this.#at + 4, begin, end);
    this.#at += 4 + bytes;
  }

  json(value: object | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    const text = JSON.stringify(value);
    this.#reserve(5 + text.length * UNIT_BYTES_MAX);
    const bytes = this.#buffer.write(text, this.#at + 5, 'utf8');
    this.#buffer.writeInt32BE(bytes + 1, this.#at);
    this.#buffer[this.#at + 4] = JSONB_VERSION;
    this.#at += 5 + bytes;
  }

  /** 32 hex digits. */
  /** As putUuid() takes it. */
  uuid(text: string | undefined): void {
    if (text === undefined) {
      this.#null();
      return;
    }
    this.#reserve(FIELD_BYTES_MAX);
    this.#buffer.writeInt32BE(16, this.#at);
    putUuid(this.#buffer, this.#at + 4, text);
    this.#at += 20;
  }

  int2(value: number): void {
    this.#reserve(FIELD_BYTES_MAX);
    this.#buffer.writeInt32BE(2, this.#at);
    this.#at = this.#buffer.writeInt16BE(value, this.#at + 4);
  }

  int4(value: number): void {
    this.#reserve(FIELD_BYTES_MAX);
    this.#buffer.writeInt32BE(4, this.#at);
    this.#at = this.#buffer.writeInt32BE(value, this.#at + 4);
  }

  /** Of a safe integer. */
  int8(value: number | undefined): void {
    if (value === undefined) this.#null();
    else this.#int8(value);
  }

  /** timestamptz. */
  instant(ms: number): void {
    this.#int8((ms - POSTGRES_EPOCH_MS) * MICROS);
  }

  /** inet of one host: 4 bytes, or 16. */
  inet(address: Uint8Array | undefined): void {
    if (address === undefined) {
      this.#null();
      return;
    }
    const { length } = address;
    this.#reserve(FIELD_BYTES_MAX);
    const at = this.#buffer.writeInt32BE(4 + length, this.#at);
    this.#buffer[at] = length === 4 ? IPV4 : IPV6;
    this.#buffer[at + 1] = 8 * length;
    this.#buffer[at + 2] = 0;
    this.#buffer[at + 3] = length;
    this.#buffer.set(address, at + 4);
    this.#at = at + 4 + length;
  }

  #null(): void {
    this.#reserve(4);
    this.#at = this.#buffer.writeInt32BE(NULL_FIELD, this.#at);
  }

  #int8(value: number): void {
    this.#reserve(FIELD_BYTES_MAX);
    // Two halves instead of a BigInt; the high one is floored, so numbers below 0 come out right.
    const high = Math.floor(value / TWO_32);
    this.#buffer.writeInt32BE(8, this.#at);
    this.#buffer.writeInt32BE(high, this.#at + 4);
    this.#buffer.writeUInt32BE(value - high * TWO_32, this.#at + 8);
    this.#at += 12;
  }

  /** Room for so many more bytes. */
  #reserve(bytes: number): void {
    if (this.#buffer.length - this.#at >= bytes) return;
    const length = Math.ceil((this.#at + bytes + (this.#at >> 1)) / GROW_BYTES) * GROW_BYTES;
    const grown = Buffer.allocUnsafeSlow(length);
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }
}
