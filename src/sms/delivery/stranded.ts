/**
 * Stranded: messages that have not ended and are not in the queue. Most were accepted and never reached it: their
 * records were in the journal of a host, or in a broker, that is gone for good. One that is `sending` had its row, and
 * lost it by a hand or a defect; a worker holds it when its turn comes (attempts.ts). Each minute of the past is looked
 * at twice, STRANDED_AFTER_S and twelve times as long after it, and what is missing is put into the queue; a record that
 * comes after all is weeded out there.
 */

import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { UlidMaker } from '../message/ulid.ts';
import { QUEUE_SQL, queueParameters } from './queue-load.ts';

const AGAIN = 12;
/** How far back a look begins that has never been made. */
const FIRST_MS = 86_400_000;
/** Of one statement. */
const STEP_MS = 300_000;
/** While so many rows wait in the outbox, messages are on their way and not lost. */
const OUTBOX_MAX = 10_000;

const MISSING = `SELECT l.message_id, l.customer_id, l.recipient AS "to", l.lane AS type, l.segments,
    (extract(epoch FROM coalesce(l.resent_at, l.created_at)) * 1000)::int8::text AS at,
    (extract(epoch FROM l.valid_until) * 1000)::int8::text AS valid_until
  FROM sms_logs l
  WHERE l.message_id >= $1 AND l.message_id < $2 AND l.created_at >= $3 AND l.created_at < $4
    AND l.status IN ('accepted', 'sending')
    AND NOT EXISTS (SELECT FROM sms_queue q WHERE q.message_id = l.message_id)`;

interface Row {
  readonly message_id: string;
  readonly customer_id: string;
  readonly to: string;
  readonly type: 'normal' | 'express';
  readonly segments: number;
  readonly at: string;
  readonly valid_until: string;
}

/** One run. Returns how many messages were put into the queue. */
export async function findStranded(
  link: PostgresLink,
  { nowMs, afterS }: { readonly nowMs: number; readonly afterS: number },
  signal: AbortSignal,
): Promise<number> {
  const { rows } = await link.query<{ rows: number }>(
    `SELECT count(*)::int AS rows FROM (SELECT FROM sms_outbox LIMIT ${OUTBOX_MAX + 1}) o`,
  );
  if (rows[0]!.rows > OUTBOX_MAX) return 0;
  let found = 0;
  for (const after of [afterS, AGAIN * afterS]) found += await look(link, after, nowMs, signal);
  return found;
}

async function look(link: PostgresLink, afterS: number, nowMs: number, signal: AbortSignal): Promise<number> {
  const endMs = nowMs - 1000 * afterS;
  let found = 0;
  for (let fromMs = await lookedUpTo(link, afterS, endMs); fromMs < endMs && !signal.aborted; ) {
    const toMs = Math.min(endMs, fromMs + STEP_MS);
    found += await inTransaction(link, async () => {
      const { rows } = await link.query<Row>(MISSING, [
        firstId(fromMs),
        firstId(toMs),
        new Date(fromMs),
        new Date(toMs),
      ]);
      if (rows.length > 0)
        await link.query(
          QUEUE_SQL,
          queueParameters(rows.map((row) => ({ ...row, at: Number(row.at), valid_until: Number(row.valid_until) }))),
        );
      await link.query(
        `INSERT INTO sms_stranded_looks (after_s, upto) VALUES ($1, $2)
           ON CONFLICT (after_s) DO UPDATE SET upto = excluded.upto`,
        [afterS, new Date(toMs)],
      );
      return rows.length;
    });
    fromMs = toMs;
  }
  return found;
}

async function lookedUpTo(link: PostgresLink, afterS: number, endMs: number): Promise<number> {
  const { rows } = await link.query<{ upto: Date }>('SELECT upto FROM sms_stranded_looks WHERE after_s = $1', [afterS]);
  return rows[0]?.upto.getTime() ?? endMs - FIRST_MS;
}

/** The smallest id of a ms. */
const firstId = (ms: number): string => new UlidMaker((bytes) => bytes.fill(0)).make(ms);
