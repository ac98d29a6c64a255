/**
 * Board: the cells of all threads in one SharedArrayBuffer.
 *
 *     0     magic u32, slots u32, sets u32, slab bytes u32
 *     16    per set: fingerprint of its layout u32, first cell in the slab u32
 *     ...   per slot and set: attached u32 (how often a thread has attached it)
 *     then  one slab of float64 cells per slot, padded to 128 bytes, so that two threads never write to one cache line
 *           or its neighbour (the prefetcher loads pairs of lines)
 *
 * A thread writes the head when it attaches, never on the hot path. A set is found by its fingerprint, so a thread with
 * other code than the board's creator is refused instead of counting in foreign cells.
 */
import type { MetricSet } from './declare.ts';

const MAGIC = 0x52_4d_42_31;
const HEAD_BYTES = 16;
const LINE = 128;
const CELL_BYTES = 8;

function padded(bytes: number): number {
  return Math.ceil(bytes / LINE) * LINE;
}

/** Makes a board with a slot per thread. Names of metrics must differ between sets: a TypeError. */
export function createBoard(sets: readonly MetricSet[], slots: number): SharedArrayBuffer {
  const names = sets.flatMap((set) => Object.keys(set.metrics));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new TypeError(`metric ${twice} is declared twice`);
  const slabBytes = padded(sets.reduce((cells, set) => cells + set.cells, 0) * CELL_BYTES);
  const headBytes = padded(HEAD_BYTES + sets.length * 8 + slots * sets.length * 4);
  const board = new SharedArrayBuffer(headBytes + slots * slabBytes);
  const head = new Uint32Array(board);
  head.set([MAGIC, slots, sets.length, slabBytes]);
  let cell = 0;
  for (const [i, set] of sets.entries()) {
    head.set([set.fingerprint, cell], HEAD_BYTES / 4 + i * 2);
    cell += set.cells;
  }
  return board;
}

/** Where a set lies on a board. */
export class SetCells {
  readonly slots: number;
  private readonly board: SharedArrayBuffer;
  private readonly set: MetricSet;
  private readonly head: Uint32Array;
  private readonly index: number;

  constructor(board: SharedArrayBuffer, set: MetricSet) {
    this.board = board;
    this.set = set;
    this.head = new Uint32Array(board);
    if (this.head[0] !== MAGIC) throw new TypeError('the buffer must be a board of metrics');
    this.slots = this.head[1]!;
    this.index = 0;
    while (this.index < this.head[2]! && this.head[HEAD_BYTES / 4 + this.index * 2] !== set.fingerprint)
      this.index += 1;
    if (this.index === this.head[2]) {
      throw new TypeError(`the set must be on the board: metrics=${Object.keys(set.metrics).join(',')}`);
    }
  }

  /** The set's cells in a slot. */
  cells(slot: number): Float64Array {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.slots) {
      throw new RangeError(`slot must be below ${this.slots}: slot=${slot}`);
    }
    const sets = this.head[2]!;
    const headBytes = padded(HEAD_BYTES + sets * 8 + this.slots * sets * 4);
    const first = this.head[HEAD_BYTES / 4 + this.index * 2 + 1]!;
    return new Float64Array(this.board, headBytes + slot * this.head[3]! + first * CELL_BYTES, this.set.cells);
  }

  private attachedAt(slot: number): number {
    return HEAD_BYTES / 4 + this.head[2]! * 2 + slot * this.head[2]! + this.index;
  }

  attach(slot: number): void {
    Atomics.add(this.head, this.attachedAt(slot), 1);
  }

  attached(slot: number): boolean {
    return Atomics.load(this.head, this.attachedAt(slot)) > 0;
  }
}
