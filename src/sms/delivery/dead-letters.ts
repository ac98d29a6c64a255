/**
 * Dead letters: messages that will not be sent any more, unless somebody sends them again (resend.ts). One is taken out
 * when it is sent again, when a receipt proves after all that its operator had it (news.ts), and when the day of its
 * message has been archived.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';

const PAGE = 10_000;

export interface DeadLetter {
  readonly message_id: string;
  readonly customer_id: string;
  readonly status: 'failed' | 'unknown';
  readonly operator: string | null;
  readonly attempts: number;
  readonly reason: string;
  readonly at: Date;
}

/** Those of a customer, or of all, behind `after`, the oldest first. */
export async function deadLetters(
  link: PostgresLink,
  { customer, after, limit }: { readonly customer: string | undefined; readonly after: string; readonly limit: number },
): Promise<readonly DeadLetter[]> {
  const { rows } = await link.query<{ [K in keyof DeadLetter]: DeadLetter[K] }>(
    `SELECT message_id, customer_id, status, operator, attempts, reason, at FROM sms_dead_letters
       WHERE message_id > $1 AND ($2::text IS NULL OR customer_id = $2) ORDER BY message_id LIMIT $3`,
    [after, customer ?? null, limit],
  );
  return rows;
}

/** Ids are in the order of time: what is before the first message that there is, belongs to days that are gone. */
export async function dropOldDeadLetters(link: PostgresLink, signal?: AbortSignal): Promise<number> {
  let deleted = 0;
  for (let more = true; more && signal?.aborted !== true; ) {
    const { rowCount } = await link.query(
      `DELETE FROM sms_dead_letters WHERE message_id IN (
         SELECT message_id FROM sms_dead_letters WHERE message_id < (SELECT min(message_id) FROM sms_logs)
           ORDER BY message_id LIMIT $1)`,
      [PAGE],
    );
    deleted += rowCount ?? 0;
    more = rowCount === PAGE;
  }
  return deleted;
}
