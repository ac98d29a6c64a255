/**
 * Health: what answers and checks say of a backend, and when it is taken out.
 *
 *   checks     so many bad ones in a row: down; so many good ones: up again, slowly. The first check decides at once
 *   answers    so many failures in a row, or a bad share of them in a window of time: ejected (Envoy's outlier
 *              detection: consecutive_5xx, failure percentage), for a time that doubles with each ejection in a row
 *   breaker    closed: it takes requests. Open: ejected. Half open: its time is over, and one request is the probe;
 *              that it goes well closes the breaker, slowly, and that it fails opens it again
 *
 * The last backend that takes requests is never ejected: a bad one is better than none.
 */
import { type BackendTable, Health, Reason, reasons, Slot } from './backend-table.ts';
import type { LeaseOutcome } from './balancer.ts';
import type { RoundRobin } from './round-robin.ts';

export interface HealthOptions {
  /** Failures in a row that eject. */
  readonly failures: number;
  /** Time of the first ejection; the next ones double it. */
  readonly ejectMs: number;
}

const WINDOW_MS = 10_000;
/** A share of few requests says nothing. */
const WINDOW_ANSWERS_MIN = 20;
const WINDOW_FAILED_SHARE = 0.5;
const EJECTIONS_DOUBLED_MAX = 5;

/** new: the process has not read it yet. */
export const backendStates = ['new', 'up', 'slow_start', 'ejected', 'down', 'draining'] as const;
export type BackendState = (typeof backendStates)[number];

export interface BackendStanding {
  readonly state: BackendState;
  /** Why it is down or ejected; null: it is neither. */
  readonly reason: string | null;
  readonly breaker: 'closed' | 'open' | 'half_open';
  readonly in_flight: number;
}

export class BackendHealth {
  readonly #table: BackendTable;
  readonly #round: RoundRobin;
  readonly #options: HealthOptions;
  /** Called with each ejection of this thread. */
  onEject: (id: number) => void = () => undefined;

  constructor(table: BackendTable, round: RoundRobin, options: HealthOptions) {
    this.#table = table;
    this.#round = round;
    this.#options = options;
  }

  /** How a request has ended, at the backend whose slot is at `at`. */
  note(id: number, at: number, outcome: LeaseOutcome, probe: boolean): void {
    const { words } = this.#table;
    if (outcome === 'given_up') {
      if (probe) Atomics.store(words, at + Slot.PROBING, 0);
      return;
    }
    const failed = outcome === 'failed';
    const share = this.#count(at, failed);
    if (!failed) {
      if (Atomics.load(words, at + Slot.FAILURES) !== 0) Atomics.store(words, at + Slot.FAILURES, 0);
      if (probe) this.#comeBack(at);
      return;
    }
    const inARow = Atomics.add(words, at + Slot.FAILURES, 1) + 1;
    if (probe) this.#eject(id, at, Reason.PROBE);
    else if (inARow >= this.#options.failures) this.#eject(id, at, Reason.IN_A_ROW);
    else if (share >= WINDOW_FAILED_SHARE) this.#eject(id, at, Reason.RATE);
  }

  /** The share of failures in the present window; 0: there are too few answers to say. */
  #count(at: number, failed: boolean): number {
    const { words } = this.#table;
    const window = Math.floor(this.#table.now() / WINDOW_MS) | 0;
    const before = Atomics.load(words, at + Slot.WINDOW);
    if (before !== window && Atomics.compareExchange(words, at + Slot.WINDOW, before, window) === before) {
      Atomics.store(words, at + Slot.WINDOW_ANSWERS, 0);
      Atomics.store(words, at + Slot.WINDOW_FAILURES, 0);
    }
    const answers = Atomics.add(words, at + Slot.WINDOW_ANSWERS, 1) + 1;
    const failures = failed
      ? Atomics.add(words, at + Slot.WINDOW_FAILURES, 1) + 1
      : Atomics.load(words, at + Slot.WINDOW_FAILURES);
    return answers < WINDOW_ANSWERS_MIN ? 0 : failures / answers;
  }

  #eject(id: number, at: number, reason: number): void {
    const table = this.#table;
    const { words } = table;
    // Two threads must not eject the last two at once. Without the lock the next failure ejects.
    if (!table.lock()) {
      if (reason === Reason.PROBE) Atomics.store(words, at + Slot.PROBING, 0);
      return;
    }
    try {
      const again = reason === Reason.PROBE;
      if (!again && (Atomics.load(words, at + Slot.EJECTED) === 1 || !this.#round.hasOther(id))) return;
      const ejections = Atomics.add(words, at + Slot.EJECTIONS, 1);
      const ms = this.#options.ejectMs * 2 ** Math.min(ejections, EJECTIONS_DOUBLED_MAX);
      Atomics.store(words, at + Slot.UNTIL, (table.now() + ms) | 0);
      Atomics.store(words, at + Slot.REASON, reason);
      Atomics.store(words, at + Slot.EJECTED, 1);
      Atomics.store(words, at + Slot.PROBING, 0);
      this.onEject(id);
    } finally {
      table.unlock();
    }
  }

  /** The breaker closes, and the backend begins slowly, with a clean sheet. */
  #comeBack(at: number): void {
    const { words } = this.#table;
    Atomics.store(words, at + Slot.FAILURES, 0);
    Atomics.store(words, at + Slot.WINDOW_ANSWERS, 0);
    Atomics.store(words, at + Slot.WINDOW_FAILURES, 0);
    Atomics.store(words, at + Slot.SLOW_SINCE, this.#table.now());
    Atomics.store(words, at + Slot.SLOW, 1);
    Atomics.store(words, at + Slot.EJECTIONS, 0);
    Atomics.store(words, at + Slot.REASON, 0);
    Atomics.store(words, at + Slot.EJECTED, 0);
    Atomics.store(words, at + Slot.PROBING, 0);
  }

  /** For the checks: it is down from now on. */
  down(at: number, reason: number): void {
    Atomics.store(this.#table.words, at + Slot.REASON, reason);
    Atomics.store(this.#table.words, at + Slot.HEALTH, Health.DOWN);
  }

  /** For the checks: it is up. One that was down begins slowly, and what its requests said before is forgotten. */
  up(at: number): void {
    const { words } = this.#table;
    if (Atomics.load(words, at + Slot.HEALTH) === Health.DOWN) this.#comeBack(at);
    Atomics.store(words, at + Slot.HEALTH, Health.UP);
  }
}

/** How a backend stands now, for people. */
export function standingOf(table: BackendTable, at: number): BackendStanding {
  const { words } = table;
  const is = (word: number): boolean => Atomics.load(words, at + word) === 1;
  const down = Atomics.load(words, at + Slot.HEALTH) === Health.DOWN;
  const ejected = is(Slot.EJECTED);
  const over = ((table.now() - Atomics.load(words, at + Slot.UNTIL)) | 0) >= 0;
  const state = is(Slot.DRAINING)
    ? 'draining'
    : down
      ? 'down'
      : ejected
        ? 'ejected'
        : is(Slot.SLOW)
          ? 'slow_start'
          : 'up';
  return {
    state,
    reason: down || ejected ? (reasons[Atomics.load(words, at + Slot.REASON)] ?? null) : null,
    breaker: !ejected ? 'closed' : over ? 'half_open' : 'open',
    in_flight: Atomics.load(words, at + Slot.IN_FLIGHT),
  };
}
