/**
 * Resend: gives messages that have ended without being sent another chance, by command only. A refunded one is reserved
 * again, if the balance covers it; of an unknown one whose money was captured, that money is reserved again, so that it
 * is captured or given back by what becomes of the message now. Its validity begins anew, as long as it was when the
 * message was accepted, however often that happens. Reports are told that it waits again.
 */

import { instantArray, int2Array, int8Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { ulidMs } from '../message/ulid.ts';
import { AMOUNT_MAX } from '../money/ledger.ts';
import { statusRecord, tellStatus } from './news.ts';
import { shardOf } from './shard.ts';

/**
 * too_poor: the balance does not cover it. too_rich: with what was captured, balance and reservation would be beyond
 * AMOUNT_MAX. not_dead: no such message, or it is on its way, sent, or delivered.
 */
export type Resent = 'resent' | 'too_poor' | 'too_rich' | 'not_dead';

interface Dead {
  readonly message_id: string;
  readonly customer_id: string;
  readonly recipient: string;
  readonly lane: string;
  readonly segments: number;
  readonly cost: string;
  readonly money: 'captured' | 'refunded';
  readonly valid_ms: string;
}

// Before a message is looked at: a day with a message under way is not over, and may not leave (partitions/ended.ts).
const REOPEN = `DELETE FROM sms_days WHERE parent = 'sms_logs'
  AND day IN (SELECT (t AT TIME ZONE 'UTC')::date FROM unnest($1::timestamptz[]) AS t)`;

// Undelivered ones are no dead letters: the operator had them, and they are paid for.
const DEAD = `SELECT l.message_id, l.customer_id, l.recipient, l.lane, l.segments, l.cost::text AS cost, l.money,
    (extract(epoch FROM l.valid_until - coalesce(l.resent_at, l.created_at)) * 1000)::int8::text AS valid_ms
  FROM unnest($1::text[], $2::timestamptz[]) AS g (message_id, created_at)
  JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at
  JOIN sms_dead_letters d ON d.message_id = l.message_id
  WHERE l.status IN ('failed', 'unknown') AND l.money <> 'reserved'
  ORDER BY l.message_id FOR NO KEY UPDATE OF l`;

// All or nothing of each customer. `own`: what its balance must cover; the rest was captured, and comes from revenue.
const CHARGE = `WITH locked AS (
  SELECT c.customer_id, g.own, g.amount, g.messages,
      CASE WHEN c.balance < g.own THEN 'too_poor'
        WHEN c.balance - g.own + c.reserved + g.amount > ${AMOUNT_MAX} THEN 'too_rich' END AS refused
    FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[]) AS g (customer_id, own, amount, messages)
      JOIN customers c USING (customer_id) ORDER BY c.customer_id FOR NO KEY UPDATE OF c
), charged AS (
  UPDATE customers c SET balance = c.balance - l.own, reserved = c.reserved + l.amount, waiting = c.waiting + l.messages
    FROM locked l WHERE c.customer_id = l.customer_id AND l.refused IS NULL
)
SELECT customer_id, refused FROM locked`;

// Attempts go on counting: an outcome of one before must not be taken for that of a new one.
const REVIVE = `WITH given AS (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::int8[], $4::text[]) AS g (message_id, created_at, valid_ms, was)
), revived AS (
  UPDATE sms_logs l SET status = 'accepted', reason = NULL, done_at = NULL, operator = NULL,
      operator_id = NULL, money = 'reserved', valid_until = to_timestamp(g.valid_ms / 1000.0), resends = l.resends + 1,
      resent_at = to_timestamp($5::int8 / 1000.0)
    FROM given g WHERE l.message_id = g.message_id AND l.created_at = g.created_at
    RETURNING l.*, g.was
), entries AS (
  INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
    SELECT customer_id, 'reserve', CASE was WHEN 'captured' THEN 'revenue' ELSE 'available' END, 'reserved', cost,
      message_id FROM revived
), alive AS (
  DELETE FROM sms_dead_letters d USING revived r WHERE d.message_id = r.message_id
)
SELECT message_id, customer_id, lane, segments, cost::text AS cost, attempts, resends, operator, reason, status, money,
  created_at FROM revived`;

type Revived = Omit<Parameters<typeof statusRecord>[0], 'at'>;

// Where a record that came twice still stands, or a look for stranded ones has come in between, the row begins anew.
const QUEUE = `INSERT INTO sms_queue
    (message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms, due_ms)
  SELECT m, c, s, e, n, r, $7, v, $7 FROM unnest($1::text[], $2::text[], $3::int2[], $4::text[]::boolean[], $5::int2[],
    $6::text[], $8::int8[]) AS g (m, c, s, e, n, r, v)
  ON CONFLICT (message_id) DO UPDATE SET valid_ms = excluded.valid_ms, due_ms = excluded.due_ms,
    accepted_ms = excluded.accepted_ms, attempts = 0, tried = '', held_ms = NULL`;

/**
 * In one transaction; what each message came to, by its id. A customer whose balance does not cover all of its messages
 * gets none of them here: try fewer. `nowMs`: since 1970.
 */
export function resend(
  link: PostgresLink,
  messageIds: readonly string[],
  nowMs: number,
): Promise<ReadonlyMap<string, Resent>> {
  const ids = [...new Set(messageIds)];
  const known = ids.filter((id) => ulidMs(id) !== undefined);
  return inTransaction(link, async () => {
    const times = instantArray(known, (id) => ulidMs(id)!);
    await link.query(REOPEN, [times]);
    const { rows } = await link.query<Dead>(DEAD, [textArray(known, (id) => id), times]);
    const refused = await charge(link, rows);
    const going = rows.filter(({ customer_id }) => refused.get(customer_id) === null);
    if (going.length > 0) {
      const valid = int8Array(going, ({ valid_ms }) => BigInt(nowMs) + BigInt(valid_ms));
      const revived = await link.query<{ [K in keyof Revived]: Revived[K] }>(REVIVE, [
        textArray(going, ({ message_id }) => message_id),
        instantArray(going, ({ message_id }) => ulidMs(message_id)!),
        valid,
        textArray(going, ({ money }) => money),
        nowMs,
      ]);
      const at = new Date(nowMs);
      await tellStatus(
        link,
        revived.rows.map((row) => statusRecord({ ...row, at })),
      );
      await link.query(QUEUE, [
        textArray(going, ({ message_id }) => message_id),
        textArray(going, ({ customer_id }) => customer_id),
        int2Array(going, ({ customer_id }) => shardOf(customer_id)),
        textArray(going, ({ lane }) => (lane === 'express' ? 't' : 'f')),
        int2Array(going, ({ segments }) => segments),
        textArray(going, ({ recipient }) => recipient),
        nowMs,
        valid,
      ]);
    }
    const came = new Map(rows.map((row) => [row.message_id, refused.get(row.customer_id) ?? 'resent'] as const));
    return new Map(ids.map((id) => [id, came.get(id) ?? 'not_dead'] as const));
  });
}

/** By customer why nothing of it goes; null: it has been charged. */
async function charge(
  link: PostgresLink,
  rows: readonly Dead[],
): Promise<ReadonlyMap<string, 'too_poor' | 'too_rich' | null>> {
  const sums = new Map<string, { own: bigint; amount: bigint; messages: bigint }>();
  for (const { customer_id, cost, money } of rows) {
    const sum = sums.get(customer_id) ?? { own: 0n, amount: 0n, messages: 0n };
    sum.own += money === 'captured' ? 0n : BigInt(cost);
    sum.amount += BigInt(cost);
    sum.messages += 1n;
    sums.set(customer_id, sum);
  }
  if (sums.size === 0) return new Map();
  const given = [...sums];
  const charged = await link.query<{ customer_id: string; refused: 'too_poor' | 'too_rich' | null }>(CHARGE, [
    textArray(given, ([id]) => id),
    int8Array(given, ([, { own }]) => own),
    int8Array(given, ([, { amount }]) => amount),
    int8Array(given, ([, { messages }]) => messages),
  ]);
  return new Map(charged.rows.map(({ customer_id, refused }) => [customer_id, refused]));
}

/** Ids of failed messages of a customer behind `after`, the oldest first. */
export async function failedOf(
  link: PostgresLink,
  customerId: string,
  after: string,
  limit: number,
): Promise<readonly string[]> {
  const { rows } = await link.query<{ message_id: string }>(
    `SELECT message_id FROM sms_dead_letters WHERE customer_id = $1 AND message_id > $2 AND status = 'failed'
       ORDER BY message_id LIMIT $3`,
    [customerId, after, limit],
  );
  return rows.map(({ message_id }) => message_id);
}
