/** News: what others learn of outcomes, in the same transaction: sms.status, dead letters, callbacks, operators' ids. */
import { instantArray, int2Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { Status } from '../model.ts';
import { outboxLine, type StatusRecord } from '../topics.ts';
import type { Kind, Outcome } from './outcomes.ts';

/** A message whose state has changed. */
export interface Changed {
  readonly message_id: string;
  readonly customer_id: string;
  readonly lane: 'normal' | 'express';
  readonly segments: number;
  readonly cost: string;
  readonly attempts: number;
  readonly resends: number;
  readonly operator: string | null;
  readonly operator_id: string | null;
  readonly reason: string | null;
  readonly callback_url: string | null;
  readonly status: StatusRecord['status'];
  readonly before: Status;
  /** What has become of its reservation by now. */
  readonly money: 'reserved' | 'captured' | 'refunded';
  readonly kind: Kind;
  readonly created_at: Date;
  readonly at: Date;
}

/** Records of a row of the outbox at most. */
const RECORDS_MAX = 200;

export async function writeNews(link: PostgresLink, changed: readonly Changed[]): Promise<void> {
  const news = changed.filter((row) => row.status !== 'accepted');
  if (news.length === 0) return;
  await tellStatus(link, news.flatMap(recordsOf));
  await writeDeadLetters(link, news);
  await writeCallbacks(link, news);
}

/** For sms.status, by the outbox. */
export async function tellStatus(link: PostgresLink, records: readonly StatusRecord[]): Promise<void> {
  const lines = records.map((one) => outboxLine(one.customer_id, JSON.stringify(one)));
  const rows: string[] = [];
  for (let at = 0; at < lines.length; at += RECORDS_MAX) rows.push(lines.slice(at, at + RECORDS_MAX).join('\n'));
  await link.prepared(
    'sms-news',
    `INSERT INTO sms_outbox (topic, records) SELECT 'sms.status', records FROM unnest($1::text[]) AS n (records)`,
    [textArray(rows, (row) => row)],
  );
}

/** Who ends at once, by a receipt before the answer, was handed over as well: reports count both. */
function recordsOf(row: Changed): readonly StatusRecord[] {
  const last = statusRecord(row);
  const handedOver = row.kind === 'delivered' || row.kind === 'undelivered';
  return handedOver && row.before !== 'sent' ? [{ ...last, status: 'sent', reason: null }, last] : [last];
}

/** Whatever the state says: of a message that was unknown, and given back, the money stays where it is. */
export const statusRecord = (row: Omit<Changed, 'kind' | 'before' | 'operator_id' | 'callback_url'>): StatusRecord => ({
  message_id: row.message_id,
  customer_id: row.customer_id,
  type: row.lane,
  status: row.status,
  operator: row.operator,
  reason: row.reason,
  attempts: row.attempts,
  resends: row.resends,
  segments: row.segments,
  cost: row.money === 'refunded' ? 0 : Number(row.cost),
  accepted_at: row.created_at.getTime(),
  at: row.at.getTime(),
});

async function writeDeadLetters(link: PostgresLink, news: readonly Changed[]): Promise<void> {
  const proven = news.filter(({ kind, before }) => before === 'unknown' && kind !== 'failed' && kind !== 'unknown');
  if (proven.length > 0)
    await link.prepared('sms-alive', 'DELETE FROM sms_dead_letters WHERE message_id = ANY ($1::text[])', [
      textArray(proven, ({ message_id }) => message_id),
    ]);
  const dead = news.filter(({ kind }) => kind === 'failed' || kind === 'unknown');
  if (dead.length > 0)
    await link.prepared(
      'sms-dead',
      `INSERT INTO sms_dead_letters (message_id, customer_id, status, operator, attempts, reason)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int2[], $6::text[])
         ON CONFLICT (message_id) DO UPDATE SET status = excluded.status, operator = excluded.operator,
           attempts = excluded.attempts, reason = excluded.reason, at = excluded.at`,
      [
        textArray(dead, ({ message_id }) => message_id),
        textArray(dead, ({ customer_id }) => customer_id),
        textArray(dead, ({ status }) => status),
        textArray(dead, ({ operator }) => operator ?? undefined),
        int2Array(dead, ({ attempts }) => attempts),
        textArray(dead, ({ reason }) => reason ?? ''),
      ],
    );
}

/** Rows of a message are told in the order of their ids: whoever adds one holds the lock of the message. */
async function writeCallbacks(link: PostgresLink, news: readonly Changed[]): Promise<void> {
  const told = news.filter(({ callback_url }) => callback_url !== null);
  if (told.length > 0)
    await link.prepared(
      'sms-callbacks',
      `INSERT INTO sms_callbacks (message_id, customer_id, url, status, operator, reason, at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
           $7::timestamptz[])`,
      [
        textArray(told, ({ message_id }) => message_id),
        textArray(told, ({ customer_id }) => customer_id),
        textArray(told, ({ callback_url }) => callback_url!),
        textArray(told, ({ status }) => status),
        textArray(told, ({ operator }) => operator ?? undefined),
        textArray(told, ({ reason }) => reason ?? undefined),
        instantArray(told, ({ at }) => at.getTime()),
      ],
    );
}

/** An operator may say anything; Postgres keeps no NUL and no half of a surrogate pair. */
export const storable = (text: string | null): string | undefined =>
  text === null || text === '' ? undefined : text.toWellFormed().replaceAll('\0', '\uFFFD');

// An SMSC that has begun to count anew gives an id once more: its receipts are about the latest message.
const NAME_IDS = `INSERT INTO sms_operator_ids AS i (operator, operator_id, message_id)
  SELECT DISTINCT ON (operator, operator_id) operator, operator_id, message_id
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS n (operator, operator_id, message_id, place)
    ORDER BY operator, operator_id, place DESC
  ON CONFLICT (operator, operator_id) DO UPDATE SET message_id = excluded.message_id, created_at = now()
    WHERE i.message_id <> excluded.message_id`;

/** Receipts of some operators bear the operator's id alone. */
export async function nameIds(link: PostgresLink, outcomes: readonly Outcome[]): Promise<void> {
  const named = outcomes.flatMap(({ messageId, operator, verdict }) =>
    'bears' in verdict && verdict.bears === true && (verdict.operatorId ?? '') !== ''
      ? [{ messageId, operator: operator!, operatorId: verdict.operatorId }]
      : [],
  );
  if (named.length > 0)
    await link.prepared('sms-operator-ids', NAME_IDS, [
      textArray(named, ({ operator }) => operator),
      textArray(named, ({ operatorId }) => storable(operatorId)),
      textArray(named, ({ messageId }) => messageId),
    ]);
}
