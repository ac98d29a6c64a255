/** Rate: a token bucket that starts empty and holds 20 ms of its rate, so that no second sees more than 2 % above it. */
import { type Clock, systemClock } from '../../kernel/clock.ts';

const BURST_S = 0.02;

export class Rate {
  readonly #perS: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #tokens = 0;
  #filledMs: number;

  /** `perS` 0: no limit. */
  constructor(perS: number, clock: Clock = systemClock) {
    this.#perS = perS;
    this.#burst = Math.max(1, perS * BURST_S);
    this.#clock = clock;
    this.#filledMs = clock.elapsed();
  }

  /** Ms until a call may be made; 0: now. */
  waitMs(): number {
    if (this.#perS === 0) return 0;
    const now = this.#clock.elapsed();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledMs) * this.#perS) / 1000);
    this.#filledMs = now;
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) * 1000) / this.#perS;
  }

  /** A call that costs more than there is leaves a debt, which later calls wait for. */
  take(tokens: number): void {
    if (this.#perS > 0) this.#tokens -= tokens;
  }

  giveBack(tokens: number): void {
    if (this.#perS > 0) this.#tokens = Math.min(this.#burst, this.#tokens + tokens);
  }
}
