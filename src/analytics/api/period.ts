/**
 * Period: what `period`, `from`, `to` and `compare` mean at an instant, as days of a time zone. Whoever compares a
 * period that is not over sees, of the other, only what had gone by at that time of its day: half a day is no match for
 * a whole.
 */
import { DAY_MS, SLOT_MS } from '../dimensions.ts';
import { beginOfDay, dateText, dayIn, localTime, parseDate, rangeOf } from '../query/range.ts';
import type { Interval, Range } from '../query/types.ts';
import type { Compare, Dates, Period } from './contract.ts';

export const periods = [
  'today',
  'yesterday',
  '7d',
  '30d',
  'month',
  'last_month',
  'year',
  'all',
  'custom',
] as const satisfies readonly Period[];
export const compares = ['previous', 'year', 'none'] as const satisfies readonly Compare[];

/** Plain data: which days somebody asks for. */
export interface AskedPeriod {
  readonly period: Period;
  /** Of `custom`: days since 1970. */
  readonly from?: number;
  readonly to?: number;
  readonly compare: Compare;
}

/** Days of the calendar, both included. */
interface Days {
  readonly first: number;
  readonly last: number;
}

export interface Stretch extends Days {
  /** The whole of it. */
  readonly range: Range;
  /** Up to where it counts: the end, or where a running period has got to. */
  readonly untilMs: number | undefined;
}

export interface Windows {
  readonly now: Stretch;
  readonly before: Stretch | undefined;
}

/** Days of a month; months are counted from year 0. */
function month(number: number): Days {
  const first = (at: number): number => {
    const date = new Date(0);
    date.setUTCFullYear(Math.floor(at / 12), at % 12, 1);
    return date.getTime() / DAY_MS;
  };
  return { first: first(number), last: first(number + 1) - 1 };
}

const monthOf = (day: number): number => {
  const date = new Date(day * DAY_MS);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
};

const yearOf = (day: number): Days => {
  const january = monthOf(day) - (monthOf(day) % 12);
  return { first: month(january).first, last: month(january + 11).last };
};

/** `firstDay`: of the site's first event; undefined: it has none. */
function daysOf({ period, from, to }: AskedPeriod, today: number, firstDay: number | undefined): Days {
  switch (period) {
    case 'today':
      return { first: today, last: today };
    case 'yesterday':
      return { first: today - 1, last: today - 1 };
    case '7d':
      return { first: today - 6, last: today };
    case '30d':
      return { first: today - 29, last: today };
    case 'month':
      return month(monthOf(today));
    case 'last_month':
      return month(monthOf(today) - 1);
    case 'year':
      return yearOf(today);
    case 'all':
      return { first: Math.min(firstDay ?? today, today), last: today };
    case 'custom':
      return { first: from!, last: to! };
  }
}

/** The same date a year before; the 28th for a 29 February. */
function yearBefore(day: number): number {
  const text = dateText(day);
  const year = String(Number(text.slice(0, 4)) - 1).padStart(4, '0');
  return parseDate(`${year}${text.slice(4)}`) ?? parseDate(`${year}-02-28`)!;
}

function daysBefore({ period, compare }: AskedPeriod, { first, last }: Days): Days | undefined {
  if (compare === 'none' || period === 'all') return undefined;
  // There is no year before the first.
  if (compare === 'year')
    return dateText(first) < '0002' ? undefined : { first: yearBefore(first), last: yearBefore(last) };
  if (period === 'month' || period === 'last_month') return month(monthOf(first) - 1);
  if (period === 'year') return yearOf(first - 1);
  return { first: first - (last - first + 1), last: first - 1 };
}

export function windowsOf(asked: AskedPeriod, timeZone: string, nowMs: number, firstDay: number | undefined): Windows {
  const today = dayIn(nowMs, timeZone);
  const days = daysOf(asked, today, firstDay);
  const stretch = (of: Days, untilMs: number | undefined): Stretch => ({
    ...of,
    range: rangeOf(of.first, of.last, timeZone),
    untilMs,
  });
  const runs = days.first <= today && today <= days.last;
  const before = daysBefore(asked, days);
  if (!runs) return { now: stretch(days, undefined), before: before && stretch(before, undefined) };
  return {
    now: stretch(days, nowMs),
    before: before && stretch(before, reached(before, days, today, nowMs, timeZone)),
  };
}

/** Where the days before had got to when as many of them, and as much of a day, had gone by. */
function reached(before: Days, { first }: Days, today: number, nowMs: number, timeZone: string): number | undefined {
  const day = before.first + (today - first);
  if (day > before.last) return undefined;
  const gone = Math.ceil((nowMs - beginOfDay(today, timeZone)) / SLOT_MS) * SLOT_MS;
  const end = beginOfDay(day + 1, timeZone);
  const until = beginOfDay(day, timeZone) + gone;
  return until >= end && day === before.last ? undefined : Math.min(until, end);
}

/** What counts of it. */
export function rangeUntil({ range, untilMs }: Stretch): Range {
  if (untilMs === undefined) return range;
  const toMs = Math.min(Math.ceil(untilMs / SLOT_MS) * SLOT_MS, range.toMs);
  return { ...range, toMs: Math.max(toMs, range.fromMs) };
}

export function datesOf({ first, last, range, untilMs }: Stretch): Dates {
  return {
    from: dateText(first),
    to: dateText(last),
    until: untilMs === undefined ? null : localTime(untilMs, range.timeZone),
  };
}

/** The interval that a picture of so many days has, unless somebody asks for another. */
export function intervalOf({ first, last }: Days): Interval {
  const days = last - first + 1;
  if (days <= 2) return 'hour';
  if (days <= 93) return 'day';
  return days <= 731 ? 'week' : 'month';
}
