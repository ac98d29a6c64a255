/** Seed: customers for tries and load tests, each with a balance that the ledger knows. */
import type { Sql } from '../../store/postgres/time-partitions.ts';

export interface SeedWishes {
  /** How many: test-1, test-2, ... */
  readonly customers: number;
  /** Of each, in the unit of COST_PER_SMS. */
  readonly balance: number;
}

/** The key of their credit: a customer is given it once. */
const CREDIT_KEY = 'seed';

/** Whether there is a customer or a message. */
export async function isEmpty(sql: Sql): Promise<boolean> {
  const { rows } = await sql.query<{ found: boolean }>(
    'SELECT EXISTS (SELECT FROM customers) OR EXISTS (SELECT FROM sms_logs) AS found',
  );
  return !rows[0]!.found;
}

/** Adds those that are missing; others stay as they are. Returns how many were added. */
export async function seed(sql: Sql, { customers, balance }: SeedWishes): Promise<number> {
  const { rows } = await sql.query<{ added: number }>(
    `WITH added AS (
       INSERT INTO customers (customer_id, name, balance)
       SELECT 'test-' || n, 'Test customer ' || n, $2::bigint FROM generate_series(1, $1::int) AS n
       ON CONFLICT (customer_id) DO NOTHING RETURNING customer_id
     ), entered AS (
       INSERT INTO balance_txn (customer_id, kind, debit, credit, amount)
       SELECT customer_id, 'credit', 'external', 'available', $2 FROM added
     ), noted AS (
       INSERT INTO balance_credits (customer_id, idempotency_key, amount, balance)
       SELECT customer_id, $3, $2, $2 FROM added WHERE $2 > 0
     )
     SELECT count(*)::int AS added FROM added`,
    [customers, balance, CREDIT_KEY],
  );
  return rows[0]!.added;
}
