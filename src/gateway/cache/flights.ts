/**
 * Flights: which pictures are asked of a backend at this moment, over all acceptor threads, so that each is asked for
 * once. One word of shared memory per place: 0, or the hash of the key of the flight that has it. Another key in the
 * same place flies without one; that costs a second request at worst.
 *
 * Nobody blocks: who finds its key in flight waits by Atomics.waitAsync, and reads the disk tier then. A thread that
 * dies leaves its word; who has waited for it in vain takes it away.
 */
const PLACES = 65_536;
/** Words in front of the places. */
const DISK_KIB = 0;
const FIRST = 16;

export const createFlights = (): SharedArrayBuffer => new SharedArrayBuffer((FIRST + PLACES) * 4);

export type Claim = { readonly kind: 'mine' | 'alone' } | { readonly kind: 'other'; readonly landed: Promise<void> };

const alone: Claim = { kind: 'alone' };
const mine: Claim = { kind: 'mine' };

export class Flights {
  readonly #words: Int32Array;
  readonly #waitMs: number;

  /** `waitMs`: longest wait for a flight of another thread. */
  constructor(memory: SharedArrayBuffer, waitMs: number) {
    this.#words = new Int32Array(memory);
    this.#waitMs = waitMs;
  }

  /** `hash`: of the key, at least 8 bytes. */
  claim(hash: Uint8Array): Claim {
    const [at, tag] = this.#placeOf(hash);
    const found = Atomics.compareExchange(this.#words, at, 0, tag);
    if (found === 0) return mine;
    if (found !== tag) return alone;
    const { async: waits, value } = Atomics.waitAsync(this.#words, at, tag, this.#waitMs);
    if (!waits) return { kind: 'other', landed: Promise.resolve() };
    const landed = value.then((how) => {
      if (how === 'timed-out') this.#free(at, tag);
    });
    return { kind: 'other', landed };
  }

  land(hash: Uint8Array): void {
    const [at, tag] = this.#placeOf(hash);
    this.#free(at, tag);
  }

  /** KiB of the disk tier: the janitor sets what it has found, writers add to it. */
  get diskKib(): number {
    return Atomics.load(this.#words, DISK_KIB);
  }
  set diskKib(kib: number) {
    Atomics.store(this.#words, DISK_KIB, kib);
  }
  addDisk(kib: number): void {
    Atomics.add(this.#words, DISK_KIB, kib);
  }

  #free(at: number, tag: number): void {
    Atomics.compareExchange(this.#words, at, tag, 0);
    Atomics.notify(this.#words, at);
  }

  #placeOf(hash: Uint8Array): readonly [at: number, tag: number] {
    const view = new DataView(hash.buffer, hash.byteOffset, hash.byteLength);
    return [FIRST + (view.getUint32(0) % PLACES), view.getInt32(4) | 1];
  }
}
