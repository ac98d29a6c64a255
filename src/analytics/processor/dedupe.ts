/**
 * Dedupe: an event_id counts once, whatever its timestamps say, for 7 days at least. Ids are kept by the week in which
 * they were stored (`event_ids`), each with the receipt of the acceptance that was counted (receipt.ts); a week is
 * dropped when two later ones have begun.
 *
 *   within a batch      the first event with an id counts
 *   in the same week    the unique index decides: a second transaction waits for the first, and finds the id taken
 *   in another week     weeks other than ours are looked up. What was committed there is seen
 *   at the change       a transaction of the old week may still be open when one of the new week looks, and is not
 *                       seen. So for OVERLAP_SECONDS after a week has begun, ids are put into the week before too, and
 *                       its index decides again. Without a lock, nobody waits for anybody but for the same id. It holds
 *                       as well when the server's clock is set back by less than that, or when a standby whose clock
 *                       differs takes over
 *   deadlocks           ids are inserted in their order, so of two transactions with common ids one waits
 *
 * The clock is the server's: all processors have the same.
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import { int4Array, uuidArray } from '../../store/postgres/binary-array.ts';

const WEEK_SECONDS = 7 * 86_400;
/** Longer than any transaction of a load may last. */
const OVERLAP_SECONDS = 6 * 3600;

/** Weeks that are kept in mind. */
const KNOWN_MAX = 8;

type Sql = Pick<Transaction, 'query'>;

/** Ids with their receipts, each id once, in lower case. */
export type Claims = ReadonlyMap<string, number>;
/** Ids that were there before, with the receipts that they are known by. */
export type Known = ReadonlyMap<string, ReadonlySet<number>>;

interface Row extends Record<string, unknown> {
  readonly event_id: string;
  readonly receipt: number;
}

/** Weeks since 1970, and whether the week before may still be written to. */
export interface Week {
  readonly week: number;
  readonly overlaps: boolean;
}

export const weekAt = (ms: number): Week => {
  const seconds = Math.floor(ms / 1000);
  return { week: Math.floor(seconds / WEEK_SECONDS), overlaps: seconds % WEEK_SECONDS < OVERLAP_SECONDS };
};

export class Dedupe {
  /** Weeks whose partition is known to exist. */
  readonly #known = new Set<number>();

  /** Nothing is known any more. */
  forget(): void {
    this.#known.clear();
  }

  /**
   * The week by the clock of the server. For the rest of the transaction the server goes by indexes: for so many ids at
   * once it may choose to read a whole week. `refusals`: there are some (refusals.ts).
   */
  async week(transaction: Sql): Promise<Week & { readonly refusals: boolean }> {
    const sql = `SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms,
      EXISTS (SELECT FROM refused_events) AS refusals,
      set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`;
    const { rows } = await transaction.query<{ ms: number; refusals: boolean }>(sql);
    const { ms, refusals } = rows[0]!;
    return { ...weekAt(ms), refusals };
  }

  /** Takes the ids for the week. Returns those that were taken before. */
  async take(transaction: Sql, claims: Claims, { week, overlaps }: Week): Promise<Known> {
    const known = new Map<string, Set<number>>();
    if (claims.size === 0) return known;
    const note = (rows: readonly Row[]) => {
      for (const { event_id: id, receipt } of rows) {
        const receipts = known.get(id);
        if (receipts === undefined) known.set(id, new Set([receipt]));
        else receipts.add(receipt);
      }
    };
    const sorted = [...claims.keys()].sort();
    const first = overlaps ? week - 1 : week;
    for (let into = first; into <= week; into += 1) {
      await this.#ensure(transaction, into);
      const given = known.size === 0 ? sorted : sorted.filter((id) => !known.has(id));
      const conflicts = await insert(transaction, given, claims, into);
      // A statement of its own: the row may have been committed while the one before waited for it.
      if (conflicts.length > 0) note(await receiptsOf(transaction, conflicts, 'week = $2', [into]));
    }
    note(await receiptsOf(transaction, sorted, '(week < $2 OR week > $3)', [first, week]));
    return known;
  }

  /** Which of the ids were taken before, in any week. */
  async find(transaction: Sql, ids: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set((await receiptsOf(transaction, ids, 'true', [])).map((row) => row.event_id));
  }

  /** A job makes the weeks ahead of time; a week that is missing all the same is made here. */
  async #ensure(transaction: Sql, week: number): Promise<void> {
    if (this.#known.has(week)) return;
    const name = `event_ids_${week}`;
    if (await isAttached(transaction, name)) {
      // Known from now on: it is there whether or not this transaction commits.
      if (this.#known.size > KNOWN_MAX) this.#known.clear();
      this.#known.add(week);
      return;
    }
    // ATTACH holds off no reader and no writer of the other weeks, which CREATE ... PARTITION OF would.
    await transaction.query("SELECT pg_advisory_xact_lock(hashtext('ringmain event_ids'))");
    if (await isAttached(transaction, name)) return;
    await transaction.query(
      `CREATE TABLE ${name} (LIKE event_ids INCLUDING ALL);
       ALTER TABLE event_ids ATTACH PARTITION ${name} FOR VALUES IN (${week})`,
    );
  }
}

/** Asked of the catalog and not by to_regclass(), which may answer from a cache what was true before the lock. */
async function isAttached(transaction: Sql, name: string): Promise<boolean> {
  const { rows } = await transaction.query(
    `SELECT FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
     WHERE inhparent = 'event_ids'::regclass AND c.relname = $1`,
    [name],
  );
  return rows.length > 0;
}

/** Puts sorted ids into a week; returns those that are there already. */
async function insert(
  transaction: Sql,
  ids: readonly string[],
  claims: Claims,
  week: number,
): Promise<readonly string[]> {
  if (ids.length === 0) return [];
  const { rows } = await transaction.query<{ event_id: string }>(
    `WITH fresh AS (
       INSERT INTO event_ids (event_id, receipt, week) SELECT event_id, ($2::int4[])[i], $3
       FROM unnest($1::uuid[]) WITH ORDINALITY AS given (event_id, i) ON CONFLICT DO NOTHING RETURNING event_id
     )
     SELECT event_id FROM unnest($1::uuid[]) AS given (event_id)
     WHERE (SELECT count(*) FROM fresh) < $4 AND event_id NOT IN (SELECT event_id FROM fresh)`,
    [uuidArray(ids, (id) => id), int4Array(ids, (id) => claims.get(id)!), week, ids.length],
  );
  return rows.map(({ event_id }) => event_id);
}

async function receiptsOf(
  transaction: Sql,
  ids: readonly string[],
  where: string,
  weeks: readonly number[],
): Promise<readonly Row[]> {
  const { rows } = await transaction.query<Row>(
    `SELECT event_id, receipt FROM event_ids WHERE event_id = ANY ($1::uuid[]) AND ${where}`,
    [uuidArray(ids, (id) => id), ...weeks],
  );
  return rows;
}
