/**
 * Time partitions: tables that are partitioned by months (month-partitions.ts) or days (day-partitions.ts), with a
 * default partition for what has none.
 *
 *   periods  this one and `ahead` more are made ahead of time by a job; past ones when rows of theirs lie in the
 *            default partition, at most `back`. Everything else goes to the default partition
 *   now      the server's clock, which all processes share
 *
 * A partition is made beside its table and then attached: ATTACH lets the other partitions be read and written, which
 * CREATE TABLE ... PARTITION OF does not (https://www.postgresql.org/docs/14/sql-altertable.html). Only the default
 * partition is locked. Rows that lie in it are moved in the same transaction, and then the whole table is locked first:
 * a query that has planned without the new partition would otherwise find the rows nowhere. Each lock is waited for
 * LOCK_MS at most: whoever cannot have it leaves the rows in the default partition, where they count as well, and the
 * job moves them later. Processes that make the same partition meet at one advisory lock.
 */
import type { PostgresLink } from './connection.ts';
import { sqlState } from './fault.ts';
import { inTurn } from './in-turn.ts';

export const LOCK_MS = 2000;
/** Longest move of rows out of the default partition. */
const MOVE_MS = 20_000;
/** Rows of a period that are moved: more take longer, and whoever reads or writes the table would wait for nothing. */
const MOVED_ROWS_MAX = 2_000_000;
export const DAY_MS = 86_400_000;
/** Rows of the default partition are counted up to this number. */
const STRAYS_MAX = 10_000;
const CHECK_VIOLATION = '23514';
const LOCK_NOT_AVAILABLE = '55P03';

/** A session, or the transaction of a load. */
export interface Sql {
  query<R extends Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<{ readonly rows: R[] }>;
}

/** What a partition holds the rows of. Periods are numbered without a gap; a period begins where the last one ends. */
export interface Period {
  /** Number of the period that a time (ms since 1970) lies in. */
  at(ms: number): number;
  /** When it begins, in ms since 1970. */
  begin(period: number): number;
  /** As the names of partitions end: 202511. */
  text(period: number): string;
  /** The number by the name of a partition; undefined: its name is none of a period. */
  of(partition: string): number | undefined;
  /** The number of the period of a timestamp in UTC, as SQL of type int. */
  sql(timestamp: string): string;
  /** How many beside this one are made ahead of time. */
  readonly ahead: number;
  /** How many before this one are made for rows of the default partition. */
  readonly back: number;
}

export interface TimeTable<T extends string = string> {
  readonly table: T;
  readonly column: string;
  /** Where a period begins, as SQL. */
  bound(period: number): string;
  /** The time of a row, as SQL. */
  readonly time: string;
  /** Storage parameters of its partitions: `fillfactor = 70`. */
  readonly storage?: string;
}

/** A table by a column of timestamptz. */
export const byTimestamp = <T extends string>(
  period: Period,
  table: T,
  column: string,
  storage?: string,
): TimeTable<T> => ({
  table,
  column,
  bound: (at) => `'${new Date(period.begin(at)).toISOString()}'`,
  time: column,
  ...(storage === undefined ? {} : { storage }),
});

/** Ms since 1970, by the server's clock. */
export async function serverNow(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ ms: number }>(
    'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
  );
  return rows[0]!.ms;
}

/** Partitions of a table that are attached now, by name. */
export async function attached(sql: Sql, table: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql.query<{ name: string }>(
    'SELECT c.relname AS name FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass($1)',
    [table],
  );
  return new Set(rows.map(({ name }) => name));
}

/** Periods of a table that have a partition, oldest first. */
export async function periodsOf(sql: Sql, period: Period, table: string): Promise<readonly number[]> {
  const found = [...(await attached(sql, table))].map((name) => period.of(name));
  return found.filter((at) => at !== undefined).sort((a, b) => a - b);
}

/** The lock of everybody who makes or drops a partition of some tables, by its name. */
export const partitionLock = (name: string): string => `SELECT pg_advisory_xact_lock(hashtext('${name}'))`;

/** Runs statements in a transaction that waits for no lock longer than LOCK_MS. */
export async function withinLock<T>(link: PostgresLink, lock: string, run: () => Promise<T>): Promise<T> {
  await link.query(`BEGIN; SET LOCAL lock_timeout = ${LOCK_MS}; SET LOCAL statement_timeout = ${MOVE_MS}`);
  try {
    await link.query(lock);
    const result = await run();
    await link.query('COMMIT');
    return result;
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    throw error;
  }
}

/**
 * A row was on its way to the default partition while the one of its period was made: the same batch succeeds the next
 * time. Nothing is wrong with the row, although SQLSTATE says so; a check that a row breaks has a name.
 */
export function wasMadeMeanwhile(error: unknown): boolean {
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  return code === CHECK_VIOLATION && constraint === undefined;
}

export interface PartitionState<T extends string = string> {
  /** Partitions of the next period that are missing, and of this one. */
  readonly missing: readonly string[];
  /** Rows in the default partitions that belong to a period with a partition of its own; at most STRAYS_MAX each. */
  readonly strays: Readonly<Record<T, number>>;
}

export class TimePartitions<T extends string> {
  readonly period: Period;
  readonly tables: readonly TimeTable<T>[];
  /** SQL that takes the lock of everybody who makes or drops one of its partitions. */
  readonly lock: string;
  readonly #now: (sql: Sql) => Promise<number>;
  readonly #movedMax: number;

  /** `lock`: its name, without quotes. `now`: another clock than the server's, for tests, as `movedMax`. */
  constructor(
    period: Period,
    tables: readonly TimeTable<T>[],
    lock: string,
    now = serverNow,
    movedMax = MOVED_ROWS_MAX,
  ) {
    this.period = period;
    this.tables = tables;
    this.lock = partitionLock(lock);
    this.#now = now;
    this.#movedMax = movedMax;
  }

  /** Ms since 1970. */
  now(sql: Sql): Promise<number> {
    return this.#now(sql);
  }

  /** Makes the partitions of a period that are missing, of all tables or of some, and moves its rows there. */
  async makePeriod(link: PostgresLink, period: number, tables = this.tables): Promise<void> {
    for (const one of tables) {
      const rows = await this.#rowsIn(link, one, period, this.#movedMax + 1);
      if (rows > this.#movedMax)
        throw new Error(
          `${one.table}_default must hold at most ${this.#movedMax} rows of ${this.nameOf(one.table, period)} to be ` +
            'moved in time: move them by hand',
        );
      try {
        await this.#attach(link, one, period, rows > 0);
      } catch (error) {
        // A row of the period has come meanwhile.
        if (!wasMadeMeanwhile(error)) throw error;
        await this.#attach(link, one, period, true);
      }
    }
  }

  /**
   * Makes this period, those ahead, and those whose rows lie in the default partition. One that cannot be made keeps no
   * other from being made; the first error is thrown at the end. A table whose lock is not to be had is left to the
   * next run: every wait for it holds up whoever writes.
   */
  async make(link: PostgresLink): Promise<void> {
    const now = this.period.at(await this.#now(link));
    const held = new Set<T>();
    const makeOne = async (one: TimeTable<T>, period: number): Promise<void> => {
      if (held.has(one.table)) return;
      try {
        await this.makePeriod(link, period, [one]);
      } catch (error) {
        if (sqlState(error) === LOCK_NOT_AVAILABLE) held.add(one.table);
        throw error;
      }
    };
    const ahead = Array.from({ length: this.period.ahead + 1 }, (_, i) => now + i);
    await inTurn(link, [
      ...ahead.flatMap((period) => this.tables.map((one) => () => makeOne(one, period))),
      ...this.tables.map((one) => async () => {
        const strays = await this.#strayPeriods(link, one, now);
        await inTurn(
          link,
          strays.map((period) => () => makeOne(one, period)),
        );
      }),
    ]);
  }

  /** Those of a table that ended more than `days` ago, oldest first. */
  async past(sql: Sql, table: T, days: number): Promise<readonly number[]> {
    const ms = await this.#now(sql);
    const there = await periodsOf(sql, this.period, table);
    return there.filter((at) => this.period.begin(at + 1) + days * DAY_MS <= ms);
  }

  /**
   * Drops the periods that ended more than `days` ago, and tells the name of each partition that is gone. One that
   * somebody holds keeps no other from being dropped; the first error is thrown at the end.
   */
  async drop(link: PostgresLink, days: number, gone: (partition: string) => void): Promise<void> {
    await inTurn(
      link,
      this.tables.map((one) => () => this.#dropOf(link, one.table, days, gone)),
    );
  }

  /** A table that somebody holds as a whole is left to the next run: every wait for its lock holds up whoever writes. */
  async #dropOf(link: PostgresLink, table: T, days: number, gone: (partition: string) => void): Promise<void> {
    let free = true;
    const dropOne = async (period: number): Promise<void> => {
      if (!free) return;
      free = false;
      const name = this.nameOf(table, period);
      await withinLock(link, this.lock, async () => {
        await link.query(`LOCK TABLE ONLY ${table} IN ACCESS EXCLUSIVE MODE`);
        free = true;
        await link.query(`DROP TABLE IF EXISTS ${name}`);
      });
      gone(name);
    };
    const old = await this.past(link, table, days);
    await inTurn(
      link,
      old.map((period) => () => dropOne(period)),
    );
  }

  async state(sql: Sql): Promise<PartitionState<T>> {
    const now = this.period.at(await this.#now(sql));
    const missing: string[] = [];
    const strays: [T, number][] = [];
    for (const one of this.tables) {
      const there = await periodsOf(sql, this.period, one.table);
      const wanted = [now, now + 1].filter((at) => !there.includes(at));
      missing.push(...wanted.map((at) => this.nameOf(one.table, at)));
      const { rows } = await sql.query<{ n: number }>(
        `SELECT count(*)::int AS n
         FROM (SELECT FROM ${one.table}_default WHERE ${this.#inWindow(one, now)} LIMIT ${STRAYS_MAX}) AS strays`,
      );
      strays.push([one.table, rows[0]!.n]);
    }
    return { missing, strays: Object.fromEntries(strays) as Record<T, number> };
  }

  nameOf(table: T, period: number): string {
    return `${table}_${this.period.text(period)}`;
  }

  #attach(link: PostgresLink, one: TimeTable<T>, period: number, move: boolean): Promise<void> {
    const { table, column, bound, storage } = one;
    const name = this.nameOf(table, period);
    const from = bound(period);
    const to = bound(period + 1);
    const stored = storage === undefined ? '' : ` WITH (${storage})`;
    return withinLock(link, this.lock, async () => {
      if ((await attached(link, table)).has(name)) return;
      if (move) await link.query(`LOCK TABLE ONLY ${table}, ${table}_default IN ACCESS EXCLUSIVE MODE`);
      await link.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL EXCLUDING IDENTITY)${stored}`);
      if (move)
        await link.query(
          `WITH moved AS (DELETE FROM ${table}_default WHERE ${column} >= ${from} AND ${column} < ${to} RETURNING *)
           INSERT INTO ${name} SELECT * FROM moved`,
        );
      await link.query(`ALTER TABLE ${table} ATTACH PARTITION ${name} FOR VALUES FROM (${from}) TO (${to})`);
    });
  }

  /** Rows of a period in the default partition; at most `max`. */
  async #rowsIn(sql: Sql, { table, column, bound }: TimeTable<T>, period: number, max: number): Promise<number> {
    const { rows } = await sql.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM (SELECT FROM ${table}_default
         WHERE ${column} >= ${bound(period)} AND ${column} < ${bound(period + 1)} LIMIT ${max}) AS found`,
    );
    return rows[0]!.n;
  }

  /** Periods that should have a partition and have rows in the default one. */
  async #strayPeriods(sql: Sql, one: TimeTable<T>, now: number): Promise<readonly number[]> {
    const { rows } = await sql.query<{ period: number }>(
      `SELECT DISTINCT ${this.period.sql('t')} AS period
       FROM (SELECT ${one.time} AT TIME ZONE 'UTC' AS t
             FROM ${one.table}_default WHERE ${this.#inWindow(one, now)}) AS rows
       ORDER BY 1`,
    );
    return rows.map(({ period }) => period);
  }

  #inWindow({ column, bound }: TimeTable<T>, now: number): string {
    const { ahead, back } = this.period;
    return `${column} >= ${bound(now - back)} AND ${column} < ${bound(now + ahead + 1)}`;
  }
}
