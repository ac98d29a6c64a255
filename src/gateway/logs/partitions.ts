/** Partitions of request_logs: months (store/postgres/month-partitions.ts), dropped when they are LOG_RETENTION_DAYS old. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTurn } from '../../store/postgres/in-turn.ts';
import { byTime, MonthPartitions, monthNow } from '../../store/postgres/month-partitions.ts';

export const logMonths = new MonthPartitions([byTime('request_logs', 'created_at')], 'ringmain gateway partitions');

const DAY_MS = 86_400_000;
const BATCH_ROWS = 5000;
/** Batches of one run; the next run goes on. */
const BATCHES_MAX = 200;

export interface Dropped {
  readonly months: readonly string[];
  /** Rows of the default partition. */
  readonly rows: number;
}

/**
 * Deletes what is older than so many days: whole months, and rows that lie in the default partition. A month that
 * somebody holds keeps nothing else; its error is thrown at the end.
 */
export async function dropOldLogs(link: PostgresLink, days: number, signal: AbortSignal): Promise<Dropped> {
  const months: string[] = [];
  let rows = 0;
  await inTurn(link, [
    () => logMonths.drop(link, days, (name) => months.push(name)),
    async () => {
      rows = await deleteAstray(link, days, signal);
    },
  ]);
  return { months, rows };
}

async function deleteAstray(link: PostgresLink, days: number, signal: AbortSignal): Promise<number> {
  const { ms } = await monthNow(link);
  let rows = 0;
  for (let batch = 0; batch < BATCHES_MAX && !signal.aborted; batch += 1) {
    const { rowCount } = await link.query(
      `DELETE FROM request_logs_default WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM request_logs_default WHERE created_at < to_timestamp($1::float8 / 1000) LIMIT ${BATCH_ROWS}))`,
      [ms - days * DAY_MS],
    );
    rows += rowCount ?? 0;
    if ((rowCount ?? 0) < BATCH_ROWS) break;
  }
  return rows;
}
