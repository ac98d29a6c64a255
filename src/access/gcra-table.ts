/**
 * GCRA table: who has asked how often, in one SharedArrayBuffer for all threads of a process. Per name and window it
 * holds one time, `tat`: when all that was taken will be forgiven (GCRA, ITU-T I.371). A request that comes at `now`
 * takes `max(tat, now) + interval`, and passes when that lies at most `burst * interval` ahead of `now`.
 *
 *   header   64 bytes  sets, key of the hash, the second at which the clock's zero lies
 *   locks    i32 per set: somebody puts an entry in place of another
 *   names    2 * i32 per entry: the hash of name and window (half-sip-hash.ts); 0, 0: nobody
 *   tats     i64 per entry: ns by the clock; 0: nobody; -1: the entry is being replaced
 *
 * The clock is process.hrtime: all threads of a process share it, and nobody sets it.
 *
 * Threads: an entry that is there changes by one compareExchange of its tat, without a lock. It is replaced only by who
 * holds the lock of its set, and only while its tat is -1; so a tat that has not changed between two looks belongs to
 * the name that was read in between. The lock is held for some hundred ns, and only for names that are new in the
 * table.
 *
 * What holds, for every window, whatever threads do at once:
 *   G1  in any time t at most burst + floor(t / interval) requests pass. Proof: of those that pass, the m-th in the
 *       order of their exchanges has tat >= begin + m * interval, and tat <= now + burst * interval <= begin + t +
 *       burst * interval. The order in which threads have read the clock does not matter.
 *   G2  several windows are taken all or none. take() looks at all of them first and takes nothing when one is full.
 *       When another thread takes the last of a later window in between, what was taken of the windows before is given
 *       back, less the time since it was taken: `interval - (now - taken)`. That keeps G1: let `owed` be the sum of
 *       these amounts over all that is still to be given back. Then tat - owed is never below the tat of a table that
 *       has seen only the requests that pass, and, while owed > 0, tat >= now + owed. Both hold when somebody takes
 *       (both sides grow by the interval), when time passes (owed shrinks at least as fast as now grows), and when
 *       somebody gives back (both sides shrink by the same).
 *   G3  meanwhile another request may find a window full by what is about to be given back. Windows are given from the
 *       inner to the outer one (of the key, then of its user), so such a request needs the window that was found full,
 *       too: the last place there went to a third request, and as many pass as would have passed one after the other.
 *
 * Bounded: `entries` names. A new name takes the place of the entry of its set that is forgiven first; only when all 16
 * are still owed something does that entry's name get back what it has used.
 */
import { randomBytes } from 'node:crypto';
import { hashed, hashName } from './half-sip-hash.ts';

const WAYS = 16;
const HEADER = 64;
const ENTRY_BYTES = 2 * Int32Array.BYTES_PER_ELEMENT + BigInt64Array.BYTES_PER_ELEMENT;
const SETS = 0;
const K0 = 1;
const K1 = 2;
const REPLACED = -1n;
/** Windows that one request may have. */
export const WINDOWS_MAX = 8;

/** One window of one name, as the table knows it. */
export interface Cell {
  readonly lo: number;
  readonly hi: number;
  readonly intervalNs: number;
  /** burst * intervalNs. */
  readonly reachNs: number;
}

/** Requests in a time. */
export interface Allowance {
  readonly limit: number;
  readonly windowS: number;
  /** The most at once. */
  readonly burst: number;
}

/** Rounded up, so that never more passes than was said. */
export const intervalNsOf = ({ limit, windowS }: Omit<Allowance, 'burst'>): number =>
  Math.ceil((windowS * 1e9) / limit);

/** Ns since this second by the clock of the machine, which begins with its start and is never set. */
const ticksSince = (second: number) => (): number => {
  const [seconds, ns] = process.hrtime();
  return (seconds - second) * 1e9 + ns;
};

export class GcraTable {
  readonly #locks: Int32Array;
  readonly #names: Int32Array;
  readonly #tats: BigInt64Array;
  readonly #setMask: number;
  readonly #key: { readonly k0: number; readonly k1: number };
  readonly #now: () => number;
  /** Of each window of the last call: how far its tat lies ahead of now, ns; never below 0. */
  readonly aheadNs = new Float64Array(WINDOWS_MAX);

  /** `entries`: names at the same time; rounded up to a power of two. */
  static create(entries: number): SharedArrayBuffer {
    const sets = 2 ** Math.ceil(Math.log2(Math.max(1, entries / WAYS)));
    const buffer = new SharedArrayBuffer(HEADER + sets * (Int32Array.BYTES_PER_ELEMENT * 2 + WAYS * ENTRY_BYTES));
    const header = new Int32Array(buffer, 0, HEADER / 4);
    const key = randomBytes(8);
    header[SETS] = sets;
    header[K0] = key.readInt32LE(0);
    header[K1] = key.readInt32LE(4);
    // Zero lies a second before the first request, so that no tat is 0.
    new Float64Array(buffer, 16, 1)[0] = process.hrtime()[0] - 1;
    return buffer;
  }

  /** `now`: ns, above 0; left out: the clock that all threads share. */
  constructor(buffer: SharedArrayBuffer, now?: () => number) {
    const header = new Int32Array(buffer, 0, HEADER / 4);
    const sets = header[SETS]!;
    const entries = sets * WAYS;
    this.#locks = new Int32Array(buffer, HEADER, sets);
    // A word of padding per set keeps what follows aligned for tables of one set.
    this.#names = new Int32Array(buffer, HEADER + sets * 8, entries * 2);
    this.#tats = new BigInt64Array(buffer, HEADER + sets * 8 + entries * 8, entries);
    this.#setMask = sets - 1;
    this.#key = { k0: header[K0]!, k1: header[K1]! };
    this.#now = now ?? ticksSince(new Float64Array(buffer, 16, 1)[0]!);
  }

  get entries(): number {
    return this.#tats.length;
  }

  /** The cell of a name, in every table that shares this memory. */
  cell(name: string, allowance: Allowance): Cell {
    hashName(name, this.#key);
    const lo = hashed[0]!;
    const hi = hashed[1]!;
    const intervalNs = intervalNsOf(allowance);
    return { lo: lo === 0 && hi === 0 ? 1 : lo, hi, intervalNs, reachNs: allowance.burst * intervalNs };
  }

  /** Takes one request of each cell, or of none. -1: it passes; else the cell that refuses. */
  take(cells: readonly Cell[]): number {
    const now = this.#now();
    if (cells.length > 1) {
      const full = this.#look(cells, now);
      if (full >= 0) return full;
    }
    for (let i = 0; i < cells.length; i += 1) {
      if (this.#takeOne(cells[i]!, now, i)) continue;
      for (let taken = 0; taken < i; taken += 1) this.#giveBack(cells[taken]!, now);
      return i;
    }
    return -1;
  }

  /** What take() would return; takes nothing. */
  look(cells: readonly Cell[]): number {
    return this.#look(cells, this.#now());
  }

  /** Raises what is owed to at least this far ahead of now: what somebody else has counted. */
  raise(cell: Cell, aheadNs: number): void {
    if (aheadNs < 1) return;
    const tatMin = this.#now() + Math.floor(aheadNs);
    for (;;) {
      const entry = this.#find(cell);
      if (entry < 0) {
        if (this.#insert(cell, tatMin)) return;
        continue;
      }
      const tat = this.#read(cell, entry);
      if (tat === REPLACED) continue;
      if (Number(tat) >= tatMin) return;
      if (Atomics.compareExchange(this.#tats, entry, tat, BigInt(tatMin)) === tat) return;
    }
  }

  #look(cells: readonly Cell[], now: number): number {
    let full = -1;
    for (let i = 0; i < cells.length; i += 1) {
      const cell = cells[i]!;
      const ahead = Math.max(0, this.#tatOf(cell) - now);
      this.aheadNs[i] = ahead;
      if (full < 0 && ahead + cell.intervalNs > cell.reachNs) full = i;
    }
    return full;
  }

  /** 0: nobody of this name. */
  #tatOf(cell: Cell): number {
    for (;;) {
      const entry = this.#find(cell);
      if (entry < 0) return 0;
      const tat = this.#read(cell, entry);
      if (tat !== REPLACED) return Number(tat);
    }
  }

  #takeOne(cell: Cell, now: number, index: number): boolean {
    for (;;) {
      const entry = this.#find(cell);
      if (entry < 0) {
        this.aheadNs[index] = cell.intervalNs;
        if (this.#insert(cell, now + cell.intervalNs)) return true;
        continue;
      }
      const tat = this.#read(cell, entry);
      if (tat === REPLACED) continue;
      const before = Math.max(Number(tat), now);
      this.aheadNs[index] = before - now;
      const after = before + cell.intervalNs;
      if (after - now > cell.reachNs) return false;
      if (Atomics.compareExchange(this.#tats, entry, tat, BigInt(after)) !== tat) continue;
      this.aheadNs[index] = after - now;
      return true;
    }
  }

  /** G2. */
  #giveBack(cell: Cell, taken: number): void {
    for (;;) {
      const entry = this.#find(cell);
      if (entry < 0) return;
      const tat = this.#read(cell, entry);
      if (tat === REPLACED) continue;
      // Read after the tat: nobody takes between this time and the exchange.
      const back = cell.intervalNs - (this.#now() - taken);
      if (back <= 0 || Atomics.compareExchange(this.#tats, entry, tat, tat - BigInt(back)) === tat) return;
    }
  }

  /** The entry of a name; -1: there is none. It may belong to another name by now: see #read(). */
  #find({ lo, hi }: Cell): number {
    const names = this.#names;
    const first = (lo & this.#setMask) * WAYS;
    for (let entry = first; entry < first + WAYS; entry += 1)
      if (names[2 * entry] === lo && names[2 * entry + 1] === hi) return entry;
    return -1;
  }

  /** The tat of a found entry; REPLACED when it belongs to another name, or is about to. */
  #read({ lo, hi }: Cell, entry: number): bigint {
    const tat = Atomics.load(this.#tats, entry);
    const names = this.#names;
    return Atomics.load(names, 2 * entry) === lo && Atomics.load(names, 2 * entry + 1) === hi ? tat : REPLACED;
  }

  /** Gives a name an entry. False: it has got one meanwhile. */
  #insert(cell: Cell, tat: number): boolean {
    const set = cell.lo & this.#setMask;
    while (Atomics.compareExchange(this.#locks, set, 0, 1) !== 0);
    const free = this.#find(cell) < 0;
    if (free) {
      const entry = this.#clear(set);
      Atomics.store(this.#names, 2 * entry, cell.lo);
      Atomics.store(this.#names, 2 * entry + 1, cell.hi);
      Atomics.store(this.#tats, entry, BigInt(tat));
    }
    Atomics.store(this.#locks, set, 0);
    return free;
  }

  /** Takes the entry of a set that is forgiven first from its name. */
  #clear(set: number): number {
    const tats = this.#tats;
    const begin = set * WAYS;
    for (;;) {
      let first = begin;
      let least = Atomics.load(tats, begin);
      for (let entry = begin + 1; entry < begin + WAYS && least > 0n; entry += 1) {
        const tat = Atomics.load(tats, entry);
        if (tat < least) [first, least] = [entry, tat];
      }
      if (Atomics.compareExchange(tats, first, least, REPLACED) === least) return first;
    }
  }
}
