/** Shared balancer: leases of places at backends, for the requests of one thread; the state is that of all threads. */
import { gatewayErrors } from '../errors.ts';
import { BackendTable, Head, Slot } from './backend-table.ts';
import type { Balancer, Lease, LeaseOutcome } from './balancer.ts';
import { BackendHealth, type HealthOptions } from './health.ts';
import { RoundRobin, type RoundRobinOptions, type Turn } from './round-robin.ts';
import { type LineOptions, WaitingLine } from './waiting-line.ts';

export interface BalancerOptions extends HealthOptions, RoundRobinOptions, LineOptions {}

/** What counts leases (metrics.ts). */
export interface BalancerCounts {
  leased(id: number, outcome: LeaseOutcome): void;
  ejected(id: number): void;
  /** Nobody got a place: BACKENDS_BUSY or NO_BACKEND. */
  refused(code: 'busy' | 'none'): void;
}

/** How much of the mean of the times that places are held is the newest one: a sixteenth. */
const MEAN_SHIFT = 4;

export class SharedBalancer implements Balancer {
  readonly table: BackendTable;
  readonly #round: RoundRobin;
  readonly #health: BackendHealth;
  readonly #line: WaitingLine;
  readonly #options: BalancerOptions;
  readonly #counts: BalancerCounts;

  constructor(memory: SharedArrayBuffer, options: BalancerOptions, counts: BalancerCounts) {
    this.table = new BackendTable(memory);
    this.#options = options;
    this.#counts = counts;
    this.#round = new RoundRobin(this.table, options);
    this.#health = new BackendHealth(this.table, this.#round, options);
    this.#health.onEject = (id) => counts.ejected(id);
    this.#line = new WaitingLine(this.table, () => this.#take(undefined), options);
  }

  /** Requests of this thread that wait for a place. */
  get waiting(): number {
    return this.#line.length;
  }

  /**
   * With `not`, which is how retries ask, nobody waits: a retry must not take a place from a request that has none yet.
   */
  acquire({ not, signal }: Parameters<Balancer['acquire']>[0]): Lease | Promise<Lease> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    if (!this.#line.anywhere) {
      const lease = this.#take(not);
      if (lease !== undefined) return lease;
    }
    if (not !== undefined) return Promise.reject(gatewayErrors.BACKENDS_BUSY({}));
    const usable = this.#round.usable();
    if (usable === 0) {
      this.#counts.refused('none');
      return Promise.reject(gatewayErrors.NO_BACKEND({}));
    }
    if (this.#expectedMs(usable) > this.#options.queueMs) {
      this.#counts.refused('busy');
      return Promise.reject(gatewayErrors.BACKENDS_BUSY({}));
    }
    return this.#line.join(signal).catch((error: unknown) => {
      if (signal?.aborted !== true) this.#counts.refused('busy');
      throw error;
    });
  }

  /** How long one would wait who came now, by the mean time that a place is held: no place in time is said at once. */
  #expectedMs(usable: number): number {
    const { words } = this.table;
    const before = Atomics.load(words, Head.WAITING);
    const holdMs = Atomics.load(words, Head.HOLD_MS_16) >> MEAN_SHIFT;
    return (before * holdMs) / (usable * this.#options.concurrency);
  }

  #take(not: ReadonlySet<number> | undefined): Lease | undefined {
    const turn = this.#round.take(not);
    return turn && this.#lease(turn);
  }

  #lease({ backend: { id, origin, at }, probe }: Turn): Lease {
    const since = performance.now();
    let held = true;
    return {
      backendId: id,
      origin,
      release: (outcome) => {
        if (!held) return;
        held = false;
        this.#counts.leased(id, outcome);
        this.#health.note(id, at, outcome, probe);
        // The slot may go to another backend once nobody has a place in it, so this comes last.
        Atomics.sub(this.table.words, at + Slot.IN_FLIGHT, 1);
        if (outcome === 'answered') this.#noteHeld(performance.now() - since);
        this.#line.serve();
      },
    };
  }

  /** A mean that moves by a sixteenth of the difference; that two threads write at once loses one of the two. */
  #noteHeld(ms: number): void {
    const { words } = this.table;
    const mean = Atomics.load(words, Head.HOLD_MS_16);
    Atomics.store(words, Head.HOLD_MS_16, Math.min(2 ** 30, mean + Math.round(ms) - (mean >> MEAN_SHIFT)));
  }

  close(): void {
    this.#line.close();
  }
}
