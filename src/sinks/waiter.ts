/**
 * Waiter: how a sink's thread waits for work. Busy: naps of a few ms, so that a producer need not wake anyone. After 100 ms without
 * work: deep sleep, from which a producer wakes it (engine/wake.ts has the order that loses no wake-up).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { WakeWords } from '../engine/wake.ts';

/** A nap while there was work lately, ms. Producers pay for wake-ups, sleepers for naps: 4 ms costs about 0.4 % of a core. */
const NAP_MS = 4;
const DEEP_AFTER_MS = 100;
/** A deep sleep ends by itself, for what no wake-up tells: phases, checkpoints, rotated logs. */
const DEEP_MS = 500;

export class Waiter {
  readonly #wake: WakeWords;
  readonly #sleeper: number;
  readonly #blocking: boolean;
  #idleSince = 0;

  constructor(wake: WakeWords, sleeper: number, waits: 'blocking' | 'event-loop') {
    this.#wake = wake;
    this.#sleeper = sleeper;
    this.#blocking = waits === 'blocking';
  }

  /** There was work. */
  busy(): void {
    this.#idleSince = 0;
  }

  /**
   * Waits until there may be work, at most `msMax`. `work` looks for it once more after the sleep was announced. Both kinds let the
   * event loop turn: messages and signals to the thread arrive there.
   */
  async rest(now: number, msMax: number, work: () => boolean): Promise<void> {
    if (this.#idleSince === 0) this.#idleSince = now;
    if (now - this.#idleSince < DEEP_AFTER_MS || msMax <= NAP_MS) {
      const ms = Math.max(1, Math.min(NAP_MS, msMax));
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
