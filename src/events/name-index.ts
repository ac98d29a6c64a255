/**
 * Name index: the distinct names of one request, as ranges of one buffer, each with an entry number in order of
 * arrival. Equal names in different scopes are different. Open addressing over typed arrays, which are kept between
 * requests and grow to the largest request; reset() clears only the slots in use.
 *
 * Thousands of names stay cheap: the hash starts from a secret seed, so a client cannot choose names that share a slot,
 * and full hashes are compared before bytes.
 */
import { randomInt } from 'node:crypto';
import { tailMask } from './json-text.ts';

const ENTRIES_AT_START = 64;
/** Odd. */
const SCOPE_FACTOR = 0x2c1b3c6d;
const SEED = randomInt(2 ** 32) | 0;

export class NameIndex {
  /** Entries in use: 0 .. count - 1. */
  count = 0;
  /** Ranges of the names by entry. */
  from = new Int32Array(ENTRIES_AT_START);
  to = new Int32Array(ENTRIES_AT_START);
  #hash = new Int32Array(ENTRIES_AT_START);
  #slot = new Int32Array(ENTRIES_AT_START);
  /** Per slot the entry + 1, 0 = free. There are twice as many slots as entries, a power of two. */
  #slots = new Int32Array(ENTRIES_AT_START * 2);

  /** Forgets all names. */
  reset(): void {
    for (let entry = 0; entry < this.count; entry += 1) this.#slots[this.#slot[entry]!] = 0;
    this.count = 0;
  }

  /**
   * Entry of the name [from, to): its existing entry, or a new one, which then equals `count` before the call. Names
   * between two resets lie in one buffer. May read up to three bytes past `to`.
   */
  put(view: DataView, from: number, to: number, scope = 0): number {
    const length = to - from;
    // Each step is reversible, so one name has a hash of its own in each scope, and the scope need not be compared.
    let hash = (SEED + Math.imul(scope, SCOPE_FACTOR)) ^ length;
    for (let i = 0; i < length; i += 4) {
      hash = Math.imul(hash ^ (view.getInt32(from + i, true) & tailMask(length - i)), 0x5bd1e995);
      hash ^= hash >>> 15;
    }
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (let used = this.#slots[slot]!; used !== 0; used = this.#slots[slot]!) {
      if (this.#hash[used - 1] === hash && this.#same(view, used - 1, from, to)) return used - 1;
      slot = (slot + 1) & mask;
    }
    if (this.count === this.from.length) {
      this.#grow();
      return this.put(view, from, to, scope);
    }
    const entry = this.count++;
    this.from[entry] = from;
    this.to[entry] = to;
    this.#hash[entry] = hash;
    this.#slot[entry] = slot;
    this.#slots[slot] = entry + 1;
    return entry;
  }

  #same(view: DataView, entry: number, from: number, to: number): boolean {
    const start = this.from[entry]!;
    const length = to - from;
    if (this.to[entry]! - start !== length) return false;
    for (let i = 0; i < length; i += 4) {
      if (((view.getInt32(start + i, true) ^ view.getInt32(from + i, true)) & tailMask(length - i)) !== 0) return false;
    }
    return true;
  }

  #grow(): void {
    const entries = this.from.length * 2;
    this.from = grown(this.from, entries);
    this.to = grown(this.to, entries);
    this.#hash = grown(this.#hash, entries);
    this.#slot = new Int32Array(entries);
    this.#slots = new Int32Array(entries * 2);
    const mask = this.#slots.length - 1;
    for (let entry = 0; entry < this.count; entry += 1) {
      let slot = this.#hash[entry]! & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = entry + 1;
      this.#slot[entry] = slot;
    }
  }
}

/** The same numbers in an array of `length`. */
export function grown<T extends Int32Array | Uint8Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length);
  larger.set(array);
  return larger;
}
