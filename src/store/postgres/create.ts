/** Creating tables: at most one process at a time, and only what is missing. */
import type { PostgresLink } from './connection.ts';
import { describeFault, faultOf, SetupError } from './fault.ts';
import type { TableName } from './names.ts';

export async function exists(link: PostgresLink, name: TableName): Promise<boolean> {
  // Reading pg_class makes the session take in what others have committed. to_regclass alone answers from a cache: it
  // would not see a table whose creator this session has just waited for.
  const { rows } = await link.query<{ found: boolean }>(
    'SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1)) AS found',
    [name.sql],
  );
  return rows[0]!.found;
}

/**
 * Runs statements that create tables in one transaction, one process after the other: IF NOT EXISTS alone does not keep
 * apart two processes that start together. `create` looks again at what is missing.
 */
export async function createOnce(link: PostgresLink, create: () => Promise<unknown>): Promise<void> {
  await link.query('BEGIN');
  try {
    await link.query("SELECT pg_advisory_xact_lock(hashtext('ringmain create'))");
    await create();
    await link.query('COMMIT');
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    if (faultOf(error) !== 'setup') throw error;
    throw new SetupError(`tables could not be made: ${describeFault(error)}`, { cause: error });
  }
}
