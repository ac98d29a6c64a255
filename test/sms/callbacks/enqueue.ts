/** Puts states of messages into the queue of callbacks, as delivery does where it settles them. */
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';

export interface CallbackRow {
  readonly message_id: string;
  readonly customer_id: string;
  readonly url: string;
  readonly status: string;
  readonly reason: string | null;
  /** When the state began, ms since 1970. */
  readonly at_ms: number;
}

const INSERT = `INSERT INTO sms_callbacks (message_id, customer_id, url, status, reason, at)
  SELECT message_id, customer_id, url, status, reason, to_timestamp(at_ms / 1000.0)
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[])
    AS f (message_id, customer_id, url, status, reason, at_ms)`;

/** Several rows of one message are told in the order in which they stand here. Customers are there afterwards. */
export async function enqueueCallbacks(link: PostgresLink, rows: readonly CallbackRow[]): Promise<void> {
  if (rows.length === 0) return;
  await link.query('INSERT INTO customers (customer_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING', [
    rows.map((row) => row.customer_id),
  ]);
  await link.query(INSERT, [
    rows.map((row) => row.message_id),
    rows.map((row) => row.customer_id),
    rows.map((row) => row.url),
    rows.map((row) => row.status),
    rows.map((row) => row.reason),
    rows.map((row) => row.at_ms),
  ]);
}
