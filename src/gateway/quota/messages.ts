/**
 * Quota messages: POST to QUOTA_WEBHOOK_URL when a user has used 80 and 100 % of a quota.
 *
 *   once       a threshold is noted in usage_months in the statement that makes its message, so every month has one
 *              message per threshold, whichever process sees it first. A quota that is raised begins anew
 *   delivery   at least once: the message stays in quota_messages until the receiver has answered 2xx. `id` in the
 *              body, which is also the Idempotency-Key, is the same in each try
 *   retries    after 2 s, 4 s, 8 s and so on up to an hour; after TRIES_MAX the message is given up, and counted
 *   signature  Ringmain-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 over "<t>.<body>">, as the HTTP sink has it
 */
import type { CounterCell } from '../../kernel/metrics.ts';
import { signature } from '../../sinks/http/sink.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { reached, THRESHOLDS } from './thresholds.ts';
import type { Looked } from './usage-follower.ts';

const TRIES_MAX = 20;
const ANSWER_MS_MAX = 5000;
/** A message that is being sent is nobody else's for so long; a process that dies meanwhile delays it by that. */
const LEASE_S = 15;
const RETRY_S_MAX = 3600;
/** Messages of one round; they are sent one after the other. */
const ROUND = 20;

// A row that is locked now is about to change, and is found again by its change.
const NOTE = `WITH due AS (
    SELECT u.user_id, u.month, u.requests, u.bytes, q.monthly_requests, q.monthly_bytes, u.notified_requests,
      u.notified_bytes, ${reached('u.requests', 'q.monthly_requests')} AS reached_requests,
      ${reached('u.bytes', 'q.monthly_bytes')} AS reached_bytes
    FROM usage_months u JOIN quotas q USING (user_id)
    WHERE u.month IN (make_date($1 / 12, $1 % 12 + 1, 1), make_date(($1 - 1) / 12, ($1 - 1) % 12 + 1, 1))
      AND (u.changed_at > $2::timestamptz OR q.updated_at > $2::timestamptz)
      -- The month before is told of what its last requests have reached, and not of a quota that came later.
      AND (u.month = make_date($1 / 12, $1 % 12 + 1, 1) OR q.updated_at < make_date($1 / 12, $1 % 12 + 1, 1))
      AND (u.notified_requests < ${reached('u.requests', 'q.monthly_requests')}
        OR u.notified_bytes < ${reached('u.bytes', 'q.monthly_bytes')})
    FOR UPDATE OF u SKIP LOCKED
  ), noted AS (
    UPDATE usage_months u SET notified_requests = greatest(u.notified_requests, due.reached_requests),
      notified_bytes = greatest(u.notified_bytes, due.reached_bytes)
    FROM due WHERE u.user_id = due.user_id AND u.month = due.month
  )
  INSERT INTO quota_messages (body)
  SELECT jsonb_build_object('event', 'quota_reached', 'user_id', due.user_id, 'username', users.username,
    'month', to_char(due.month, 'YYYY-MM'), 'which', n.which, 'threshold', t.percent, 'limit', n.quota, 'used', n.used)
  FROM due LEFT JOIN users ON users.id = due.user_id
  CROSS JOIN LATERAL (VALUES
    ('requests', due.requests, due.monthly_requests, due.notified_requests, due.reached_requests),
    ('bytes', due.bytes, due.monthly_bytes, due.notified_bytes, due.reached_bytes)) n (which, used, quota, notified, reached)
  JOIN (VALUES ${THRESHOLDS.map((percent) => `(${percent})`).join(', ')}) t (percent)
    ON t.percent > n.notified AND t.percent <= n.reached`;

const CLAIM = `UPDATE quota_messages m SET tries = m.tries + 1,
    next_at = clock_timestamp() + interval '${LEASE_S} seconds'
  WHERE m.id IN (SELECT id FROM quota_messages WHERE next_at <= clock_timestamp() ORDER BY next_at, created_at
    LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING m.id, m.tries, m.body || jsonb_build_object('id', m.id, 'at', to_char(m.created_at AT TIME ZONE 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) AS body`;

interface Message extends Record<string, unknown> {
  readonly id: string;
  readonly tries: number;
  readonly body: unknown;
}

export interface MessageParts {
  /** QUOTA_WEBHOOK_URL */
  readonly url: string;
  /** QUOTA_WEBHOOK_SECRET */
  readonly secret: string | undefined;
  readonly now: () => number;
  readonly sent: CounterCell;
  readonly failed: CounterCell;
  readonly givenUp: CounterCell;
  /** Undefined: the receiver answers again. */
  told(failure: string | undefined): void;
}

export class QuotaMessages {
  readonly #parts: MessageParts;

  constructor(parts: MessageParts) {
    this.#parts = parts;
  }

  /** Makes the messages of what a look of the follower has seen. */
  async note(link: PostgresLink, { month, since }: Looked): Promise<void> {
    await link.query(NOTE, [month, since]);
  }

  /** Sends what is due. */
  async send(link: PostgresLink, signal: AbortSignal): Promise<void> {
    for (let i = 0; i < ROUND && !signal.aborted; i += 1) {
      const { rows } = await link.query<Message>(CLAIM);
      const [message] = rows;
      if (message === undefined) return;
      const failure = await this.#post(message, signal);
      if (failure === undefined || message.tries >= TRIES_MAX) {
        await link.query('DELETE FROM quota_messages WHERE id = $1', [message.id]);
        if (failure !== undefined) this.#parts.givenUp.add(1);
      } else if (!signal.aborted) {
        await link.query(
          'UPDATE quota_messages SET next_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1',
          [message.id, Math.min(RETRY_S_MAX, 2 ** message.tries)],
        );
      }
    }
  }

  /** Undefined: it is delivered; else what has failed. */
  async #post({ id, body }: Message, signal: AbortSignal): Promise<string | undefined> {
    const { url, secret, now, sent, failed, told } = this.#parts;
    const bytes = Buffer.from(JSON.stringify(body));
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      'user-agent': 'ringmain',
      'idempotency-key': id,
    };
    if (secret !== undefined) headers['ringmain-signature'] = signature(secret, Math.floor(now() / 1000), bytes);
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    let failure: string | undefined;
    try {
      const answer = await fetch(url, { method: 'POST', headers, body: bytes, redirect: 'manual', signal: deadline });
      await answer.body?.cancel();
      if (!answer.ok) failure = `status ${answer.status}`;
    } catch (error) {
      const { cause } = error as Error;
      // The URL may hold a secret, and is in no message of these errors.
      failure = (cause as { code?: string } | undefined)?.code ?? (error as Error).name;
    }
    (failure === undefined ? sent : failed).add(1);
    told(failure);
    return failure;
  }
}
