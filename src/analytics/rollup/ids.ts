/**
 * Ids: those of a batch's values as small numbers. An id has 64 bits; a bigint for each use of one is an object that is
 * copied by the collector and hashed by a call, and a batch uses some hundred thousand. A number is good for its batch.
 *
 * An open hash table with linear probing over pairs of 32-bit halves. The hash multiplies them by odd numbers that nobody
 * can guess and keeps the highest bits (Dietzfelbinger, Hagerup, Katajainen, Penttonen 1997): whoever chooses texts can
 * choose ids, and could make all of them meet.
 */
import { randomBytes } from 'node:crypto';

const FIRST_CAPACITY = 4096;

/** Number of the only value of dimension site (dimensions.ts: ALL), and in a visit: no value. */
export const NONE = 0;
/** Number of what stands for values that have no place (dimensions.ts: OTHER). */
export const OTHER_NUMBER = 1;

const [LOW_FACTOR, HIGH_FACTOR] = [randomBytes(4).readInt32LE() | 1, randomBytes(4).readInt32LE() | 1];

export class Ids {
  /** Low and high half of each id: read together they are the id, where numbers are little-endian. */
  #halves = new Int32Array(2 * FIRST_CAPACITY);
  /** Number + 1 of the id that is there, or 0; at most half of them are taken. */
  #places = new Int32Array(2 * FIRST_CAPACITY);
  #size = 0;

  constructor() {
    this.of(0, NONE);
    this.of(0, OTHER_NUMBER);
  }

  get size(): number {
    return this.#size;
  }

  /** The number of an id, given by its halves as signed integers. */
  of(high: number, low: number): number {
    const halves = this.#halves;
    const places = this.#places;
    const mask = places.length - 1;
    let place = (Math.imul(low, LOW_FACTOR) + Math.imul(high, HIGH_FACTOR)) >>> Math.clz32(mask);
    for (let found = places[place]!; found !== 0; found = places[place]!) {
      const number = found - 1;
      if (halves[2 * number] === low && halves[2 * number + 1] === high) return number;
      place = (place + 1) & mask;
    }
    const number = this.#size;
    if (2 * number === halves.length) {
      this.#grow();
      return this.of(high, low);
    }
    halves[2 * number] = low;
    halves[2 * number + 1] = high;
    places[place] = number + 1;
    this.#size += 1;
    return number;
  }

  low(number: number): number {
    return this.#halves[2 * number]!;
  }

  high(number: number): number {
    return this.#halves[2 * number + 1]!;
  }

  /** All numbers, in the order of their ids. */
  ordered(): Int32Array {
    const halves = this.#halves.slice(0, 2 * this.#size);
    new BigInt64Array(halves.buffer).sort();
    const numbers = new Int32Array(this.#size);
    for (let at = 0; at < numbers.length; at += 1) numbers[at] = this.of(halves[2 * at + 1]!, halves[2 * at]!);
    return numbers;
  }

  #grow(): void {
    const halves = this.#halves;
    const size = this.#size;
    this.#halves = new Int32Array(2 * halves.length);
    this.#places = new Int32Array(2 * this.#places.length);
    this.#size = 0;
    for (let number = 0; number < size; number += 1) this.of(halves[2 * number + 1]!, halves[2 * number]!);
  }
}
