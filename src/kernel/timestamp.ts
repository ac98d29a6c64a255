/**
 * Timestamp: instants as text, byte by byte, without a Date.
 *
 *   written  YYYY-MM-DDTHH:MM:SS.mmmZ, always 24 ASCII bytes, UTC, years 0000 to 9999
 *   read     RFC 3339: date, T or t, time, fraction of any length, Z, z or an offset; nothing before or behind it
 *
 * Where RFC 3339 leaves a choice:
 *   fraction     cut off behind the ms, never rounded, so that no instant moves into the next second
 *   leap second  :60 is accepted only where a leap second may be, at 23:59:60 UTC on the last day of a month, and
 *                becomes 23:59:59.999 of that day (Unix time has no number for it, and the day must not change)
 *   -00:00       UTC (the sender's offset is unknown, the instant is known)
 *   24:00:00     refused, like every instant outside of the years 0000 to 9999 in UTC
 */
const ZERO = 0x30;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export const ISO_BYTES = 24;
/** First and last ms that can be written. */
export const ISO_MS_MIN = -62_167_219_200_000;
export const ISO_MS_MAX = 253_402_300_799_999;

/**
 * Days from 1970-01-01 to a date in the proleptic Gregorian calendar. Years begin in March here, so that the leap day
 * comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
 */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function put2(target: Uint8Array, offset: number, value: number): void {
  const tens = (value / 10) | 0;
  target[offset] = ZERO + tens;
  target[offset + 1] = ZERO + value - tens * 10;
}

/**
 * Writes instants. It keeps the text of the last minute, so that the hot path writes only seconds and ms. One per
 * thread.
 */
export class TimestampWriter {
  private minuteStartMs = Number.NaN;
  private readonly text = new Uint8Array(ISO_BYTES);

  /** Writes 24 ASCII bytes at `offset`. `ms` is whole, from ISO_MS_MIN to ISO_MS_MAX; else a RangeError. */
  write(target: Uint8Array, offset: number, ms: number): void {
    let within = ms - this.minuteStartMs;
    // Also true while minuteStartMs is NaN.
    if (!(within >= 0 && within < MINUTE_MS)) {
      this.turnTo(ms);
      within = ms - this.minuteStartMs;
    }
    const text = this.text;
    for (let i = 0; i < 17; i += 1) target[offset + i] = text[i]!;
    const second = (within / 1000) | 0;
    const milli = within - second * 1000;
    const hundreds = (milli / 100) | 0;
    put2(target, offset + 17, second);
    target[offset + 19] = 0x2e; // .
    target[offset + 20] = ZERO + hundreds;
    put2(target, offset + 21, milli - hundreds * 100);
    target[offset + 23] = 0x5a; // Z
  }

  private turnTo(ms: number): void {
    if (!(ms >= ISO_MS_MIN && ms <= ISO_MS_MAX && Number.isInteger(ms))) {
      throw new RangeError(`ms must be whole and from ${ISO_MS_MIN} to ${ISO_MS_MAX}: ms=${ms}`);
    }
    const days = Math.floor(ms / DAY_MS);
    const minute = Math.floor((ms - days * DAY_MS) / MINUTE_MS);
    const shifted = days + 719_468;
    const era = Math.floor(shifted / 146_097);
    const dayOfEra = shifted - era * 146_097;
    const yearOfEra = Math.floor(
      (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
    );
    const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
    const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
    const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
    const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
    const text = this.text;
    put2(text, 0, Math.floor(year / 100));
    put2(text, 2, year % 100);
    put2(text, 5, month);
    put2(text, 8, dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1);
    put2(text, 11, Math.floor(minute / 60));
    put2(text, 14, minute % 60);
    text[4] = 0x2d;
    text[7] = 0x2d;
    text[10] = 0x54; // T
    text[13] = 0x3a;
    text[16] = 0x3a;
    this.minuteStartMs = days * DAY_MS + minute * MINUTE_MS;
  }
}

const DAYS_IN_MONTH = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function daysInMonth(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && leap ? 29 : DAYS_IN_MONTH[month]!;
}

/** Two digits at `at`, or a number above 99, which every limit below refuses. */
function two(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - ZERO;
  const ones = bytes[at + 1]! - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : 1000;
}

/** Ms since 1970 of the RFC 3339 text in bytes [start, end), or NaN for any other text. */
export function parseTimestamp(bytes: Uint8Array, start: number, end: number): number {
  // The shortest is 2026-11-21T08:00:00Z.
  if (end - start < 20 || end > bytes.length) return Number.NaN;
  const century = two(bytes, start);
  const yearOfCentury = two(bytes, start + 2);
  const year = century * 100 + yearOfCentury;
  const month = two(bytes, start + 5);
  const day = two(bytes, start + 8);
  const hour = two(bytes, start + 11);
  const minute = two(bytes, start + 14);
  const second = two(bytes, start + 17);
  if (century > 99 || yearOfCentury > 99 || month < 1 || month > 12 || day < 1) return Number.NaN;
  if (day > daysInMonth(year, month) || hour > 23 || minute > 59 || second > 60) return Number.NaN;
  if (bytes[start + 4] !== 0x2d || bytes[start + 7] !== 0x2d || (bytes[start + 10]! | 0x20) !== 0x74) return Number.NaN;
  if (bytes[start + 13] !== 0x3a || bytes[start + 16] !== 0x3a) return Number.NaN;

  let at = start + 19;
  let milli = 0;
  if (bytes[at] === 0x2e) {
    const first = at + 1;
    at = first;
    let weight = 100;
    while (at < end) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      milli += digit * weight;
      weight = weight === 100 ? 10 : weight === 10 ? 1 : 0;
      at += 1;
    }
    if (at === first) return Number.NaN;
  }

  let offsetMinutes = 0;
  const zone = bytes[at];
  if (at + 1 === end && (zone! | 0x20) === 0x7a) offsetMinutes = 0;
  else if (at + 6 === end && (zone === 0x2b || zone === 0x2d) && bytes[at + 3] === 0x3a) {
    const hours = two(bytes, at + 1);
    const minutes = two(bytes, at + 4);
    if (hours > 23 || minutes > 59) return Number.NaN;
    offsetMinutes = (hours * 60 + minutes) * (zone === 0x2b ? 1 : -1);
  } else return Number.NaN;

  const minuteMs = daysOf(year, month, day) * DAY_MS + (hour * 60 + minute - offsetMinutes) * MINUTE_MS;
  if (second === 60 && !lastMinuteOfMonth(minuteMs)) return Number.NaN;
  const ms = second === 60 ? minuteMs + MINUTE_MS - 1 : minuteMs + second * 1000 + milli;
  return ms >= ISO_MS_MIN && ms <= ISO_MS_MAX ? ms : Number.NaN;
}

/** Whether a UTC minute is the last of a month. Called so rarely that a Date may be used. */
function lastMinuteOfMonth(minuteMs: number): boolean {
  return new Date(minuteMs + MINUTE_MS).getUTCDate() === 1 && (minuteMs + MINUTE_MS) % DAY_MS === 0;
}
