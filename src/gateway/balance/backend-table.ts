/**
 * Backend table: the backends with their state, in memory that all threads share. A slot per backend.
 *
 *   rows    id, URL, weight, draining: written by the registry worker alone, guarded by an epoch that is odd meanwhile
 *           (a seqlock). A slot is given to another backend only when no request is under way in it
 *   state   what checks and answers say, places taken, the state of the round robin: single words, changed atomically.
 *           What changes several of them holds the lock
 *   seats   one per thread that takes requests: whether somebody waits there, and since when
 */

/** Backends that are configured (backend-option.ts) and those that still have requests after they were removed. */
export const SLOTS = 128;
export const SEATS = 128;
const URL_BYTES = 256;

/** Words of the head. */
export const Head = { EPOCH: 0, LOCK: 1, WAITING: 2, TICKET: 3, RETRY_TOKENS: 4, HOLD_MS_16: 5 } as const;
const HEAD_WORDS = 32;

/** Words of a slot, which has two cache lines for itself. */
export const Slot = {
  /** 0: free, 1: there, 2: removed, and requests may be under way. */
  PRESENT: 0,
  ID_LOW: 1,
  ID_HIGH: 2,
  URL_LENGTH: 3,
  WEIGHT: 4,
  DRAINING: 5,
  /** Health of the checks. */
  HEALTH: 6,
  /** Index into reasons: why it is down or ejected. */
  REASON: 7,
  IN_FLIGHT: 8,
  /** current_weight of the round robin. */
  CURRENT: 9,
  /** Failures in a row. */
  FAILURES: 10,
  /** 1: ejected, until UNTIL; then a probe decides. */
  EJECTED: 11,
  UNTIL: 12,
  /** 1: the probe is under way. */
  PROBING: 13,
  /** Ejections since it last worked, for the time of the next one. */
  EJECTIONS: 14,
  /** 1: it takes less than its weight, since SLOW_SINCE. */
  SLOW: 15,
  SLOW_SINCE: 16,
  /** Answers and failures of the present window of time. */
  WINDOW: 17,
  WINDOW_ANSWERS: 18,
  WINDOW_FAILURES: 19,
} as const;
const SLOT_WORDS = 32;

export const Health = { UNKNOWN: 0, UP: 1, DOWN: 2 } as const;

/** Why a backend is out. The numbers stand in shared memory. */
export const reasons = [
  '',
  'its checks cannot reach it',
  'its checks get no answer in time',
  'its checks are answered with an error',
  'it failed several times in a row',
  'too many of its requests failed',
  'the probe after its ejection failed',
] as const;
export const Reason = { UNREACHABLE: 1, SILENT: 2, ERROR: 3, IN_A_ROW: 4, RATE: 5, PROBE: 6 } as const;

const SEAT_WORDS = 32;
const SLOTS_AT = HEAD_WORDS;
const SEATS_AT = SLOTS_AT + SLOTS * SLOT_WORDS;
const URLS_AT = (SEATS_AT + SEATS * SEAT_WORDS) * 4;

/** How often a thread looks at the lock before it goes on without; a holder has it for about a microsecond. */
const SPINS_MAX = 2000;

export const createBackendMemory = (): SharedArrayBuffer => new SharedArrayBuffer(URLS_AT + SLOTS * URL_BYTES);

/** What the registry knows of a backend. */
export interface PlacedRow {
  readonly id: number;
  /** http://host:port */
  readonly url: string;
  readonly weight: number;
  readonly draining: boolean;
}

/** A backend as a thread knows it; everything else of it stands in the words of its slot. */
export interface Placed {
  readonly id: number;
  readonly origin: string;
  /** First word of its slot. */
  readonly at: number;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export class BackendTable {
  readonly words: Int32Array;
  readonly #urls: Uint8Array;
  #placed: readonly Placed[] = [];
  #epoch = 0;
  /** To the clock that all threads of the process have in common. */
  readonly #clockOffset = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now();

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, URLS_AT / 4);
    this.#urls = new Uint8Array(memory, URLS_AT);
  }

  /** Ms that never step back, the same in all threads; they wrap around, so only differences mean anything. */
  now(): number {
    return Math.trunc((performance.now() + this.#clockOffset) % 4_294_967_296) | 0;
  }

  /** The backends, in the order of their slots. The same array as before when none was added or removed. */
  get placed(): readonly Placed[] {
    if (Atomics.load(this.words, Head.EPOCH) !== this.#epoch) this.#read();
    return this.#placed;
  }

  /** Of `placed`: a slot may belong to another backend when it has changed. */
  get epoch(): number {
    return this.#epoch;
  }

  #read(): void {
    const { words } = this;
    const epoch = Atomics.load(words, Head.EPOCH);
    // The registry worker writes just now, for some microseconds: what was read last stays until then.
    if ((epoch & 1) === 1) return;
    const placed: Placed[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = SLOTS_AT + slot * SLOT_WORDS;
      if (Atomics.load(words, at + Slot.PRESENT) === 1)
        placed.push({ id: this.#idAt(at), origin: this.#urlAt(slot), at });
    }
    if (Atomics.load(words, Head.EPOCH) !== epoch) return;
    this.#placed = placed;
    this.#epoch = epoch;
  }

  #idAt(at: number): number {
    return (this.words[at + Slot.ID_LOW]! >>> 0) + this.words[at + Slot.ID_HIGH]! * 4_294_967_296;
  }

  #urlAt(slot: number): string {
    const from = slot * URL_BYTES;
    const length = this.words[SLOTS_AT + slot * SLOT_WORDS + Slot.URL_LENGTH]!;
    return decoder.decode(this.#urls.slice(from, from + length));
  }

  /** For the registry worker alone: these are the backends from now on. Returns how many there is no slot for. */
  place(rows: readonly PlacedRow[]): number {
    const locked = this.lock();
    const { words } = this;
    const before = Atomics.load(words, Head.EPOCH);
    const found = new Map<string, number>();
    let without = 0;
    // Odd already: the worker before this one has died while it wrote.
    Atomics.store(words, Head.EPOCH, before | 1);
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = SLOTS_AT + slot * SLOT_WORDS;
      if (Atomics.load(words, at + Slot.PRESENT) === 1) found.set(`${this.#idAt(at)} ${this.#urlAt(slot)}`, at);
    }
    for (const row of rows) {
      const name = `${row.id} ${row.url}`;
      const at = found.get(name) ?? this.#settle(row, before > 0);
      found.delete(name);
      if (at === undefined) {
        without += 1;
        continue;
      }
      Atomics.store(words, at + Slot.WEIGHT, row.weight);
      Atomics.store(words, at + Slot.DRAINING, row.draining ? 1 : 0);
    }
    for (const at of found.values()) Atomics.store(words, at + Slot.PRESENT, 2);
    Atomics.store(words, Head.EPOCH, (before | 1) + 1);
    if (locked) this.unlock();
    return without;
  }

  /** Gives a backend a slot. One that joins others begins slowly. */
  #settle({ id, url }: PlacedRow, joins: boolean): number | undefined {
    const { words } = this;
    const bytes = encoder.encode(url);
    if (bytes.length > URL_BYTES) return undefined;
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = SLOTS_AT + slot * SLOT_WORDS;
      if (Atomics.load(words, at + Slot.PRESENT) === 1 || Atomics.load(words, at + Slot.IN_FLIGHT) !== 0) continue;
      // A thread with an older list may count itself in and out again just now: that word stays its own.
      for (let word = 0; word < SLOT_WORDS; word++) if (word !== Slot.IN_FLIGHT) Atomics.store(words, at + word, 0);
      this.#urls.set(bytes, slot * URL_BYTES);
      Atomics.store(words, at + Slot.URL_LENGTH, bytes.length);
      Atomics.store(words, at + Slot.ID_LOW, id | 0);
      Atomics.store(words, at + Slot.ID_HIGH, Math.floor(id / 4_294_967_296));
      if (joins) {
        Atomics.store(words, at + Slot.SLOW_SINCE, this.now());
        Atomics.store(words, at + Slot.SLOW, 1);
      }
      Atomics.store(words, at + Slot.PRESENT, 1);
      return at;
    }
    return undefined;
  }

  /**
   * Takes the lock, which nobody holds for longer than a few hundred instructions. False: its holder has lost the
   * processor meanwhile. A thread with an event loop does not wait for that.
   */
  lock(): boolean {
    for (let i = 0; i < SPINS_MAX; i++)
      if (Atomics.load(this.words, Head.LOCK) === 0 && Atomics.compareExchange(this.words, Head.LOCK, 0, 1) === 0)
        return true;
    return false;
  }

  unlock(): void {
    Atomics.store(this.words, Head.LOCK, 0);
  }

  /** First word of a seat for this thread. Throws when all are taken. */
  sitDown(): number {
    for (let seat = 0; seat < SEATS; seat++) {
      const at = SEATS_AT + seat * SEAT_WORDS;
      if (Atomics.compareExchange(this.words, at, 0, 1) === 0) return at;
    }
    throw new Error(`at most ${SEATS} threads can share the backends`);
  }

  standUp(seat: number): void {
    this.wait(seat, 0);
    Atomics.store(this.words, seat, 0);
  }

  /** Says which ticket waits longest on this seat; 0: none. */
  wait(seat: number, ticket: number): void {
    Atomics.store(this.words, seat + 1, ticket);
  }

  /** Whether somebody on another seat has waited longer than the ticket. */
  othersBefore(seat: number, ticket: number): boolean {
    for (let at = SEATS_AT; at < SEATS_AT + SEATS * SEAT_WORDS; at += SEAT_WORDS) {
      const other = at === seat ? 0 : Atomics.load(this.words, at + 1);
      if (other !== 0 && ((other - ticket) | 0) < 0) return true;
    }
    return false;
  }
}
