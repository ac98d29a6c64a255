/** A database with the tables of the gateway, for tests. */
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../servers/postgres.ts';
import type { TestScope } from '../servers/process.ts';

const folder = new URL('../../src/gateway/migrations/', import.meta.url);

export const PEPPER = '0123456789abcdef0123456789abcdef';

/** Starts a server of our own, migrated. */
export async function startDatabase(t: TestScope, port: number): Promise<PostgresServer> {
  const server = await startPostgres(t, { port, settings: fastSettings, own: true });
  await migrateUp({ dsn: server.dsn, service: 'gateway', folder, tell: () => undefined });
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

export { openLink };
