/** Dead letters as records again: what a letter keeps is enough to make the record that the target refused. */
import { createHash } from 'node:crypto';
import { foreignBytes, hasBrokerTime, putForeign } from '../events/foreign.ts';
import { at, isEventLine, kindAt, putRecord, receivedMsAt, sourceAt } from '../events/record.ts';
import { addKey } from '../events/record-key.ts';
import { putServiceRecord, SERVICE_KIND_MIN } from '../events/service-record.ts';
import type { SinkBatch } from './contract.ts';
import { identityOf, keyOfLetter, type LetterLine, type StoredLetter } from './dead-letter-format.ts';

/** The strand of a replay, for targets that keep a cursor: the source of each file has a name of its own. */
export const REPLAY_LANE = { life: 0, lane: 0 };

/** A line that is a letter. */
export type Letter = LetterLine & { readonly letter: StoredLetter };

export const isLetter = (line: LetterLine): line is Letter => line.letter !== undefined;

/** A strand of a topic is called topic/partition, a lane of a log life-lane. */
function partitionOf({ letter }: Letter): number | undefined {
  const found = /\/(\d+)$/.exec(letter.lane);
  return found === null ? undefined : Number(found[1]);
}

/** The fixed fields; undefined for a letter of an older version. */
function headOfLetter({ letter }: Letter): Buffer | undefined {
  const head = letter.head64 === undefined ? undefined : Buffer.from(letter.head64, 'base64');
  return head?.length === at.json ? head : undefined;
}

const isServiceRecord = (head: Buffer | undefined): boolean =>
  head !== undefined && kindAt(head, 0) >= SERVICE_KIND_MIN;

/** A record of a topic or of a service, or an event that an encoder has made; no other text. */
export const isSound = (letter: Letter): boolean =>
  partitionOf(letter) !== undefined || isServiceRecord(headOfLetter(letter)) || isEventLine(letter.line);

/** Writes the record at `record`; returns the offset behind its padding. */
function putLetter(buffer: Buffer, record: number, one: Letter, key: Buffer | undefined): number {
  const { letter, line } = one;
  const head = headOfLetter(one);
  const receivedMs = head === undefined ? Date.parse(letter.time) : receivedMsAt(head, 0);
  const source = head === undefined ? 0 : sourceAt(head, 0);
  const partition = partitionOf(one);
  if (partition !== undefined) {
    const origin = { topic: source, partition, offset: letter.position };
    return putForeign(buffer, record, line, key, receivedMs, origin, head !== undefined && hasBrokerTime(head, 0));
  }
  if (isServiceRecord(head)) {
    const fields = { kind: kindAt(head!, 0), key: key ?? Buffer.alloc(0), line, receivedMs };
    return putServiceRecord(buffer, record, fields);
  }
  // The other fixed fields are read from the line: somebody may have mended it by hand.
  const end = putRecord(buffer, record, line, receivedMs);
  buffer.writeUInt32LE(source, record + at.source);
  return key === undefined ? end : addKey(buffer, record, key);
}

/** Where a batch of letters stands on the strand of its replay. */
export interface Place {
  /** Number of its first letter. */
  readonly first: number;
  /** Where the target's cursor stands before it. */
  readonly from: number;
  /** The target moves its cursor. */
  readonly commit: boolean;
}

export function batchOf(letters: readonly Letter[], { first, from, commit }: Place): SinkBatch {
  const count = letters.length;
  const keys = letters.map(({ letter }) => keyOfLetter(letter));
  const buffer = Buffer.alloc(letters.reduce((bytes, { line }, i) => bytes + foreignBytes(line, keys[i]), 0));
  const offsets = new Int32Array(count);
  let end = 0;
  for (const [i, letter] of letters.entries()) {
    offsets[i] = end;
    end = putLetter(buffer, end, letter, keys[i]);
  }
  const positions = Float64Array.from(letters, (_, i) => first + i);
  const mark = (position: number) => ({ position, record: position });
  const [begin, to] = [mark(from), mark(first + count)];
  return { lane: REPLAY_LANE, count, buffer, offsets, positions, from: begin, to, commit, name: nameOf(letters) };
}

/** The same for the same letters, whichever replay sends them; another one for any other letters. */
function nameOf(letters: readonly Letter[]): string {
  const hash = createHash('sha256');
  for (const { letter, line } of letters) hash.update(identityOf(letter, line));
  return `replay:${hash.digest('hex').slice(0, 32)}`;
}
