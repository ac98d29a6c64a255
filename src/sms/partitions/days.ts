/** The tables of the SMS gateway that are partitioned by day (store/postgres/day-partitions.ts). */
import { byDay, DayPartitions } from '../../store/postgres/day-partitions.ts';
import type { Sql } from '../../store/postgres/time-partitions.ts';

export type DailyTable = 'sms_logs' | 'balance_txn';
export type SmsDays = DayPartitions<DailyTable>;

const tables = [
  // Each message is updated some three times: the updates stay in their page.
  byDay<DailyTable>('sms_logs', 'created_at', 'fillfactor = 70'),
  byDay<DailyTable>('balance_txn', 'created_at'),
];

/** `now`: another clock than the server's, for tests. */
export const smsDaysBy = (now?: (sql: Sql) => Promise<number>): SmsDays =>
  new DayPartitions(tables, 'ringmain sms partitions', now);

export const smsDays: SmsDays = smsDaysBy();

/** A day as a value of the type date. */
export const dateOf = (days: SmsDays, day: number): string =>
  new Date(days.period.begin(day)).toISOString().slice(0, 10);

/** Days of a table that are marked in sms_days. */
export async function overDays(sql: Sql, days: SmsDays, table: DailyTable): Promise<ReadonlySet<number>> {
  const { rows } = await sql.query<{ ms: number }>(
    `SELECT (extract(epoch FROM day) * 1000)::float8 AS ms FROM sms_days WHERE parent = $1 AND over_at IS NOT NULL`,
    [table],
  );
  return new Set(rows.map(({ ms }) => days.period.at(ms)));
}
