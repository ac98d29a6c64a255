/**
 * Range: what a date, or several, means as instants in a time zone, and which slots and UTC days lie inside.
 *
 * A day of a time zone begins at the first instant from which its clocks never again show an earlier date. So days
 * follow each other without a gap, whatever the clocks do: a day has 23, 24 or 25 hours where they are set, 23.5 on
 * Lord Howe, and none at all on 30 December 2011 in Apia. Where midnight is left out, the day begins with what follows.
 *
 * Time zones are those of ICU (Intl), by their IANA names. Their offsets have been multiples of a quarter of an hour
 * since 1972; a day before that which begins within a slot begins with this slot.
 */
import { DAY_MS, dayOf, SLOT_MS, SLOTS_PER_DAY, slotOf } from '../dimensions.ts';
import type { Range } from './types.ts';

/** Half-open, both ends included in the type: [from, to). */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** A range by the rows that hold it: UTC days that lie inside, and the slots at its edges. */
export interface Parts {
  /** All of its slots. */
  readonly slots: Span;
  /** UTC days that lie inside as a whole. */
  readonly days: Span;
  /** Slots before the first of these days, and from the last on; either may be empty. */
  readonly head: Span;
  readonly tail: Span;
}

/** Formatters that are kept; each takes some 20 KiB. */
const ZONES_MAX = 64;
const ZONE_LENGTH_MAX = 64;
/** Days whose begin is kept, for all zones together. */
const BEGINS_MAX = 4096;
/** Clocks and calendars before are the same as then: the mean time of a place. */
const OLDEST_MS = Date.UTC(1800, 0, 1);

const zones = new Map<string, Intl.DateTimeFormat>();
const begins = new Map<string, number>();

/** Keeps the newest `max` entries. */
function keep<V>(map: Map<string, V>, key: string, value: V, max: number): V {
  map.delete(key);
  if (map.size >= max) map.delete(map.keys().next().value!);
  map.set(key, value);
  return value;
}

function clockOf(timeZone: string): Intl.DateTimeFormat {
  const known = zones.get(timeZone);
  if (known !== undefined) return keep(zones, timeZone, known, ZONES_MAX);
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return keep(zones, timeZone, format, ZONES_MAX);
}

/** Whether it is the name of a time zone. Bare offsets ("+05:45") are none: they know nothing of summer. */
export function isTimeZone(name: string): boolean {
  if (name.length === 0 || name.length > ZONE_LENGTH_MAX || !/^[A-Za-z]/.test(name)) return false;
  try {
    clockOf(name);
    return true;
  } catch {
    return false;
  }
}

/** The day (since 1970) of YYYY-MM-DD, year 1 to 9999; undefined when the calendar has no such date. */
export function parseDate(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || text < '0001') return undefined;
  const ms = Date.parse(`${text}T00:00:00Z`);
  if (Number.isNaN(ms) || dateText(ms / DAY_MS) !== text) return undefined;
  return ms / DAY_MS;
}

export const dateText = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

/** What the clocks of the zone are ahead of UTC, ms. */
function offsetAt(clock: Intl.DateTimeFormat, instant: number): number {
  const ms = Math.max(instant, OLDEST_MS);
  const at: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
  for (const { type, value } of clock.formatToParts(ms)) at[type] = Number(value);
  return Date.UTC(at.year!, at.month! - 1, at.day, at.hour, at.minute, at.second) - Math.floor(ms / 1000) * 1000;
}

/** What the clocks of the zone show, YYYY-MM-DDTHH:MM. */
export function localTime(ms: number, timeZone: string): string {
  const offset = timeZone === 'UTC' ? 0 : offsetAt(clockOf(timeZone), ms);
  return new Date(ms + offset).toISOString().slice(0, 16);
}

/** The instant at which a day begins there, ms; a multiple of a slot. */
export function beginOfDay(day: number, timeZone: string): number {
  if (timeZone === 'UTC') return day * DAY_MS;
  const key = `${day} ${timeZone}`;
  const known = begins.get(key);
  if (known !== undefined) return known;
  const begin = Math.floor(searchBegin(day * DAY_MS, clockOf(timeZone)) / SLOT_MS) * SLOT_MS;
  return keep(begins, key, begin, BEGINS_MAX);
}

/** `wall`: midnight as if the clocks showed UTC. */
function searchBegin(wall: number, clock: Intl.DateTimeFormat): number {
  // No clock has ever been as far as a day away from UTC.
  let low = wall - DAY_MS;
  let high = wall + DAY_MS;
  const before = offsetAt(clock, low);
  const after = offsetAt(clock, high);
  if (before === after) return wall - before;
  // The clocks are set in between: `high` becomes the first second of the new offset.
  while (high - low > 1000) {
    const middle = Math.floor((low + high) / 2000) * 1000;
    if (offsetAt(clock, middle) === before) low = middle;
    else high = middle;
  }
  // Right after they still show the day before: midnight is yet to come, perhaps for a second time.
  if (high + after < wall) return wall - after;
  return Math.min(high, wall - before);
}

/** The dates `first` to `last`, both included, as a range. */
export function rangeOf(first: number, last: number, timeZone: string): Range {
  return { fromMs: beginOfDay(first, timeZone), toMs: beginOfDay(last + 1, timeZone), timeZone };
}

/** The day of an instant there. */
export function dayIn(ms: number, timeZone: string): number {
  const guess = dayOf(ms + (timeZone === 'UTC' ? 0 : offsetAt(clockOf(timeZone), ms)));
  // Around midnight the clocks may show a day twice; the begins of the days say which counts.
  if (ms < beginOfDay(guess, timeZone)) return guess - 1;
  return ms >= beginOfDay(guess + 1, timeZone) ? guess + 1 : guess;
}

export function partsOf({ fromMs, toMs }: Pick<Range, 'fromMs' | 'toMs'>): Parts {
  const slots = { from: slotOf(fromMs), to: slotOf(toMs) };
  // Not -0, which is no number of a day.
  const first = Math.ceil(slots.from / SLOTS_PER_DAY) || 0;
  const end = Math.floor(slots.to / SLOTS_PER_DAY);
  if (first >= end) {
    const none = { from: first, to: first };
    return { slots, days: none, head: slots, tail: { from: slots.to, to: slots.to } };
  }
  return {
    slots,
    days: { from: first, to: end },
    head: { from: slots.from, to: first * SLOTS_PER_DAY },
    tail: { from: end * SLOTS_PER_DAY, to: slots.to },
  };
}
