/**
 * Partition: what has been fetched of one partition and is not read yet, and a reader that goes through it record by
 * record without an object per record.
 *
 *   batch   byte 0 base offset i64, 8 length i32, 16 magic i8 = 2, 17 crc u32 of bytes 21.., 21 attributes i16,
 *           23 last offset delta i32, 27 base time i64, 35 max time i64, 43 producer i64, 57 records i32, 61 records,
 *           compressed as a whole
 *           attributes: bits 0-2 codec, 3 the broker set the time, 4 part of a transaction, 5 control batch
 *   record  length, attributes, time delta, offset delta, key, value, headers; lengths and deltas are zig-zag varints
 *
 * Always true: `position` grows over every offset that needs no more work: records that were read, control batches,
 * records of aborted transactions, and offsets that compaction has emptied. A batch with a wrong checksum is never
 * read. No length or count in an answer is believed: reading ends within the answer, and a batch unpacks to
 * UNPACKED_BYTES_MAX at most. Batches whose offsets are malformed fail with FORMAT. A batch whose checksum is right and
 * that does not unpack, or whose records are malformed, is what its producer has sent: no later fetch brings another
 * one, so what is not read of it becomes a gap, and reading goes on behind it.
 */
import { crc32c, Writer } from '@platformatic/kafka';
import { KafkaFailure } from './failure.ts';
import type { FetchedPartition } from './fetch.ts';
import type { Spare } from './spare.ts';
import { codecs } from './unpack.ts';

const HEADER = 61;
/** Least bytes of a record: length, attributes, two deltas, key, value, headers. */
const RECORD_BYTES_MIN = 7;
/** Sixty times what brokers take as a batch by default, 1 MiB packed: JSON packs to a tenth, or a twentieth at most. */
export const UNPACKED_BYTES_MAX = 64 * 2 ** 20;
const CODEC = 0b111;
const BROKER_TIME = 1 << 3;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;
/** Key of a control record: version i16, type i16; type 0 ends a transaction by aborting it. */
const ABORT = 0;

/** A record where it lies; its key and value are views that hold until pass(). Either may be null there. */
export interface KafkaRecord {
  readonly offset: number;
  readonly timeMs: number;
  /** The broker has set the time (message.timestamp.type=LogAppendTime), not the producer. */
  readonly brokerTime: boolean;
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
}

/** Fetched records, and what of their transactions was aborted. */
interface Chunk {
  readonly bytes: Buffer;
  at: number;
  /** Aborted transactions that begin later than what is read, in their order. */
  readonly aborted: { readonly producer: bigint; readonly from: number }[];
  /** Producers whose present transaction was aborted. */
  readonly aborting: Set<bigint>;
}

/** The records of one batch. */
interface Open {
  readonly bytes: Buffer;
  at: number;
  left: number;
  readonly baseOffset: number;
  readonly lastDelta: number;
  readonly baseMs: number;
  /** Set when the broker has set the time of all of them. */
  readonly timeMs: number | undefined;
  readonly end: number;
  /** Bytes that it takes beside the answer that brought it. */
  readonly unpackedBytes: number;
  /** What of the spare memory it has. */
  readonly taken: Buffer | undefined;
}

export interface PartitionLimits {
  /** A batch that unpacks to more is a gap. */
  readonly unpackedBytesMax?: number;
  /** Whether one more batch may be unpacked now; those of other partitions take memory as well. */
  readonly hasRoom?: () => boolean;
  /** Where batches are unpacked; left out: each into memory of its own. */
  readonly spare?: Spare;
}

export class Partition {
  readonly topic: string;
  readonly partition: number;
  /** Offset of the next record to read. */
  position: number;
  /** Where the next fetch begins. */
  fetchFrom: number;
  /** End of the partition, as the broker said last; undefined: nothing was heard yet. */
  end: number | undefined;
  /** Offsets [from, to) that are gone from the broker, or that nobody can unpack. */
  gap: { readonly from: number; readonly to: number; readonly reason: 'gone' | 'damaged' } | undefined;
  /** Bytes fetched and not read yet. */
  buffered = 0;
  readonly #chunks: Chunk[] = [];
  #open: Open | undefined;
  #at = 0;

  readonly #unpackedBytesMax: number;
  readonly #hasRoom: () => boolean;
  readonly #spare: Spare | undefined;

  constructor(topic: string, partition: number, position: number, limits: PartitionLimits = {}) {
    this.#unpackedBytesMax = limits.unpackedBytesMax ?? UNPACKED_BYTES_MAX;
    this.#hasRoom = limits.hasRoom ?? (() => true);
    this.#spare = limits.spare;
    this.topic = topic;
    this.partition = partition;
    this.position = position;
    this.fetchFrom = position;
  }

  /** Whether read() may find something. */
  get hasMore(): boolean {
    if (this.gap !== undefined || this.#open !== undefined) return true;
    return this.#chunks.length > 0 && this.#hasRoom();
  }

  /** Bytes of the batch that is being read, beside `buffered`. */
  get unpackedBytes(): number {
    return this.#open?.unpackedBytes ?? 0;
  }

  /** Takes over what a fetch has brought. */
  add({ records, aborted, end }: FetchedPartition): void {
    this.end = end;
    if (records.length === 0) return;
    const { bytes, next } = wholeBatches(records);
    // A broker sends at least the batch that holds the offset, and whole. Anything else would be asked for for ever.
    if (next <= this.fetchFrom)
      throw malformed(
        `batches must reach beyond offset ${this.fetchFrom} of ${this.#name}: ${bytes.length} bytes do not`,
      );
    this.fetchFrom = next;
    this.buffered += bytes.length;
    this.#chunks.push({ bytes, at: 0, aborted: aborted.toSorted((a, b) => a.from - b.from), aborting: new Set() });
  }

  /** The log begins at `from` now: what lies before is gone, and so is what is buffered. */
  skipTo(to: number): void {
    this.#chunks.length = 0;
    this.#open = undefined;
    this.buffered = 0;
    this.gap = { from: this.position, to, reason: 'gone' };
    this.fetchFrom = to;
  }

  /** The gap is dealt with. */
  passGap(): void {
    if (this.gap !== undefined) this.position = this.gap.to;
    this.gap = undefined;
  }

  /** The next record, or undefined when nothing more is buffered. It is read again until pass(). */
  read(): KafkaRecord | undefined {
    if (this.gap !== undefined) return undefined;
    for (;;) {
      const open = this.#open ?? this.#next();
      if (open === undefined) return undefined;
      while (open.left > 0) {
        this.#at = open.at;
        const record = this.#record(open);
        if (record === undefined) {
          this.gap = { from: this.position, to: open.end, reason: 'damaged' };
          this.#close(open);
          return undefined;
        }
        if (record.offset >= this.position) return record;
        open.at = this.#at;
        open.left -= 1;
      }
      this.position = Math.max(this.position, open.end);
      this.#close(open);
    }
  }

  /** The record of the last read() is dealt with. */
  pass(record: KafkaRecord): void {
    const open = this.#open!;
    open.at = this.#at;
    open.left -= 1;
    this.position = record.offset + 1;
    if (open.left > 0) return;
    this.position = Math.max(this.position, open.end);
    this.#close(open);
  }

  #close({ taken }: Open): void {
    this.#open = undefined;
    if (taken !== undefined) this.#spare?.give(taken);
  }

  /** Opens the next batch that has records for us; batches that have none are passed over. */
  #next(): Open | undefined {
    if (!this.#hasRoom()) return undefined;
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      while (chunk.at < chunk.bytes.length) {
        const batch = chunk.bytes.subarray(chunk.at, chunk.at + 12 + chunk.bytes.readInt32BE(chunk.at + 8));
        this.#check(batch);
        chunk.at += batch.length;
        this.buffered -= batch.length;
        const end = endOf(batch, 0);
        const open = openBatch(batch, chunk, this.#unpackedBytesMax, this.#spare);
        if (open === 'damaged') {
          if (end <= this.position) continue;
          this.gap = { from: Math.max(this.position, Number(batch.readBigInt64BE(0))), to: end, reason: open };
          return undefined;
        }
        if (open !== undefined && end > this.position) {
          this.#open = open;
          return open;
        }
        this.position = Math.max(this.position, end);
      }
      this.#chunks.shift();
    }
    return undefined;
  }

  get #name(): string {
    return `${this.topic}/${this.partition}`;
  }

  #check(batch: Buffer): void {
    const where = `${this.#name} at offset ${batch.readBigInt64BE(0)}`;
    if (batch[16] !== 2)
      throw new KafkaFailure('stop', 'FORMAT', `record batches must have format 2: ${where} has ${batch[16]}`);
    if (crc32c(Writer.create().append(batch.subarray(21)).dynamicBuffer) !== batch.readUInt32BE(17))
      throw new KafkaFailure('stop', 'CORRUPT_MESSAGE', `record batch has another checksum: ${where}`);
  }

  /** Undefined: it is malformed. */
  #record(open: Open): KafkaRecord | undefined {
    const { bytes, lastDelta } = open;
    const length = this.#varint(bytes);
    const end = this.#at + length;
    this.#at += 1; // attributes
    const delta = this.#varlong(bytes);
    const offsetDelta = this.#varint(bytes);
    const offset = open.baseOffset + offsetDelta;
    const key = this.#bytes(bytes);
    const value = this.#bytes(bytes);
    // A number that does not end is NaN, and nothing holds of it.
    const inside = length >= 0 && this.#at <= end && end <= bytes.length && delta <= Number.MAX_VALUE;
    if (!(inside && offsetDelta >= 0 && offsetDelta <= lastDelta)) return undefined;
    this.#at = end; // headers
    const brokerTime = open.timeMs !== undefined;
    return { offset, timeMs: open.timeMs ?? open.baseMs + delta, brokerTime, key, value };
  }

  #bytes(bytes: Buffer): Buffer | undefined {
    const length = this.#varint(bytes);
    if (length < 0) return undefined;
    this.#at += length;
    return bytes.subarray(this.#at - length, this.#at);
  }

  #varint(bytes: Buffer): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[this.#at++]!; // undefined behind the end, which is below nothing
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    return Number.NaN;
  }

  /** A number of up to 64 bits, exact up to 2^53. */
  #varlong(bytes: Buffer): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      const byte = bytes[this.#at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    return Number.NaN;
  }
}

/** The whole batches that an answer holds, and the offset behind them; 0: none. */
function wholeBatches(records: Buffer): { bytes: Buffer; next: number } {
  let at = 0;
  let next = 0;
  while (records.length - at >= HEADER) {
    const length = 12 + records.readInt32BE(at + 8);
    if (length < HEADER) throw malformed(`a record batch must have ${HEADER} bytes or more: ${length}`);
    if (length > records.length - at) break;
    next = endOf(records, at);
    at += length;
  }
  return { bytes: records.subarray(0, at), next };
}

/** The offset behind a batch. */
function endOf(bytes: Buffer, at: number): number {
  const base = Number(bytes.readBigInt64BE(at));
  const lastDelta = bytes.readInt32BE(at + 23);
  const end = base + lastDelta + 1;
  if (base < 0 || lastDelta < 0 || !Number.isSafeInteger(end))
    throw malformed(`offsets of a record batch must grow: base=${base}, last=${lastDelta}`);
  return end;
}

const malformed = (what: string): KafkaFailure => new KafkaFailure('stop', 'FORMAT', what);

function openBatch(
  batch: Buffer,
  chunk: Chunk,
  unpackedBytesMax: number,
  spare: Spare | undefined,
): Open | 'damaged' | undefined {
  const attributes = batch.readInt16BE(21);
  const baseOffset = Number(batch.readBigInt64BE(0));
  const end = endOf(batch, 0);
  const producer = batch.readBigInt64BE(43);
  while (chunk.aborted[0] !== undefined && chunk.aborted[0].from < end)
    chunk.aborting.add(chunk.aborted.shift()!.producer);
  if ((attributes & CONTROL) !== 0) {
    if (controlType(batch) === ABORT) chunk.aborting.delete(producer);
    return undefined;
  }
  if ((attributes & TRANSACTIONAL) !== 0 && chunk.aborting.has(producer)) return undefined;
  const left = batch.readInt32BE(57);
  if (left === 0) return undefined;
  const codec = attributes & CODEC;
  const unpack = codecs[codec];
  if (unpack === undefined) throw new KafkaFailure('stop', 'CODEC', `codec of a record batch is unknown: ${codec}`);
  let taken: Buffer | undefined;
  const room = spare && ((wanted: number) => (taken = spare.take(wanted)));
  const bytes = unpack(batch.subarray(HEADER), unpackedBytesMax, room);
  if (bytes === undefined || left < 0 || left > bytes.length / RECORD_BYTES_MIN) return 'damaged';
  const timeMs = (attributes & BROKER_TIME) !== 0 ? Number(batch.readBigInt64BE(35)) : undefined;
  const baseMs = Number(batch.readBigInt64BE(27));
  const unpackedBytes = codec === 0 ? 0 : bytes.length;
  const lastDelta = batch.readInt32BE(23);
  return { bytes, at: 0, left, baseOffset, lastDelta, baseMs, timeMs, end, unpackedBytes, taken };
}

/**
 * Type of the one record in a control batch: length, attributes, two deltas of one byte each or more, key length,
 * version i16, type i16.
 */
function controlType(batch: Buffer): number {
  let at = HEADER;
  const skip = () => {
    while (batch[at++]! >= 0x80);
  };
  skip();
  at += 1;
  skip();
  skip();
  skip();
  if (at + 4 > batch.length) throw malformed('a marker of a transaction must have a type');
  return batch.readInt16BE(at + 2);
}
