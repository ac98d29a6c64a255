/** Month partitions (time-partitions.ts): this month and MONTHS_AHEAD are made ahead of time. */
import {
  byTimestamp,
  type Period,
  periodsOf,
  type Sql,
  serverNow,
  TimePartitions,
  type TimeTable,
} from './time-partitions.ts';

export const MONTHS_AHEAD = 2;
export const MONTHS_BACK = 120;

/** First day of a month (months since year 0), in ms since 1970. */
export const beginOf = (month: number): number => Date.UTC(Math.floor(month / 12), month % 12, 1);

/** 202511, as the names of partitions end. */
export function monthText(month: number): string {
  return `${String(Math.floor(month / 12)).padStart(4, '0')}${String((month % 12) + 1).padStart(2, '0')}`;
}

/** Months since year 0. */
export const monthPeriod: Period = {
  at(ms) {
    const date = new Date(ms);
    return date.getUTCFullYear() * 12 + date.getUTCMonth();
  },
  begin: beginOf,
  text: monthText,
  of(partition) {
    const [, year, month] = /_(\d{4})(\d{2})$/.exec(partition) ?? [];
    return year === undefined ? undefined : Number(year) * 12 + Number(month) - 1;
  },
  sql: (timestamp) => `(extract(year FROM ${timestamp}) * 12 + extract(month FROM ${timestamp}) - 1)::int`,
  ahead: MONTHS_AHEAD,
  back: MONTHS_BACK,
};

/** A table by a column of timestamptz. */
export const byTime = <T extends string>(table: T, column: string): TimeTable<T> =>
  byTimestamp(monthPeriod, table, column);

/** Months since year 0, by the server's clock. */
export async function monthNow(sql: Sql): Promise<{ readonly month: number; readonly ms: number }> {
  const ms = await serverNow(sql);
  return { ms, month: monthPeriod.at(ms) };
}

/** Months of a table that have a partition. */
export const monthsOf = (sql: Sql, table: string): Promise<readonly number[]> => periodsOf(sql, monthPeriod, table);

export class MonthPartitions<T extends string> extends TimePartitions<T> {
  /** `lock`: its name, without quotes. `movedMax`: for tests. */
  constructor(tables: readonly TimeTable<T>[], lock: string, movedMax?: number) {
    super(monthPeriod, tables, lock, serverNow, movedMax);
  }
}
