/**
 * Fetch requests and answers, version 13 (Kafka 3.1 and newer), which names topics by their ids, else version 12, which
 * names them by name; without fetch sessions. With ids, a topic that was deleted and made anew is never read from
 * offsets of the one before: the broker refuses them. The library's own parser makes an object per record; here record
 * batches stay bytes until somebody reads them (partition.ts).
 *
 *   request  replica -1, wait ms, bytes min, bytes max, isolation i8, session 0, epoch -1, topics, no forgotten topics,
 *            no rack
 *            topic: name or id, partitions { index, epoch -1, offset i64, last epoch -1, log start -1, bytes max }
 *   answer   throttle, error, session, topics
 *            topic: name or id, partitions { index, error, high watermark, last stable offset, log start, aborted
 *            [{ producer i64, first offset i64 }], preferred replica, records }
 */
import { type Reader, Writer } from '@platformatic/kafka';
import { failureOf } from './failure.ts';
import { type Link, pick } from './links.ts';

const FETCH = 1;
const BY_ID = 13;
const BY_NAME = 12;
const FETCH_LEAST = '2.7';

/** Versions that can ask for these topics, for pick(). */
const versionsFor = (topics: readonly FetchTopic[]): readonly (readonly [number, number])[] =>
  topics.every(({ id }) => id !== undefined)
    ? [
        [BY_ID, BY_ID],
        [BY_NAME, BY_NAME],
      ]
    : [[BY_NAME, BY_NAME]];

const NO_TAGS = 0;
/** Longer than what the network brings at a time, which answers may be part of. */
const SHARE_BYTES_MIN = 64 * 1024;
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

export interface FetchTopic {
  readonly name: string;
  readonly id: string | undefined;
  readonly wishes: readonly FetchWish[];
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

/** Asks the node of this link. */
export function askFetch(
  { link, where }: { readonly link: Link; readonly where: string },
  limits: FetchLimits,
  topics: readonly FetchTopic[],
): Promise<Fetched> {
  const version = pick(link, FETCH, versionsFor(topics), FETCH_LEAST);
  return new Promise((resolve, reject) => {
    link.connection.send(
      FETCH,
      version,
      () => encodeFetch(version, limits, topics),
      fetchParser(topics),
      true,
      true,
      (error, answer) => {
        if (error) reject(failureOf(link.lastError ?? error, where));
        else resolve(answer as Fetched);
      },
    );
  });
}

function encodeFetch(version: number, limits: FetchLimits, topics: readonly FetchTopic[]): Writer {
  const writer = Writer.create()
    .appendInt32(-1)
    .appendInt32(limits.waitMs)
    .appendInt32(1)
    .appendInt32(limits.bytesMax)
    .appendInt8(READ_COMMITTED)
    .appendInt32(0)
    .appendInt32(-1)
    .appendUnsignedVarInt(topics.length + 1);
  for (const { name, id, wishes } of topics) {
    if (version >= BY_ID) writer.appendUUID(id);
    else writer.appendString(name);
    writer.appendUnsignedVarInt(wishes.length + 1);
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

/** Reads the answer to a request for these topics. */
export const fetchParser =
  (topics: readonly FetchTopic[]) =>
  (_correlationId: number, _api: number, version: number, reader: Reader): Fetched =>
    parseFetch(version, topics, reader);

function parseFetch(version: number, asked: readonly FetchTopic[], reader: Reader): Fetched {
  reader.skip(4);
  const code = reader.readInt16();
  reader.skip(4);
  const partitions: FetchedPartition[] = [];
  const topics = reader.readUnsignedVarInt() - 1;
  for (let t = 0; t < topics; t++) {
    const topic = version >= BY_ID ? nameOf(asked, reader.readUUID()) : reader.readString();
    const count = reader.readUnsignedVarInt() - 1;
    for (let p = 0; p < count; p++) partitions.push(parsePartition(topic, reader));
    reader.readTaggedFields();
  }
  reader.readTaggedFields();
  return { code, partitions };
}

/** A topic that nobody has asked for has no name that anybody looks for. */
const nameOf = (asked: readonly FetchTopic[], id: string): string => asked.find((topic) => topic.id === id)?.name ?? '';

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
  const bytes = reader.readBytes();
  // A copy where it is little of the answer: a partition that is read slowly must not keep all of it.
  const records =
    bytes.length > SHARE_BYTES_MIN && 2 * bytes.length > reader.buffer.length ? bytes : Buffer.from(bytes);
  reader.readTaggedFields();
  return { topic, partition, code, end, logStart, aborted, records };
}
