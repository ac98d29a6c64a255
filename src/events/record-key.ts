/**
 * Key of a record: records with the same key are delivered to the same place in their order (Kafka: the partition that the key's hash
 * chooses). A customer, or a site and its visitor. A record without one has its event id for a key, which orders nothing.
 *
 *   line '\n'  key  length of the key u32  [ids of a trace]  zeros up to a multiple of 8
 *
 * The key stands behind the line, and is found from the record's end: so the line begins where it always does, and a reader that does not
 * look for the key reads the record as one without. Version bit KEYED says that it is there.
 */
import { at, TRACE_BYTES, TRACED_VERSION } from './record.ts';

/** Bit of a record's version, beside EVENT_VERSION or TRACED_VERSION. */
export const KEYED = 4;
const LENGTH_BYTES = 4;

/** Bytes that a key takes in a record. */
export const keyBytes = (key: Buffer): number => key.length + LENGTH_BYTES;

/** Writes the key behind the line of a record whose last byte so far is `end` - 1; returns the record's new end. */
export function putKey(buffer: Buffer, end: number, key: Buffer): number {
  key.copy(buffer, end);
  return buffer.writeUInt32LE(key.length, end + key.length);
}

export const isKeyed = (buffer: Buffer, record: number): boolean => (buffer[record + at.version]! & KEYED) !== 0;

/** Bytes of a keyed record's key. */
export const keyLength = (buffer: Buffer, record: number): number => buffer.readUInt32LE(keyEnd(buffer, record));

/** Offset behind a keyed record's key. */
export function keyEnd(buffer: Buffer, record: number): number {
  const traced = (buffer[record + at.version]! & TRACED_VERSION) !== 0;
  return record + buffer.readUInt32LE(record + at.length) - (traced ? TRACE_BYTES : 0) - LENGTH_BYTES;
}

/** The key: a view, as long-lived as the buffer's content; undefined: the record has none. */
export function keyOf(buffer: Buffer, record: number): Buffer | undefined {
  if (!isKeyed(buffer, record)) return undefined;
  const end = keyEnd(buffer, record);
  return buffer.subarray(end - buffer.readUInt32LE(end), end);
}
