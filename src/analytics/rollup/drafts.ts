/**
 * Drafts: the events of a batch from the time when they are read to the time when they are counted, as columns. As objects
 * they are some 450 bytes each, and grow old: a batch lives until its transaction ends, so the collector copies them
 * twice and then finds them dead. No text is kept.
 *
 *   begin()  ask() ...  attribute() ...  >  row  >  map() | leaveOut()
 */
import { putUuid } from '../../store/postgres/uuid.ts';
import { DIMENSIONS_MAX } from '../dimensions.ts';

const FIRST_CAPACITY = 1024;
const ID_BYTES = 16;
const BITS = Math.log2(DIMENSIONS_MAX);

/** No row, page, visitor, attributes or candidate. */
export const NOTHING = -1;

const flags = { view: 1, bot: 2, leftOut: 4 } as const;

/** What is known of an event when its row begins. */
export interface Beginning {
  /** Which event of the batch it is. */
  readonly number: number;
  /** Which day of the batch it is of, and the ms of that day. */
  readonly day: number;
  readonly ms: number;
  /** UUID. */
  readonly eventId: string;
  readonly view: boolean;
  readonly bot: boolean;
}

/** Columns that one batch has made longer are not kept for the next. */
const KEPT_ROWS_MAX = 1 << 16;

export class Drafts {
  size = 0;
  /** As in Beginning. */
  numbers = new Int32Array(FIRST_CAPACITY);
  days = new Int32Array(FIRST_CAPACITY);
  ms = new Int32Array(FIRST_CAPACITY);
  /** Of an event that says how long somebody looked, and nothing else; others: 0. */
  engagedMs = new Int32Array(FIRST_CAPACITY);
  /** Which candidate is the page of a page view. */
  pages = new Int32Array(FIRST_CAPACITY);
  /** Which visitor of the batch it is of, and the visitor's next row. */
  people = new Int32Array(FIRST_CAPACITY);
  next = new Int32Array(FIRST_CAPACITY);
  /** Where its attributes begin in `list`, each a candidate; NOTHING: it cannot be the first event of a visit. */
  attributes = new Int32Array(FIRST_CAPACITY);
  /** Where what it counts under by itself begins and ends in `list`. */
  begins = new Int32Array(FIRST_CAPACITY);
  ends = new Int32Array(FIRST_CAPACITY);
  list = new Int32Array(4 * FIRST_CAPACITY);
  #listed = 0;
  #flags = new Uint8Array(FIRST_CAPACITY);
  #ids = Buffer.alloc(ID_BYTES * FIRST_CAPACITY);

  /** The number of the new row. */
  begin({ number, day, ms, eventId, view, bot }: Beginning): number {
    if (this.size === this.ms.length) this.#grow();
    const row = this.size;
    this.size += 1;
    this.numbers[row] = number;
    this.days[row] = day;
    this.ms[row] = ms;
    this.engagedMs[row] = 0;
    this.pages[row] = NOTHING;
    this.people[row] = NOTHING;
    this.next[row] = NOTHING;
    this.attributes[row] = NOTHING;
    this.begins[row] = this.#listed;
    this.ends[row] = this.#listed;
    this.#flags[row] = (view ? flags.view : 0) | (bot ? flags.bot : 0);
    putUuid(this.#ids, ID_BYTES * row, eventId);
    return row;
  }

  /** The newest row counts under a candidate by itself. All of it before attributes. */
  ask(dimension: number, candidate: number): void {
    this.#put((candidate << BITS) | dimension);
    this.ends[this.size - 1] = this.#listed;
  }

  /** The newest row's next attribute: a candidate, or NOTHING. */
  attribute(candidate: number): void {
    const row = this.size - 1;
    if (this.attributes[row] === NOTHING) this.attributes[row] = this.#listed;
    this.#put(candidate);
  }

  /** Of an entry between begins and ends. */
  dimensionAt(at: number): number {
    return this.list[at]! & (DIMENSIONS_MAX - 1);
  }

  /** Of an entry between begins and ends: the candidate, or what it was mapped to. */
  valueAt(at: number): number {
    return this.list[at]! >>> BITS;
  }

  /** Puts the number of the value that counts in place of the candidate. */
  map(at: number, value: number): void {
    this.list[at] = (value << BITS) | this.dimensionAt(at);
  }

  /** Forgets all rows; the columns are kept. */
  clear(): void {
    this.size = 0;
    this.#listed = 0;
  }

  leaveOut(row: number): void {
    this.#flags[row]! |= flags.leftOut;
  }

  isLeftOut(row: number): boolean {
    return (this.#flags[row]! & flags.leftOut) !== 0;
  }

  isView(row: number): boolean {
    return (this.#flags[row]! & flags.view) !== 0;
  }

  isBot(row: number): boolean {
    return (this.#flags[row]! & flags.bot) !== 0;
  }

  /** 32 hex digits. */
  idOf(row: number): string {
    return this.#ids.toString('hex', ID_BYTES * row, ID_BYTES * (row + 1));
  }

  /** Whether a row stands before another one in a visitor's events: by time, then by event id. */
  isBefore(row: number, other: number): boolean {
    const [ms, otherMs] = [this.ms[row]!, this.ms[other]!];
    if (ms !== otherMs) return ms < otherMs;
    const [at, otherAt] = [ID_BYTES * row, ID_BYTES * other];
    return this.#ids.compare(this.#ids, otherAt, otherAt + ID_BYTES, at, at + ID_BYTES) < 0;
  }

  /** Whether another batch may be given them. */
  get areWorthKeeping(): boolean {
    return this.ms.length <= KEPT_ROWS_MAX && this.list.length <= 16 * KEPT_ROWS_MAX;
  }

  #put(entry: number): void {
    if (this.#listed === this.list.length) this.list = longer(this.list);
    this.list[this.#listed] = entry;
    this.#listed += 1;
  }

  #grow(): void {
    this.numbers = longer(this.numbers);
    this.days = longer(this.days);
    this.ms = longer(this.ms);
    this.engagedMs = longer(this.engagedMs);
    this.pages = longer(this.pages);
    this.people = longer(this.people);
    this.next = longer(this.next);
    this.attributes = longer(this.attributes);
    this.begins = longer(this.begins);
    this.ends = longer(this.ends);
    const flagsBefore = this.#flags;
    this.#flags = new Uint8Array(2 * flagsBefore.length);
    this.#flags.set(flagsBefore);
    this.#ids = Buffer.concat([this.#ids], 2 * this.#ids.length);
  }
}

function longer(column: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const twice = new Int32Array(2 * column.length);
  twice.set(column);
  return twice;
}
