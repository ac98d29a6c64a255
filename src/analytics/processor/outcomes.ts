/**
 * Outcomes: the books of a batch, by site and UTC hour of receipt. What became of its records goes to `outcome_hours`;
 * foreign records, which no intake has counted, are counted as accepted when they are read. One row for each site and
 * hour, in their order, so that two processors wait for each other and never in a circle.
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';

export const outcomes = ['stored', 'duplicates', 'rejected'] as const;
export type Outcome = (typeof outcomes)[number];

const HOUR_MS = 3_600_000;

/** UTC hours since 1970. */
export const hourOf = (ms: number): number => Math.floor(ms / HOUR_MS);

interface Row {
  readonly site_id: string;
  readonly hour: number;
  accepted: number;
  stored: number;
  duplicates: number;
  rejected: number;
}

/** The sites and hours of one batch. */
export class Books {
  readonly #rows = new Map<string, Row>();
  #last: Row | undefined;

  /** `foreign`: it is accepted by being read. */
  count(siteId: string, receivedMs: number, outcome: Outcome, foreign: boolean): void {
    this.add(siteId, hourOf(receivedMs), outcome, foreign, 1);
  }

  /** Takes back that an event was stored. */
  uncount(siteId: string, receivedMs: number, foreign: boolean): void {
    this.add(siteId, hourOf(receivedMs), 'stored', foreign, -1);
  }

  /** `by`: -1 takes back what was counted before. */
  add(siteId: string, hour: number, outcome: Outcome, foreign: boolean, by: 1 | -1): void {
    const last = this.#last;
    const row = last !== undefined && last.hour === hour && last.site_id === siteId ? last : this.#rowOf(siteId, hour);
    this.#last = row;
    row[outcome] += by;
    if (foreign) row.accepted += by;
  }

  #rowOf(siteId: string, hour: number): Row {
    const key = `${hour} ${siteId}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { site_id: siteId, hour, accepted: 0, stored: 0, duplicates: 0, rejected: 0 };
      this.#rows.set(key, row);
    }
    return row;
  }

  async write(transaction: Pick<Transaction, 'query'>): Promise<void> {
    const rows = [...this.#rows.values()].filter(
      ({ accepted, stored, duplicates, rejected }) =>
        accepted !== 0 || stored !== 0 || duplicates !== 0 || rejected !== 0,
    );
    if (rows.length === 0) return;
    await transaction.query(
      `INSERT INTO outcome_hours AS o (site_id, hour, stored, duplicates, rejected)
       SELECT * FROM jsonb_to_recordset($1::jsonb)
         AS n (site_id text, hour integer, stored bigint, duplicates bigint, rejected bigint)
       ORDER BY site_id, hour
       ON CONFLICT (site_id, hour) DO UPDATE SET stored = o.stored + excluded.stored,
         duplicates = o.duplicates + excluded.duplicates, rejected = o.rejected + excluded.rejected`,
      [JSON.stringify(rows)],
    );
    const foreign = rows.filter(({ accepted }) => accepted !== 0);
    if (foreign.length === 0) return;
    await transaction.query(
      `INSERT INTO accepted_hours AS a (site_id, hour, accepted)
       SELECT * FROM jsonb_to_recordset($1::jsonb) AS n (site_id text, hour integer, accepted bigint)
       ORDER BY site_id, hour
       ON CONFLICT (site_id, hour) DO UPDATE SET accepted = a.accepted + excluded.accepted`,
      [JSON.stringify(foreign)],
    );
  }
}
