/** A database with the tables of the SMS gateway, for tests. */
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../servers/postgres.ts';
import type { TestScope } from '../servers/process.ts';

const folder = new URL('../../src/sms/migrations/', import.meta.url);

/** Makes what is missing of the schema. */
export async function migrateSms(dsn: string): Promise<void> {
  await migrateUp({ dsn, service: 'sms', folder, tell: () => undefined });
}

/** Starts a server of our own, migrated. */
export async function startDatabase(t: TestScope, port: number): Promise<PostgresServer> {
  const server = await startPostgres(t, { port, settings: fastSettings, own: true });
  await migrateSms(server.dsn);
  return server;
}

/** Empties all tables. */
export async function emptyTables(link: PostgresLink): Promise<void> {
  const { rows } = await link.query<{ tables: string }>(
    `SELECT string_agg(quote_ident(relname), ', ') AS tables FROM pg_class
      WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
        AND relname NOT LIKE 'ringmain%'`,
  );
  await link.query(`TRUNCATE ${rows[0]!.tables} RESTART IDENTITY CASCADE`);
}

export interface CustomerWishes {
  readonly balance?: number;
  readonly lane?: 'normal' | 'express';
  readonly cost?: number;
}

/** Adds a customer whose balance is a credit in the ledger. */
export async function addCustomer(
  link: PostgresLink,
  id: string,
  { balance = 0, lane = 'normal', cost }: CustomerWishes = {},
): Promise<void> {
  await link.query('INSERT INTO customers (customer_id, balance, lane, cost_per_sms) VALUES ($1, $2, $3, $4)', [
    id,
    balance,
    lane,
    cost ?? null,
  ]);
  await link.query(
    `INSERT INTO balance_txn (customer_id, kind, debit, credit, amount) VALUES ($1, 'credit', 'external', 'available', $2)`,
    [id, balance],
  );
}

export { openLink, type PostgresLink };
