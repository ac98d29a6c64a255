/**
 * Foreign record: a record of another log, a Kafka topic, in the layout of an event record (record.ts), so that every
 * sink can take it. Its value stands where the line stands, unchanged; it need not be JSON.
 *
 *   byte  field
 *      6  version     u16  the bit BROKER_TIME: the broker has set the time of the record, not its producer; the bit
 *                          NO_VALUE: its value is null, a tombstone
 *      8  source      u32  index of the topic among those of the source
 *     16  receivedMs  f64  time of the record                              40  tsMs  f64  the same
 *     24  partition   u32                                                  32  offset  f64
 *     48  zeros: no "e", no "uid"
 *     64  value, then '\n', then the key if it has one (record-key.ts)
 */

import { align8 } from '../kernel/record.ts';
import { at, EVENT_VERSION, kindAt } from './record.ts';
import { KEYED, keyBytes, putKey } from './record-key.ts';

export const FOREIGN_KIND = 2;
/** Bits of the version, beside those of record.ts and record-key.ts. */
const BROKER_TIME = 8;
const NO_VALUE = 16;

const PARTITION = 24;
const OFFSET = 32;
const NEWLINE = 0x0a;

/** The position of a foreign record in its own log. */
export interface Origin {
  /** Index among the topics of the source. */
  readonly topic: number;
  readonly partition: number;
  readonly offset: number;
}

/** Bytes of a foreign record, padding included. */
export const foreignBytes = (value: Buffer | undefined, key: Buffer | undefined): number =>
  align8(at.json + (value?.length ?? 0) + 1 + (key === undefined ? 0 : keyBytes(key)));

/**
 * Writes a whole record at `record`, a multiple of 8; returns the offset behind its padding. `brokerTime`: the broker
 * has set the time when it took the record (message.timestamp.type=LogAppendTime).
 */
export function putForeign(
  buffer: Buffer,
  record: number,
  value: Buffer | undefined,
  key: Buffer | undefined,
  timeMs: number,
  origin: Origin,
  brokerTime = false,
): number {
  buffer.fill(0, record, record + at.json);
  buffer.writeUInt16LE(FOREIGN_KIND, record + at.kind);
  const bytes = value?.length ?? 0;
  const bits = (key === undefined ? 0 : KEYED) | (brokerTime ? BROKER_TIME : 0) | (value === undefined ? NO_VALUE : 0);
  buffer.writeUInt16LE(EVENT_VERSION | bits, record + at.version);
  buffer.writeUInt32LE(origin.topic, record + at.source);
  buffer.writeUInt32LE(bytes, record + at.jsonLength);
  buffer.writeDoubleLE(timeMs, record + at.receivedMs);
  buffer.writeDoubleLE(timeMs, record + at.tsMs);
  buffer.writeUInt32LE(origin.partition, record + PARTITION);
  buffer.writeDoubleLE(origin.offset, record + OFFSET);
  value?.copy(buffer, record + at.json);
  let end = record + at.json + bytes;
  buffer[end++] = NEWLINE;
  if (key !== undefined) end = putKey(buffer, end, key);
  buffer.writeUInt32LE(end - record, record + at.length);
  const padded = align8(end);
  buffer.fill(0, end, padded);
  return padded;
}

export const originOf = (buffer: Buffer, record: number): Origin => ({
  topic: buffer.readUInt32LE(record + at.source),
  partition: buffer.readUInt32LE(record + PARTITION),
  offset: buffer.readDoubleLE(record + OFFSET),
});

export const isForeign = (buffer: Buffer, record: number): boolean => kindAt(buffer, record) === FOREIGN_KIND;

/** The value of a foreign record is null. */
export const isTombstone = (buffer: Buffer, record: number): boolean =>
  isForeign(buffer, record) && (buffer[record + at.version]! & NO_VALUE) !== 0;

/** The time of a foreign record is the broker's: when it took the record. Else its producer has set it. */
export const hasBrokerTime = (buffer: Buffer, record: number): boolean =>
  (buffer[record + at.version]! & BROKER_TIME) !== 0;
