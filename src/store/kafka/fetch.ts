/**
 * Fetch requests and answers, version 12 (Kafka 2.7 and newer; version 13 means topic ids), without fetch sessions. The
 * library's own parser makes an object per record; here record batches stay bytes until somebody reads them
 * (partition.ts).
 *
 *   request  replica -1, wait ms, bytes min, bytes max, isolation i8, session 0, epoch -1, topics, no forgotten topics,
 *            no rack
 *            topic: name, partitions { index, epoch -1, offset i64, last epoch -1, log start -1, bytes max }
 *   answer   throttle, error, session, topics
 *            topic: name, partitions { index, error, high watermark, last stable offset, log start, aborted
 *            [{ producer i64, first offset i64 }], preferred replica, records }
 */
import { type Reader, Writer } from '@platformatic/kafka';

export const FETCH = 1;
export const fetchVersions = [[12, 12]] as const;
export const FETCH_LEAST = '2.7';

const NO_TAGS = 0;
/** Only records of transactions that were committed. */
const READ_COMMITTED = 1;

export interface FetchLimits {
  readonly waitMs: number;
  /** Bytes of an answer; one record batch that is larger comes alone all the same. */
  readonly bytesMax: number;
  readonly partitionBytesMax: number;
}

export interface FetchWish {
  readonly partition: number;
  readonly offset: number;
}

export interface FetchedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly code: number;
  /** End of what may be read: the last stable offset. */
  readonly end: number;
  readonly logStart: number;
  /** Transactions in these records that were aborted: producer and its first offset. */
  readonly aborted: readonly { readonly producer: bigint; readonly from: number }[];
  /** Record batches one after the other; the last one may be torn. */
  readonly records: Buffer;
}

export interface Fetched {
  readonly code: number;
  readonly partitions: readonly FetchedPartition[];
}

export function encodeFetch(limits: FetchLimits, topics: ReadonlyMap<string, readonly FetchWish[]>): Writer {
  const writer = Writer.create()
    .appendInt32(-1)
    .appendInt32(limits.waitMs)
    .appendInt32(1)
    .appendInt32(limits.bytesMax)
    .appendInt8(READ_COMMITTED)
    .appendInt32(0)
    .appendInt32(-1)
    .appendUnsignedVarInt(topics.size + 1);
  for (const [topic, wishes] of topics) {
    writer.appendString(topic).appendUnsignedVarInt(wishes.length + 1);
    for (const { partition, offset } of wishes)
      writer
        .appendInt32(partition)
        .appendInt32(-1)
        .appendInt64(BigInt(offset))
        .appendInt32(-1)
        .appendInt64(-1n)
        .appendInt32(limits.partitionBytesMax)
        .appendUnsignedInt8(NO_TAGS);
    writer.appendUnsignedInt8(NO_TAGS);
  }
  return writer.appendUnsignedVarInt(1).appendString('').appendUnsignedInt8(NO_TAGS);
}

export function parseFetch(_correlationId: number, _api: number, _version: number, reader: Reader): Fetched {
  reader.skip(4);
  const code = reader.readInt16();
  reader.skip(4);
  const partitions: FetchedPartition[] = [];
  const topics = reader.readUnsignedVarInt() - 1;
  for (let t = 0; t < topics; t++) {
    const topic = reader.readString();
    const count = reader.readUnsignedVarInt() - 1;
    for (let p = 0; p < count; p++) partitions.push(parsePartition(topic, reader));
    reader.readTaggedFields();
  }
  reader.readTaggedFields();
  return { code, partitions };
}

function parsePartition(topic: string, reader: Reader): FetchedPartition {
  const partition = reader.readInt32();
  const code = reader.readInt16();
  reader.skip(8);
  const end = Number(reader.readInt64());
  const logStart = Number(reader.readInt64());
  const aborted: { producer: bigint; from: number }[] = [];
  const transactions = reader.readUnsignedVarInt() - 1;
  for (let i = 0; i < transactions; i++) {
    aborted.push({ producer: reader.readInt64(), from: Number(reader.readInt64()) });
    reader.readTaggedFields();
  }
  reader.skip(4);
  // A copy: a partition that is read slowly must not keep the whole answer.
  const records = Buffer.from(reader.readBytes());
  reader.readTaggedFields();
  return { topic, partition, code, end, logStart, aborted, records };
}
