/**
 * Ring: the newest bytes of one lane, in one SharedArrayBuffer. One producer publishes frames; readers follow, each
 * with a cursor and a pin of its own. No locks, no padding, no zeroing.
 *
 *   byte  field    written by  meaning
 *      0  magic    creator     i32, layout version; Ring refuses any other
 *      8  capacity creator     i32, data bytes, a power of two
 *     16  readers  creator     i32, how many of the reader lines are in use
 *    128  tail     producer    i64, end of the last published frame; i64, records published, stored before tail;
 *                              i64, the same number, stored after tail
 *    256  floor    producer    i64, oldest byte still here
 *    384  synced   keeper      i64, synced to disk up to here; then i32, count of moves (waiters wait on it)
 *    512  readers  each reader i64 cursor, i64 pin (-1: none), i64 records passed; 16 lines of 128 bytes
 *   2560  data     producer    whole frames; a frame may wrap around the end
 *
 * Mutable fields of different writers stand 128 bytes apart, so two threads never write to one cache line or its
 * neighbour.
 *
 * Always true (checkRing() asserts what can be seen from outside; the keeper calls it four times a second):
 *   R1  tail - floor <= capacity; floor <= synced (no journal: floor <= every cursor)
 *   R2  [floor, tail) is whole frames; tail is stored after their bytes
 *   R3  nothing at or above min(floor, every pin) is overwritten. A reader stores its pin, then reads floor. The
 *       producer raises floor, then reads the pins. Atomics are sequentially consistent, so one sees the other
 *
 * Positions are i64 in memory and numbers in code: exact below 2^53, which is 285 years at 1 GB/s.
 */
import { FRAME_HEADER, frameAt } from './frame.ts';

const LINE = 128;
/** Indices of 32-bit words. */
const MAGIC_I32 = 0;
const CAPACITY_I32 = 8 / 4;
const READER_COUNT_I32 = 16 / 4;
/** Indices of 64-bit words. */
const TAIL = LINE / 8;
const TAIL_RECORD = TAIL + 1;
const TAIL_RECORD_AFTER = TAIL + 2;
const FLOOR = (2 * LINE) / 8;
const SYNCED = (3 * LINE) / 8;
const SYNC_COUNT_I32 = (3 * LINE + 8) / 4;
const READERS = (4 * LINE) / 8;
const READER_LINE = LINE / 8;
/** Within the line of one reader. */
const CURSOR = 0;
const PIN = 1;
const CURSOR_RECORD = 2;
const UNPINNED = -1n;
const RING_READERS_MAX = 16;
const DATA = 4 * LINE + RING_READERS_MAX * LINE;
const MAGIC = 0x52494e32; // "RIN2"

/** What copy() answers when the bytes asked for have left the ring. */
export const LAPPED = -1;

export function createRing(capacity: number, readers: number): SharedArrayBuffer {
  if (capacity < 4096 || (capacity & (capacity - 1)) !== 0 || capacity > 2 ** 30)
    throw new RangeError(`ring capacity must be a power of two in 4096..2^30: found=${capacity}`);
  if (readers > RING_READERS_MAX)
    throw new RangeError(`a ring has at most ${RING_READERS_MAX} readers: found=${readers}`);
  const memory = new SharedArrayBuffer(DATA + capacity);
  const words = new Int32Array(memory, 0, LINE / 4);
  words[MAGIC_I32] = MAGIC;
  words[CAPACITY_I32] = capacity;
  words[READER_COUNT_I32] = readers;
  const longs = new BigInt64Array(memory, 0, DATA / 8);
  for (let r = 0; r < RING_READERS_MAX; r++) longs[READERS + r * READER_LINE + PIN] = UNPINNED;
  return memory;
}

/** The shared fields of a ring, for any thread. A value may be late: the other threads go on meanwhile. */
export class Ring {
  readonly capacity: number;
  readonly readers: number;
  readonly data: Uint8Array;
  readonly data32: Int32Array;
  readonly longs: BigInt64Array;
  /** Who waits for a sync waits on `words[syncCountIndex]`. */
  readonly words: Int32Array;
  readonly syncCountIndex = SYNC_COUNT_I32;
  readonly mask: number;

  constructor(memory: SharedArrayBuffer) {
    const head = new Int32Array(memory, 0, LINE / 4);
    const magic = head[MAGIC_I32];
    if (magic !== MAGIC) throw new TypeError(`not a ring of this version: magic=0x${(magic >>> 0).toString(16)}`);
    this.capacity = head[CAPACITY_I32];
    this.readers = head[READER_COUNT_I32];
    this.mask = this.capacity - 1;
    this.longs = new BigInt64Array(memory, 0, DATA / 8);
    this.words = new Int32Array(memory, 0, DATA / 4);
    this.data = new Uint8Array(memory, DATA, this.capacity);
    this.data32 = new Int32Array(memory, DATA, this.capacity / 4);
  }

  tail(): number {
    return Number(Atomics.load(this.longs, TAIL));
  }
  tailRecord(): number {
    return Number(Atomics.load(this.longs, TAIL_RECORD_AFTER));
  }
  /** The tail and the number of records before it, as one publish stored both. */
  tailMark(): { position: number; record: number } {
    for (;;) {
      const after = Atomics.load(this.longs, TAIL_RECORD_AFTER);
      const tail = Atomics.load(this.longs, TAIL);
      // Equal: the publish that stored `after` had stored this tail before, and the next publish had not stored its
      // own.
      if (after === Atomics.load(this.longs, TAIL_RECORD)) return { position: Number(tail), record: Number(after) };
    }
  }
  floor(): number {
    return Number(Atomics.load(this.longs, FLOOR));
  }
  synced(): number {
    return Number(Atomics.load(this.longs, SYNCED));
  }
  cursor(reader: number): number {
    return Number(Atomics.load(this.longs, READERS + reader * READER_LINE + CURSOR));
  }
  pin(reader: number): number {
    return Number(Atomics.load(this.longs, READERS + reader * READER_LINE + PIN));
  }
  cursorRecord(reader: number): number {
    return Number(Atomics.load(this.longs, READERS + reader * READER_LINE + CURSOR_RECORD));
  }

  /** Keeper only: everything before `position` is on disk. Wakes the threads that wait for a sync. */
  setSynced(position: number): void {
    Atomics.store(this.longs, SYNCED, BigInt(position));
    Atomics.add(this.words, SYNC_COUNT_I32, 1);
    Atomics.notify(this.words, SYNC_COUNT_I32);
  }

  /** Main only, after a reader's thread has ended: a pin that stayed behind would stop the producer for ever. */
  clearPin(reader: number): void {
    Atomics.store(this.longs, READERS + reader * READER_LINE + PIN, UNPINNED);
  }

  /** Copies [position, position + bytes) out of the ring; the caller holds a pin or is the producer. */
  copyOut(position: number, bytes: number, into: Uint8Array, at: number): void {
    const from = position & this.mask;
    const first = Math.min(bytes, this.capacity - from);
    into.set(this.data.subarray(from, from + first), at);
    if (first < bytes) into.set(this.data.subarray(0, bytes - first), at + first);
  }

  /** `bytes` field of the frame at `position`. Frames start at multiples of 8, so no field is split by the wrap. */
  frameBytes(position: number): number {
    return this.data32[((position + frameAt.bytes) & this.mask) >>> 2];
  }
  /** `records` field of the frame at `position`. */
  frameRecords(position: number): number {
    return this.data32[((position + frameAt.records) & this.mask) >>> 2];
  }
}

/**
 * Throws when R1 or the order of the shared fields is broken. Other threads may go on meanwhile: every field only
 * grows, so each comparison reads the smaller side first, and tail is read once before floor and once after.
 */
export function checkRing(ring: Ring, journal: boolean): void {
  const tailBefore = ring.tail();
  const floor = ring.floor();
  const synced = ring.synced();
  const tail = ring.tail();
  if (floor > tail) throw new Error(`ring: floor passed tail: floor=${floor}, tail=${tail}`);
  if (tailBefore - floor > ring.capacity)
    throw new Error(`ring: R1 broken: tail=${tailBefore}, floor=${floor}, capacity=${ring.capacity}`);
  if (journal && floor > synced) throw new Error(`ring: R1 broken: floor=${floor}, synced=${synced}`);
}

/** The one writer of a ring. */
export class RingProducer {
  readonly ring: Ring;
  readonly #journal: boolean;
  readonly #stride: number;
  #tail: number;
  #floor: number;
  /** Bytes below this position may be written: min(floor, every pin) + capacity, as last read. */
  #writable: number;

  /** With a journal, synced bytes may be overwritten; without one, only bytes that every reader has passed. */
  constructor(ring: Ring, journal: boolean) {
    this.ring = ring;
    this.#journal = journal;
    this.#stride = ring.capacity >>> 4;
    this.#tail = ring.tail();
    this.#floor = ring.floor();
    this.#writable = this.#floor + ring.capacity;
  }

  get tail(): number {
    return this.#tail;
  }

  /** Whether `bytes` more bytes may be published now. Never spins: a pin in the way means no. */
  room(bytes: number): boolean {
    return this.#tail + bytes <= this.#writable || this.#makeRoom(bytes);
  }

  #makeRoom(bytes: number): boolean {
    const { ring } = this;
    const need = this.#tail + bytes - ring.capacity;
    if (need > this.#floor) {
      const limit = this.#limit();
      if (need > limit) return false;
      // Step by whole frames (R2), a stride at a time so that floor and pins are touched rarely.
      const goal = Math.min(limit, Math.max(need, this.#floor + this.#stride));
      let floor = this.#floor;
      while (floor < goal) {
        const next = floor + ring.frameBytes(floor);
        if (next > limit) break;
        floor = next;
      }
      if (floor < need) return false;
      this.#floor = floor;
      Atomics.store(ring.longs, FLOOR, BigInt(floor));
    }
    // Pins are read after floor is stored (R3): a reader that pinned earlier is seen here, a later one sees the new
    // floor.
    let low = this.#floor;
    for (let r = 0; r < ring.readers; r++) {
      const pin = ring.pin(r);
      if (pin >= 0 && pin < low) low = pin;
    }
    // Never lowered. A pin below the promised limit belongs to a reader that has been lapped and will notice when it
    // reads floor.
    this.#writable = Math.max(this.#writable, low + ring.capacity);
    return this.#tail + bytes <= this.#writable;
  }

  #limit(): number {
    const { ring } = this;
    if (this.#journal) return ring.synced();
    let limit = this.#tail;
    for (let r = 0; r < ring.readers; r++) limit = Math.min(limit, ring.cursor(r));
    return limit;
  }

  /**
   * Copies whole frames, which room() has allowed, then makes them visible. `records`: all published in this lane so
   * far.
   */
  publish(buffer: Buffer, words: Int32Array, at: number, bytes: number, records: number): void {
    const { ring } = this;
    const from = this.#tail & ring.mask;
    const first = Math.min(bytes, ring.capacity - from);
    if (bytes <= 2048 && first === bytes) {
      // A word loop beats set() into shared memory up to about 2 KiB.
      const target = ring.data32;
      let t = from >>> 2;
      for (let s = at >>> 2, end = (at + bytes) >>> 2; s < end; s++, t++) target[t] = words[s];
    } else {
      ring.data.set(buffer.subarray(at, at + first), from);
      if (first < bytes) ring.data.set(buffer.subarray(at + first, at + bytes), 0);
    }
    this.#tail += bytes;
    const published = BigInt(records);
    ring.longs[TAIL_RECORD] = published;
    Atomics.store(ring.longs, TAIL, BigInt(this.#tail));
    Atomics.store(ring.longs, TAIL_RECORD_AFTER, published);
  }
}

/** One reader of a ring: its cursor, its pin. */
export class RingReader {
  readonly ring: Ring;
  readonly #line: number;

  constructor(ring: Ring, reader: number) {
    if (reader >= ring.readers) throw new RangeError(`no such reader: reader=${reader}, readers=${ring.readers}`);
    this.ring = ring;
    this.#line = READERS + reader * READER_LINE;
  }

  /**
   * Copies whole frames from `position` into private memory: as many as fit `bytesMax` and `recordsMax`, but at least
   * one when that one fits `into`. Returns the bytes copied, 0 when nothing is published there yet, LAPPED when the
   * bytes have left.
   */
  copy(position: number, into: Buffer, at: number, bytesMax: number, recordsMax: number): number {
    const { ring } = this;
    const tail = ring.tail();
    if (position >= tail) return 0;
    const { longs } = ring;
    Atomics.store(longs, this.#line + PIN, BigInt(position));
    // Floor is read after the pin is stored (R3).
    if (ring.floor() > position) {
      Atomics.store(longs, this.#line + PIN, UNPINNED);
      return LAPPED;
    }
    let end = position;
    let records = 0;
    const room = into.length - at;
    while (end < tail) {
      const bytes = ring.frameBytes(end);
      if (bytes < FRAME_HEADER || end + bytes > tail) {
        Atomics.store(longs, this.#line + PIN, UNPINNED);
        throw new Error(`ring: R2 broken: position=${end}, frame=${bytes}, tail=${tail}`);
      }
      const count = ring.frameRecords(end);
      const first = end === position;
      if (first && bytes > room) {
        Atomics.store(longs, this.#line + PIN, UNPINNED);
        throw new RangeError(`ring: a frame does not fit the reader's buffer: frame=${bytes}, buffer=${room}`);
      }
      if (
        end + bytes - position > room ||
        (!first && (end + bytes - position > bytesMax || records + count > recordsMax))
      )
        break;
      end += bytes;
      records += count;
      if (records >= recordsMax) break;
    }
    ring.copyOut(position, end - position, into, at);
    Atomics.store(longs, this.#line + PIN, UNPINNED);
    return end - position;
  }

  /** The oldest frame still here; undefined: there is none, or the producer overtook this reader. */
  floorMark(): { position: number; record: number } | undefined {
    const { ring } = this;
    const position = ring.floor();
    if (position >= ring.tail()) return undefined;
    Atomics.store(ring.longs, this.#line + PIN, BigInt(position));
    const header = new Float64Array(1);
    if (ring.floor() <= position) ring.copyOut(position + frameAt.firstRecord, 8, new Uint8Array(header.buffer), 0);
    else header[0] = Number.NaN;
    Atomics.store(ring.longs, this.#line + PIN, UNPINNED);
    return Number.isNaN(header[0]) ? undefined : { position, record: header[0] };
  }

  /** Everything before `position` (and `record`) is dealt with. */
  advance(position: number, record: number): void {
    const { longs } = this.ring;
    longs[this.#line + CURSOR_RECORD] = BigInt(record);
    Atomics.store(longs, this.#line + CURSOR, BigInt(position));
  }
}

/** What the rings' lanes have published so far, together. */
export function publishedIn(rings: readonly Ring[]): { records: number; bytes: number } {
  let records = 0;
  let bytes = 0;
  for (const ring of rings) {
    const { position, record } = ring.tailMark();
    records += record;
    bytes += position;
  }
  return { records, bytes };
}
