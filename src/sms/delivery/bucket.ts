/**
 * Token bucket that shapes: it says how long to wait, and refuses nothing. It starts empty, so a customer whose shard
 * moves from one process to another never gets more than its rate.
 *
 * Always true: in any span of `s` seconds at most `rate * s + depth` are taken; from its start, at most `rate * s`.
 */

/** An idle customer may send so much of its rate at once. */
const DEPTH_MS = 200;

export class Bucket {
  #rate: number;
  #tokens = 0;
  #atMs: number;

  /** `rate`: per second; 0: no limit. `emptyMs`: when it was empty, ms by the monotonic clock. */
  constructor(rate: number, emptyMs: number) {
    this.#rate = rate;
    this.#atMs = emptyMs;
  }

  get rate(): number {
    return this.#rate;
  }

  setRate(rate: number, nowMs: number): void {
    if (rate === this.#rate) return;
    this.#fill(nowMs);
    this.#rate = rate;
    this.#tokens = Math.min(this.#tokens, this.#depth);
  }

  /** Ms until one may be taken; 0: now. */
  waitMs(nowMs: number): number {
    if (this.#rate === 0) return 0;
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) * 1000) / this.#rate;
  }

  /** After waitMs() has said 0. */
  take(): void {
    if (this.#rate !== 0) this.#tokens -= 1;
  }

  /** When it will be full, if nobody takes anything: one that starts then with the same time behind it is the same. */
  fullMs(nowMs: number): number {
    if (this.#rate === 0) return nowMs;
    this.#fill(nowMs);
    return nowMs + ((this.#depth - this.#tokens) * 1000) / this.#rate;
  }

  get #depth(): number {
    return Math.max(1, (this.#rate * DEPTH_MS) / 1000);
  }

  #fill(nowMs: number): void {
    const gained = (Math.max(0, nowMs - this.#atMs) * this.#rate) / 1000;
    this.#atMs = Math.max(nowMs, this.#atMs);
    this.#tokens = Math.min(this.#depth, this.#tokens + gained);
  }
}
