/**
 * Smooth weighted round robin, one state for all threads: ngx_http_upstream_get_peer of nginx. Each turn adds its
 * weight to the current weight of every backend that may be used, takes the largest, and takes the sum of the weights
 * off it: weights 5, 1, 1 give a a b a c a a.
 *
 * A backend that is out, full or excluded does not take part in the turn. One that has come back takes a share that
 * grows from a tenth to the whole of its weight (slow start, as Envoy's slow_start_config with min_weight_percent 10).
 */
import { type BackendTable, Head, Health, type Placed, Slot } from './backend-table.ts';

/** Weights are counted in hundredths, so that slow start has room below a weight of 1. */
const FINE = 100;
const SLOW_SHARE_MIN = 0.1;

export interface RoundRobinOptions {
  /** Requests at once at one backend, of all threads. */
  readonly concurrency: number;
  readonly slowStartMs: number;
}

export interface Turn {
  readonly backend: Placed;
  /** Its ejection is over when this request goes well. */
  readonly probe: boolean;
}

export class RoundRobin {
  readonly #table: BackendTable;
  readonly #options: RoundRobinOptions;

  constructor(table: BackendTable, options: RoundRobinOptions) {
    this.#table = table;
    this.#options = options;
  }

  /** Whether requests may go there, were there a place; `desperate`: also to one that is ejected. */
  #usable(at: number, desperate: boolean): boolean {
    const { words } = this.#table;
    return (
      Atomics.load(words, at + Slot.WEIGHT) > 0 &&
      Atomics.load(words, at + Slot.DRAINING) === 0 &&
      Atomics.load(words, at + Slot.HEALTH) !== Health.DOWN &&
      (desperate || Atomics.load(words, at + Slot.EJECTED) === 0)
    );
  }

  /** How many may be used: of those that are not ejected, or, when there is none, of the ejected ones. */
  usable(): number {
    return this.#count(false, undefined) || this.#count(true, undefined);
  }

  /** Whether another one than this takes requests: ejection never takes the last. */
  hasOther(id: number): boolean {
    return this.#count(false, new Set([id])) > 0;
  }

  /** Ends slow starts whose time is over, also where no request comes to see it. */
  settle(): void {
    const now = this.#table.now();
    for (const { at } of this.#table.placed) this.#weight(at, now);
  }

  #count(desperate: boolean, not: ReadonlySet<number> | undefined): number {
    let count = 0;
    for (const { at, id } of this.#table.placed) if (not?.has(id) !== true && this.#usable(at, desperate)) count += 1;
    return count;
  }

  /** A place at the backend whose turn it is; undefined: there is none. The caller gives the place back. */
  take(not?: ReadonlySet<number>): Turn | undefined {
    const table = this.#table;
    const locked = table.lock();
    try {
      const now = table.now();
      const probed = this.#probe(now, not);
      if (probed !== undefined) return { backend: probed, probe: true };
      const desperate = this.#count(false, undefined) === 0;
      const backend = locked ? this.#turn(now, desperate, not) : this.#leastLoaded(now, desperate, not);
      return backend && { backend, probe: false };
    } finally {
      if (locked) table.unlock();
    }
  }

  #turn(now: number, desperate: boolean, not: ReadonlySet<number> | undefined): Placed | undefined {
    const { words, placed } = this.#table;
    let total = 0;
    let best: Placed | undefined;
    let bestCurrent = 0;
    for (const backend of placed) {
      const { at, id } = backend;
      if (not?.has(id) === true || !this.#usable(at, desperate) || this.#full(at)) continue;
      const weight = this.#weight(at, now);
      const current = Atomics.load(words, at + Slot.CURRENT) + weight;
      Atomics.store(words, at + Slot.CURRENT, current);
      total += weight;
      if (best === undefined || current > bestCurrent) {
        best = backend;
        bestCurrent = current;
      }
    }
    if (best === undefined) return undefined;
    Atomics.store(words, best.at + Slot.CURRENT, bestCurrent - total);
    return this.#enter(best.at) ? best : undefined;
  }

  /** Without the lock, for the turns of a few microseconds: the one with the most places free for its weight. */
  #leastLoaded(now: number, desperate: boolean, not: ReadonlySet<number> | undefined): Placed | undefined {
    let best: Placed | undefined;
    let least = Infinity;
    for (const backend of this.#table.placed) {
      const { at, id } = backend;
      if (not?.has(id) === true || !this.#usable(at, desperate) || this.#full(at)) continue;
      const load = (Atomics.load(this.#table.words, at + Slot.IN_FLIGHT) + 1) / this.#weight(at, now);
      if (load >= least) continue;
      best = backend;
      least = load;
    }
    return best !== undefined && this.#enter(best.at) ? best : undefined;
  }

  /** An ejected one whose time is over gets this request, and no other until it is answered. */
  #probe(now: number, not: ReadonlySet<number> | undefined): Placed | undefined {
    const { words, placed } = this.#table;
    for (const backend of placed) {
      const { at, id } = backend;
      if (Atomics.load(words, at + Slot.EJECTED) === 0 || not?.has(id) === true || !this.#usable(at, true)) continue;
      if (((now - Atomics.load(words, at + Slot.UNTIL)) | 0) < 0 || this.#full(at)) continue;
      if (Atomics.compareExchange(words, at + Slot.PROBING, 0, 1) !== 0) continue;
      if (this.#enter(at)) return backend;
      Atomics.store(words, at + Slot.PROBING, 0);
    }
    return undefined;
  }

  #full(at: number): boolean {
    return Atomics.load(this.#table.words, at + Slot.IN_FLIGHT) >= this.#options.concurrency;
  }

  #weight(at: number, now: number): number {
    const { words } = this.#table;
    const weight = Atomics.load(words, at + Slot.WEIGHT) * FINE;
    if (Atomics.load(words, at + Slot.SLOW) === 0) return weight;
    const since = (now - Atomics.load(words, at + Slot.SLOW_SINCE)) | 0;
    if (since >= this.#options.slowStartMs) {
      Atomics.store(words, at + Slot.SLOW, 0);
      return weight;
    }
    return Math.max(1, Math.round(weight * Math.max(SLOW_SHARE_MIN, since / this.#options.slowStartMs)));
  }

  /** False: the last place went to another thread, or the slot to another backend. */
  #enter(at: number): boolean {
    const { words, epoch } = this.#table;
    if (
      Atomics.add(words, at + Slot.IN_FLIGHT, 1) < this.#options.concurrency &&
      Atomics.load(words, Head.EPOCH) === epoch
    )
      return true;
    Atomics.sub(words, at + Slot.IN_FLIGHT, 1);
    return false;
  }
}
