import type { PostgresLink } from './connection.ts';

/**
 * Deletes rows a page at a time, so that no statement runs long or holds many locks. `sql` deletes at most `page` rows;
 * returns how many went until one page was not full, or the signal has fired.
 */
export async function deletePages(
  link: PostgresLink,
  sql: string,
  values: readonly unknown[],
  page: number,
  signal?: AbortSignal,
): Promise<number> {
  let deleted = 0;
  for (let more = true; more && signal?.aborted !== true; ) {
    const { rowCount } = await link.query(sql, values);
    deleted += rowCount ?? 0;
    more = rowCount === page;
  }
  return deleted;
}
