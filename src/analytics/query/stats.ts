/**
 * Stats: views, distinct users and the ten most viewed paths of one day of a time zone. All three are exact, for bots
 * aside they are what count(*), count(distinct user_id) and group by path say of the page views of that day.
 *
 *   views   sums of the site's own rows
 *   users   users of a window, each counted in the first slot of it in which he was (rollup/gaps.ts)
 *   paths   sums of the rows of `path`. A day of a time zone would have to read all paths of hours of slots. A path has
 *           no more views in it than on the UTC days that it touches, so those with most views there are added up
 *           first, until no path behind them can still be among the ten (the threshold algorithm: Fagin, Lotem, Naor
 *           2001)
 *
 * Where a path that a day counts under "(other)" may be one of the ten, they are counted from the raw events
 * (raw-paths.ts), all three from one snapshot; such an answer may be some seconds old (day-counts.ts). One that could
 * not do that says so.
 */
import { type RawBuilder, sql } from 'kysely';
import { dimensions, grains, OTHER } from '../dimensions.ts';
import { gapKinds } from '../rollup/measures.ts';
import type { Stats, StatsPath } from '../schemas.ts';
import { db, type Snapshot } from './database.ts';
import type { DayCount, DayCounts, DayNumbers } from './day-counts.ts';
import { added, type Piece, piecesOf, rowsIn, utcDaysOf } from './pieces.ts';
import { dateText, type Parts, partsOf, rangeOf, type Span } from './range.ts';
import { rawPaths } from './raw-paths.ts';

export interface StatsQuestion {
  readonly siteId: string;
  /** UTC days since 1970; the date of the time zone. */
  readonly day: number;
  readonly timeZone: string;
}

const PATHS = 10;
/** Paths that are added up at first, and at most: beyond that, reading all of them is cheaper. */
const CANDIDATES = 32;
const CANDIDATES_MAX = 160;

/** The site that a name leads to: its own, or one that it had before. */
export async function siteOf(snapshot: Snapshot, siteId: string): Promise<number | undefined> {
  const [row] = await snapshot.rows(db.selectFrom('site_names').select('site').where('site_id', '=', siteId));
  return row?.site;
}

/** What is answered with. */
export interface StatsMeans {
  /** Reads within one transaction. */
  read<T>(work: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  readonly days: DayCounts;
  /** Called before it waits for a count that others may wait for as well; it has no session then. */
  leave(): void;
}

export async function stats(
  { siteId, day, timeZone }: StatsQuestion,
  { read, days, leave }: StatsMeans,
): Promise<Stats> {
  const none = { site_id: siteId, date: dateText(day), total_views: 0, unique_users: 0, top_paths: [] };
  const parts = partsOf(rangeOf(day, day, timeZone));
  const { from, to } = parts.slots;
  if (from === to) return none;
  const sums = await read(async (snapshot) => {
    const site = await siteOf(snapshot, siteId);
    return site === undefined ? undefined : { site, ...(await sumsOf(snapshot, site, parts)) };
  });
  if (sums === undefined) return none;
  const { site, views, numbers } = sums;
  if (views === undefined) return { ...none, ...numbers };
  leave();
  const counted = await days.of(`${site}/${from}/${to}`, { views, numbers }, () =>
    read((snapshot) => countOf(snapshot, site, parts)),
  );
  return counted === undefined ? { ...none, ...numbers, top_paths_incomplete: true } : { ...none, ...counted };
}

interface Sums {
  readonly numbers: DayNumbers;
  /** Page views with a path, where one that the sums do not name may be among the ten. */
  readonly views: number | undefined;
}

async function sumsOf(snapshot: Snapshot, site: number, parts: Parts): Promise<Sums> {
  const pieces = piecesOf(parts).filter(({ inside }) => inside);
  const views = rowsIn(site, 'site', pieces, (piece) => sql`${added(sql`views`, piece)} AS views`);
  const paths = (await topByBounds(snapshot, site, pieces)) ?? topOfAll(site, pieces);
  const dictionary = sql.lit(dimensions.path.dictionary);
  // Texts are joined to those alone that may be among the ten: ties are broken by them.
  const query = sql<Found>`
    WITH top AS MATERIALIZED (${paths}), named AS (
      SELECT v.text AS path, top.views FROM top JOIN dimension_values v
        ON v.site = ${site} AND v.dictionary = ${dictionary} AND v.value = top.value
      ORDER BY top.views DESC, v.text COLLATE "C" LIMIT ${sql.lit(PATHS)}
    )
    SELECT (SELECT coalesce(sum(views), 0)::float8 FROM ${views} AS s) AS total_views,
      ${viewers(site, parts.slots)} AS unique_users,
      (SELECT coalesce(json_agg(named ORDER BY views DESC, path COLLATE "C"), '[]') FROM named) AS top_paths,
      (SELECT coalesce(sum(views), 0)::float8 FROM (${viewsOf(site, pieces, [OTHER.toString()])}) AS o) AS other_views`;
  const [{ other_views: otherViews, ...numbers }] = (await snapshot.rows(query)) as [Found];
  const hides = mayHideOne(numbers.top_paths, otherViews, pieces);
  return { numbers, views: hides ? await viewsWithPath(snapshot, site, pieces) : undefined };
}

/** The same with the ten of the raw events. Undefined: they take too long, or are not all there. */
async function countOf(snapshot: Snapshot, site: number, parts: Parts): Promise<DayCount | undefined> {
  const { numbers, views } = await sumsOf(snapshot, site, parts);
  const raw = await rawPaths(snapshot, site, parts.slots, PATHS);
  if (raw === undefined || raw.views !== views) return undefined;
  return { views: raw.views, numbers: { ...numbers, top_paths: raw.paths } };
}

interface Found extends DayNumbers {
  readonly other_views: number;
}

/**
 * Whether a path that is counted under "(other)" may be one of the ten. On one UTC day a path is in there with all of
 * its views or with none; a day of a time zone may have it in there with those of one of two UTC days.
 */
function mayHideOne(top: readonly StatsPath[], otherViews: number, pieces: readonly Piece[]): boolean {
  if (otherViews === 0) return false;
  const oneDay = pieces.every(({ grain }) => grain !== grains.slot);
  return !oneDay || otherViews >= (top[PATHS - 1]?.views ?? 0);
}

async function viewsWithPath(snapshot: Snapshot, site: number, pieces: readonly Piece[]): Promise<number> {
  const rows = rowsIn(site, 'path', pieces, (piece) => sql`${added(sql`views`, piece)} AS views`);
  const [sums] = await snapshot.rows(sql<{ views: number }>`SELECT sum(views)::float8 AS views FROM ${rows} AS p`);
  return sums!.views;
}

/** The paths that may be among the ten, from all that these pieces have. */
function topOfAll(site: number, pieces: readonly Piece[]): RawBuilder<unknown> {
  const rows = rowsIn(site, 'path', pieces, (piece) => sql`value, ${added(sql`views`, piece)} AS views`);
  return sql`SELECT value, sum(views)::float8 AS views FROM ${rows} AS p WHERE value <> ${OTHER.toString()}
    GROUP BY value HAVING sum(views) > 0 ORDER BY 2 DESC FETCH FIRST ${sql.lit(PATHS)} ROWS WITH TIES`;
}

interface Bounded {
  readonly value: string;
  readonly bound: number;
}

/** The same by the most views that a path can have. Undefined: too many paths have about as many, or days need none. */
async function topByBounds(
  snapshot: Snapshot,
  site: number,
  pieces: readonly Piece[],
): Promise<RawBuilder<unknown> | undefined> {
  if (pieces.every(({ grain }) => grain !== grains.slot)) return undefined;
  const days = rowsIn(site, 'path', [utcDaysOf(pieces)], () => sql`value, views`);
  const bounded = await snapshot.rows(sql<Bounded>`SELECT value, sum(views)::float8 AS bound FROM ${days} AS d
    WHERE value <> ${OTHER.toString()} GROUP BY value HAVING sum(views) > 0 ORDER BY 2 DESC
    LIMIT ${sql.lit(CANDIDATES_MAX + 1)}`);
  const found: { readonly value: string; readonly views: number }[] = [];
  for (let at = 0, end = CANDIDATES; at < CANDIDATES_MAX; [at, end] = [end, CANDIDATES_MAX]) {
    const candidates = bounded.slice(at, end).map(({ value }) => value);
    if (candidates.length > 0) found.push(...(await snapshot.rows(viewsOf(site, pieces, candidates))));
    const tenth = found.map(({ views }) => views).sort((a, b) => b - a)[PATHS - 1] ?? 0;
    const behind = bounded[end]?.bound ?? -1;
    if (behind >= tenth) continue;
    const top = found.filter(({ views }) => views >= Math.max(tenth, 1));
    return sql`SELECT * FROM unnest(${top.map(({ value }) => value)}::int8[],
      ${top.map(({ views }) => views)}::float8[]) AS top (value, views)`;
  }
  return undefined;
}

/** One look into the primary key for each slot and value: a range of slots would be read with all values. */
function viewsOf(
  site: number,
  pieces: readonly Piece[],
  values: readonly string[],
): RawBuilder<{ value: string; views: number }> {
  const scans = pieces.map((piece) => {
    const times = Array.from({ length: piece.to - piece.from }, (_, i) => piece.from + i);
    return sql`SELECT value, ${added(sql`views`, piece)} AS views FROM rollups WHERE site = ${site}
      AND dimension = ${sql.lit(dimensions.path.id)} AND grain = ${sql.lit(piece.grain)}
      AND t = ANY (${times}::int4[]) AND value = ANY (${values}::int8[])`;
  });
  return sql`SELECT value, sum(views)::float8 AS views FROM (${sql.join(scans, sql` UNION ALL `)}) AS p GROUP BY value`;
}

/** Distinct users with a page view in these slots, of which there are at most 100 (25 hours). */
function viewers(site: number, { from, to }: Span) {
  return sql`(SELECT coalesce(sum(users), 0)::float8 FROM user_gaps WHERE site = ${site}
    AND kind = ${sql.lit(gapKinds.viewers)} AND slot >= ${from} AND slot < ${to}
    AND gap > slot - ${from})`;
}
