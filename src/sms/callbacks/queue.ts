/**
 * Queue of callbacks: what is due, and what became of it. A claim takes a row from everybody else until its lease is
 * over; a process that dies meanwhile delays it by that.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';

export interface Callback {
  readonly id: string;
  readonly messageId: string;
  readonly customerId: string;
  readonly url: string;
  readonly status: string;
  readonly operator: string | null;
  readonly reason: string | null;
  /** ISO 8601, with ms. */
  readonly at: string;
  /** This one included. */
  readonly tries: number;
  /** Ms since the state began to be told. */
  readonly ageMs: number;
  readonly secret: string;
}

/** How many rows of a customer may be taken. */
export interface Wish {
  readonly customerId: string;
  readonly rows: number;
}

export interface Retry {
  readonly id: string;
  readonly afterMs: number;
}

// A step from customer to customer by the index: what it costs goes by customers, and not by their rows.
const CUSTOMERS = `WITH RECURSIVE c (customer_id, n) AS (
    (SELECT customer_id, 1 FROM sms_callbacks WHERE customer_id > $1 ORDER BY customer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.customer_id FROM sms_callbacks s WHERE s.customer_id > c.customer_id
      ORDER BY s.customer_id LIMIT 1), c.n + 1
    FROM c WHERE c.customer_id IS NOT NULL AND c.n < $2
  ) SELECT customer_id FROM c WHERE customer_id IS NOT NULL`;

// Of a message only the oldest row: its states are told in their order, each when the one before has arrived.
const CLAIM = `WITH claimed AS (
    SELECT due.id FROM unnest($1::text[], $2::int[]) AS w (customer_id, rows) CROSS JOIN LATERAL (
      SELECT s.id FROM sms_callbacks s WHERE s.customer_id = w.customer_id AND s.next_at <= now()
        AND NOT EXISTS (SELECT FROM sms_callbacks e WHERE e.message_id = s.message_id AND e.id < s.id)
      ORDER BY s.next_at LIMIT w.rows FOR UPDATE SKIP LOCKED) due
  )
  UPDATE sms_callbacks m SET tries = m.tries + 1, next_at = clock_timestamp() + make_interval(secs => $3)
  FROM claimed, customers c WHERE m.id = claimed.id AND c.customer_id = m.customer_id
  RETURNING m.id, m.message_id, m.customer_id, m.url, m.status, m.operator, m.reason, m.tries,
    to_char(m.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
    (extract(epoch FROM clock_timestamp() - m.created_at) * 1000)::float8 AS age_ms,
    c.callback_secret AS secret`;

// Those behind it wait with it: a claim would pass by each of them, and there may be as many as a day has messages.
const RETRY = `UPDATE sms_callbacks m SET next_at = clock_timestamp() + make_interval(secs => r.after_s)
  FROM unnest($1::bigint[], $2::float8[]) AS r (id, after_s) JOIN sms_callbacks h USING (id)
  WHERE m.message_id = h.message_id AND m.id >= h.id`;

const DROP = `WITH gone AS (DELETE FROM sms_callbacks WHERE id = ANY ($1::bigint[]) RETURNING id, message_id)
  UPDATE sms_callbacks m SET next_at = clock_timestamp() FROM gone
  WHERE m.message_id = gone.message_id AND m.id > gone.id AND m.next_at > now()`;

// Ids grow with the time: the oldest are the first ones.
const EXPIRE = `DELETE FROM sms_callbacks WHERE id IN (
    SELECT o.id FROM (SELECT id, created_at FROM sms_callbacks ORDER BY id LIMIT $2) o
    WHERE o.created_at < now() - make_interval(secs => $1))`;

const WAITING = `SELECT count(*)::int AS rows, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age_s
  FROM (SELECT created_at FROM sms_callbacks ORDER BY id LIMIT $1) w`;

interface Row extends Record<string, unknown> {
  readonly id: string;
  readonly message_id: string;
  readonly customer_id: string;
  readonly url: string;
  readonly status: string;
  readonly operator: string | null;
  readonly reason: string | null;
  readonly tries: number;
  readonly at: string;
  readonly age_ms: number;
  readonly secret: Buffer;
}

/** Up to `count` customers that have rows, behind this one in the order of ids. */
export async function customersBehind(link: PostgresLink, customerId: string, count: number): Promise<string[]> {
  const { rows } = await link.query<{ customer_id: string }>(CUSTOMERS, [customerId, count]);
  return rows.map((row) => row.customer_id);
}

/** What is due, and whose turn it is, for `leaseMs`. */
export async function claimCallbacks(
  link: PostgresLink,
  wishes: readonly Wish[],
  leaseMs: number,
): Promise<Callback[]> {
  const { rows } = await link.query<Row>(CLAIM, [
    wishes.map(({ customerId }) => customerId),
    wishes.map((wish) => wish.rows),
    leaseMs / 1000,
  ]);
  return rows.map((row) => ({
    id: row.id,
    messageId: row.message_id,
    customerId: row.customer_id,
    url: row.url,
    status: row.status,
    operator: row.operator,
    reason: row.reason,
    at: row.at,
    tries: row.tries,
    ageMs: row.age_ms,
    // The customer has it as a text of ASCII.
    secret: row.secret.toString('latin1'),
  }));
}

/** What stands behind them is due at once. */
export async function dropCallbacks(link: PostgresLink, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await link.query(DROP, [ids]);
}

export async function retryCallbacks(link: PostgresLink, retries: readonly Retry[]): Promise<void> {
  if (retries.length === 0) return;
  await link.query(RETRY, [retries.map(({ id }) => id), retries.map(({ afterMs }) => afterMs / 1000)]);
}

const PAGE = 5000;

/** Deletes what is older than that, also of customers whose turn does not come; returns how many. */
export async function expireCallbacks(link: PostgresLink, ageMs: number): Promise<number> {
  let all = 0;
  for (;;) {
    const { rowCount } = await link.query(EXPIRE, [ageMs / 1000, PAGE]);
    all += rowCount ?? 0;
    if (rowCount !== PAGE) return all;
  }
}

/** Rows that wait, counted up to `most`, and the age of the oldest one in seconds. */
export async function waitingCallbacks(link: PostgresLink, most: number): Promise<{ rows: number; ageS: number }> {
  const { rows } = await link.query<{ rows: number; age_s: number }>(WAITING, [most]);
  return { rows: rows[0]!.rows, ageS: rows[0]!.age_s };
}
