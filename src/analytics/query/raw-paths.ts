/**
 * Raw paths: the ten most viewed paths of a day, counted from its raw events. Asked where sums cannot say it: a day with
 * more than DIMENSION_VALUES_MAX paths counts those that came last under "(other)", and one of them may have become the
 * most viewed. Reading a day takes as long as it has views, so it ends at RAW_MS_MAX; and raw events may be gone
 * (RETENTION_DAYS), so what was read is held against the sums. day-counts.ts says when a day is read.
 */
import { sql } from 'kysely';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { SLOT_MS } from '../dimensions.ts';
import type { StatsPath } from '../schemas.ts';
import { db, type Snapshot } from './database.ts';
import type { Span } from './range.ts';

const RAW_MS_MAX = 2000;
const CANCELED = '57014';

export interface RawPaths {
  /** Page views with a path. */
  readonly views: number;
  readonly paths: readonly StatsPath[];
}

/** `count`: paths at most. Undefined: it takes too long. The session must be in a transaction that changes nothing. */
export function rawPaths(
  snapshot: Snapshot,
  site: number,
  { from, to }: Span,
  count: number,
  limitMs = RAW_MS_MAX,
): Promise<RawPaths | undefined> {
  const { sql: text, parameters } = sql<RawPaths>`
    WITH p AS MATERIALIZED (
      SELECT path, count(*)::float8 AS views FROM events
      WHERE site_id IN (SELECT site_id FROM site_names WHERE site = ${site}) AND event_type = 'page_view'
        AND "timestamp" >= to_timestamp(${(from * SLOT_MS) / 1000}::float8)
        AND "timestamp" < to_timestamp(${(to * SLOT_MS) / 1000}::float8)
        AND bot IS NULL AND path <> '' GROUP BY path
    ), top AS (SELECT * FROM p ORDER BY views DESC, path COLLATE "C" LIMIT ${sql.lit(count)})
    SELECT (SELECT coalesce(sum(views), 0) FROM p) AS views,
      (SELECT coalesce(json_agg(top ORDER BY views DESC, path COLLATE "C"), '[]') FROM top) AS paths`.compile(db);
  return snapshot.use(async (link) => {
    await link.query(`SAVEPOINT raw; SET LOCAL statement_timeout = ${limitMs}`);
    try {
      return await readOne(link, text, parameters);
    } catch (error) {
      if (sqlState(error) !== CANCELED) throw error;
      return undefined;
    } finally {
      // It takes back the time limit as well. On a lost connection it fails, and what failed before says more.
      await link.query('ROLLBACK TO SAVEPOINT raw').catch(() => undefined);
    }
  });
}

async function readOne(link: PostgresLink, text: string, parameters: readonly unknown[]): Promise<RawPaths> {
  const { rows } = await link.query<RawPaths & Record<string, unknown>>(text, parameters);
  return rows[0]!;
}
