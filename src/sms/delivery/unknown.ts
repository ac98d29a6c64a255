/**
 * Unknown: settles by command what an operator has said of messages that had ended as unknown, where no receipt said it.
 *
 *   sent, delivered, undelivered   the operator had it, as a receipt would say (outcomes.ts). What was captured stays
 *                                  ours; what was given back stays given back: UNKNOWN=refund means that
 *   failed                         the operator never had it: what was captured is given back. It may be sent again
 *                                  (resend.ts)
 *
 * Each message once: afterwards it is unknown no more.
 */
import { audit } from '../../service/database/audit.ts';
import type { Actor } from '../../service/database/contract.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { ulidMs } from '../message/ulid.ts';
import { AMOUNT_MAX } from '../money/ledger.ts';
import { type Changed, writeNews } from './news.ts';
import { type Outcome, settleWithin } from './outcomes.ts';

export const fates = ['sent', 'delivered', 'undelivered', 'failed'] as const;
export type Fate = (typeof fates)[number];

/** too_rich: with what is given back, balance and reservation would be beyond AMOUNT_MAX. */
export type SettledUnknown = 'settled' | 'too_rich' | 'not_unknown';

interface Unknown extends Pick<Changed, 'money'> {
  readonly [column: string]: unknown;
  readonly customer_id: string;
  readonly cost: string;
  readonly at: Date;
}

const LOCK = `SELECT customer_id, cost::text AS cost, money, now() AS at FROM sms_logs
  WHERE message_id = $1 AND created_at = $2 AND status = 'unknown' FOR NO KEY UPDATE`;

const GIVE_BACK = `WITH back AS (
  UPDATE customers SET balance = balance + $2 WHERE customer_id = $1 AND balance + reserved + $2 <= ${AMOUNT_MAX}
    RETURNING customer_id
)
INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
  SELECT customer_id, 'refund', 'revenue', 'available', $2, $3 FROM back`;

const FAIL = `UPDATE sms_logs SET status = 'failed', reason = $3, money = 'refunded', done_at = $4
  WHERE message_id = $1 AND created_at = $2
  RETURNING message_id, customer_id, lane, segments, cost::text AS cost, attempts, operator, operator_id, reason,
    callback_url, status, 'unknown' AS before, 'failed' AS kind, created_at, done_at AS at, resends, money`;

/** In one transaction, with a row of the audit log, at the time of the database. */
export function settleUnknown(
  link: PostgresLink,
  actor: Actor,
  messageId: string,
  { as, reason }: { readonly as: Fate; readonly reason: string },
): Promise<SettledUnknown> {
  const ms = ulidMs(messageId);
  if (ms === undefined) return Promise.resolve('not_unknown');
  return inTransaction(link, async () => {
    const key = [messageId, new Date(ms)] as const;
    const { rows } = await link.query<Unknown>(LOCK, key);
    const [found] = rows;
    if (found === undefined) return 'not_unknown';
    const { customer_id: customer, cost, money, at } = found;
    if (as === 'failed') {
      if (money === 'captured') {
        const { rowCount } = await link.query(GIVE_BACK, [customer, cost, messageId]);
        if (rowCount === 0) return 'too_rich';
      }
      const { rows: failed } = await link.query<{ [K in keyof Changed]: Changed[K] }>(FAIL, [...key, reason, at]);
      await writeNews(link, failed);
    } else {
      const verdict: Outcome['verdict'] =
        as === 'sent' ? { kind: as, operatorId: '', bears: false } : { kind: as, operatorId: null, reason };
      const outcome: Outcome = { messageId, verdict, operator: undefined, attempt: 0, atMs: at.getTime() };
      // Its money is settled: the rule for messages that end as unknown is not asked.
      await settleWithin(link, [outcome], { unknown: 'refund' });
    }
    const details = { as, reason, cost, given_back: as === 'failed' && money === 'captured' };
    await audit(link, actor, { action: 'message_settled', subject: `message:${messageId}`, details });
    return 'settled';
  });
}
