/**
 * Attempts: how often an address may ask without a right key. So many in a minute are answered 401, the next one is
 * 429;
 * a right key passes all the same, because its owner may share the address with whoever tries. Exact over all threads
 * of
 * a process, in one table of shared memory (gcra-table.ts).
 */
import { RingmainError } from '../kernel/errors.ts';
import { accessErrors } from './errors.ts';
import { type Cell, GcraTable } from './gcra-table.ts';
import { networkOf } from './rate-limit.ts';

const MINUTE_S = 60;
/** Addresses that are counted at the same time, of 17 bytes each. Beyond it those go that would be forgiven first. */
const ADDRESSES = 65_536;

/** The memory that the threads share. */
export const createAttempts = (addresses = ADDRESSES): SharedArrayBuffer => GcraTable.create(addresses);

const refusals: readonly string[] = [accessErrors.KEY_REQUIRED.kind.code, accessErrors.KEY_INVALID.kind.code];

export class Attempts {
  readonly #table: GcraTable;
  readonly #perMinute: number;

  /** `now`: ns, above 0; left out: the clock that all threads share. */
  constructor(memory: SharedArrayBuffer, perMinute: number, now?: () => number) {
    this.#table = new GcraTable(memory, now);
    this.#perMinute = perMinute;
  }

  /**
   * What a request that failed is told: the error itself; where it failed for want of a right key and the address has
   * none of its attempts left, TOO_MANY_ATTEMPTS in its place.
   */
  judged(error: unknown, address: string): unknown {
    if (!(error instanceof RingmainError) || !refusals.includes(error.code)) return error;
    const waitNs = this.#take(address);
    if (waitNs === 0) return error;
    return accessErrors.TOO_MANY_ATTEMPTS({ by: 'address', retryAfterS: Math.max(1, Math.ceil(waitNs / 1e9)) }, error);
  }

  /** Takes one attempt. 0: there was one; else ns until there is one. */
  #take(address: string): number {
    const cell = this.#cellOf(address);
    if (this.#table.take([cell]) < 0) return 0;
    return Math.max(1, this.#table.aheadNs[0]! + cell.intervalNs - cell.reachNs);
  }

  #cellOf(address: string): Cell {
    // Made anew each time: it costs a hash, and only requests that are refused pay for it.
    return this.#table.cell(networkOf(address), { limit: this.#perMinute, windowS: MINUTE_S, burst: this.#perMinute });
  }
}
