/**
 * Receivers: how the receivers of customers stand. Who answers may have RUNNING_MAX callbacks under way. Who has failed
 * gets one at a time, after a pause that doubles, so that dead receivers take no places from living ones.
 */
import { type Clock, systemClock } from '../../kernel/clock.ts';

const RUNNING_MAX = 32;
const PAUSE_MS = 1000;
const PAUSE_MS_MAX = 60_000;
/** Customers whose failures are remembered; one that is forgotten costs a try. */
const KNOWN_MAX = 20_000;

interface Receiver {
  running: number;
  /** In a row. */
  failures: number;
  pausedUntilMs: number;
}

export class Receivers {
  readonly #clock: Clock;
  readonly #known = new Map<string, Receiver>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** How many callbacks of the customer may begin now. */
  room(customerId: string): number {
    const known = this.#known.get(customerId);
    if (known === undefined) return RUNNING_MAX;
    if (known.failures === 0) return RUNNING_MAX - known.running;
    return known.running > 0 || this.#clock.elapsed() < known.pausedUntilMs ? 0 : 1;
  }

  begin(customerId: string): void {
    const known = this.#known.get(customerId) ?? { running: 0, failures: 0, pausedUntilMs: 0 };
    known.running += 1;
    this.#known.set(customerId, known);
    if (this.#known.size <= KNOWN_MAX) return;
    for (const [id, { running }] of this.#known) {
      if (running > 0) continue;
      this.#known.delete(id);
      return;
    }
  }

  end(customerId: string, delivered: boolean): void {
    const known = this.#known.get(customerId);
    if (known === undefined) return;
    known.running -= 1;
    if (delivered) known.failures = 0;
    else {
      known.failures += 1;
      const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** Math.min(known.failures - 1, 10));
      known.pausedUntilMs = this.#clock.elapsed() + pause;
    }
    if (known.running === 0 && known.failures === 0) this.#known.delete(customerId);
  }
}
