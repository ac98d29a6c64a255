/**
 * Refusals: events that the database has refused (`refused_events`). They count as rejected, once, however often the
 * record comes. When the database takes one later (a dead letter that is sent again, or a second delivery once the
 * cause is mended), it leaves the count of rejected events for another one, in the transaction that stores it.
 *
 * The table is empty in a sound service. Dedupe.week() says whether it is, so that no batch pays for it.
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';

type Sql = Pick<Transaction, 'query'>;

/** One acceptance of an event. */
export interface Acceptance {
  readonly eventId: string;
  readonly receipt: number;
}

/** Where it was counted. */
export interface Place {
  readonly siteId: string;
  readonly hour: number;
}

/** Notes them, in one order for all who do. Returns those that were not noted before, each once. */
export async function noteRefused<A extends Acceptance & Place>(
  transaction: Sql,
  refused: readonly A[],
  week: number,
): Promise<readonly A[]> {
  if (refused.length === 0) return [];
  const { rows } = await transaction.query<{ event_id: string; receipt: number }>(
    `INSERT INTO refused_events (event_id, receipt, week, site_id, hour)
     SELECT event_id, receipt, $5, site_id, hour
     FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[]) AS given (event_id, receipt, site_id, hour)
     ORDER BY event_id, receipt ON CONFLICT DO NOTHING RETURNING event_id, receipt`,
    [
      refused.map(({ eventId }) => eventId),
      refused.map(({ receipt }) => receipt),
      refused.map(({ siteId }) => siteId),
      refused.map(({ hour }) => hour),
      week,
    ],
  );
  const noted = new Set(rows.map((row) => `${row.event_id}/${row.receipt}`));
  return refused.filter(({ eventId, receipt }) => noted.delete(`${eventId}/${receipt}`));
}

/** Forgets those that were noted, and returns them with their places. */
export async function takeRefused(
  transaction: Sql,
  acceptances: readonly Acceptance[],
): Promise<readonly (Acceptance & Place)[]> {
  const { rows } = await transaction.query<{ event_id: string; receipt: number; site_id: string; hour: number }>(
    `DELETE FROM refused_events AS r USING unnest($1::uuid[], $2::int[]) AS given (event_id, receipt)
     WHERE r.event_id = given.event_id AND r.receipt = given.receipt
     RETURNING r.event_id, r.receipt, r.site_id, r.hour`,
    [acceptances.map(({ eventId }) => eventId), acceptances.map(({ receipt }) => receipt)],
  );
  return rows.map((row) => ({ eventId: row.event_id, receipt: row.receipt, siteId: row.site_id, hour: row.hour }));
}
