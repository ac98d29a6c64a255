/**
 * ULID: the id of a message. 26 characters of Crockford's base 32: 10 of the time in ms, 16 of 80 random bits
 * (github.com/ulid/spec). Ids of one maker grow: within a ms the random part goes up by one, and a clock that is set
 * back leaves the time where it was. So ids sort by time, and the time is read out of the id.
 */
import { randomFillSync } from 'node:crypto';

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_DIGITS = 10;
/** The first digit holds three bits of the 48 of the time. */
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const HALF = 2 ** 40;
/** Random bits are drawn for so many ids at once. */
const POOL_IDS = 256;
const RANDOM_BYTES = 10;

export type Fill = (bytes: Uint8Array) => void;

export class UlidMaker {
  readonly #fill: Fill;
  readonly #pool = new Uint8Array(POOL_IDS * RANDOM_BYTES);
  #at: number;
  #ms = -1;
  /** The 80 random bits in two halves of 40, which numbers hold exactly. */
  #high = 0;
  #low = 0;
  #time = '';

  /** `fill`: where random bytes come from. */
  constructor(fill: Fill = (bytes) => void randomFillSync(bytes)) {
    this.#fill = fill;
    this.#at = this.#pool.length;
  }

  /** The next id. `ms`: since 1970, by the wall clock. */
  make(ms: number): string {
    if (ms > this.#ms) this.#begin(ms);
    else this.#step();
    return this.#time + base32(this.#high, 8) + base32(this.#low, 8);
  }

  #begin(ms: number): void {
    this.#ms = ms;
    this.#time = base32(ms, TIME_DIGITS);
    if (this.#at === this.#pool.length) {
      this.#fill(this.#pool);
      this.#at = 0;
    }
    this.#high = this.#half();
    this.#low = this.#half();
  }

  #half(): number {
    let value = 0;
    for (let i = 0; i < RANDOM_BYTES / 2; i++) value = value * 256 + this.#pool[this.#at++]!;
    return value;
  }

  /** After the last id of a ms comes the first of the next. */
  #step(): void {
    this.#low += 1;
    if (this.#low < HALF) return;
    this.#low = 0;
    this.#high += 1;
    if (this.#high === HALF) this.#begin(this.#ms + 1);
  }
}

function base32(value: number, digits: number): string {
  let text = '';
  let left = value;
  for (let i = 0; i < digits; i++) {
    const rest = Math.floor(left / 32);
    text = DIGITS[left - 32 * rest]! + text;
    left = rest;
  }
  return text;
}

/** The time in an id, ms since 1970; undefined: the text is no ULID in upper case. */
export function ulidMs(id: string): number | undefined {
  if (!ULID.test(id)) return undefined;
  let ms = 0;
  for (let i = 0; i < TIME_DIGITS; i++) ms = 32 * ms + DIGITS.indexOf(id[i]!);
  return ms;
}
