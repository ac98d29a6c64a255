/** Day partitions (time-partitions.ts), by days of UTC: this day and DAYS_AHEAD are made ahead of time. */
import {
  byTimestamp,
  DAY_MS,
  type Period,
  type Sql,
  serverNow,
  TimePartitions,
  type TimeTable,
} from './time-partitions.ts';

export const DAYS_AHEAD = 7;
/** About three years: what is older came by a clock that is wrong. */
const DAYS_BACK = 1100;

/** Days since 1970. */
export const dayPeriod: Period = {
  at: (ms) => Math.floor(ms / DAY_MS),
  begin: (day) => day * DAY_MS,
  text: (day) => new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', ''),
  of(partition) {
    const [, year, month, day] = /_(\d{4})(\d{2})(\d{2})$/.exec(partition) ?? [];
    return year === undefined ? undefined : Date.UTC(Number(year), Number(month) - 1, Number(day)) / DAY_MS;
  },
  sql: (timestamp) => `floor(extract(epoch FROM ${timestamp}) / 86400)::int`,
  ahead: DAYS_AHEAD,
  back: DAYS_BACK,
};

/** A table by a column of timestamptz. `storage`: parameters of its partitions. */
export const byDay = <T extends string>(table: T, column: string, storage?: string): TimeTable<T> =>
  byTimestamp(dayPeriod, table, column, storage);

export class DayPartitions<T extends string> extends TimePartitions<T> {
  /** `lock`: its name, without quotes. `now`: another clock than the server's, for tests. */
  constructor(tables: readonly TimeTable<T>[], lock: string, now: (sql: Sql) => Promise<number> = serverNow) {
    super(dayPeriod, tables, lock, now);
  }
}
