/**
 * Epoch: a ts that is a number since 1970, as many clients send it: Date.now() and time.time().
 *
 *   from 1e8 to below 1e11    seconds, 1973-03-03 to 5138-11-16
 *   from 1e11 to below 1e14   milliseconds, the same years
 *   any other                 no time: a counter or a random number against caches is not taken for 1970
 *
 * A fraction counts, down to the millisecond. "1.764e9" is a number, too: some languages print large ones so.
 */
const SECONDS_MIN = 1e8;
const MS_MIN = 1e11;
const MS_END = 1e14;
const ZERO = 0x30;
/** Longer texts are no times; also keeps the sum below 2^53. */
const DIGITS_MAX = 15;
const TEXT_MAX = 32;
const DECIMAL = /^\d+(\.\d+)?(e[+-]?\d+)?$/i;

/** Whole ms since 1970 of the number that the bytes [from, to) spell, NaN when they spell no time. */
export function epochMs(text: Buffer, from: number, to: number): number {
  const value = numberOf(text, from, to);
  if (value >= MS_MIN && value < MS_END) return Math.floor(value);
  // By way of microseconds: 1764000000.123 * 1000 is a little less than it should be.
  if (value >= SECONDS_MIN && value < MS_MIN) return Math.floor(Math.round(value * 1e6) / 1e3);
  return Number.NaN;
}

function numberOf(text: Buffer, from: number, to: number): number {
  let value = 0;
  if (to - from <= DIGITS_MAX) {
    let p = from;
    for (; p < to; p += 1) {
      const digit = text[p]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (p === to) return value;
  }
  if (to - from > TEXT_MAX) return Number.NaN;
  const spelled = text.toString('latin1', from, to);
  return DECIMAL.test(spelled) ? Number(spelled) : Number.NaN;
}
