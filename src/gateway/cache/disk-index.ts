/**
 * Disk index: which entries may lie in the disk tier, so that a picture that is new costs no look at the disk. A Bloom
 * filter of two bits per entry, in memory that all threads share: `no` is always right, but for files that another
 * process has put there since the last scan; `maybe` costs a look.
 *
 * It has two banks. Writers put new entries into both; the janitor fills the one that is not in use from what it finds,
 * and turns to it. So what is gone goes from the index, too. Before the first scan everything may be there.
 */
const BANK = 0;
const KNOWN = 1;
const FIRST = 16;
/** A small picture of a site. */
const BYTES_PER_ENTRY = 8192;
const BITS_PER_ENTRY = 16;
const BITS_MIN = 2 ** 16;
const BITS_MAX = 2 ** 27;

export class DiskIndex {
  readonly #words: Int32Array;
  readonly #bits: number;

  /** `bytesMax`: of the disk tier. */
  static create(bytesMax: number): SharedArrayBuffer {
    const wanted = 2 ** Math.ceil(Math.log2((bytesMax / BYTES_PER_ENTRY) * BITS_PER_ENTRY));
    const bits = Math.min(BITS_MAX, Math.max(BITS_MIN, wanted));
    return new SharedArrayBuffer(FIRST * 4 + bits / 4);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#bits = (memory.byteLength - FIRST * 4) * 4;
  }

  /** False: the disk tier has no entry of this hash. */
  may(hash: Uint8Array): boolean {
    if (Atomics.load(this.#words, KNOWN) === 0) return true;
    const bank = Atomics.load(this.#words, BANK);
    return this.#has(bank, wordOf(hash, 0)) && this.#has(bank, wordOf(hash, 4));
  }

  /** An entry of this hash stands on the disk now. */
  add(hash: Uint8Array): void {
    for (const bank of [0, 1]) this.#put(bank, hash);
  }

  /** For the janitor: a scan begins. `found` is told of each entry, and `end` makes the scan count. */
  scan(): { found(hash: Uint8Array): void; end(): void } {
    const bank = 1 - Atomics.load(this.#words, BANK);
    this.#words.fill(0, this.#begin(bank), this.#begin(bank) + this.#bits / 32);
    return {
      found: (hash) => this.#put(bank, hash),
      end: () => {
        Atomics.store(this.#words, BANK, bank);
        Atomics.store(this.#words, KNOWN, 1);
      },
    };
  }

  #begin(bank: number): number {
    return FIRST + (bank * this.#bits) / 32;
  }

  #put(bank: number, hash: Uint8Array): void {
    for (const at of [0, 4]) {
      const bit = wordOf(hash, at) & (this.#bits - 1);
      Atomics.or(this.#words, this.#begin(bank) + (bit >>> 5), 1 << (bit & 31));
    }
  }

  #has(bank: number, word: number): boolean {
    const bit = word & (this.#bits - 1);
    return (Atomics.load(this.#words, this.#begin(bank) + (bit >>> 5)) & (1 << (bit & 31))) !== 0;
  }
}

const wordOf = (hash: Uint8Array, at: number): number =>
  hash[at]! | (hash[at + 1]! << 8) | (hash[at + 2]! << 16) | (hash[at + 3]! << 24);
