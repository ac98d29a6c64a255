/**
 * Encode: a batch as Postgres takes it, from the bytes of the records; nothing is parsed.
 *
 *   rows    binary COPY: event_id uuid, ts timestamptz, payload jsonb (the format: store/postgres/copy.ts)
 *   array   one jsonb parameter in binary form: version byte 1, then [line,line,...]
 *
 * One encoder serves one connection and uses its buffer again: the next batch may be encoded only after done(). After a
 * failure the buffer may still stand in a socket's queue; abandon() leaves it there, and the next batch gets another.
 */
import { eventIdAt, jsonLength, jsonStart, tsMsAt } from '../../events/record.ts';
import { copyHeader, copyTrailer, POSTGRES_EPOCH_MS } from '../../store/postgres/copy.ts';
import { makeStorable, suspect } from './storable.ts';

/** What an encoder reads of a batch. */
export interface Records {
  readonly count: number;
  readonly buffer: Buffer;
  readonly offsets: Int32Array;
}

const FIELDS = 3;
/** Field count, then three lengths, the uuid, the microseconds and jsonb's version byte. */
const ROW_BYTES = 2 + 4 + 16 + 4 + 8 + 4 + 1;
const JSONB_VERSION = 1;
const TWO_32 = 2 ** 32;
const [COMMA, OPEN, CLOSE] = [0x2c, 0x5b, 0x5d];
/** Buffers grow in these steps, so that batches of nearly the same size use one. */
const GROW_BYTES = 256 * 1024;

export class BatchEncoder {
  #buffer = Buffer.alloc(0);
  #view = new DataView(this.#buffer.buffer);
  #busy = false;

  /** The batch as a binary COPY. Valid until done(). */
  rows(batch: Records): Buffer {
    const { buffer, offsets, count } = batch;
    const suspects = new Suspects(batch);
    this.#take(copyHeader.length + copyTrailer.length + count * ROW_BYTES + jsonBytes(batch));
    const out = this.#buffer;
    const view = this.#view;
    let at = copyHeader.copy(out);
    for (let index = 0; index < count; index += 1) {
      const record = offsets[index]!;
      const length = jsonLength(buffer, record);
      view.setInt16(at, FIELDS);
      view.setInt32(at + 2, 16);
      out.set(eventIdAt(buffer, record), at + 6);
      view.setInt32(at + 22, 8);
      const micros = (tsMsAt(buffer, record) - POSTGRES_EPOCH_MS) * 1000;
      // Two halves instead of a BigInt; the high one is floored, so instants before 2000 come out right.
      view.setInt32(at + 26, Math.floor(micros / TWO_32));
      view.setUint32(at + 30, micros - Math.floor(micros / TWO_32) * TWO_32);
      view.setInt32(at + 34, length + 1);
      out[at + 38] = JSONB_VERSION;
      at = this.#line(buffer, record, length, at + ROW_BYTES, suspects);
    }
    at += copyTrailer.copy(out, at);
    return out.subarray(0, at);
  }

  /** The batch as one jsonb array, the binary form of a parameter. Valid until done(). */
  array(batch: Records): Buffer {
    const { buffer, offsets, count } = batch;
    const suspects = new Suspects(batch);
    this.#take(3 + count + jsonBytes(batch));
    const out = this.#buffer;
    out[0] = JSONB_VERSION;
    let at = 1;
    for (let index = 0; index < count; index += 1) {
      const record = offsets[index]!;
      out[at] = index === 0 ? OPEN : COMMA;
      at = this.#line(buffer, record, jsonLength(buffer, record), at + 1, suspects);
    }
    out[at] = CLOSE;
    return out.subarray(0, at + 1);
  }

  /** The server has everything: the buffer may be filled again. */
  done(): void {
    this.#busy = false;
  }

  /** The socket may still read the buffer: the next batch gets another. */
  abandon(): void {
    if (!this.#busy) return;
    this.#busy = false;
    this.#allocate(0);
  }

  #line(source: Buffer, record: number, length: number, at: number, suspects: Suspects): number {
    const from = jsonStart(record);
    source.copy(this.#buffer, at, from, from + length);
    if (suspects.within(from, from + length)) makeStorable(this.#buffer.subarray(at, at + length));
    return at + length;
  }

  #take(bytes: number): void {
    if (this.#busy) throw new Error('the encoder still belongs to the batch before');
    this.#busy = true;
    if (this.#buffer.length < bytes) this.#allocate(Math.ceil(bytes / GROW_BYTES) * GROW_BYTES);
  }

  #allocate(bytes: number): void {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
    this.#view = new DataView(this.#buffer.buffer);
  }
}

function jsonBytes({ buffer, offsets, count }: Records): number {
  let sum = 0;
  for (let index = 0; index < count; index += 1) sum += jsonLength(buffer, offsets[index]!);
  return sum;
}

/**
 * Which lines hold an escape that jsonb may refuse (storable.ts). Such escapes are rare, and one search over the whole
 * batch is nearly free. Hits outside the lines (ids are random bytes) are passed over.
 */
class Suspects {
  readonly #bytes: Buffer;
  #hit: number;

  constructor({ buffer, offsets, count }: Records) {
    const last = count === 0 ? -1 : offsets[count - 1]!;
    this.#bytes = buffer.subarray(0, last < 0 ? 0 : jsonStart(last) + jsonLength(buffer, last));
    this.#hit = count === 0 ? -1 : this.#bytes.indexOf(suspect, offsets[0]!);
  }

  /** Asked for one line after the other, in order. */
  within(from: number, to: number): boolean {
    if (this.#hit >= 0 && this.#hit < from) this.#hit = this.#bytes.indexOf(suspect, from);
    return this.#hit >= 0 && this.#hit < to;
  }
}
