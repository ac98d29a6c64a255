/**
 * Prove: every night, marks days that are over, so that the audit reads the days since only (money/audit.ts). Needs no
 * ARCHIVE_DIR: rows stay where they are.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { DAY_MS } from '../../store/postgres/time-partitions.ts';
import { type Carried, carryDay } from './carry.ts';
import { overDays, type SmsDays } from './days.ts';
import { endDay } from './ended.ts';

/** Messages bear the times of those who accept them, whose clocks may be behind that of the server. */
export const CLOCKS_MS = 3_600_000;

export interface Proven {
  readonly carried: readonly Carried[];
  /** Names of days whose messages have all ended since the last run. */
  readonly ended: readonly string[];
}

/** Rejects with the first failure; what was done by then stays done, and the next run goes on from there. */
export async function proveDays(link: PostgresLink, days: SmsDays, signal: AbortSignal): Promise<Proven> {
  const carried: Carried[] = [];
  const ended: string[] = [];
  const done = await overDays(link, days, 'balance_txn');
  for (const day of await days.past(link, 'balance_txn', 0)) {
    if (done.has(day)) continue;
    const one = await carryDay(link, days, day, signal);
    if (one !== undefined) carried.push(one);
  }
  const over = await overDays(link, days, 'sms_logs');
  for (const day of await days.past(link, 'sms_logs', CLOCKS_MS / DAY_MS)) {
    if (over.has(day)) continue;
    if ((await endDay(link, days, day, signal)) !== undefined) ended.push(days.nameOf('sms_logs', day));
  }
  return { carried, ended };
}
