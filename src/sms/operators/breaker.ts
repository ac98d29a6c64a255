/**
 * Breaker: keeps messages from an operator that fails. closed: all calls go through. open: none, for a time that
 * doubles with each failure of a trial. half-open: one call at a time is the trial.
 *
 * It opens after FAILED_IN_A_ROW failures, or when half of the last OUTCOMES calls failed. Outcomes of calls that were
 * under way when it opened teach nothing.
 */
import { type Clock, systemClock } from '../../kernel/clock.ts';

const FAILED_IN_A_ROW = 5;
const OUTCOMES = 20;
const FAILED_OF_OUTCOMES = 10;
const OPEN_MS = 1000;
const OPEN_MS_MAX = 30_000;
/** Several processes must not come back at the same moment. */
const JITTER = 0.2;

export type BreakerState = 'closed' | 'open' | 'half_open';

export class Breaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #outcomes = new Uint8Array(OUTCOMES);
  #at = 0;
  #failed = 0;
  #inARow = 0;
  #openMs = OPEN_MS;
  #reopensMs = 0;
  #state: BreakerState = 'closed';
  #trial = false;
  /** Grows with each opening: a call of an earlier time is told by it. */
  #era = 0;

  constructor(clock: Clock = systemClock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  get state(): BreakerState {
    if (this.#state === 'open' && this.waitMs === 0) return 'half_open';
    return this.#state;
  }

  /** Ms until it may be asked again; 0: now. Infinity: a trial is under way. */
  get waitMs(): number {
    if (this.#state === 'closed') return 0;
    if (this.#trial) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#reopensMs - this.#clock.elapsed());
  }

  /** Begins a call; call it only while waitMs is 0. Returns what done() and undone() want. */
  begin(): number {
    if (this.#state !== 'closed') {
      this.#state = 'half_open';
      this.#trial = true;
    }
    return this.#era;
  }

  /** The call never took place. */
  undone(era: number): void {
    if (era === this.#era) this.#trial = false;
  }

  done(era: number, ok: boolean): void {
    if (era !== this.#era) return;
    if (this.#state === 'half_open') {
      this.#trial = false;
      if (ok) this.#close();
      else this.#open();
      return;
    }
    this.#failed += (ok ? 0 : 1) - this.#outcomes[this.#at]!;
    this.#outcomes[this.#at] = ok ? 0 : 1;
    this.#at = (this.#at + 1) % OUTCOMES;
    this.#inARow = ok ? 0 : this.#inARow + 1;
    if (this.#inARow >= FAILED_IN_A_ROW || this.#failed >= FAILED_OF_OUTCOMES) this.#open();
  }

  #close(): void {
    this.#state = 'closed';
    this.#openMs = OPEN_MS;
    this.#outcomes.fill(0);
    this.#failed = 0;
    this.#inARow = 0;
  }

  #open(): void {
    this.#state = 'open';
    this.#era += 1;
    this.#reopensMs = this.#clock.elapsed() + this.#openMs * (1 + JITTER * this.#random());
    this.#openMs = Math.min(OPEN_MS_MAX, this.#openMs * 2);
  }
}
