/**
 * Kafka sink: record batches (format version 2) written straight from the slices of a batch. No object per event, no
 * second JSON: a record is copied once, with its key, headers and varints around it.
 *
 *   byte  field                    byte  field
 *      0  baseOffset i64, 0          27  baseTimestamp i64
 *      8  batchLength i32            35  maxTimestamp i64
 *     12  partitionLeaderEpoch -1    43  producerId i64        } stamp() writes these three and the CRC,
 *     16  magic i8, 2                51  producerEpoch i16     } again when a batch is numbered anew
 *     17  crc u32, CRC-32C of 21..   53  baseSequence i32      }
 *     21  attributes i16 (codec)     57  records i32
 *     23  lastOffsetDelta i32        61  records, compressed as a whole
 *
 *   record  length, attributes 0, timestamp delta, offset delta, key = the record's own or its event_id (36
 *           characters), value = the line, headers event_type and schema=v1, of a traced request traceparent (a foreign
 *           record, which came from another topic, has no headers); lengths and deltas are zig-zag varints
 *
 *   time    by RecordTime. A broker refuses a whole batch for one time outside its limits
 *           (message.timestamp.before.max.ms, unlimited by default, and after.max.ms, one hour since Kafka 4.0), and
 *           its retention goes by the newest time of a segment. A record without a time (-1) is never refused; its
 *           retention goes by when the broker wrote it
 *
 * Always true: the bytes of a part are private and do not change once it is made, apart from stamp(). Partitions are
 * chosen as Java's default partitioner does (murmur2 of the key), so one key lies in one partition whoever wrote it.
 */
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { compressionsAlgorithms, crc32c, Writer } from '@platformatic/kafka';
import { at, EVENT_KIND, jsonLength, receivedMsAt, traceOf, tsMsAt } from '../../events/record.ts';
import { isKeyed, keyEnd, keyLength } from '../../events/record-key.ts';

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

const HEADER = 61;
const ID_MARK = Buffer.from('{"event_id":"');
const ID_LENGTH = 36;
const BACKSLASH = 0x5c;
const HEAD_TYPE = varintText('event_type');
const HEAD_SCHEMA = Buffer.concat([varintText('schema'), varintText('v1')]);
/** Header of a traced request up to the ids: 00-<trace id>-<span id>-01, always 55 characters. */
const HEAD_TRACE = Buffer.concat([varintText('traceparent'), Buffer.from([55 << 1]), Buffer.from('00-')]);
const TRACE_LENGTH = HEAD_TRACE.length + 55 - 3;
/** Attributes and number of headers. */
const FIXED = 1 + 1;
/** Most bytes that the varints of a record can take: length, timestamp delta (10), offset delta, three lengths. */
const VARINTS_MAX = 5 + 10 + 5 + 5 + 5 + 5;

/** Bytes of the record's key, or of its event id when it has none; -1: a record of another kind may have neither. */
function keyLengthOf(buffer: Buffer, record: number): number {
  if (isKeyed(buffer, record)) return keyLength(buffer, record);
  if (buffer.readUInt16LE(record + at.kind) === EVENT_KIND) return ID_LENGTH;
  const json = record + at.json;
  return buffer.compare(ID_MARK, 0, ID_MARK.length, json, json + ID_MARK.length) === 0 ? ID_LENGTH : -1;
}

const keyStart = (buffer: Buffer, record: number): number =>
  isKeyed(buffer, record) ? keyEnd(buffer, record) - keyLength(buffer, record) : record + at.json + ID_MARK.length;

/** Java's default partitioner; records without a key are spread by their line. */
function partitionOf(buffer: Buffer, record: number, partitions: number): number {
  if (partitions === 1) return 0;
  const length = keyLengthOf(buffer, record);
  const hash =
    length < 0
      ? murmur2(buffer, record + at.json, jsonLength(buffer, record))
      : murmur2(buffer, keyStart(buffer, record), length);
  return (hash & 0x7fffffff) % partitions;
}

/**
 * The time of a record in the topic: when it was received; the time that it gives itself, at most EVENT_AGE_MS before
 * it was received and not after it; none.
 */
export type RecordTime = 'received' | 'event' | 'none';
const NO_TIME = -1;
/** A client's clock makes retention shorter by so much at most. A broker forgets producers by record times, too. */
const EVENT_AGE_MS = 86_400_000;

function timeOf(buffer: Buffer, record: number, time: RecordTime): number {
  if (time === 'none') return NO_TIME;
  const received = Math.trunc(receivedMsAt(buffer, record));
  if (received < 0) return NO_TIME; // a record of another topic that has none; a broker refuses times before 1970
  if (time === 'received') return received;
  return Math.max(0, received - EVENT_AGE_MS, Math.min(received, tsMsAt(buffer, record)));
}

interface Compression {
  readonly bits: number;
  readonly compress: (records: Buffer) => Buffer;
}

/**
 * lz4 and snappy are the client library's (WebAssembly: 0.3 us per event, steady; the native packages vary between 0.2
 * and 1.3 us with the allocator's mood). Level 1 of gzip and zstd: half the CPU of the default for a tenth more bytes.
 */
const codecs: Readonly<Record<Codec, Compression>> = {
  none: { bits: 0, compress: (records) => records },
  gzip: { bits: 1, compress: (records) => gzipSync(records, { level: 1 }) },
  snappy: { bits: 2, compress: compressionsAlgorithms.snappy.compressSync },
  lz4: { bits: 3, compress: compressionsAlgorithms.lz4.compressSync },
  zstd: {
    bits: 4,
    compress: (records) => zstdCompressSync(records, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  },
};

/**
 * A part is closed before its records take more than this, uncompressed: then it is below a broker's default
 * message.max.bytes (1 MiB) whatever it holds. A record that is larger gets a part of its own.
 */
const PART_BYTES_MAX = 900 * 1024;

/** One record batch for one partition. */
export interface EncodedPart {
  readonly partition: number;
  readonly bytes: Buffer;
  readonly count: number;
}

/** Gathers the records of one partition; its buffer is used again for the next batch. */
class PartWriter {
  bytes = Buffer.allocUnsafeSlow(16 * 1024);
  end = HEADER;
  count = 0;
  /** Index that the part in the making will have. */
  index = 0;
  baseMs = 0;
  maxMs = 0;

  reset(): void {
    this.end = HEADER;
    this.count = 0;
  }

  add(buffer: Buffer, record: number, time: RecordTime): void {
    const lineLength = jsonLength(buffer, record);
    let typeAt = record + at.json + buffer.readUInt32LE(record + at.eOffset);
    let typeLength = buffer.readUInt32LE(record + at.eLength);
    let types = buffer;
    if (hasEscape(buffer, typeAt, typeLength)) {
      types = Buffer.from(JSON.parse(`"${buffer.toString('utf8', typeAt, typeAt + typeLength)}"`) as string);
      typeAt = 0;
      typeLength = types.length;
    }
    const timeMs = timeOf(buffer, record, time);
    if (this.count === 0) {
      this.baseMs = timeMs;
      this.maxMs = timeMs;
    } else if (timeMs > this.maxMs) {
      this.maxMs = timeMs;
    }
    const delta = timeMs - this.baseMs;
    const trace = traceOf(buffer, record);
    const traceLength = trace === undefined ? 0 : TRACE_LENGTH;
    const keyBytes = keyLengthOf(buffer, record);
    const keyAt = keyStart(buffer, record);
    const event = buffer.readUInt16LE(record + at.kind) === EVENT_KIND;
    const headers = event ? HEAD_TYPE.length + typeLength + HEAD_SCHEMA.length + traceLength : 0;
    const sizeMax = FIXED + VARINTS_MAX + Math.max(0, keyBytes) + lineLength + headers;
    if (this.end + sizeMax > this.bytes.length) this.#grow(sizeMax);

    const out = this.bytes;
    let length = FIXED + varintLength(this.count) + varintLength(lineLength) + lineLength + headers;
    if (event) length += varintLength(typeLength);
    length += varintLength(keyBytes) + Math.max(0, keyBytes);
    length += fitsInt31(delta) ? varintLength(delta) : wideVarintLength(delta);
    let end = putVarint(out, this.end, length);
    out[end++] = 0;
    end = fitsInt31(delta) ? putVarint(out, end, delta) : putWideVarint(out, end, delta);
    end = putVarint(out, end, this.count);
    end = putVarint(out, end, keyBytes);
    if (keyBytes > 0) end += buffer.copy(out, end, keyAt, keyAt + keyBytes);
    end = putVarint(out, end, lineLength);
    buffer.copy(out, end, record + at.json, record + at.json + lineLength);
    end += lineLength;
    if (event) {
      out[end++] = (trace === undefined ? 2 : 3) << 1;
      HEAD_TYPE.copy(out, end);
      end = putVarint(out, end + HEAD_TYPE.length, typeLength);
      types.copy(out, end, typeAt, typeAt + typeLength);
      end += typeLength;
      HEAD_SCHEMA.copy(out, end);
      end += HEAD_SCHEMA.length;
      if (trace !== undefined) end = putTrace(out, end, trace);
    } else out[end++] = 0;
    this.end = end;
    this.count += 1;
  }

  finish(partition: number, { bits, compress }: Compression): EncodedPart {
    const records = compress(this.bytes.subarray(HEADER, this.end));
    const bytes = Buffer.allocUnsafe(HEADER + records.length);
    bytes.writeInt32BE(0, 0);
    bytes.writeInt32BE(0, 4);
    bytes.writeInt32BE(bytes.length - 12, 8);
    bytes.writeInt32BE(-1, 12);
    bytes[16] = 2;
    bytes.writeInt16BE(bits, 21);
    bytes.writeInt32BE(this.count - 1, 23);
    putInt64(bytes, 27, this.baseMs);
    putInt64(bytes, 35, this.maxMs);
    bytes.writeInt32BE(this.count, 57);
    records.copy(bytes, HEADER);
    return { partition, bytes, count: this.count };
  }

  #grow(more: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.end + more));
    this.bytes.copy(grown, 0, 0, this.end);
    this.bytes = grown;
  }
}

/** Makes the parts of a batch. One per sink thread; not reentrant. */
export class BatchEncoder {
  #compression: Compression;
  #writers: PartWriter[] = [];

  constructor(codec: Codec) {
    this.#compression = codecs[codec];
  }

  /**
   * Parts in the order of their first records, at least one per partition that gets any. `skip(i)` leaves record i out;
   * `partOf[i]` becomes the index of the part that holds it.
   */
  encode(
    buffer: Buffer,
    offsets: Int32Array,
    count: number,
    partitions: number,
    partOf: Int32Array,
    time: RecordTime,
    skip?: (index: number) => boolean,
  ): EncodedPart[] {
    // What a batch has left that threw in the middle must not get into this one.
    for (const writer of this.#writers) writer?.reset();
    const parts: EncodedPart[] = [];
    const used: number[] = [];
    let begun = 0;
    const finish = (partition: number): void => {
      const writer = this.#writers[partition]!;
      parts[writer.index] = writer.finish(partition, this.#compression);
      writer.reset();
    };
    for (let i = 0; i < count; i++) {
      if (skip?.(i)) continue;
      const record = offsets[i]!;
      const partition = partitionOf(buffer, record, partitions);
      let writer = this.#writers[partition];
      if (writer === undefined) {
        writer = new PartWriter();
        this.#writers[partition] = writer;
      }
      if (writer.count > 0 && writer.end + jsonLength(buffer, record) > PART_BYTES_MAX) finish(partition);
      if (writer.count === 0) {
        writer.index = begun++;
        used.push(partition);
      }
      writer.add(buffer, record, time);
      partOf[i] = writer.index;
    }
    for (const partition of used) if (this.#writers[partition]!.count > 0) finish(partition);
    return parts;
  }
}

/** Who sent a batch and as which number, for the broker to know it again; see `nobody`. */
export interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}
/** Of a producer that is not idempotent. */
export const nobody: ProducerIdentity = { id: -1n, epoch: -1 };

/** Writes identity and first sequence number into a part, and its checksum. */
export function stamp(bytes: Buffer, identity: ProducerIdentity, sequence: number): void {
  bytes.writeBigInt64BE(identity.id, 43);
  bytes.writeInt16BE(identity.epoch, 51);
  bytes.writeInt32BE(sequence, 53);
  // Through a Writer: given a plain buffer the library would copy it first.
  bytes.writeUInt32BE(crc32c(Writer.create().append(bytes.subarray(21)).dynamicBuffer), 17);
}

/** Java's murmur2, the hash of Kafka's default partitioner; the result is a signed 32-bit number. */
export function murmur2(bytes: Buffer, from: number, length: number): number {
  const m = 0x5bd1e995;
  let h = 0x9747b28c ^ length;
  const words = from + (length & ~3);
  for (let i = from; i < words; i += 4) {
    let k = Math.imul(bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24), m);
    k = Math.imul(k ^ (k >>> 24), m);
    h = Math.imul(h, m) ^ k;
  }
  const rest = length & 3;
  if (rest === 3) h ^= bytes[words + 2]! << 16;
  if (rest >= 2) h ^= bytes[words + 1]! << 8;
  if (rest >= 1) h = Math.imul(h ^ bytes[words]!, m);
  h = Math.imul(h ^ (h >>> 13), m);
  return h ^ (h >>> 15);
}

const fitsInt31 = (value: number): boolean => value >= -0x40000000 && value < 0x40000000;

function varintLength(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x200000 ? 3 : zigzag < 0x10000000 ? 4 : 5;
}

function putVarint(out: Buffer, end: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  while (zigzag >= 0x80) {
    out[end++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  out[end++] = zigzag;
  return end;
}

/** Events of one batch that lie months apart: rare, so BigInt may do it. */
function wideZigzag(value: number): bigint {
  const wide = BigInt(Math.trunc(value));
  return BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n));
}

function wideVarintLength(value: number): number {
  let length = 1;
  for (let rest = wideZigzag(value) >> 7n; rest > 0n; rest >>= 7n) length += 1;
  return length;
}

function putWideVarint(out: Buffer, end: number, value: number): number {
  let rest = wideZigzag(value);
  while (rest >= 0x80n) {
    out[end++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  out[end++] = Number(rest);
  return end;
}

function putInt64(out: Buffer, end: number, value: number): void {
  out.writeInt32BE(Math.floor(value / 0x1_0000_0000), end);
  out.writeUInt32BE(((value % 0x1_0000_0000) + 0x1_0000_0000) % 0x1_0000_0000, end + 4);
}

function hasEscape(buffer: Buffer, from: number, length: number): boolean {
  for (let i = from; i < from + length; i++) if (buffer[i] === BACKSLASH) return true;
  return false;
}

function putTrace(out: Buffer, end: number, trace: Buffer): number {
  HEAD_TRACE.copy(out, end);
  const ids = trace.toString('hex');
  return (
    end + HEAD_TRACE.length + out.write(`${ids.slice(0, 32)}-${ids.slice(32)}-01`, end + HEAD_TRACE.length, 'latin1')
  );
}

function varintText(text: string): Buffer {
  const out = Buffer.alloc(text.length + 1);
  out[0] = text.length << 1;
  out.write(text, 1, 'latin1');
  return out;
}
