/**
 * Service record: a record of a service's own in the layout of an event record (record.ts), so that every sink can take
 * it. Its line is whatever JSON the service keeps; its key decides the partition in Kafka, and so what stays in order.
 *
 *   byte  field
 *     16  receivedMs  f64  when the service took it                        40  tsMs  f64  the same
 *     24  zeros: no event id, no "e", no "uid"
 *     64  line, then '\n', then the key (record-key.ts)
 */
import { align8 } from '../kernel/record.ts';
import type { Draft } from './draft.ts';
import { at, EVENT_VERSION } from './record.ts';
import { KEYED, keyBytes, putKey } from './record-key.ts';

/** Kinds below are the house's own: events and foreign records. */
export const SERVICE_KIND_MIN = 16;
const SERVICE_KIND_MAX = 0xffff;

export interface ServiceRecord {
  /** From SERVICE_KIND_MIN to SERVICE_KIND_MAX; `Output.records` tells outputs which kinds are theirs. */
  readonly kind: number;
  readonly key: Buffer;
  /** One JSON text without a raw newline. */
  readonly line: Buffer;
  /** Ms since 1970. */
  readonly receivedMs: number;
}

const NEWLINE = 0x0a;

/**
 * Commits the record to the draft. Throws a TypeError for a kind of the house or a line with a newline, and what
 * begin() throws.
 */
export function commitRecord(draft: Draft, { kind, key, line, receivedMs }: ServiceRecord): void {
  if (!Number.isInteger(kind) || kind < SERVICE_KIND_MIN || kind > SERVICE_KIND_MAX)
    throw new TypeError(`the kind of a service's record must be from ${SERVICE_KIND_MIN} on: kind=${kind}`);
  if (line.includes(NEWLINE)) throw new TypeError('the line of a record must not hold a newline');
  const record = draft.begin(at.json + line.length + 1 + keyBytes(key));
  draft.commit(putFields(draft.buffer, record, { kind, key, line, receivedMs }), kind, EVENT_VERSION | KEYED);
}

/** The same of a line that is a text, written into the draft at once: for a record that is made on the way of a request. */
export function commitText(
  draft: Draft,
  { kind, key, text, receivedMs }: Omit<ServiceRecord, 'line'> & { readonly text: string },
): void {
  // A character of UTF-16 takes three bytes of UTF-8 at most.
  const record = draft.begin(at.json + 3 * text.length + 1 + keyBytes(key));
  const { buffer } = draft;
  const length = buffer.write(text, record + at.json, 'utf8');
  draft.commit(putRest(buffer, record, length, key, receivedMs), kind, EVENT_VERSION | KEYED);
}

/**
 * Makes a whole record in a buffer, for a dead letter that is sent again. Returns the offset behind the record, padding
 * included.
 */
export function putServiceRecord(buffer: Buffer, record: number, fields: ServiceRecord): number {
  const end = putFields(buffer, record, fields);
  buffer.writeUInt32LE(end - record, record + at.length);
  buffer.writeUInt16LE(fields.kind, record + at.kind);
  buffer.writeUInt16LE(EVENT_VERSION | KEYED, record + at.version);
  const padded = align8(end);
  buffer.fill(0, end, padded);
  return padded;
}

/** Everything but what Draft.commit() stores. Returns the offset behind the key. */
function putFields(buffer: Buffer, record: number, { key, line, receivedMs }: ServiceRecord): number {
  line.copy(buffer, record + at.json);
  return putRest(buffer, record, line.length, key, receivedMs);
}

/** Everything but the line, of `length` bytes, which stands already. */
function putRest(buffer: Buffer, record: number, length: number, key: Buffer, receivedMs: number): number {
  // Buffer.fill() judges its arguments for longer than this takes.
  for (let i = record; i < record + at.json; i += 1) buffer[i] = 0;
  buffer.writeUInt32LE(length, record + at.jsonLength);
  buffer.writeDoubleLE(receivedMs, record + at.receivedMs);
  buffer.writeDoubleLE(receivedMs, record + at.tsMs);
  const newline = record + at.json + length;
  buffer[newline] = NEWLINE;
  return putKey(buffer, newline + 1, key);
}
