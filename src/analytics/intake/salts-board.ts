/**
 * Salts board: the salts of visitors' ids in memory that all threads share. The registry worker writes it
 * (salts-keeper.ts), acceptors read it without locks. Tables and their turns are those of visitor/salts.ts: the table
 * that does not count is written, the turn is stored, and the other table is then zero.
 *
 *   byte  field
 *      0  turns   i32  how often the board changed; its lowest bit is the number of the table that counts
 *      8  tables       two of DAYS entries of 40 bytes
 *           0  day    i32, counted from 1970; 0 for an empty entry
 *           4  shared i32, 1: all API processes have this salt. 0: it is this process's own
 *           8  salt   32 bytes
 *
 * Always true: no table holds the salt of a day that had ended 24 hours before the table was written.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { dayOf } from '../dimensions.ts';

export const SALT_BYTES = 32;
/** Yesterday, today and tomorrow. */
export const DAYS = 3;

const ENTRY_BYTES = 8 + SALT_BYTES;
const TABLE_BYTES = DAYS * ENTRY_BYTES;
const TABLES = 8;

export interface DaySalt {
  readonly day: number;
  readonly shared: boolean;
  readonly salt: Uint8Array;
}

export const createSaltsMemory = (): SharedArrayBuffer => new SharedArrayBuffer(TABLES + 2 * TABLE_BYTES);

export class SaltsBoard {
  readonly #turns: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(memory: SharedArrayBuffer) {
    this.#turns = new Int32Array(memory, 0, 1);
    this.#bytes = new Uint8Array(memory);
    this.#view = new DataView(memory);
  }

  get turn(): number {
    return Atomics.load(this.#turns, 0);
  }

  /** What counts now, and the turn that it belongs to. */
  read(): { readonly turn: number; readonly salts: readonly DaySalt[] } {
    for (;;) {
      const { turn } = this;
      const salts = this.#copy(tableOf(turn));
      if (turn === this.turn) return { turn, salts };
    }
  }

  /** Replaces what is on the board. Only one thread writes. */
  write(salts: readonly DaySalt[]): void {
    if (salts.length > DAYS) throw new RangeError(`the board has room for ${DAYS} salts: found=${salts.length}`);
    const { turn } = this;
    const table = tableOf(turn + 1);
    for (const [index, { day, shared, salt }] of salts.entries()) {
      const entry = table + index * ENTRY_BYTES;
      this.#view.setInt32(entry, day, true);
      this.#view.setInt32(entry + 4, shared ? 1 : 0, true);
      this.#bytes.set(salt, entry + 8);
    }
    Atomics.store(this.#turns, 0, turn + 1);
    // A thread that copies the old table looks at the turns afterwards, and copies again.
    this.#bytes.fill(0, tableOf(turn), tableOf(turn) + TABLE_BYTES);
  }

  #copy(table: number): DaySalt[] {
    const salts: DaySalt[] = [];
    for (let entry = table; entry < table + TABLE_BYTES; entry += ENTRY_BYTES) {
      const day = this.#view.getInt32(entry, true);
      if (day === 0) continue;
      const shared = this.#view.getInt32(entry + 4, true) === 1;
      salts.push({ day, shared, salt: this.#bytes.slice(entry + 8, entry + 8 + SALT_BYTES) });
    }
    return salts;
  }
}

/** At the start of a process its keeper has agreed with the others in less. */
const WAIT_MS_MAX = 3000;
const WAIT_LOOK_MS = 5;

/**
 * Resolves when today's salt is the one that all processes have, or after a while without it. Who takes the first
 * requests before that gives their visitors ids that no other process gives them, and each of them counts twice.
 */
export async function untilShared(
  memory: SharedArrayBuffer,
  now: () => number,
  waitMsMax: number = WAIT_MS_MAX,
): Promise<void> {
  const board = new SaltsBoard(memory);
  const isShared = () => board.read().salts.some(({ day, shared }) => shared && day === dayOf(now()));
  const until = performance.now() + waitMsMax;
  while (!isShared() && performance.now() < until) await delay(WAIT_LOOK_MS);
}

const tableOf = (turn: number): number => TABLES + (turn & 1) * TABLE_BYTES;
