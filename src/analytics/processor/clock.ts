/**
 * Clock: which time an event gets. The route judges by it when it takes an event, the processor when it reads one that
 * somebody else has produced.
 *
 *   no timestamp                   the time of receipt
 *   no RFC 3339 time               not valid; nor is year 0, which Postgres does not have
 *   more than AHEAD_MS_MAX ahead   the time of receipt: that clock is wrong
 *   older than the limit           not valid. Without a limit any past time is kept
 *
 * A fraction is cut off behind the millisecond (kernel/timestamp.ts).
 */
import { parseTimestamp } from '../../kernel/timestamp.ts';
import { DAY_MS } from '../dimensions.ts';
import { AHEAD_MS_MAX } from '../event.ts';

/** 0001-01-01T00:00:00Z. */
const FIRST_MS = -62_135_596_800_000;
const bytes = Buffer.alloc(64);

/** How old a timestamp may be when it is received, ms; Infinity: any. The stricter one of the two options. */
export function oldestAgeMs(maxEventAgeMs: number | undefined, retentionDays: number | undefined): number {
  return Math.min(maxEventAgeMs ?? Number.POSITIVE_INFINITY, (retentionDays ?? Number.POSITIVE_INFINITY) * DAY_MS);
}

/** Ms since 1970 of the RFC 3339 text in the bytes [from, to), NaN for any other text. */
export function instantIn(source: Uint8Array, from: number, to: number): number {
  const ms = parseTimestamp(source, from, to);
  return ms >= FIRST_MS ? ms : Number.NaN;
}

/** The same of a string. */
export function instantOf(text: string): number {
  const source = text.length <= bytes.length ? bytes : Buffer.alloc(text.length);
  const to = source.write(text, 'latin1');
  // A character beyond latin1 leaves its low byte, which may look like a digit.
  return isAscii(text) ? instantIn(source, 0, to) : Number.NaN;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** The time that an event gets whose timestamp is `ms`; NaN: it is too old. */
export function settledMs(ms: number, receivedMs: number, ageMs: number): number {
  if (ms > receivedMs + AHEAD_MS_MAX) return receivedMs;
  return receivedMs - ms > ageMs ? Number.NaN : ms;
}

/** Begin of the first UTC day of which a site takes events that keeps them for so many days. */
export function firstMsOf(retentionDays: number, nowMs: number): number {
  return retentionDays === Number.POSITIVE_INFINITY
    ? Number.NEGATIVE_INFINITY
    : (Math.floor(nowMs / DAY_MS) - retentionDays) * DAY_MS;
}

const units = [
  [DAY_MS, 'days'],
  [3_600_000, 'hours'],
  [60_000, 'minutes'],
  [1000, 'seconds'],
] as const;

/** What a timestamp must be, for the answer about one that is too old: in the largest unit that says it exactly. */
export function ageRule(ageMs: number): string {
  const [ms, unit] = units.find(([ms]) => ageMs % ms === 0) ?? [1, 'ms'];
  return `at most ${ageMs / ms} ${unit} old`;
}
