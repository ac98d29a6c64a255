/**
 * Lane control: what the producer and the keeper of one lane tell each other, in shared memory beside the ring.
 *
 *   byte  field        written by        meaning
 *      0  spare        keeper, producer  i32: 0 none, 1 ready, 2 refused. The keeper fills the fields below, then
 *                                        stores 1. The producer reads them, then stores 0, or 2 when the spare is
 *                                        too small for a rescue
 *      4  spareFd      keeper            i32, open file of the spare (files belong to the process, not to a thread)
 *      8  spareSerial  keeper            i32, number in its name
 *     16  spareBytes   keeper            f64, its size
 *    128  rotations    producer          i32, counts the segments taken; raised after the fields of the current segment
 *    132  currentFd    producer          i32
 *    136  currentBase  producer          f64, position of its first frame
 *    144  generation   producer          i32
 *    148  stuck        producer          i32: 1 = the last write failed and is being repeated
 *    152  wanted       producer          f64: somebody waits until this position is synced (ACK=sync)
 *    160  currentEnd   producer          f64: first position that does not fit the current segment
 *    256  rescue       keeper, producer  i32: 1 = an fdatasync failed: write [synced, tail) anew (L7); the producer
 *                                        stores 0
 *    260  full         keeper            i32: 1 = no spare: the quota is reached; 2 = no spare: the disk refused one
 *    264  failed       keeper            i32: 1 = the journal has failed for good: intake is over (L7)
 *    268  paused       keeper            i32: 1 = a sink lags further than its limit allows
 *
 * The keeper hands out one spare at a time, and reads `rotations` before it hands out the next, so it never misses a
 * rotation.
 */
const BYTES = 384;

/** Byte offsets as the table gives them, turned into indices of the view that a field is read through. */
const i32 = (byte: number): number => byte / Int32Array.BYTES_PER_ELEMENT;
const f64 = (byte: number): number => byte / Float64Array.BYTES_PER_ELEMENT;
const SPARE = i32(0);
const SPARE_FD = i32(4);
const SPARE_SERIAL = i32(8);
const SPARE_BYTES = f64(16);
const ROTATIONS = i32(128);
const CURRENT_FD = i32(132);
const CURRENT_BASE = f64(136);
const GENERATION = i32(144);
const STUCK = i32(148);
const WANTED = f64(152);
const CURRENT_END = f64(160);
const RESCUE = i32(256);
const FULL = i32(260);
const FAILED = i32(264);
const PAUSED = i32(268);

const SPARE_NONE = 0;
const SPARE_READY = 1;
const SPARE_REFUSED = 2;

export const FULL_NONE = 0;
export const FULL_QUOTA = 1;
export const FULL_DISK = 2;

export function createLaneControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(BYTES);
}

export interface Spare {
  readonly fd: number;
  readonly serial: number;
  readonly bytes: number;
}

export interface CurrentSegment {
  readonly rotations: number;
  readonly fd: number;
  readonly base: number;
  readonly end: number;
  readonly generation: number;
}

export class LaneControl {
  readonly #words: Int32Array;
  readonly #floats: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#floats = new Float64Array(memory);
  }

  spareReady(): boolean {
    return Atomics.load(this.#words, SPARE) === SPARE_READY;
  }
  /** Size of the spare that is ready, 0 when none is. */
  spareBytes(): number {
    return this.spareReady() ? this.#floats[SPARE_BYTES] : 0;
  }
  /** Keeper: hands out a spare. */
  offerSpare(spare: Spare): void {
    this.#words[SPARE_FD] = spare.fd;
    this.#words[SPARE_SERIAL] = spare.serial;
    this.#floats[SPARE_BYTES] = spare.bytes;
    Atomics.store(this.#words, SPARE, SPARE_READY);
  }
  /** Producer: the spare, when one is ready; setCurrent() takes it. */
  spare(): Spare | undefined {
    return this.spareReady() ? this.#offered() : undefined;
  }

  /** Producer: the spare cannot hold what has to be rescued. */
  refuseSpare(): void {
    Atomics.store(this.#words, SPARE, SPARE_REFUSED);
  }
  /** Keeper: takes back a spare that was refused. */
  takeRefused(): Spare | undefined {
    if (Atomics.load(this.#words, SPARE) !== SPARE_REFUSED) return undefined;
    const spare = this.#offered();
    Atomics.store(this.#words, SPARE, SPARE_NONE);
    return spare;
  }

  #offered(): Spare {
    return { fd: this.#words[SPARE_FD], serial: this.#words[SPARE_SERIAL], bytes: this.#floats[SPARE_BYTES] };
  }

  /** Producer: the spare is its segment from now on. A higher generation answers a rescue. */
  setCurrent(fd: number, base: number, end: number, generation: number): void {
    // The request ends before the rotation counts: a keeper that sees the rotation and no request knows that the lane
    // has started over.
    if (generation > this.#words[GENERATION]) this.setRescue(false);
    // First of all, see current().
    Atomics.store(this.#words, CURRENT_FD, fd);
    this.#floats[CURRENT_BASE] = base;
    this.#floats[CURRENT_END] = end;
    this.#words[GENERATION] = generation;
    // The rotation counts before the spare goes: a keeper that sees no spare sees the rotation too.
    Atomics.add(this.#words, ROTATIONS, 1);
    Atomics.store(this.#words, SPARE, SPARE_NONE);
  }
  rotations(): number {
    return Atomics.load(this.#words, ROTATIONS);
  }
  /** Keeper: the segment being written; undefined while the producer is in the middle of a rotation: ask again. */
  current(): CurrentSegment | undefined {
    const rotations = this.rotations();
    const base = this.#floats[CURRENT_BASE];
    const end = this.#floats[CURRENT_END];
    const generation = this.#words[GENERATION];
    // The producer stores the file before the other fields and this reads it after them: an old file means that all are
    // old. A new one that is still the spare means that the rotation does not count yet.
    const fd = Atomics.load(this.#words, CURRENT_FD);
    const rotating = this.spareReady() && this.#words[SPARE_FD] === fd;
    return rotating || this.rotations() !== rotations ? undefined : { rotations, fd, base, end, generation };
  }

  setStuck(stuck: boolean): void {
    Atomics.store(this.#words, STUCK, stuck ? 1 : 0);
  }
  stuck(): boolean {
    return Atomics.load(this.#words, STUCK) === 1;
  }

  want(position: number): void {
    this.#floats[WANTED] = position;
  }
  wanted(): number {
    return this.#floats[WANTED];
  }

  setRescue(asked: boolean): void {
    Atomics.store(this.#words, RESCUE, asked ? 1 : 0);
  }
  rescue(): boolean {
    return Atomics.load(this.#words, RESCUE) === 1;
  }
  setFull(reason: number): void {
    Atomics.store(this.#words, FULL, reason);
  }
  full(): number {
    return Atomics.load(this.#words, FULL);
  }
  setFailed(): void {
    Atomics.store(this.#words, FAILED, 1);
    this.setPaused(true);
  }
  setPaused(paused: boolean): void {
    this.#words[PAUSED] = paused || this.failed() ? 1 : 0;
  }
  /** Read on the hot path, so without a fence: an answer that is a little late does no harm. */
  paused(): boolean {
    return this.#words[PAUSED] === 1;
  }
  failed(): boolean {
    return Atomics.load(this.#words, FAILED) === 1;
  }
}
