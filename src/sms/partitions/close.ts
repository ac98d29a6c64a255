/**
 * Close: takes a day that is past its retention out of its table. First it is made sure that the day is over: its
 * messages have ended (ended.ts), or its sums are carried (carry.ts). That may take minutes, and nobody waits for it.
 * Then a transaction detaches the partition, gives it a name that no partition has, and records it in sms_archives, if
 * the mark of the day is still there.
 *
 * DETACH locks the whole table: every send and every outcome, of whatever day, waits behind it. So the transaction
 * holds nothing that anybody needs while it waits for that lock, waits a moment only, and begins anew after a pause.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { quoteName } from '../../store/postgres/names.ts';
import { LOCK_MS, periodsOf } from '../../store/postgres/time-partitions.ts';
import { carryDay } from './carry.ts';
import { type DailyTable, dateOf, type SmsDays } from './days.ts';
import { endDay } from './ended.ts';

/** Longest wait for the lock of the table. */
const PARENT_LOCK_MS = 100;
const DETACH_PAUSE_MS = 1000;
/** A report or an audit that reads the whole table may take a minute. */
const DETACH_TRIES = 60;
const LOCK_NOT_AVAILABLE = '55P03';

/** The name of the detached table of a row of sms_archives, as SQL. */
export const RELATION = `(parent || to_char(day, '_YYYYMMDD') || '_closed_' || id)`;

export interface Closed {
  readonly relation: string;
}

/**
 * Closes one day. Returns undefined when the day holds a message that has not ended, or is not attached any more.
 * Rejects with SQLSTATE 55P03 when a lock cannot be had in time; the day is attached then.
 */
export async function closeDay(
  link: PostgresLink,
  days: SmsDays,
  table: DailyTable,
  day: number,
  signal: AbortSignal,
): Promise<Closed | undefined> {
  if (!(await periodsOf(link, days.period, table)).includes(day)) return undefined;
  // Looked at again: a clock that was wrong may have brought messages after the mark was made.
  if (table === 'balance_txn') await carryDay(link, days, day, signal);
  else if ((await endDay(link, days, day, signal)) === undefined) return undefined;
  for (let tries = 1; ; tries += 1) {
    signal.throwIfAborted();
    try {
      return await detach(link, days, table, day);
    } catch (error) {
      if (sqlState(error) !== LOCK_NOT_AVAILABLE || tries === DETACH_TRIES) throw error;
    }
    await delay(DETACH_PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
}

const detach = (link: PostgresLink, days: SmsDays, table: DailyTable, day: number): Promise<Closed | undefined> =>
  inTransaction(link, async () => {
    const date = dateOf(days, day);
    const partition = quoteName(days.nameOf(table, day));
    await link.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
    await link.query(days.lock);
    // Whoever sends a message of the day again needs this row before the table.
    const { rows: marks } = await link.query(
      'DELETE FROM sms_days WHERE parent = $1 AND day = $2 AND over_at IS NOT NULL RETURNING day',
      [table, date],
    );
    if (marks.length === 0) return undefined;
    await link.query(`SET LOCAL lock_timeout = ${PARENT_LOCK_MS}`);
    await link.query(`ALTER TABLE ${table} DETACH PARTITION ${partition}`);
    const { rows } = await link.query<{ relation: string }>(
      `INSERT INTO sms_archives (parent, day) VALUES ($1, $2) RETURNING ${RELATION} AS relation`,
      [table, date],
    );
    const [{ relation }] = rows as [{ relation: string }];
    await link.query(`ALTER TABLE ${partition} RENAME TO ${quoteName(relation)}`);
    return { relation };
  });
