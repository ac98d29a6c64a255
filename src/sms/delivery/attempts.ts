/**
 * Attempts: written down before the operator is called, so that no crash can make us send a message twice. One
 * statement per batch says which may go:
 *
 *   accepted          > sending; it goes
 *   sending           somebody has called the operator and died before the answer was written, for whoever owns the
 *                     shard holds no such call: held until it is known what happened (held.ts)
 *   anything else     it has ended: a record that came twice. Its row leaves the queue
 *
 * A statement whose answer was lost may have been carried out, and nobody was called then. Its messages come again with
 * the same token: they go if the attempt that stands bears it, whoever has owned the shard meanwhile.
 */
import { instantArray, int8Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { ulidMs } from '../message/ulid.ts';
import type { Queued } from './queued.ts';

export interface Planned {
  readonly message: Queued;
  readonly operator: string;
  /** Of this attempt alone; the same again when the statement that was to write it has failed. */
  readonly token: number;
}

/** What the operator is sent, beside what the queue knows. */
export interface Attempt {
  /** Its number, from 1: proof that what is settled is this attempt. */
  readonly number: number;
  readonly sender: string;
  readonly text: string;
}

const SQL = `WITH given AS (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::int8[])
    AS g (message_id, created_at, operator, token)
), go AS (
  UPDATE sms_logs l SET status = 'sending', attempts = l.attempts + 1, operator = g.operator,
      attempt_token = g.token
    FROM given g WHERE l.message_id = g.message_id AND l.created_at = g.created_at
      AND (l.status = 'accepted' OR l.status = 'sending' AND l.attempt_token = g.token)
    RETURNING l.message_id, l.attempts, l.sender, l.body
), rest AS (
  SELECT g.message_id, coalesce(l.status, 'gone') AS status
    FROM given g LEFT JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at
    WHERE NOT EXISTS (SELECT FROM go WHERE go.message_id = g.message_id)
), held AS (
  UPDATE sms_queue q SET held_ms = $5, due_ms = $6 FROM rest r
    WHERE q.message_id = r.message_id AND r.status = 'sending' AND q.held_ms IS NULL
    RETURNING q.message_id
), gone AS (
  DELETE FROM sms_queue q USING rest r
    WHERE q.message_id = r.message_id AND r.status NOT IN ('accepted', 'sending')
    RETURNING q.message_id
)
SELECT message_id, 'go' AS what, attempts, sender, body FROM go
UNION ALL SELECT message_id, 'held', 0, '', '' FROM held
UNION ALL SELECT message_id, 'gone', 0, '', '' FROM gone`;

interface Row {
  readonly message_id: string;
  readonly what: 'go' | 'held' | 'gone';
  readonly attempts: number;
  readonly sender: string;
  readonly body: string;
}

export interface Recorded {
  /** By message. */
  readonly go: ReadonlyMap<string, Attempt>;
  /** How many were held, and how many had ended. */
  readonly held: number;
  readonly gone: number;
}

/** `askMs`: when operators are first asked about what is held now. Times: ms since 1970. */
export async function recordAttempts(
  link: PostgresLink,
  planned: readonly Planned[],
  nowMs: number,
  askMs: number,
): Promise<Recorded> {
  // In the order in which receipts and settlements lock rows.
  const rows = [...planned].sort((a, b) => (a.message.messageId < b.message.messageId ? -1 : 1));
  const found = await link.prepared<Row>('sms-attempts', SQL, [
    textArray(rows, ({ message }) => message.messageId),
    instantArray(rows, ({ message }) => ulidMs(message.messageId)!),
    textArray(rows, ({ operator }) => operator),
    int8Array(rows, ({ token }) => BigInt(token)),
    nowMs,
    askMs,
  ]);
  const go = new Map<string, Attempt>();
  let [held, gone] = [0, 0];
  for (const { message_id, what, attempts, sender, body } of found.rows) {
    if (what === 'go') go.set(message_id, { number: attempts, sender, text: body });
    else if (what === 'held') held += 1;
    else gone += 1;
  }
  return { go, held, gone };
}
