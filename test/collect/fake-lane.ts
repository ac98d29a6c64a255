/**
 * Fake lane: the engine's side of the routes in a few lines. It keeps the lines that were published, and does on demand what a real
 * one does when a disk is slow or full. `null` never: everything it does the engine does too.
 */

import { DraftTooLarge } from '../../src/engine/lane.ts';
import type { Refusal } from '../../src/engine/refusal.ts';
import { jsonLength, jsonStart } from '../../src/events/record.ts';
import type { AckLevel, Answerable, IntakeAcknowledger, IntakeLane } from '../../src/service/intake.ts';

export class FakeLane implements IntakeLane, IntakeAcknowledger {
  buffer = Buffer.alloc(0);
  /** What is published, one JSON line each. */
  readonly lines: string[] = [];
  refuses: Refusal | undefined;
  draftBytesMax = 4 * 1024 * 1024;
  /** What the next settle() says. */
  mode: 'now' | 'later' | 'failed' = 'now';
  held: Answerable[] = [];
  dropped_ = 0;
  #end = 0;
  #records: number[] = [];

  refusal(): Refusal | undefined {
    return this.refuses;
  }

  begin(bytesMax: number): number {
    const need = this.#end + bytesMax + 8;
    if (need > this.draftBytesMax) throw new DraftTooLarge(need, this.draftBytesMax);
    if (need > this.buffer.length) {
      const grown = Buffer.from(new ArrayBuffer((need * 2 + 7) & ~7));
      this.buffer.copy(grown);
      this.buffer = grown;
    }
    return this.#end;
  }

  commit(end: number): void {
    this.#records.push(this.#end);
    this.#end = (end + 7) & ~7;
  }

  mark(): number {
    return this.#records.length;
  }

  rewind(mark: number): void {
    this.#end = this.#records[mark] ?? this.#end;
    this.#records.length = Math.min(mark, this.#records.length);
  }

  settle(_level: AckLevel): 'now' | 'later' | 'failed' {
    if (this.mode === 'now') this.publish();
    return this.mode;
  }

  hold(_level: AckLevel, answer: Answerable): void {
    this.held.push(answer);
  }

  dropped(_answer: Answerable): void {
    this.dropped_ += 1;
  }

  flush(): void {
    this.publish();
  }

  publish(): void {
    for (const record of this.#records) {
      const from = jsonStart(record);
      this.lines.push(this.buffer.toString('utf8', from, from + jsonLength(this.buffer, record)));
    }
    this.#records = [];
    this.#end = 0;
  }

  /** Ends the wait of what is held. */
  release(outcome: 'stored' | 'unknown'): void {
    if (outcome === 'stored') this.publish();
    const held = this.held;
    this.held = [];
    for (const answer of held) answer.settled(outcome);
  }
}
