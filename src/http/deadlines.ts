/**
 * Deadlines: time-outs of one length for many requests, with one timer for all of them. They expire in the order in
 * which they were added, so a linked list holds them in order. The timer is left running when its entry is removed in
 * time: arming one per request costs more than a look now and then, and Node scans its timers when one fires (40 to 90
 * ms stalls with many thousands, measured).
 */
import { type Clock, systemClock } from '../kernel/clock.ts';

export abstract class Deadline {
  /** @internal By the clock's elapsed(). */
  dueMs = 0;
  /** @internal */
  older: Deadline | undefined;
  /** @internal */
  newer: Deadline | undefined;
  /** @internal The list that it stands in. */
  list: Deadlines | undefined = undefined;

  /** It stands in a list, and its time is not over. */
  get waiting(): boolean {
    return this.list !== undefined;
  }

  /** The time is over. The entry has been removed. */
  abstract expire(): void;
}

export class Deadlines {
  readonly #afterMs: number;
  readonly #clock: Clock;
  #oldest: Deadline | undefined;
  #newest: Deadline | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(afterMs: number, clock: Clock = systemClock) {
    this.#afterMs = afterMs;
    this.#clock = clock;
  }

  /** Starts the time of an entry that does not wait yet. Throws a TypeError when it waits. */
  add(entry: Deadline): void {
    if (entry.list !== undefined) throw new TypeError('an entry must wait in one list at a time');
    entry.dueMs = this.#clock.elapsed() + this.#afterMs;
    entry.list = this;
    entry.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
    if (this.#timer === undefined) this.#arm();
  }

  /** Ends the time of an entry, if it waits here: it may wait elsewhere, or nowhere. */
  remove(entry: Deadline): void {
    if (entry.list !== this) return;
    entry.list = undefined;
    if (entry.older === undefined) this.#oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === undefined) this.#newest = entry.older;
    else entry.newer.older = entry.older;
    entry.older = undefined;
    entry.newer = undefined;
  }

  /** No entry expires any more until one is added. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    if (this.#oldest === undefined) return;
    const delay = Math.max(1, this.#oldest.dueMs - this.#clock.elapsed());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = this.#clock.elapsed();
      while (this.#oldest !== undefined && this.#oldest.dueMs <= now) {
        const entry = this.#oldest;
        this.remove(entry);
        entry.expire();
      }
      this.#arm();
    }, delay);
    this.#timer.unref();
  }
}
