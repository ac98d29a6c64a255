/**
 * Feed: what a worker reads of sms_queue. Nothing here remembers how far it has read, because a row with an earlier key
 * may be committed later: each look starts at the first row of a customer and leaves out what the worker holds.
 */
import { int2Array, int4Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { Lane } from '../model.ts';
import type { Queued } from './queued.ts';

export interface Customer {
  readonly customerId: string;
  readonly shard: number;
}

// Jumps from customer to customer through the index: its cost is the number of customers, not that of messages.
const CUSTOMERS = `SELECT s.shard, f.customer_id
  FROM unnest($1::int2[], $2::text[]) AS s (shard, after)
  CROSS JOIN LATERAL (
    WITH RECURSIVE found AS (
      (SELECT q.customer_id, 1 AS n FROM sms_queue q
         WHERE q.held_ms IS NULL AND q.shard = s.shard AND q.express = $3 AND q.customer_id > s.after
         ORDER BY q.customer_id LIMIT 1)
      UNION ALL
      SELECT next.customer_id, found.n + 1 FROM found CROSS JOIN LATERAL (
        SELECT q.customer_id FROM sms_queue q
          WHERE q.held_ms IS NULL AND q.shard = s.shard AND q.express = $3 AND q.customer_id > found.customer_id
          ORDER BY q.customer_id LIMIT 1) next
      WHERE found.n < $4
    )
    SELECT customer_id FROM found
  ) f`;

/**
 * Customers with rows in the queue, of each shard at most `perShard` behind its name in `after` (''; from the first).
 */
export async function findCustomers(
  link: PostgresLink,
  lane: Lane,
  shards: readonly { readonly shard: number; readonly after: string }[],
  perShard: number,
): Promise<Customer[]> {
  const { rows } = await link.prepared<{ shard: number; customer_id: string }>('sms-customers', CUSTOMERS, [
    int2Array(shards, ({ shard }) => shard),
    textArray(shards, ({ after }) => after),
    lane === 'express',
    perShard,
  ]);
  return rows.map(({ shard, customer_id }) => ({ shard, customerId: customer_id }));
}

const MESSAGES = `SELECT q.message_id, q.customer_id, q.shard, q.segments, q.attempts, q.recipient, q.tried,
    q.accepted_ms, q.valid_ms
  FROM unnest($1::int2[], $2::text[], $3::int4[]) AS c (shard, customer_id, n)
  CROSS JOIN LATERAL (
    SELECT * FROM sms_queue w
      WHERE w.held_ms IS NULL AND w.shard = c.shard AND w.express = $4 AND w.customer_id = c.customer_id
        AND w.due_ms <= $5
      ORDER BY w.due_ms, w.message_id LIMIT c.n
  ) q`;

interface Row {
  readonly message_id: string;
  readonly customer_id: string;
  readonly shard: number;
  readonly segments: number;
  readonly attempts: number;
  readonly recipient: string;
  readonly tried: string;
  readonly accepted_ms: string;
  readonly valid_ms: string;
}

/** The first `count` due messages of each customer. */
export async function readMessages(
  link: PostgresLink,
  lane: Lane,
  customers: readonly (Customer & { readonly count: number })[],
  nowMs: number,
): Promise<Queued[]> {
  const { rows } = await link.prepared<Row>('sms-messages', MESSAGES, [
    int2Array(customers, ({ shard }) => shard),
    textArray(customers, ({ customerId }) => customerId),
    int4Array(customers, ({ count }) => count),
    lane === 'express',
    nowMs,
  ]);
  return rows.map((row) => ({
    messageId: row.message_id,
    customerId: row.customer_id,
    shard: row.shard,
    lane,
    to: row.recipient,
    segments: row.segments,
    acceptedMs: Number(row.accepted_ms),
    validMs: Number(row.valid_ms),
    retries: row.attempts,
    tried: row.tried === '' ? [] : row.tried.split(' '),
  }));
}

/** Rates of customers that have one of their own. */
export async function readRates(link: PostgresLink, customerIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await link.prepared<{ customer_id: string; rate_per_s: number }>(
    'sms-rates',
    'SELECT customer_id, rate_per_s FROM customers WHERE customer_id = ANY ($1::text[]) AND rate_per_s IS NOT NULL',
    [textArray(customerIds, (id) => id)],
  );
  return new Map(rows.map(({ customer_id, rate_per_s }) => [customer_id, rate_per_s]));
}
