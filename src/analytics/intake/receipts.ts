/**
 * Receipts: the text of `received_at`, which is of one acceptance alone. It is RFC 3339 with nine digits of fraction:
 *
 *   2026-11-15T12:00:00.123 456789 Z
 *                       ms  | a sequence that begins at random and wraps
 *
 * What carries events may send a record twice (a process dies between the broker's answer and its checkpoint); then the
 * text is the same, and the processor counts nothing. An event that a client has sent twice has two texts and is a
 * duplicate (processor/dedupe.ts). Two encoders write the same text for one event_id once in a million times that they
 * take it within the same millisecond.
 */
import { randomInt } from 'node:crypto';
import { SLACK, viewOf } from '../../events/json-text.ts';
import { ISO_BYTES, TimestampWriter } from '../../kernel/timestamp.ts';

const SEQUENCE_DIGITS = 6;
const SEQUENCES = 10 ** SEQUENCE_DIGITS;
/** Bytes before the sequence: to the ms. */
const MS_BYTES = ISO_BYTES - 1;
const LAST_DIGIT = MS_BYTES + SEQUENCE_DIGITS - 1;
export const RECEIPT_BYTES: number = ISO_BYTES + SEQUENCE_DIGITS;

const ZERO = 0x30;
const NINE = 0x39;
const QUOTE = 0x22;
const LETTER_Z = 0x5a;

/** One per encoder. */
export class Receipts {
  /** The last text, with a closing quote behind it, and room to read on. */
  readonly buffer: Buffer = Buffer.alloc(RECEIPT_BYTES + 1 + SLACK, QUOTE);
  readonly view: DataView = viewOf(this.buffer);
  readonly #timestamps = new TimestampWriter();
  #ms = Number.NaN;

  constructor(sequence: number = randomInt(SEQUENCES)) {
    this.buffer.write(String(sequence).padStart(SEQUENCE_DIGITS, '0'), MS_BYTES, 'latin1');
    this.buffer[LAST_DIGIT + 1] = LETTER_Z;
  }

  /** The time of receipt of the texts that follow, ms since 1970. */
  begin(ms: number): void {
    if (ms === this.#ms) return;
    const first = this.buffer[MS_BYTES]!;
    this.#timestamps.write(this.buffer, 0, ms);
    this.buffer[MS_BYTES] = first;
    this.#ms = ms;
  }

  /** Turns the text in `buffer` into the next one. */
  next(): void {
    const { buffer } = this;
    let at = LAST_DIGIT;
    while (buffer[at] === NINE && at >= MS_BYTES) buffer[at--] = ZERO;
    if (at >= MS_BYTES) buffer[at]! += 1;
  }

  /** The next text as a string. */
  text(ms: number): string {
    this.begin(ms);
    this.next();
    return this.buffer.toString('latin1', 0, RECEIPT_BYTES);
  }
}
