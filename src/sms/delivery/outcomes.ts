/**
 * Outcomes: what became of messages, written in one transaction per batch: state, money, queue, dead letters,
 * callbacks, and the record for sms.status. States only go forward:
 *
 *   accepted > sending > sent > delivered | failed          captured at `sent`, or by a receipt that proves it
 *              sending > accepted                           `later`: the operator has not got it
 *              sending > failed, by its own attempt         refunded
 *    accepted         > failed, without an attempt          refunded: expired, or no operator carries it
 *              sending > unknown > sent | delivered | failed
 *
 * Always true: what is settled as not sent (`later`, `failed`, `unknown`) is the very attempt that stands (its number),
 * or no attempt stands; a proof that the operator has the message counts whichever attempt stands. A message that is to
 * fail without an attempt, while one of a dead worker stands, is held instead: its operator may have it. A message leaves
 * the queue when its state is an end, whichever outcome made it so. Rows are locked in the order of settle.ts.
 */

import { instantArray, int2Array, int8Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { ulidMs } from '../message/ulid.ts';
import type { Lane } from '../model.ts';
import { credit, expressMissKey } from '../money/ledger.ts';
import { settle } from '../money/settle.ts';
import { type Changed, nameIds, storable, writeNews } from './news.ts';
import { type ExpressPromise, type Judged, judge } from './promise.ts';

/**
 * `bears`: receipts may name the message by `operatorId` alone.
 *
 * sent         the operator took it
 * delivered    the handset has it
 * undelivered  the operator had it and could not deliver it: failed, and paid for
 * failed       it will not be sent: refunded. Without an attempt, `askMs`: when the operator is asked if one stands
 * later        it is tried again at `dueMs`; `tried`: operators of this round; `retries`: how many have been used up
 * held         nobody knows; the operator is asked at `dueMs`
 * deferred     no operator has room for it; it is looked at again at `dueMs`
 * unknown      nobody will know
 */
export type Verdict =
  | { readonly kind: 'sent'; readonly operatorId: string; readonly bears: boolean }
  | {
      readonly kind: 'delivered' | 'undelivered';
      readonly operatorId: string | null;
      readonly reason: string | null;
      readonly bears?: boolean;
    }
  | { readonly kind: 'failed'; readonly reason: string; readonly askMs?: number }
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'later'; readonly dueMs: number; readonly tried: readonly string[]; readonly retries: number }
  | { readonly kind: 'held' | 'deferred'; readonly dueMs: number };

export interface Outcome {
  readonly messageId: string;
  readonly verdict: Verdict;
  /** Undefined: the operator that stands there. */
  readonly operator: string | undefined;
  /** The attempt that it is about; 0: none was made, or, of a proof, any. */
  readonly attempt: number;
  /** When it happened, ms since 1970. */
  readonly atMs: number;
  /** For metrics, of a message that this process does not hold. */
  readonly lane?: Lane;
}

export type Kind = Verdict['kind'];

const STATES = `WITH given AS (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int2[],
      $8::timestamptz[])
    AS g (message_id, created_at, kind, operator, operator_id, reason, attempt, at)
), locked AS (
  SELECT l.message_id, l.created_at, l.status, l.attempts, g.kind, g.operator AS by_operator, g.operator_id AS by_id,
      g.reason AS why, g.attempt, g.at
    FROM given g JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at
    ORDER BY l.message_id FOR NO KEY UPDATE OF l
), allowed AS (
  SELECT * FROM locked WHERE CASE kind
    WHEN 'sent' THEN status IN ('accepted', 'sending', 'unknown')
    WHEN 'delivered' THEN status IN ('accepted', 'sending', 'sent', 'unknown')
    WHEN 'undelivered' THEN status IN ('accepted', 'sending', 'sent', 'unknown')
    WHEN 'failed' THEN CASE WHEN attempt = 0 THEN status = 'accepted' ELSE status = 'sending' AND attempt = attempts END
    WHEN 'later' THEN status = 'sending' AND attempt = attempts
    WHEN 'unknown' THEN status = 'sending' AND attempt = attempts
    ELSE false END
)
UPDATE sms_logs l SET
    status = CASE a.kind WHEN 'later' THEN 'accepted' WHEN 'undelivered' THEN 'failed' ELSE a.kind END,
    operator = coalesce(a.by_operator, l.operator), operator_id = coalesce(a.by_id, l.operator_id), reason = a.why,
    sent_at = CASE WHEN a.kind IN ('sent', 'delivered', 'undelivered') THEN coalesce(l.sent_at, a.at) END,
    done_at = CASE WHEN a.kind IN ('delivered', 'undelivered', 'failed', 'unknown') THEN a.at END
  FROM allowed a WHERE l.message_id = a.message_id AND l.created_at = a.created_at
  RETURNING l.message_id, l.customer_id, l.lane, l.segments, l.cost::text AS cost, l.attempts, l.operator,
    l.operator_id, l.reason, l.callback_url, l.status, a.status AS before, a.kind, l.created_at, a.at, l.resends,
    l.money`;

export interface SettleOptions {
  /** What becomes of the money of a message that ends as `unknown`. */
  readonly unknown: 'capture' | 'refund';
  readonly express?: ExpressPromise;
}

/** What has changed, by message. `held`: it was to fail without an attempt, and an attempt stands. */
export type Settlement = ReadonlyMap<string, Judged & { readonly kind: Kind }>;

const moneyOf: Readonly<Record<Kind, 'captured' | 'refunded' | 'asked' | undefined>> = {
  sent: 'captured',
  delivered: 'captured',
  undelivered: 'captured',
  failed: 'refunded',
  unknown: 'asked',
  later: undefined,
  held: undefined,
  deferred: undefined,
};

/**
 * Writes outcomes in a transaction of its own. Each message at most once: a TypeError otherwise. An outcome that comes
 * too late, or twice, changes nothing.
 */
export function settleOutcomes(
  link: PostgresLink,
  outcomes: readonly Outcome[],
  options: SettleOptions,
): Promise<Settlement> {
  return inTransaction(link, () => settleWithin(link, outcomes, options));
}

/** As settleOutcomes(), in the caller's transaction. */
export async function settleWithin(
  link: PostgresLink,
  outcomes: readonly Outcome[],
  { unknown, express }: SettleOptions,
): Promise<Settlement> {
  const stays = ({ verdict }: Outcome): boolean => verdict.kind === 'held' || verdict.kind === 'deferred';
  const held = outcomes.filter(stays);
  const moved = outcomes.filter((outcome) => !stays(outcome));
  const ofUnknown = unknown === 'capture' ? 'captured' : 'refunded';
  const moneyBy = (kind: Kind): 'captured' | 'refunded' | undefined =>
    moneyOf[kind] === 'asked' ? ofUnknown : moneyOf[kind];
  const before = await changeStates(link, moved);
  await settle(
    link,
    before.flatMap(({ message_id, kind }) => {
      const money = moneyBy(kind);
      return money === undefined ? [] : [{ messageId: message_id, money }];
    }),
  );
  // As settle() leaves it: what was captured or given back before stays so.
  const changed = before.map((row) =>
    row.money === 'reserved' ? { ...row, money: moneyBy(row.kind) ?? row.money } : row,
  );
  const byMessage = new Map(changed.map((row) => [row.message_id, row] as const));
  const accepted = await leaveQueue(link, moved, byMessage);
  const judged = changed.map((row) => ({ row, ...judge(row, accepted.get(row.message_id), express) }));
  if (express?.credit === true)
    await creditMisses(
      link,
      judged.filter(({ row: { kind }, late }) => late && moneyBy(kind) === 'captured'),
    );
  const doubtful = await holdDoubtful(
    link,
    moved.filter(
      ({ messageId, verdict, attempt }) => verdict.kind === 'failed' && attempt === 0 && !byMessage.has(messageId),
    ),
  );
  await stayInQueue(link, moved, held, byMessage);
  await writeNews(link, changed);
  await nameIds(link, moved);
  const settled = new Map<string, Judged & { readonly kind: Kind }>();
  for (const { row, lane, tookMs, late } of judged) settled.set(row.message_id, { kind: row.kind, lane, tookMs, late });
  for (const id of doubtful) settled.set(id, { kind: 'held', lane: 'normal', tookMs: undefined, late: false });
  return settled;
}

async function changeStates(link: PostgresLink, outcomes: readonly Outcome[]): Promise<readonly Changed[]> {
  if (outcomes.length === 0) return [];
  const { rows } = await link.prepared<Changed>('sms-states', STATES, [
    textArray(outcomes, ({ messageId }) => messageId),
    instantArray(outcomes, ({ messageId }) => ulidMs(messageId)!),
    textArray(outcomes, ({ verdict }) => verdict.kind),
    textArray(outcomes, ({ operator }) => operator),
    textArray(outcomes, ({ verdict }) => ('operatorId' in verdict ? storable(verdict.operatorId) : undefined)),
    textArray(outcomes, ({ verdict }) => ('reason' in verdict ? storable(verdict.reason) : undefined)),
    int2Array(outcomes, ({ attempt }) => attempt),
    instantArray(outcomes, ({ atMs }) => atMs),
  ]);
  return rows;
}

/** Once per message, whatever is repeated: the key of the credit names it. */
async function creditMisses(link: PostgresLink, misses: readonly { readonly row: Changed }[]): Promise<void> {
  const late = misses.map(({ row }) => row).filter(({ cost }) => cost !== '0');
  // In the order of customers, as settle() has locked them.
  late.sort((a, b) => (a.customer_id < b.customer_id ? -1 : 1));
  for (const { customer_id, cost, message_id } of late)
    await credit(link, customer_id, Number(cost), expressMissKey(message_id));
}

// By the state that stands: an outcome of an old attempt changes nothing, and the row may be that of a newer one.
const LEAVE_IF_ENDED = `DELETE FROM sms_queue q USING unnest($1::text[], $2::timestamptz[]) AS g (message_id, created_at)
  WHERE q.message_id = g.message_id AND NOT EXISTS (SELECT FROM sms_logs l
    WHERE l.message_id = g.message_id AND l.created_at = g.created_at AND l.status IN ('accepted', 'sending'))`;

/** Returns when those that have changed were accepted, ms since 1970. */
async function leaveQueue(
  link: PostgresLink,
  outcomes: readonly Outcome[],
  changed: ReadonlyMap<string, Changed>,
): Promise<ReadonlyMap<string, number>> {
  const accepted = new Map<string, number>();
  const ends = outcomes.filter(({ verdict }) => verdict.kind !== 'later');
  const ended = ends.filter(({ messageId }) => changed.has(messageId));
  if (ended.length > 0) {
    const { rows } = await link.prepared<{ message_id: string; accepted_ms: string }>(
      'sms-unqueue',
      'DELETE FROM sms_queue WHERE message_id = ANY ($1::text[]) RETURNING message_id, accepted_ms',
      [textArray(ended, ({ messageId }) => messageId)],
    );
    for (const { message_id, accepted_ms } of rows) accepted.set(message_id, Number(accepted_ms));
  }
  const late = ends.filter(({ messageId }) => !changed.has(messageId));
  if (late.length > 0)
    await link.prepared('sms-unqueue-ended', LEAVE_IF_ENDED, [
      textArray(late, ({ messageId }) => messageId),
      instantArray(late, ({ messageId }) => ulidMs(messageId)!),
    ]);
  return accepted;
}

const DOUBTFUL = `UPDATE sms_queue q SET held_ms = g.held_ms, due_ms = g.due_ms
  FROM unnest($1::text[], $2::timestamptz[], $3::int8[], $4::int8[]) AS g (message_id, created_at, held_ms, due_ms)
    JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at AND l.status = 'sending'
  WHERE q.message_id = g.message_id AND q.held_ms IS NULL RETURNING q.message_id`;

/** What a dead worker may have sent is asked about, however it was to end; its ids. */
async function holdDoubtful(link: PostgresLink, outcomes: readonly Outcome[]): Promise<readonly string[]> {
  if (outcomes.length === 0) return [];
  const { rows } = await link.prepared<{ message_id: string }>('sms-doubtful', DOUBTFUL, [
    textArray(outcomes, ({ messageId }) => messageId),
    instantArray(outcomes, ({ messageId }) => ulidMs(messageId)!),
    int8Array(outcomes, ({ atMs }) => BigInt(Math.round(atMs))),
    int8Array(outcomes, ({ atMs, verdict }) => BigInt(Math.round('askMs' in verdict ? (verdict.askMs ?? atMs) : atMs))),
  ]);
  return rows.map(({ message_id }) => message_id);
}

const STAY = `UPDATE sms_queue q SET due_ms = s.due_ms, tried = s.tried,
    attempts = CASE WHEN s.attempts < 0 THEN q.attempts ELSE s.attempts END,
    held_ms = CASE WHEN s.held_ms = 0 THEN NULL ELSE coalesce(q.held_ms, s.held_ms) END
  FROM unnest($1::text[], $2::int8[], $3::text[], $4::int2[], $5::int8[])
    AS s (message_id, due_ms, tried, attempts, held_ms)
  WHERE q.message_id = s.message_id`;

/** What is tried again, and what is held. */
async function stayInQueue(
  link: PostgresLink,
  moved: readonly Outcome[],
  held: readonly Outcome[],
  changed: ReadonlyMap<string, Changed>,
): Promise<void> {
  const staying = [
    ...moved.filter(({ messageId, verdict }) => verdict.kind === 'later' && changed.has(messageId)),
    ...held,
  ];
  if (staying.length === 0) return;
  await link.prepared('sms-stay', STAY, [
    textArray(staying, ({ messageId }) => messageId),
    int8Array(staying, ({ verdict }) => BigInt('dueMs' in verdict ? Math.round(verdict.dueMs) : 0)),
    textArray(staying, ({ verdict }) => (verdict.kind === 'later' ? verdict.tried.join(' ') : '')),
    int2Array(staying, ({ verdict }) => (verdict.kind === 'later' ? verdict.retries : -1)),
    int8Array(staying, ({ verdict, atMs }) => BigInt(verdict.kind === 'held' ? Math.round(atMs) : 0)),
  ]);
}
