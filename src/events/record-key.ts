/**
 * Key of a record: Kafka gets records with the same key in one partition, in their order. The key is for example a
 * customer, or a site and its visitor. A record without a key is sent under its event id, which orders nothing.
 *
 *   line '\n'  key  length of the key u32  [ids of a trace]  zeros up to a multiple of 8
 *
 * The key stands behind the line and is located from the end of the record. So the line keeps its offset, and a reader
 * that ignores keys reads the record like one without a key. The version bit KEYED says that a key is present.
 */
import { align8 } from '../kernel/record.ts';
import { at, TRACE_BYTES, TRACED_VERSION } from './record.ts';

/** Bit of a record's version, beside EVENT_VERSION or TRACED_VERSION. */
export const KEYED = 4;
const LENGTH_BYTES = 4;

/** Bytes that a key takes in a record. */
export const keyBytes = (key: Buffer): number => key.length + LENGTH_BYTES;

/** Writes the key at `end`, the end of a record that has its line and no trace yet. Returns the new end. */
export function putKey(buffer: Buffer, end: number, key: Buffer): number {
  key.copy(buffer, end);
  return buffer.writeUInt32LE(key.length, end + key.length);
}

/** Gives the record at `record` a key; there is room behind it. Returns the offset behind its padding. */
export function addKey(buffer: Buffer, record: number, key: Buffer): number {
  const end = putKey(buffer, record + buffer.readUInt32LE(record + at.length), key);
  buffer.writeUInt32LE(end - record, record + at.length);
  buffer[record + at.version]! |= KEYED;
  const padded = align8(end);
  buffer.fill(0, end, padded);
  return padded;
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
