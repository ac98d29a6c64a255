/**
 * Lane control: what the producer and the keeper of one lane tell each other, in shared memory beside the ring.
 *
 *   byte  field         written by         meaning
 *      0  spare         keeper, producer   i32: 0 none, 1 ready, 2 refused; the keeper fills the fields below, then stores 1;
 *                                          the producer reads them, then stores 0, or 2 when it is too small for a rescue
 *      4  spareFd       keeper             i32, open file of the spare (files belong to the process, not to a thread)
 *      8  spareSerial   keeper             i32, number in its name
 *     16  spareBytes    keeper             f64, its size
 *    128  current       producer           i32: count of rotations; stored last when the producer takes a segment
 *    132  currentFd     producer           i32
 *    136  currentBase   producer           f64, position of its first frame
 *    144  generation    producer           i32
 *    148  state         producer           i32: 0 fine, 1 the last write failed and is repeated
 *    152  wanted        producer           f64: somebody waits until this position is synced (ACK=sync)
 *    160  currentEnd    producer           f64: first position that does not fit the current segment
 *    256  rescue        keeper, producer   i32: 1 = an fdatasync failed, write [synced, tail) anew (L7); the producer stores 0
 *    260  full          keeper             i32: 1 = no spare because the quota is reached, 2 = because the disk refused one
 *    264  failed        keeper             i32: 1 = the journal has failed for good: intake is over (L7)
 *    268  paused        keeper             i32: 1 = a sink lags further than its limit allows
 *
 * The keeper hands out one spare at a time and looks at `current` before it hands out the next, so it never misses a rotation.
 */
const BYTES = 384;

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

export class LaneControl {
  readonly #words: Int32Array;
  readonly #floats: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#floats = new Float64Array(memory);
  }

  spareReady(): boolean {
    return Atomics.load(this.#words, 0) === 1;
  }
  /** Size of the spare that is ready, 0 when none is. */
  spareBytes(): number {
    return this.spareReady() ? this.#floats[2] : 0;
  }
  /** Keeper. */
  offerSpare(spare: Spare): void {
    this.#words[1] = spare.fd;
    this.#words[2] = spare.serial;
    this.#floats[2] = spare.bytes;
    Atomics.store(this.#words, 0, 1);
  }
  /** Producer: the spare, when one is ready; setCurrent() takes it. */
  spare(): Spare | undefined {
    if (!this.spareReady()) return undefined;
    return { fd: this.#words[1], serial: this.#words[2], bytes: this.#floats[2] };
  }

  /** Producer: the spare cannot hold what has to be rescued. */
  refuseSpare(): void {
    Atomics.store(this.#words, 0, 2);
  }
  /** Keeper: takes back a spare that was refused. */
  takeRefused(): Spare | undefined {
    if (Atomics.load(this.#words, 0) !== 2) return undefined;
    const spare = { fd: this.#words[1], serial: this.#words[2], bytes: this.#floats[2] };
    Atomics.store(this.#words, 0, 0);
    return spare;
  }

  /** Producer: the spare is its segment from now on. A higher generation is what a rescue was asked for. */
  setCurrent(fd: number, base: number, end: number, generation: number): void {
    // Before the rotation: a keeper that sees a rotation with the request gone knows that the lane has started over.
    if (generation > this.#words[36]) this.setRescue(false);
    this.#words[33] = fd;
    this.#floats[17] = base;
    this.#floats[20] = end;
    this.#words[36] = generation;
    // Rotation first: a keeper that sees the spare gone sees the rotation too.
    Atomics.add(this.#words, 32, 1);
    Atomics.store(this.#words, 0, 0);
  }
  rotations(): number {
    return Atomics.load(this.#words, 32);
  }
  current(): { rotations: number; fd: number; base: number; end: number; generation: number } {
    const rotations = this.rotations();
    return {
      rotations,
      fd: this.#words[33],
      base: this.#floats[17],
      end: this.#floats[20],
      generation: this.#words[36],
    };
  }

  setStuck(stuck: boolean): void {
    Atomics.store(this.#words, 37, stuck ? 1 : 0);
  }
  stuck(): boolean {
    return Atomics.load(this.#words, 37) === 1;
  }

  want(position: number): void {
    this.#floats[19] = position;
  }
  wanted(): number {
    return this.#floats[19];
  }

  setRescue(asked: boolean): void {
    Atomics.store(this.#words, 64, asked ? 1 : 0);
  }
  rescue(): boolean {
    return Atomics.load(this.#words, 64) === 1;
  }
  setFull(reason: number): void {
    Atomics.store(this.#words, 65, reason);
  }
  full(): number {
    return Atomics.load(this.#words, 65);
  }
  setFailed(): void {
    Atomics.store(this.#words, 66, 1);
    this.setPaused(true);
  }
  setPaused(paused: boolean): void {
    this.#words[67] = paused || this.failed() ? 1 : 0;
  }
  /** Read on the hot path, so without a fence: a late answer is fine. */
  paused(): boolean {
    return this.#words[67] === 1;
  }
  failed(): boolean {
    return Atomics.load(this.#words, 66) === 1;
  }
}
