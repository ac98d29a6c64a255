/**
 * Ids: UUIDv7 and visitor ids, written as bytes into a buffer at an offset. Nothing here allocates after construction.
 *
 * A UUIDv7 (RFC 9562, 5.7), 16 bytes, big-endian:
 *   0..5   unix ms, 48 bits
 *   6..7   version 7, then rand_a: a 12-bit counter (RFC 9562, 6.2, method 1: fixed-length dedicated counter)
 *   8..15  variant 10, then 62 random bits, new for every id
 *
 * Always true for one UuidMaker (one per thread): each id is greater than the previous one, compared as bytes.
 *   new ms              the counter starts at a random number below 2048, so at least 2048 more ids fit into this ms
 *   same ms             counter + 1; a full counter moves the ms one ahead (6.2: "timestamp ahead of the actual time")
 *   clock stepped back  the last ms stays until the clock has caught up, and the counter goes on
 * Ids of different threads, processes and starts differ by 62 random bits and the counter's 11; their order is not
 * guaranteed.
 */
import { randomFillSync } from 'node:crypto';

/** Fills a buffer with random bytes. */
export type RandomFill = (bytes: Uint8Array) => void;

const POOL_BYTES = 8192;

/** Random bytes fetched in bulk: a system call per id would cost ten times the id. */
class RandomPool {
  readonly bytes = new Uint8Array(POOL_BYTES);
  private used = POOL_BYTES;
  private readonly fill: RandomFill;

  constructor(fill: RandomFill) {
    this.fill = fill;
  }

  /** Index in `bytes` of `count` unused bytes. Read them before the next call. */
  take(count: number): number {
    if (this.used + count > POOL_BYTES) {
      this.fill(this.bytes);
      this.used = 0;
    }
    const start = this.used;
    this.used += count;
    return start;
  }
}

const secureFill: RandomFill = (bytes) => {
  randomFillSync(bytes);
};

const HEX = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** The two hex digits of a byte, the first in the low half, so that the byte order of the machine does not matter. */
const HEX_PAIRS = Uint16Array.from({ length: 256 }, (_, byte) => HEX[byte >> 4]! | (HEX[byte & 15]! << 8));

function putHex(byte: number, target: Uint8Array, offset: number): void {
  const pair = HEX_PAIRS[byte]!;
  target[offset] = pair;
  target[offset + 1] = pair >>> 8;
}

/** Value of an ASCII hex digit of either case; 255 for any other byte. */
const HEX_VALUES = new Uint8Array(256).fill(255);
for (const [value, digit] of [...'0123456789abcdef'].entries()) {
  HEX_VALUES[digit.charCodeAt(0)] = value;
  HEX_VALUES[digit.toUpperCase().charCodeAt(0)] = value;
}

const UUID_BYTES = 16;
/** Length of the text of a UUID: 8-4-4-4-12. */
export const UUID_TEXT_BYTES = 36;

const COUNTER_MAX = 0xfff;
const COUNTER_START_MASK = 0x7ff;
const DASH = 0x2d;

/** Makes UUIDv7, each greater than the previous one. One per thread. */
export class UuidMaker {
  private lastMs = -1;
  private counter = 0;
  private readonly pool: RandomPool;

  constructor(fill: RandomFill = secureFill) {
    this.pool = new RandomPool(fill);
  }

  /** Writes the next id, 16 bytes, at `offset`. `nowMs` is whole ms since 1970 and may be less than before. */
  write(target: Uint8Array, offset: number, nowMs: number): void {
    const pool = this.pool;
    const from = pool.take(10);
    const random = pool.bytes;
    if (nowMs > this.lastMs) {
      this.lastMs = nowMs;
      this.counter = ((random[from + 8]! << 8) | random[from + 9]!) & COUNTER_START_MASK;
    } else if (this.counter < COUNTER_MAX) this.counter += 1;
    else {
      this.lastMs += 1;
      this.counter = ((random[from + 8]! << 8) | random[from + 9]!) & COUNTER_START_MASK;
    }
    const ms = this.lastMs;
    const high = Math.floor(ms / 0x10000);
    const low = ms - high * 0x10000;
    const counter = this.counter;
    target[offset] = high >>> 24;
    target[offset + 1] = high >>> 16;
    target[offset + 2] = high >>> 8;
    target[offset + 3] = high;
    target[offset + 4] = low >>> 8;
    target[offset + 5] = low;
    target[offset + 6] = 0x70 | (counter >>> 8);
    target[offset + 7] = counter;
    target[offset + 8] = 0x80 | (random[from]! & 0x3f);
    for (let i = 1; i < 8; i += 1) target[offset + 8 + i] = random[from + i]!;
  }
}

/** Writes 16 bytes as 36 lower-case ASCII bytes, the canonical text of a UUID. Source and target may not overlap. */
export function writeUuidText(source: Uint8Array, from: number, target: Uint8Array, offset: number): void {
  // Unrolled: a loop that tests for dashes takes half as long again, and every event passes here.
  putHex(source[from]!, target, offset);
  putHex(source[from + 1]!, target, offset + 2);
  putHex(source[from + 2]!, target, offset + 4);
  putHex(source[from + 3]!, target, offset + 6);
  target[offset + 8] = DASH;
  putHex(source[from + 4]!, target, offset + 9);
  putHex(source[from + 5]!, target, offset + 11);
  target[offset + 13] = DASH;
  putHex(source[from + 6]!, target, offset + 14);
  putHex(source[from + 7]!, target, offset + 16);
  target[offset + 18] = DASH;
  putHex(source[from + 8]!, target, offset + 19);
  putHex(source[from + 9]!, target, offset + 21);
  target[offset + 23] = DASH;
  putHex(source[from + 10]!, target, offset + 24);
  putHex(source[from + 11]!, target, offset + 26);
  putHex(source[from + 12]!, target, offset + 28);
  putHex(source[from + 13]!, target, offset + 30);
  putHex(source[from + 14]!, target, offset + 32);
  putHex(source[from + 15]!, target, offset + 34);
}

/**
 * Reads a UUID from exactly 36 ASCII bytes in the form 8-4-4-4-12, hex digits of either case. Any version is accepted,
 * as RFC 9562 asks; braces and urn: are not. Returns false for other bytes; `target` is undefined then.
 */
export function parseUuid(
  source: Uint8Array,
  from: number,
  length: number,
  target: Uint8Array,
  offset: number,
): boolean {
  if (length !== UUID_TEXT_BYTES || from + length > source.length) return false;
  let at = from;
  for (let i = 0; i < UUID_BYTES; i += 1) {
    if (i === 4 || i === 6 || i === 8 || i === 10) {
      if (source[at] !== DASH) return false;
      at += 1;
    }
    const high = HEX_VALUES[source[at]!]!;
    const low = HEX_VALUES[source[at + 1]!]!;
    if ((high | low) > 15) return false;
    target[offset + i] = (high << 4) | low;
    at += 2;
  }
  return true;
}

/** Length of a visitor id: `s_` and 32 hex digits. */
export const SID_TEXT_BYTES = 34;

/** Makes visitor ids (`sid`) of 128 bits from the system's secure source, so that nobody can guess another's id. */
export class SidMaker {
  private readonly pool: RandomPool;

  constructor(fill: RandomFill = secureFill) {
    this.pool = new RandomPool(fill);
  }

  /** Writes the next id, 34 ASCII bytes, at `offset`. */
  write(target: Uint8Array, offset: number): void {
    const pool = this.pool;
    const from = pool.take(16);
    target[offset] = 0x73; // s
    target[offset + 1] = 0x5f; // _
    for (let i = 0; i < 16; i += 1) putHex(pool.bytes[from + i]!, target, offset + 2 + 2 * i);
  }
}
