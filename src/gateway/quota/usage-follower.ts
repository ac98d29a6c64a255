/**
 * Usage follower: brings what the database holds of this month into the usage table, so that gateways see each other's
 * use within a second, and a gateway that starts knows what was used before.
 *
 * A look reads what has changed since the one before. Rows are found by the time of their change, and a transaction may
 * commit later than that: each look goes back OVERLAP. Once in a while everything is read again.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { takeTotal } from './stored-usage.ts';
import { monthOf, type UsageTable } from './usage-table.ts';

const PAGE = 10_000;
const OVERLAP = "interval '10 seconds'";
const EVERYTHING_MS = 300_000;
const FROM_THE_BEGINNING = '-infinity';

const CHANGED = `SELECT user_id, requests, bytes, (max(changed_at) OVER () - ${OVERLAP})::text AS since FROM usage_months
  WHERE month = make_date($1 / 12, $1 % 12 + 1, 1) AND changed_at > $2::timestamptz AND user_id > $3
  ORDER BY user_id LIMIT ${PAGE}`;

interface Row extends Record<string, unknown> {
  readonly user_id: string;
  readonly requests: string;
  readonly bytes: string;
  readonly since: string;
}

/** What a look has seen: rows of this month that were changed after this time may be new. */
export interface Looked {
  readonly month: number;
  readonly since: string;
  /** How many it has read. */
  readonly rows: number;
}

export class UsageFollower {
  readonly #table: UsageTable;
  readonly #now: () => number;
  readonly #elapsed: () => number;
  #month = 0;
  #since = FROM_THE_BEGINNING;
  #everythingAt = 0;

  /** `now`: the wall clock, for the month; `elapsed`: one that is never set. */
  constructor(table: UsageTable, now: () => number, elapsed: () => number) {
    this.#table = table;
    this.#now = now;
    this.#elapsed = elapsed;
  }

  async look(link: PostgresLink): Promise<Looked> {
    const month = monthOf(this.#now());
    const everything = month !== this.#month || this.#elapsed() >= this.#everythingAt;
    const since = everything ? FROM_THE_BEGINNING : this.#since;
    let newest = since;
    let last = 0;
    let read = 0;
    for (let more = true; more; ) {
      const ended = this.#table.endedWrites;
      const { rows } = await link.query<Row>(CHANGED, [month, since, last]);
      for (const row of rows) this.#take(row, month, ended);
      more = rows.length === PAGE;
      read += rows.length;
      last = Number(rows.at(-1)?.user_id ?? last);
      // The first page's: what changes while later ones are read is read again.
      if (newest === since) newest = rows[0]?.since ?? since;
    }
    this.#month = month;
    this.#since = newest;
    if (everything) this.#everythingAt = this.#elapsed() + EVERYTHING_MS;
    return { month, since, rows: read };
  }

  /** A user of whom this process is writing something now: the answer to that write tells more. */
  #take(row: Row, month: number, ended: number): void {
    const userId = Number(row.user_id);
    const slot = this.#table.slot(userId);
    if (slot === undefined || !this.#table.quietSince(slot, ended)) return;
    takeTotal(this.#table, { userId, month, requests: Number(row.requests), bytes: Number(row.bytes) });
  }
}
