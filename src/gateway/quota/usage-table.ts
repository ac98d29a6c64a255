/**
 * Usage table: what each user has used in this month and the one before, in one SharedArrayBuffer for all threads.
 *
 *   header  64 bytes   users in it; whether the counters are known; writes that have ended
 *   heads   i32 * 16384  first slot of the users whose ids meet here, plus 1; 0: none
 *   slots   152 bytes per user, in the order of their first request
 *      0  id       f64
 *      8  next     i32   next slot of the same head, plus 1
 *     12  begun    i32   writes of this user's usage that the output `logs` has begun
 *     16  done     i32   ... and that have ended
 *     20  ended    i32   how many writes of all users had ended when the last of this user did
 *     24  bank 0   month i32 (-1: being emptied), then six counters, i64
 *     88  bank 1
 *
 * A month stands in the bank of its parity, so the last one goes on being counted while requests of the next one come.
 *
 * Counters of a bank: what this life of the process has counted itself, `own`, part of which is in the database,
 * `stored`, and all that the database holds beside that, `others`: other gateways, and earlier lives. Used: own +
 * others. A write of the output moves nothing from one to the other: it raises `stored`, and others = total - stored.
 * So there is no moment at which a request counts twice, or not at all.
 *
 * Memory: the buffer grows by itself, up to USERS_MAX; each slot is put in once, by whichever thread needs it first.
 */
const HEADER = 64;
const HEADS = 16_384;
const SLOTS_AT = HEADER + HEADS * 4;
const SLOT = 152;
const BANKS = 24;
const BANK = 64;
/** As many as the registry follows. */
const USERS_MAX = 1_000_000;
const GROWTH = 4096;
const USERS = 0;
const KNOWN = 1;
const ENDED = 2;
const EMPTYING = -1;

/** Places of a slot's fields, in words of 4 bytes. */
const NEXT_AT = 2;
const BEGUN_AT = 3;
const DONE_AT = 4;
const ENDED_AT = 5;
const wordOf = (slot: number): number => (SLOTS_AT + slot * SLOT) / 4;

/** Places of the counters in a bank, in words of 8 bytes. */
const counters = { ownRequests: 1, ownBytes: 2, storedRequests: 3, storedBytes: 4, otherRequests: 5, otherBytes: 6 };
export type Counter = keyof typeof counters;

/** Months since year 0, in UTC. */
export function monthOf(ms: number): number {
  const date = new Date(ms);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** Ms since 1970 at which a month begins. */
export const monthBegin = (month: number): number => Date.UTC(Math.floor(month / 12), month % 12);

export class UsageTable {
  readonly #buffer: SharedArrayBuffer;
  readonly #ints: Int32Array;
  readonly #longs: BigInt64Array;
  readonly #floats: Float64Array;
  /** Slots that this thread has found. */
  readonly #slots = new Map<number, number>();
  /** A slot that this thread has taken for a user whom another thread put in first: the next new user gets it. */
  #spare: number | undefined;

  static create(): SharedArrayBuffer {
    const bytes = SLOTS_AT + GROWTH * SLOT;
    return new SharedArrayBuffer(bytes, { maxByteLength: SLOTS_AT + USERS_MAX * SLOT });
  }

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    // Without a length they follow the growth of the buffer.
    this.#ints = new Int32Array(buffer);
    this.#longs = new BigInt64Array(buffer);
    this.#floats = new Float64Array(buffer);
  }

  get users(): number {
    return Atomics.load(this.#ints, USERS);
  }

  /** The counters are whole: what earlier lives have left is in the database, and that was read. */
  get known(): boolean {
    return Atomics.load(this.#ints, KNOWN) === 1;
  }

  setKnown(): void {
    Atomics.store(this.#ints, KNOWN, 1);
  }

  /** The slot of a user; undefined: there are USERS_MAX already. */
  slot(userId: number): number | undefined {
    const known = this.#slots.get(userId);
    if (known !== undefined) return known;
    const slot = this.#findOrAdd(userId);
    if (slot !== undefined) this.#slots.set(userId, slot);
    return slot;
  }

  /**
   * The bank of a month, emptied for it when it held another; undefined: it holds a later month. Whoever still counts
   * for that month has waited for a month.
   */
  bank(slot: number, month: number): number | undefined {
    const bank = (SLOTS_AT + slot * SLOT + BANKS + (month & 1) * BANK) / 8;
    const word = bank * 2;
    for (;;) {
      const held = Atomics.load(this.#ints, word);
      if (held === month) return bank;
      if (held > month) return undefined;
      if (held === EMPTYING || Atomics.compareExchange(this.#ints, word, held, EMPTYING) !== held) continue;
      for (const place of Object.values(counters)) Atomics.store(this.#longs, bank + place, 0n);
      Atomics.store(this.#ints, word, month);
    }
  }

  get(bank: number, counter: Counter): number {
    return Number(Atomics.load(this.#longs, bank + counters[counter]));
  }

  add(bank: number, counter: Counter, by: number): void {
    Atomics.add(this.#longs, bank + counters[counter], BigInt(by));
  }

  /** Adds 1 unless the counter is `max` already. */
  addBelow(bank: number, counter: Counter, max: number): boolean {
    const at = bank + counters[counter];
    for (;;) {
      const value = Atomics.load(this.#longs, at);
      if (Number(value) >= max) return false;
      if (Atomics.compareExchange(this.#longs, at, value, value + 1n) === value) return true;
    }
  }

  /** Usage only grows: of two figures the larger one is the newer. */
  raise(bank: number, counter: Counter, to: number): void {
    const at = bank + counters[counter];
    const wanted = BigInt(to);
    for (;;) {
      const value = Atomics.load(this.#longs, at);
      if (value >= wanted || Atomics.compareExchange(this.#longs, at, value, wanted) === value) return;
    }
  }

  /** A write of this user's usage begins. Until it ends nobody can tell how much of a total is its own. */
  beginWrite(slot: number): void {
    Atomics.add(this.#ints, wordOf(slot) + BEGUN_AT, 1);
  }

  /** The write has ended, and `stored` is as it has left it. */
  endWrite(slot: number): void {
    Atomics.store(this.#ints, wordOf(slot) + ENDED_AT, Atomics.add(this.#ints, ENDED, 1) + 1);
    Atomics.add(this.#ints, wordOf(slot) + DONE_AT, 1);
  }

  /** Writes of all users that have ended. */
  get endedWrites(): number {
    return Atomics.load(this.#ints, ENDED);
  }

  /** No write of this user has been under way since `endedWrites` was read: `stored` is what it was then. */
  quietSince(slot: number, endedWrites: number): boolean {
    const done = Atomics.load(this.#ints, wordOf(slot) + DONE_AT);
    // Numbers of 32 bits that go round: their difference does not.
    if (((Atomics.load(this.#ints, wordOf(slot) + ENDED_AT) - endedWrites) | 0) > 0) return false;
    return Atomics.load(this.#ints, wordOf(slot) + BEGUN_AT) === done;
  }

  #idOf(slot: number): number {
    return this.#floats[(SLOTS_AT + slot * SLOT) / 8]!;
  }

  #next(slot: number): number {
    return this.#ints[wordOf(slot) + NEXT_AT]!;
  }

  #findOrAdd(userId: number): number | undefined {
    const head = HEADER / 4 + (userId % HEADS);
    let added: number | undefined;
    for (;;) {
      const first = Atomics.load(this.#ints, head);
      for (let next = first; next !== 0; next = this.#next(next - 1))
        if (this.#idOf(next - 1) === userId) {
          this.#spare ??= added;
          return next - 1;
        }
      added ??= this.#spare ?? this.#newSlot();
      if (added === undefined) return undefined;
      this.#spare = undefined;
      this.#floats[(SLOTS_AT + added * SLOT) / 8] = userId;
      this.#ints[wordOf(added) + NEXT_AT] = first;
      if (Atomics.compareExchange(this.#ints, head, first, added + 1) === first) return added;
    }
  }

  #newSlot(): number | undefined {
    if (this.users >= USERS_MAX) return undefined;
    const slot = Atomics.add(this.#ints, USERS, 1);
    if (slot >= USERS_MAX) return undefined;
    const bytes = SLOTS_AT + (slot + 1) * SLOT;
    while (this.#buffer.byteLength < bytes) {
      const wanted = Math.min(this.#buffer.maxByteLength, this.#buffer.byteLength + GROWTH * SLOT);
      try {
        this.#buffer.grow(wanted);
      } catch (error) {
        // Another thread has grown it further meanwhile.
        if (this.#buffer.byteLength < wanted) throw error;
      }
    }
    return slot;
  }
}
