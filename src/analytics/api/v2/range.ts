/** The range of a query of the API v2. */
import { SLOT_MS } from '../../dimensions.ts';
import type { Snapshot } from '../../query/database.ts';
import { dayIn, rangeOf } from '../../query/range.ts';
import type { Range } from '../../query/types.ts';
import { firstDayOf } from '../site.ts';
import type { RangeWord, V2Query } from './query.ts';

export async function rangeIn(
  snapshot: Snapshot,
  { date_range: asked }: V2Query,
  site: number,
  timeZone: string,
  nowMs: number,
): Promise<Range> {
  if ('ms' in asked) return { fromMs: asked.ms[0], toMs: asked.ms[1], timeZone };
  if ('days' in asked) return rangeOf(asked.days[0], asked.days[1], timeZone);
  if (asked.word === '24h') {
    // Sums are kept by quarters of an hour: the one that runs is the last.
    const toMs = Math.ceil(nowMs / SLOT_MS) * SLOT_MS;
    return { fromMs: toMs - 86_400_000, toMs, timeZone };
  }
  const today = dayIn(nowMs, timeZone);
  const first =
    asked.word === 'all' ? ((await firstDayOf(snapshot, site, timeZone)) ?? today) : firstOf(asked.word, today);
  return rangeOf(Math.min(first, today), today, timeZone);
}

function firstOf(word: Exclude<RangeWord, 'all' | '24h'>, today: number): number {
  if (word === 'day') return today;
  const days = /^(\d+)d$/.exec(word)?.[1];
  if (days !== undefined) return today - Number(days) + 1;
  const date = new Date(today * 86_400_000);
  const back = word === 'month' ? 0 : word === 'year' ? date.getUTCMonth() : Number.parseInt(word, 10) - 1;
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - back, 1) / 86_400_000;
}
