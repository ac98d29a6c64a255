/**
 * Erase: deletes what is stored of a site, a batch per transaction, so that the load never waits long. The site itself
 * goes last, together with what came in meanwhile. Stopped at any point, it goes on from there when it is run again.
 *
 * Ids of its events stay in event_ids until their week is dropped: an event that comes again is not counted again.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';

/** Rows of one transaction. */
const BATCH = 5000;

interface Part {
  readonly table: string;
  /** Columns that tell its rows apart. */
  readonly key: readonly string[];
  /** Its rows of the site: $1 is `sites.site`, $2 the names of the site. */
  readonly where: string;
}

// Raw rows bear the name they came with; the index on it finds them.
const bySite = 'site = $1 AND $2::text[] IS NOT NULL';
const byName = 'site_id = ANY($2::text[]) AND $1::int IS NOT NULL';
export const parts: readonly Part[] = [
  { table: 'events', key: ['id', '"timestamp"'], where: 'site_id = ANY($2::text[]) AND site = $1' },
  { table: 'visitor_days', key: ['site', 'day', 'visitor'], where: bySite },
  { table: 'rollups', key: ['site', 'dimension', 'grain', 't', 'value'], where: bySite },
  { table: 'user_gaps', key: ['site', 'kind', 'slot', 'gap'], where: bySite },
  { table: 'site_days', key: ['site', 'day'], where: bySite },
  { table: 'day_columns', key: ['site', 'day', 'name'], where: bySite },
  { table: 'dimension_values', key: ['site', 'dictionary', 'value'], where: bySite },
  { table: 'kept_from', key: ['site'], where: bySite },
  { table: 'import_lines', key: ['site', 'line'], where: bySite },
  { table: 'imported_days', key: ['site', 'kind', 'dimension', 'day', 'value'], where: bySite },
  { table: 'accepted_hours', key: ['site_id', 'hour'], where: byName },
  { table: 'refused_events', key: ['event_id', 'receipt'], where: byName },
  { table: 'outcome_hours', key: ['site_id', 'hour'], where: byName },
];

function statement({ table, key, where }: Part): string {
  const columns = key.join(', ');
  return `DELETE FROM ${table} WHERE (${columns}) IN (SELECT ${columns} FROM ${table} WHERE ${where} LIMIT ${BATCH})`;
}

export interface Erasing {
  /** Called after each batch with the rows that are gone so far. */
  readonly progress: (rows: number) => void;
  /** True: it ends after this batch. */
  readonly ended: () => boolean;
}

/** Returns how many rows are gone, and whether that was all. */
export async function eraseSite(
  link: PostgresLink,
  site: number,
  { progress, ended }: Erasing,
): Promise<{ readonly rows: number; readonly whole: boolean }> {
  let rows = 0;
  const { rows: named } = await link.query<{ names: string[] }>(
    `SELECT array_agg(site_id::text) AS names FROM (
       SELECT site_id FROM site_names WHERE site = $1 UNION SELECT site_id FROM sites WHERE site = $1) n`,
    [site],
  );
  const values = [site, named[0]?.names ?? []];
  const empty = async (part: Part, stop: () => boolean) => {
    for (let gone = BATCH; gone === BATCH && !stop(); ) {
      gone = (await link.query(statement(part), values)).rowCount ?? 0;
      rows += gone;
      progress(rows);
    }
  };
  for (const part of parts) await empty(part, ended);
  if (ended()) return { rows, whole: false };
  await inTransaction(link, async () => {
    // The load holds this row while it counts events of the site: nothing of it is under way behind this lock.
    await link.query('SELECT FROM sites WHERE site = $1 FOR UPDATE', [site]);
    for (const part of parts) await empty(part, () => false);
    await link.query('DELETE FROM sites WHERE site = $1', [site]);
  });
  return { rows, whole: true };
}
