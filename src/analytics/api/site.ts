/** Sites and goals as the API reads them. */
import { sql } from 'kysely';
import { shown } from '../../http/answer.ts';
import { DAY_MS, dimensions } from '../dimensions.ts';
import { analyticsErrors } from '../errors.ts';
import { db, type Snapshot } from '../query/database.ts';
import { dayIn } from '../query/range.ts';
import type { Goal, GoalKind, Site } from './contract.ts';

export interface FoundSite {
  /** `sites.site`. */
  readonly site: number;
  readonly siteId: string;
  readonly timeZone: string;
}

interface SiteRow {
  readonly site: number;
  readonly site_id: string;
  readonly time_zone: string;
  readonly created_at: Date;
  readonly has_events: boolean;
  readonly bots_only: boolean;
}

/** The site that a name leads to: its own, or one that it had before. */
const named = (name: string) => sql`site = (SELECT site FROM site_names WHERE site_id = ${name})`;

/** Events of bots make a day of the site and no sums of it. */
const rowsWhere = (condition: ReturnType<typeof named>, limit: number) => sql<SiteRow>`
  SELECT *, NOT has_events AND EXISTS (SELECT FROM site_days d WHERE d.site = s.site) AS bots_only FROM (
    SELECT site, site_id, time_zone, created_at, (
      EXISTS (SELECT FROM rollups r WHERE r.site = sites.site AND dimension = ${sql.lit(dimensions.site.id)})
      OR EXISTS (SELECT FROM imported_days i WHERE i.site = sites.site)) AS has_events
    FROM sites WHERE ${condition} ORDER BY site_id COLLATE "C" LIMIT ${sql.lit(limit)}) AS s`;

const siteOf = ({ site_id, time_zone, created_at, has_events, bots_only }: SiteRow): Site => ({
  site_id,
  time_zone,
  created_at: created_at.toISOString(),
  has_events,
  bots_only,
});

async function rowOf(snapshot: Snapshot, name: string): Promise<SiteRow> {
  const [row] = await snapshot.rows(rowsWhere(named(name), 1));
  if (row === undefined) throw analyticsErrors.NO_SITE({ site: shown(name) });
  return row;
}

/** Throws NO_SITE. */
export async function findSite(snapshot: Snapshot, name: string): Promise<FoundSite> {
  const { site, site_id, time_zone } = await rowOf(snapshot, name);
  return { site, siteId: site_id, timeZone: time_zone };
}

export const showSite = async (snapshot: Snapshot, name: string): Promise<Site> => siteOf(await rowOf(snapshot, name));

/** Sites of one list. */
export const SITES_LISTED_MAX = 10_000;

/** Those with these numbers, or all: registered ones, and those that events have made. */
export async function listSites(snapshot: Snapshot, sites: readonly number[] | undefined): Promise<readonly Site[]> {
  const among = sites === undefined ? sql`true` : sql`site = ANY (${sites}::int[])`;
  return (await snapshot.rows(rowsWhere(among, SITES_LISTED_MAX))).map(siteOf);
}

/** The day of the time zone on which the site's first event lies, or its first imported day; undefined: it has none. */
export async function firstDayOf(snapshot: Snapshot, site: number, timeZone: string): Promise<number | undefined> {
  const [row] = await snapshot.rows(
    sql<{ own: number | null; imported: number | null }>`SELECT
      (SELECT min(day) FROM site_days WHERE site = ${site}) AS own,
      (SELECT min(day) FROM imported_days WHERE site = ${site} AND dimension = ${sql.lit(dimensions.site.id)}) AS imported`,
  );
  const { own = null, imported = null } = row ?? {};
  const first = own === null ? undefined : dayIn(own * DAY_MS, timeZone);
  return imported === null ? first : Math.min(imported, first ?? imported);
}

export async function goalsOf(snapshot: Snapshot, site: number): Promise<readonly Goal[]> {
  const rows = await snapshot.rows(
    db.selectFrom('goals').select(['goal', 'kind', 'match', 'name']).where('site', '=', site).orderBy('goal'),
  );
  return rows.map(({ goal, kind, match, name }) => ({ id: goal, kind: kind as GoalKind, match, name }));
}
