/**
 * Key table: finds which known key a run of bytes spells. A perfect hash of the length and the first four bytes is
 * searched once at start-up; then a lookup takes one table access and one comparison, four bytes at a time, for any
 * number of keys.
 */
import { SLACK, tailMask, viewOf } from './json-text.ts';

const SLOT_BITS = 6;

export class KeyTable {
  readonly #view: DataView;
  readonly #from: Int32Array;
  readonly #length: Int32Array;
  readonly #slots = new Int8Array(1 << SLOT_BITS);
  readonly #factor: number;

  /** `keys` are ASCII, not empty, all different; find() returns a key's index in this list. */
  constructor(keys: readonly string[]) {
    const text = Buffer.alloc(keys.join('').length + SLACK);
    text.write(keys.join(''), 'latin1');
    this.#view = viewOf(text);
    this.#length = Int32Array.from(keys, (key) => key.length);
    this.#from = this.#length.map((_, index) => keys.slice(0, index).join('').length);
    this.#factor = this.#findFactor(keys);
  }

  /** Index of the key that [from, to) spells, -1 for any other text. May read up to three bytes past `to`. */
  find(view: DataView, from: number, to: number): number {
    const length = to - from;
    if (length === 0) return -1;
    const index = this.#slots[slotOf(view, from, length, this.#factor)]!;
    if (index === -1 || this.#length[index] !== length) return -1;
    const key = this.#from[index]!;
    for (let i = 0; i < length; i += 4) {
      if (((this.#view.getInt32(key + i, true) ^ view.getInt32(from + i, true)) & tailMask(length - i)) !== 0)
        return -1;
    }
    return index;
  }

  #findFactor(keys: readonly string[]): number {
    for (let factor = 1; factor < 1 << 20; factor += 2) {
      this.#slots.fill(-1);
      const fits = keys.every((_, index) => {
        const slot = slotOf(this.#view, this.#from[index]!, this.#length[index]!, factor);
        if (this.#slots[slot] !== -1) return false;
        this.#slots[slot] = index;
        return true;
      });
      if (fits) return factor;
    }
    throw new Error(`no perfect hash for the keys: keys=${keys.join()}`);
  }
}

const slotOf = (view: DataView, from: number, length: number, factor: number): number =>
  Math.imul((view.getInt32(from, true) & tailMask(length)) + length, factor) >>> (32 - SLOT_BITS);
