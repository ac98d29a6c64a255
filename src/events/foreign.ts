/**
 * Foreign record: a record of another log, a Kafka topic, in the layout of an event record (record.ts), so that every
 * sink can take it. Its value stands where the line stands, unchanged; it need not be JSON.
 *
 *   byte  field
 *      8  source      u32  index of the topic among those of the source
 *     16  receivedMs  f64  time of the record                              40  tsMs  f64  the same
 *     24  partition   u32                                                  32  offset  f64
 *     48  zeros: no "e", no "uid"
 *     64  value, then '\n', then the key if it has one (record-key.ts)
 */

import { align8 } from '../kernel/record.ts';
import { at, EVENT_VERSION } from './record.ts';
import { KEYED, keyBytes, putKey } from './record-key.ts';

const FOREIGN_KIND = 2;

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
export const foreignBytes = (value: Buffer, key: Buffer | undefined): number =>
  align8(at.json + value.length + 1 + (key === undefined ? 0 : keyBytes(key)));

/** Writes a whole record at `record`, a multiple of 8; returns the offset behind its padding. */
export function putForeign(
  buffer: Buffer,
  record: number,
  value: Buffer,
  key: Buffer | undefined,
  timeMs: number,
  origin: Origin,
): number {
  buffer.fill(0, record, record + at.json);
  buffer.writeUInt16LE(FOREIGN_KIND, record + at.kind);
  buffer.writeUInt16LE(key === undefined ? EVENT_VERSION : EVENT_VERSION | KEYED, record + at.version);
  buffer.writeUInt32LE(origin.topic, record + at.source);
  buffer.writeUInt32LE(value.length, record + at.jsonLength);
  buffer.writeDoubleLE(timeMs, record + at.receivedMs);
  buffer.writeDoubleLE(timeMs, record + at.tsMs);
  buffer.writeUInt32LE(origin.partition, record + PARTITION);
  buffer.writeDoubleLE(origin.offset, record + OFFSET);
  value.copy(buffer, record + at.json);
  let end = record + at.json + value.length;
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
