/**
 * Receipts: what operators say later. States only go forward, so doubled, early and late receipts do no harm; a receipt
 * proves that the operator has the message, so the money is captured by the first that comes.
 */

import { instantArray, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { referenceOf } from '../message/reference.ts';
import { ulidMs } from '../message/ulid.ts';
import type { Receipt } from '../operators/contract.ts';
import { type Outcome, type Settlement, settleWithin, type Verdict } from './outcomes.ts';
import type { ExpressPromise } from './promise.ts';

export type Recorded = 'recorded' | 'unknown';

// A message that another operator has been called for since is none of this one.
const KNOWN = `SELECT l.message_id FROM unnest($1::text[], $2::timestamptz[], $3::text[])
    AS g (message_id, created_at, operator)
  JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at AND l.operator = g.operator`;

/**
 * Records receipts in one transaction, and returns in their order which were recorded; unknown: the operator has never
 * been given such a message. One call may hold several of a message. `told`: what they have changed, after the commit.
 */
export async function recordReceipts(
  link: PostgresLink,
  receipts: readonly Receipt[],
  express?: ExpressPromise,
  told: (settled: Settlement) => void = () => undefined,
): Promise<readonly Recorded[]> {
  if (receipts.length === 0) return [];
  let settled: Settlement = new Map();
  const recorded = await inTransaction(link, async () => {
    const named = await nameHeld(link, await nameMessages(link, receipts));
    const known = await knownOf(link, named);
    const outcomes = new Map<string, Outcome>();
    for (const receipt of named) {
      if (receipt.messageId === null || !known.has(receipt.messageId)) continue;
      const before = outcomes.get(receipt.messageId);
      // The first end counts; `sent` says less than an end.
      if (before === undefined || before.verdict.kind === 'sent')
        outcomes.set(receipt.messageId, outcomeOf(receipt, receipt.messageId));
    }
    // A receipt settles no message as unknown: the option does not matter.
    const options = { unknown: 'refund', ...(express === undefined ? {} : { express }) } as const;
    if (outcomes.size > 0) settled = await settleWithin(link, [...outcomes.values()], options);
    return named.map(({ messageId }) => (messageId !== null && known.has(messageId) ? 'recorded' : 'unknown'));
  });
  told(settled);
  return recorded;
}

function outcomeOf(receipt: Receipt, messageId: string): Outcome {
  const { status, operator, operatorId, newId: bears = false, reason, atMs } = receipt;
  const verdict: Verdict =
    status === 'sent'
      ? { kind: 'sent', operatorId: operatorId ?? '', bears }
      : { kind: status === 'delivered' ? 'delivered' : 'undelivered', operatorId, reason, bears };
  return { messageId, operator, verdict, attempt: 0, atMs };
}

/** Receipts with the message that they are about, where its operator's id says it. */
async function nameMessages(link: PostgresLink, receipts: readonly Receipt[]): Promise<readonly Receipt[]> {
  const nameless = receipts.filter(({ messageId, operatorId }) => messageId === null && operatorId !== null);
  if (nameless.length === 0) return receipts;
  const { rows } = await link.query<{ operator: string; operator_id: string; message_id: string }>(
    `SELECT i.operator, i.operator_id, i.message_id FROM unnest($1::text[], $2::text[]) AS g (operator, operator_id)
       JOIN sms_operator_ids i USING (operator, operator_id)`,
    [textArray(nameless, ({ operator }) => operator), textArray(nameless, ({ operatorId }) => operatorId!)],
  );
  const found = new Map(rows.map((row) => [`${row.operator} ${row.operator_id}`, row.message_id]));
  return receipts.map((receipt) =>
    receipt.messageId === null
      ? { ...receipt, messageId: found.get(`${receipt.operator} ${receipt.operatorId}`) ?? null }
      : receipt,
  );
}

const HELD = 'SELECT recipient, message_id FROM sms_queue WHERE recipient = ANY ($1::text[]) AND held_ms IS NOT NULL';

/**
 * Receipts with the message that they are about, where a crash or a lost connection has left it held: no worker has
 * read the operator's id, so nothing but what was submitted names it.
 */
async function nameHeld(link: PostgresLink, receipts: readonly Receipt[]): Promise<readonly Receipt[]> {
  const nameless = receipts.filter(({ messageId, submitted }) => messageId === null && submitted !== undefined);
  if (nameless.length === 0) return receipts;
  const { rows } = await link.query<{ recipient: string; message_id: string }>(HELD, [
    textArray(nameless, ({ submitted }) => submitted!.to),
  ]);
  const found = new Map<string, string | null>();
  for (const { recipient, message_id } of rows) {
    const key = `${recipient} ${referenceOf(message_id)}`;
    // Of two to the same number that share a reference, neither is taken for the other.
    found.set(key, found.has(key) ? null : message_id);
  }
  return receipts.map((receipt) => {
    const { submitted } = receipt;
    if (receipt.messageId !== null || submitted === undefined) return receipt;
    const messageId = found.get(`${submitted.to} ${submitted.reference}`) ?? null;
    return messageId === null ? receipt : { ...receipt, messageId, newId: true };
  });
}

async function knownOf(link: PostgresLink, receipts: readonly Receipt[]): Promise<ReadonlySet<string>> {
  const asked = receipts.filter(({ messageId }) => messageId !== null && ulidMs(messageId) !== undefined);
  if (asked.length === 0) return new Set();
  const { rows } = await link.prepared<{ message_id: string }>('sms-known', KNOWN, [
    textArray(asked, ({ messageId }) => messageId!),
    instantArray(asked, ({ messageId }) => ulidMs(messageId!)!),
    textArray(asked, ({ operator }) => operator),
  ]);
  return new Set(rows.map(({ message_id }) => message_id));
}
