/**
 * Deferral: which messages go back to the database because no operator has room for them, and for how long. While an
 * operator is away its messages stand before those that another would take, so they leave memory and come again later.
 * The more there are, the longer each stays away: what comes again must leave some of the bound to those that are new.
 */

/** Messages that may go back in a second: each is a row that is written. */
const PER_S = 5000;
const MS_MIN = 5000;

export class Deferral {
  readonly #msMax: number;
  #ms = MS_MIN;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #left = PER_S;

  /** `msMax`: no message stays away longer. */
  constructor(msMax: number) {
    this.#msMax = Math.max(MS_MIN, msMax);
  }

  /** How long a message stays away, which is to wait for `waitMs`; undefined: no more may go in this second. */
  take(waitMs: number, nowMs: number): number | undefined {
    if (nowMs - this.#sinceMs >= 1000) {
      if (this.#left === 0) this.#ms = Math.min(this.#msMax, 2 * this.#ms);
      else if (this.#left > PER_S / 2) this.#ms = Math.max(MS_MIN, this.#ms / 2);
      this.#sinceMs = nowMs;
      this.#left = PER_S;
    }
    if (this.#left === 0) return undefined;
    this.#left -= 1;
    return Math.min(this.#ms, waitMs);
  }
}
