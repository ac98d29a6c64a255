import type { PostgresLink } from './connection.ts';

/** Runs `work` in a transaction of its own. */
export async function inTransaction<T>(link: PostgresLink, work: () => Promise<T>): Promise<T> {
  await link.query('BEGIN');
  try {
    const result = await work();
    await link.query('COMMIT');
    return result;
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    throw error;
  }
}
