/**
 * Waiter: how the thread of an output waits for work.
 *   nap    a few ms while work comes, so a producer need not wake anyone
 *   sleep  after 100 ms without work, until a producer wakes the thread (kernel/threads/wake.ts has the order that
 *          loses no wake-up)
 *
 * A nap lasts until a fair amount of bytes has come, within bounds. A short nap costs a wake-up and a cold round
 * through the runner: 65 us at 5 k events/s, 3 of the 38 us that an event costs then. In a long nap the bytes leave the
 * CPU's cache.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { WakeWords } from '../kernel/threads/wake.ts';

/** Shortest and longest nap while there was work lately, ms. */
const NAP_MS = 4;
const NAP_MS_MAX = 16;
/** Fewer bytes than this in a nap: the next nap is twice as long. More than four times as many: half as long. */
const NAP_BYTES = 64 * 1024;
/** A ring with fewer bytes than this per ms of nap could run full in one nap. */
const RING_BYTES_PER_MS = 512 * 1024;
const DEEP_AFTER_MS = 100;
/** A deep sleep ends by itself after this time, for what comes without a wake-up: checkpoints, rotated logs. */
const DEEP_MS = 500;

export class Waiter {
  readonly #wake: WakeWords;
  readonly #sleeper: number;
  readonly #blocking: boolean;
  readonly #napMsMax: number;
  #napMs = NAP_MS;
  #idleSince = 0;

  /** `ringBytes`: the smallest ring that this thread reads. */
  constructor(wake: WakeWords, sleeper: number, waits: 'blocking' | 'event-loop', ringBytes: number) {
    this.#wake = wake;
    this.#sleeper = sleeper;
    this.#blocking = waits === 'blocking';
    this.#napMsMax = Math.max(NAP_MS, Math.min(NAP_MS_MAX, ringBytes / RING_BYTES_PER_MS));
  }

  /** Called before rest() when `bytes` of records have come since the last one. */
  busy(bytes: number): void {
    this.#idleSince = 0;
    if (bytes < NAP_BYTES) this.#napMs = Math.min(2 * this.#napMs, this.#napMsMax);
    else if (bytes > 4 * NAP_BYTES) this.#napMs = Math.max(this.#napMs / 2, NAP_MS);
  }

  /**
   * Waits until there may be work, at most `msMax`. After a sleep is announced, `work` looks once more: a producer may
   * have published just before. The blocking kind stops the whole thread, so its caller lets the event loop turn now
   * and then.
   */
  async rest(now: number, msMax: number, work: () => boolean): Promise<void> {
    if (this.#idleSince === 0) this.#idleSince = now;
    if (now - this.#idleSince < DEEP_AFTER_MS || msMax <= this.#napMs) {
      const ms = Math.max(1, Math.min(this.#napMs, msMax));
      if (this.#blocking) this.#wake.nap(this.#sleeper, this.#wake.count(this.#sleeper), ms);
      else await sleep(ms);
      return;
    }
    const count = this.#wake.count(this.#sleeper);
    this.#wake.lieDown(this.#sleeper);
    if (!work()) {
      if (this.#blocking) this.#wake.nap(this.#sleeper, count, Math.min(DEEP_MS, msMax));
      else await this.#wake.napAsync(this.#sleeper, count, Math.min(DEEP_MS, msMax));
    }
    this.#wake.getUp(this.#sleeper);
  }

  /** Back-off: sleeps `ms`, or less when the thread is woken. */
  async pause(ms: number): Promise<void> {
    if (this.#blocking) this.#wake.nap(this.#sleeper, this.#wake.count(this.#sleeper), ms);
    else await this.#wake.napAsync(this.#sleeper, this.#wake.count(this.#sleeper), ms);
  }
}
