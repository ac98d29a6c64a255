/**
 * Salts of IP_MODE=hash, without IP_HASH_SECRET: a chain. The next salt is a hash of the present one, and the present
 * one is then forgotten, so nobody can compute the salt of a day that is over.
 *
 * Main turns the chain and the threads read it from shared memory, so all of them change over at the same moment:
 *
 *   byte  field
 *      0  turns  i32  how often the chain was turned; its lowest bit is the number of the slot that counts
 *      8  slots       two of 32 bytes; the one that does not count is zero
 *
 * The present salt lies beside the journal (0600), so that a restart within the day goes on with it.
 *   ip-salt   "<UTC day, counted from 1970> <salt in hex>\n"
 *
 * Always true, whatever somebody does to the wall clock:
 *   - the chain turns when a UTC day begins that is later than the last day that was seen
 *   - a clock that is set back turns nothing; the present salt stays until the next midnight by the new clock. A step
 *     of less than an hour over midnight is not taken for a new midnight
 *   - no salt outlives a day and an hour of this process
 *   - a salt that was kept for a later day than today (the clock was ahead) is turned at the start
 */
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { type Logger, Transitions } from '../kernel/log.ts';

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** A turn comes this late at most. */
const LOOK_EVERY_MS = 1000;

const FILE = 'ip-salt';
const SALT_BYTES = 32;
const SLOTS = 8;
const MEMORY_BYTES = SLOTS + 2 * SALT_BYTES;

/** The UTC day of a moment, counted from 1970. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

export class SaltChain {
  readonly memory = new SharedArrayBuffer(MEMORY_BYTES);
  readonly #file: string | undefined;
  readonly #clock: Clock;
  readonly #turns = new Int32Array(this.memory, 0, 1);
  readonly #bytes = new Uint8Array(this.memory);
  /** The last day that was seen: the next midnight is its end. */
  #day: number;
  /** When the present salt was new, by the clock that is never set. */
  #bornMs: number;

  /** `folder`: of the journal; without one each start begins a new chain. */
  constructor(folder: string | undefined, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#file = folder === undefined ? undefined : join(folder, FILE);
    const now = clock.now();
    this.#day = dayOf(now);
    this.#bornMs = clock.elapsed() - (now - this.#day * DAY_MS);
    const kept = this.#file === undefined ? undefined : readLink(this.#file);
    if (kept === undefined) this.#put(randomBytes(SALT_BYTES));
    else if (kept.day === this.#day) this.#put(kept.salt);
    else if (this.#isJustBefore(kept.day, now)) {
      this.#put(kept.salt);
      this.#day = kept.day;
    } else this.#put(nextSalt(kept.salt));
    this.store();
  }

  /** Turns the chain when it is time. True: the file has to be stored. */
  look(): boolean {
    const now = this.#clock.now();
    const day = dayOf(now);
    const overdue = this.#clock.elapsed() - this.#bornMs >= DAY_MS + HOUR_MS;
    if (day > this.#day || overdue) {
      this.#put(nextSalt(this.#salt()));
      this.#bornMs = this.#clock.elapsed();
    } else if (day === this.#day || this.#isJustBefore(this.#day, now)) return false;
    this.#day = day;
    return true;
  }

  /** Writes the present salt to its file, in the place of the one before. */
  store(): void {
    if (this.#file === undefined) return;
    const text = `${this.#day} ${Buffer.from(this.#salt()).toString('hex')}\n`;
    writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** A clock that is corrected by a little around midnight comes back to the day before. */
  #isJustBefore(day: number, now: number): boolean {
    const left = day * DAY_MS - now;
    return left > 0 && left <= HOUR_MS;
  }

  #slot(turn: number): Uint8Array {
    return slotOf(this.#bytes, turn);
  }

  #salt(): Uint8Array {
    return this.#slot(Atomics.load(this.#turns, 0));
  }

  #put(salt: Uint8Array): void {
    const turn = Atomics.load(this.#turns, 0);
    this.#slot(turn + 1).set(salt);
    Atomics.store(this.#turns, 0, turn + 1);
    // A thread that copies the old slot looks at the turns afterwards, and copies again.
    this.#slot(turn).fill(0);
  }
}

/** The chain as a thread reads it. */
export class SaltReader {
  readonly #turns: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.#turns = new Int32Array(memory, 0, 1);
    this.#bytes = new Uint8Array(memory);
  }

  get turn(): number {
    return Atomics.load(this.#turns, 0);
  }

  /** The present salt, and the turn that it belongs to. */
  read(): { readonly turn: number; readonly salt: Uint8Array } {
    for (;;) {
      const { turn } = this;
      const salt = Uint8Array.from(slotOf(this.#bytes, turn));
      if (turn === this.turn) return { turn, salt };
    }
  }
}

function slotOf(bytes: Uint8Array, turn: number): Uint8Array {
  const start = SLOTS + (turn & 1) * SALT_BYTES;
  return bytes.subarray(start, start + SALT_BYTES);
}

function nextSalt(salt: Uint8Array): Uint8Array {
  return createHmac('sha256', Uint8Array.from(salt)).update('ringmain: next day').digest();
}

function readLink(file: string): { readonly day: number; readonly salt: Uint8Array } | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const match = /^(\d{1,6}) ([0-9a-f]{64})\n$/.exec(text);
  // A torn file counts as none. Hashes of before and after then differ; nothing else depends on a salt.
  return match ? { day: Number(match[1]), salt: Buffer.from(match[2]!, 'hex') } : undefined;
}

/** Makes the chain, turns it as long as this process lives, and keeps its file up to date. */
export function startSaltChain(journal: string | undefined, log: Logger): SharedArrayBuffer {
  const chain = new SaltChain(journal);
  const told = new Transitions(log);
  let unstored = false;
  setInterval(() => {
    told.look();
    if (chain.look()) unstored = true;
    if (!unstored) return;
    try {
      chain.store();
      unstored = false;
      told.up('salt', 'the salt of address hashes is stored');
    } catch (error) {
      told.down('salt', 'the salt of address hashes cannot be stored, so a restart would use a new one; retrying', {
        error: String(error),
      });
    }
  }, LOOK_EVERY_MS).unref();
  return chain.memory;
}
