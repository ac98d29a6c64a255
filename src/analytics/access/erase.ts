/**
 * Erase: deletes what is stored of a site, a batch per transaction, so that the load never waits long. The site itself
 * goes last, together with what came in meanwhile. Stopped at any point, it goes on from there when it is run again.
 *
 * Ids of its events stay in event_ids until their week is dropped: an event that comes again is not counted again.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { attached } from '../../store/postgres/time-partitions.ts';

/** Rows of one transaction. */
const BATCH = 5000;
const UNDEFINED_TABLE = '42P01';

interface Part {
  readonly table: string;
  /** Its rows of the site: $1 is `sites.site`; with `byName`, that or one of its names. */
  readonly where: string;
  readonly byName?: true;
  /** The order of the index that finds them. Without it the server may read the whole table for each batch. */
  readonly order: string;
  readonly partitioned?: true;
}

const bySite = 'site = $1';
const byName = 'site_id = $1';
const parts: readonly Part[] = [
  // Raw rows bear the name they came with; the index on it finds them.
  { table: 'events', where: `${byName} AND site = $2`, byName: true, order: '"timestamp"', partitioned: true },
  { table: 'visitor_days', where: bySite, order: 'day', partitioned: true },
  { table: 'rollups', where: bySite, order: 'dimension, grain, t' },
  { table: 'user_gaps', where: bySite, order: 'kind, slot' },
  { table: 'site_days', where: bySite, order: 'day' },
  { table: 'day_columns', where: bySite, order: 'day' },
  { table: 'dimension_values', where: bySite, order: 'dictionary, value' },
  { table: 'kept_from', where: bySite, order: 'site' },
  { table: 'import_lines', where: bySite, order: 'line' },
  { table: 'imported_days', where: bySite, order: 'kind, dimension, day' },
  { table: 'accepted_hours', where: byName, byName: true, order: 'hour' },
  { table: 'refused_events', where: byName, byName: true, order: 'event_id' },
  { table: 'outcome_hours', where: byName, byName: true, order: 'hour' },
];

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
  const remove = async (sql: string, values: readonly unknown[]): Promise<number> => {
    const gone = (await link.query(sql, values)).rowCount ?? 0;
    rows += gone;
    progress(rows);
    return gone;
  };
  const { rows: named } = await link.query<{ name: string }>(
    'SELECT site_id AS name FROM site_names WHERE site = $1 UNION SELECT site_id FROM sites WHERE site = $1',
    [site],
  );
  /** What the statements of a part are asked with. */
  const valuesOf = ({ where, byName }: Part): readonly (readonly unknown[])[] =>
    byName ? named.map(({ name }) => (where.includes('$2') ? [name, site] : [name])) : [[site]];
  for (const part of parts) {
    // Each partition by itself: a look for the rows of a batch in all of them is a look through all of their rows.
    const tables = part.partitioned ? await attached(link, part.table) : [part.table];
    for (const table of tables) {
      const found = `SELECT ctid FROM ${table} WHERE ${part.where} ORDER BY ${part.order} LIMIT ${BATCH}`;
      const sql = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(${found}))`;
      try {
        for (const values of valuesOf(part)) while (!ended() && (await remove(sql, values)) === BATCH);
      } catch (error) {
        // The retention has dropped the partition meanwhile.
        if (part.partitioned !== true || sqlState(error) !== UNDEFINED_TABLE) throw error;
      }
    }
  }
  if (ended()) return { rows, whole: false };
  await inTransaction(link, async () => {
    // The load holds this row while it counts events of the site: nothing of it is under way behind this lock.
    await link.query('SELECT FROM sites WHERE site = $1 FOR UPDATE', [site]);
    for (const part of parts)
      for (const values of valuesOf(part)) await remove(`DELETE FROM ${part.table} WHERE ${part.where}`, values);
    await link.query('DELETE FROM sites WHERE site = $1', [site]);
  });
  return { rows, whole: true };
}
