/**
 * Settle: what becomes of reservations when messages end. `captured`: the operator took the message, and the money is
 * ours. `refunded`: it will not be sent, and the customer may spend the money again.
 *
 * Always true:
 *   a reservation is settled once: a row whose money is no longer 'reserved' is left out, whoever settled it
 *   sms_logs, ledger and customer change in one statement, and commit with the caller's transaction
 *   rows are locked in order of message, then customers in order of id, so two settlements never wait for each other in
 *   a circle; accepting (accept/) locks customers in the same order and no message that exists
 *
 * Two calls in one transaction would break that order: gather outcomes into one.
 */
import { instantArray, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { ulidMs } from '../message/ulid.ts';

export interface Outcome {
  readonly messageId: string;
  readonly money: 'captured' | 'refunded';
}

export interface Settled extends Outcome {
  readonly customerId: string;
  /** What was reserved, in the unit of COST_PER_SMS. */
  readonly cost: number;
}

/** The ULID says in which partition the message is. Sessions have the settings of by-index.ts. */
export const SETTLE = `WITH given AS (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS g(message_id, created_at, money)
), held AS (
  SELECT l.message_id, l.created_at, g.money FROM given g JOIN sms_logs l USING (message_id, created_at)
    WHERE l.money = 'reserved' ORDER BY l.message_id FOR NO KEY UPDATE OF l
), settled AS (
  UPDATE sms_logs l SET money = h.money FROM held h
    WHERE l.message_id = h.message_id AND l.created_at = h.created_at AND l.money = 'reserved'
    RETURNING l.message_id, l.customer_id, l.cost, l.money
), entries AS (
  INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
    SELECT customer_id, CASE money WHEN 'captured' THEN 'capture' ELSE 'refund' END, 'reserved',
      CASE money WHEN 'captured' THEN 'revenue' ELSE 'available' END, cost, message_id FROM settled
), sums AS (
  SELECT customer_id, sum(cost)::bigint AS released, count(*) AS messages,
    coalesce(sum(cost) FILTER (WHERE money = 'refunded'), 0)::bigint AS refunded FROM settled GROUP BY customer_id
), locked AS (
  SELECT c.customer_id, s.released, s.refunded, s.messages FROM sums s JOIN customers c USING (customer_id)
    ORDER BY c.customer_id FOR NO KEY UPDATE OF c
), counted AS (
  UPDATE customers c SET reserved = c.reserved - k.released, balance = c.balance + k.refunded,
      waiting = c.waiting - k.messages
    FROM locked k WHERE c.customer_id = k.customer_id
)
SELECT message_id, customer_id, cost::text AS cost, money FROM settled`;

interface Row {
  readonly message_id: string;
  readonly customer_id: string;
  readonly cost: string;
  readonly money: Outcome['money'];
}

/**
 * Settles in the caller's transaction; returns what has changed now. Throws a TypeError for two outcomes of one
 * message, and for an id that is no ULID.
 */
export async function settle(link: PostgresLink, outcomes: readonly Outcome[]): Promise<readonly Settled[]> {
  if (outcomes.length === 0) return [];
  if (new Set(outcomes.map(({ messageId }) => messageId)).size !== outcomes.length)
    throw new TypeError('a message must be settled once in a call');
  const { rows } = await link.prepared<Row>('sms-settle', SETTLE, [
    textArray(outcomes, ({ messageId }) => messageId),
    instantArray(outcomes, ({ messageId }) => timeOf(messageId)),
    textArray(outcomes, ({ money }) => money),
  ]);
  return rows.map(({ message_id, customer_id, cost, money }) => ({
    messageId: message_id,
    customerId: customer_id,
    cost: Number(cost),
    money,
  }));
}

function timeOf(messageId: string): number {
  const ms = ulidMs(messageId);
  if (ms === undefined) throw new TypeError(`a message id must be a ULID: found=${messageId}`);
  return ms;
}
