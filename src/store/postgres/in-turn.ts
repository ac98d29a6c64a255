import type { PostgresLink } from './connection.ts';

/**
 * Runs pieces of work one after the other. One that fails keeps no other from its turn: the first error is thrown when
 * all have had theirs. A session that is lost ends it at once.
 */
export async function inTurn(
  link: Pick<PostgresLink, 'broken'>,
  works: Iterable<() => Promise<unknown>>,
): Promise<void> {
  const failures: unknown[] = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      if (link.broken !== undefined) throw error;
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
