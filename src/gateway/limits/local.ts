/**
 * Local limiter: the windows of requests in shared memory (access/gcra-table.ts), exact over all acceptors of a
 * process.
 *
 * Addresses have a table of their own: a flood of them takes no place from users and keys.
 */
import { type Cell, GcraTable, intervalNsOf } from '../../access/gcra-table.ts';
import type { Limiter, Verdict, Window } from './limiter.ts';

/** Plain shared memory: it goes to every thread. */
export interface LimitsShared {
  readonly addresses: SharedArrayBuffer;
  readonly subjects: SharedArrayBuffer;
  /** Acceptors that cannot reach Redis (redis.ts), i32. */
  readonly redisAway: SharedArrayBuffer;
}

/** `entries`: addresses and, apart from them, windows of users and keys that are counted at the same time. */
export const createLimits = (entries: number): LimitsShared => ({
  addresses: GcraTable.create(entries),
  subjects: GcraTable.create(entries),
  redisAway: new SharedArrayBuffer(4),
});

/** The unit in which somebody counts. */
export interface Ticks {
  readonly perMs: number;
  intervalOf(window: Window): number;
}

const nanoseconds: Ticks = { perMs: 1e6, intervalOf: intervalNsOf };

/** What a verdict says, by how far ahead of now the windows are. `full`: the one that refuses, or -1. */
export function verdictOf(
  windows: readonly Window[],
  ahead: ArrayLike<number>,
  full: number,
  { perMs, intervalOf }: Ticks = nanoseconds,
): Verdict {
  if (full >= 0) {
    const window = windows[full]!;
    const interval = intervalOf(window);
    const wait = ahead[full]! + interval - window.burst * interval;
    return {
      allowed: false,
      window,
      remaining: 0,
      resetMs: ahead[full]! / perMs,
      retryAfterMs: Math.max(0, wait) / perMs,
    };
  }
  let nearest = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < windows.length; i += 1) {
    const window = windows[i]!;
    const interval = intervalOf(window);
    const left = Math.max(0, Math.floor((window.burst * interval - ahead[i]!) / interval));
    if (left < least) [nearest, least] = [i, left];
  }
  return {
    allowed: true,
    window: windows[nearest]!,
    remaining: least,
    resetMs: ahead[nearest]! / perMs,
    retryAfterMs: 0,
  };
}

export class LocalLimiter implements Limiter {
  readonly #addresses: GcraTable;
  readonly #subjects: GcraTable;
  /** Kept as long as the windows, which are those of a key, or of an address that has come lately. */
  readonly #cells = new WeakMap<readonly Window[], readonly Cell[]>();

  constructor({ addresses, subjects }: LimitsShared, now?: () => number) {
    this.#addresses = new GcraTable(addresses, now);
    this.#subjects = new GcraTable(subjects, now);
  }

  take(windows: readonly Window[]): Verdict | undefined {
    if (windows.length === 0) return undefined;
    const table = this.#tableOf(windows);
    const full = table.take(this.#cellsOf(windows, table));
    return verdictOf(windows, table.aheadNs, full);
  }

  look(windows: readonly Window[]): Verdict | undefined {
    if (windows.length === 0) return undefined;
    const table = this.#tableOf(windows);
    const full = table.look(this.#cellsOf(windows, table));
    return verdictOf(windows, table.aheadNs, full);
  }

  /** Takes over what somebody else has counted: how far ahead of now each window is. */
  raise(windows: readonly Window[], aheadNs: ArrayLike<number>): void {
    const table = this.#tableOf(windows);
    const cells = this.#cellsOf(windows, table);
    for (let i = 0; i < cells.length; i += 1) table.raise(cells[i]!, aheadNs[i]!);
  }

  close(): void {}

  #tableOf([first]: readonly Window[]): GcraTable {
    return first!.subject.startsWith('ip:') ? this.#addresses : this.#subjects;
  }

  #cellsOf(windows: readonly Window[], table: GcraTable): readonly Cell[] {
    const known = this.#cells.get(windows);
    if (known !== undefined) return known;
    const cells = windows.map((window) => table.cell(`${window.subject} ${window.windowS}`, window));
    this.#cells.set(windows, cells);
    return cells;
  }
}
