/**
 * Receipt: which acceptance of an event a record holds, as 32 bits. The same event_id with the same receipt is a record
 * that came twice, and counts nowhere; with another one, an event that somebody has sent twice.
 *
 *   ours      received_at with its sequence (intake/receipts.ts): wherever the record lies, it is the same
 *   foreign   topic, partition, offset and time of the record: whoever reads the topic again finds the same
 *
 * Two receipts of one id are taken for one by chance once in 2^32 times.
 */
import { createHash } from 'node:crypto';
import type { Origin } from '../../events/foreign.ts';

const TWO_32 = 2 ** 32;
/** Of a text with nine digits of fraction: where those behind the ms stand. */
const SEQUENCE_FROM = 23;
const SEQUENCE_TO = 29;

/** `text`: received_at, whose ms are `receivedMs`. */
export function receiptOf(text: string, receivedMs: number): number {
  const sequence = Number(text.slice(SEQUENCE_FROM, SEQUENCE_TO)) | 0;
  return mixed(mixed(mixed(0, receivedMs), receivedMs / TWO_32), sequence);
}

/** `topic`: hashOf() its name. */
export function foreignReceipt(topic: number, { partition, offset }: Omit<Origin, 'topic'>, timeMs: number): number {
  const place = mixed(mixed(mixed(mixed(0, topic), partition), offset), offset / TWO_32);
  return mixed(mixed(place, timeMs), timeMs / TWO_32);
}

/** 32 bits of a text. */
export const hashOf = (text: string): number => createHash('sha256').update(text).digest().readInt32LE(0);

/** The finalizer of MurmurHash3 (Austin Appleby) over what is there and the low 32 bits of a number. */
function mixed(hash: number, value: number): number {
  let h = (hash + 0x9e3779b9) ^ value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
