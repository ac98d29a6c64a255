/**
 * Imported: daily totals of another tool (import/plausible.ts) beside what the site has counted itself. They are of
 * whole days of the calendar and know nothing of each other, so they are added where nothing is filtered, and to
 * stretches of days or longer. A day on which people made events of the site's own counts by those alone; one on which
 * only bots came has none.
 */
import { type RawBuilder, sql } from 'kysely';
import { type Dimension, dimensions } from '../dimensions.ts';
import type { Value } from '../query/breakdown.ts';
import type { Snapshot } from '../query/database.ts';
import { exact, type Measured, type Sums } from '../query/types.ts';

/** Days of the calendar since 1970, both included. */
interface Days {
  readonly first: number;
  readonly last: number;
}

/** Values of a dimension that have a row of their own: those with the most visitors. */
export const IMPORTED_VALUES_MAX = 10_000;

export const importedNotes = {
  added: 'Daily totals that were imported are included; their visitors are added up day by day, without engaged time.',
  filtered: 'Daily totals that were imported are left out: nothing is known of them under filters.',
  hours: 'Daily totals that were imported are left out: they have no hours.',
} as const;

const columns = sql`sum(visitors)::float8 AS visitors, sum(visits)::float8 AS visits, sum(views)::float8 AS views,
  sum(bounces)::float8 AS bounces, sum(duration_ms)::float8 AS "durationMs", sum(events)::float8 AS events,
  0::float8 AS "engagedMs"`;

function rowsOf(site: number, dimension: Dimension, { first, last }: Days): RawBuilder<unknown> {
  return sql`imported_days AS i WHERE site = ${site} AND dimension = ${sql.lit(dimensions[dimension].id)}
    AND day BETWEEN ${first} AND ${last}
    AND NOT EXISTS (SELECT FROM site_days AS d WHERE d.site = i.site AND d.day = i.day
      AND d.value_counts[${sql.lit(dimensions.event_type.id)}] > 0)`;
}

/** Sums of the site by day. */
export async function importedByDay(snapshot: Snapshot, site: number, days: Days): Promise<ReadonlyMap<number, Sums>> {
  const rows = await snapshot.rows(
    sql<Sums & { day: number }>`SELECT day, ${columns} FROM ${rowsOf(site, 'site', days)} GROUP BY day`,
  );
  return new Map(rows.map(({ day, ...sums }) => [day, sums]));
}

export interface ImportedValues {
  readonly values: readonly Value[];
  /** Those beyond IMPORTED_VALUES_MAX, together; undefined: there are none. */
  readonly rest: Measured | undefined;
}

/** Sums of the values of a dimension that contain a text. */
export async function importedValues(
  snapshot: Snapshot,
  site: number,
  dimension: Dimension,
  days: Days,
  search: string,
): Promise<ImportedValues> {
  const most = sql.lit(IMPORTED_VALUES_MAX);
  const rows = await snapshot.rows(sql<Sums & { text: string | null }>`
    WITH v AS (SELECT value, ${columns} FROM ${rowsOf(site, dimension, days)}
        AND strpos(lower(value), lower(${search})) > 0 GROUP BY value),
      n AS (SELECT *, "durationMs" AS duration_ms, row_number() OVER (ORDER BY visitors DESC, value) AS place FROM v)
    SELECT value AS text, ${columns} FROM n WHERE place <= ${most} GROUP BY value, place
    UNION ALL SELECT NULL, ${columns} FROM n WHERE place > ${most} HAVING count(*) > 0`);
  const values = rows.flatMap(({ text, ...sums }) => (text === null ? [] : [{ text, ...sums, certainty: exact }]));
  const rest = rows.find(({ text }) => text === null);
  return { values, rest: rest === undefined ? undefined : { ...sumsOf(rest), certainty: exact } };
}

const sumsOf = ({ text: _, ...sums }: Sums & { readonly text: string | null }): Sums => sums;

/** Both together. Whose engaged time is not known keeps the mean of it as it is. */
export function withImported<M extends Measured>(own: M, days: Iterable<Sums>, per: 'visits' | 'views' = 'visits'): M {
  const all = { ...own };
  const total = all as { -readonly [K in keyof Sums]: Sums[K] };
  for (const day of days) {
    total.visitors += day.visitors;
    total.visits += day.visits;
    total.views += day.views;
    total.bounces += day.bounces;
    total.durationMs += day.durationMs;
    total.events += day.events;
  }
  if (own[per] > 0) total.engagedMs *= total[per] / own[per];
  return all;
}

/** Values of the site and imported ones, in the order of `rank`, descending. */
export function mergedValues(
  own: readonly Value[],
  imported: readonly Value[],
  rank: (value: Value) => number,
  per: 'visits' | 'views',
): readonly Value[] {
  const byText = new Map(own.map((value) => [value.text, value]));
  for (const value of imported) {
    const known = byText.get(value.text);
    byText.set(value.text, known === undefined ? value : withImported(known, [value], per));
  }
  return [...byText.values()].sort((a, b) => rank(b) - rank(a) || (a.text < b.text ? -1 : 1));
}
