/**
 * Retention: raw events are deleted when they are too old; statistics stay.
 *
 *   RETENTION_DAYS        months that are wholly older are dropped, their rows in the default partitions deleted
 *   sites.retention_days  events of that site, under all of its names, are deleted
 *
 * States of visitor days go with them, and without those a late event would count its visitor again. So a day that was
 * deleted takes no event any more, whatever the settings become: `kept_from` is raised before the first row goes, and
 * whoever stores events or seals days asks it as well as the settings.
 *
 * Deletes take BATCH_ROWS at a time, each a transaction of its own, and a run ends after RUN_MS: what is left is for
 * the next run, which begins with another site: thousands of sites have more partitions than a run looks at. So they
 * hold no lock for long, and the vacuum keeps pace.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { beginOf, monthNow, monthsOf, monthText } from '../../store/postgres/month-partitions.ts';
import type { Sql } from '../../store/postgres/time-partitions.ts';
import { DAY_MS, dayOf, monthOf } from '../dimensions.ts';
import { months } from './partitions.ts';

const BATCH_ROWS = 5000;
const RUN_MS = 60_000;
/** Between two batches: others write as well. */
const PAUSE_MS = 20;
/** In `kept_from`: all sites, by RETENTION_DAYS. */
export const ALL_SITES = 0;

interface Site {
  readonly site: number;
  readonly names: readonly string[];
  readonly days: number;
}

export interface RetentionLimits {
  readonly batchRows?: number;
  readonly runMs?: number;
  /** Which site comes first. */
  readonly random?: () => number;
}

export interface Retained {
  readonly dropped: readonly string[];
  readonly deleted: number;
}

/** `days`: RETENTION_DAYS. A month that cannot be dropped keeps nothing else; its error is thrown at the end. */
export async function retain(
  link: PostgresLink,
  days: number | undefined,
  signal: AbortSignal,
  { batchRows = BATCH_ROWS, runMs = RUN_MS, random = Math.random }: RetentionLimits = {},
): Promise<Retained> {
  const end = performance.now() + runMs;
  const goesOn = () => !signal.aborted && performance.now() < end;
  const today = dayOf((await monthNow(link)).ms);
  const dropped: string[] = [];
  let deleted = 0;
  let failure: unknown;
  const empty = async (sql: string, values: readonly unknown[]): Promise<void> => {
    while (goesOn()) {
      const { rowCount } = await link.query(sql, values);
      deleted += rowCount ?? 0;
      if ((rowCount ?? 0) < batchRows) return;
      await delay(PAUSE_MS);
    }
  };
  /** `where` names the rows of a table so that an index finds them, in an order if the planner may not see that. */
  const emptyTable = (table: string, where: string, values: readonly unknown[]) =>
    empty(
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE ${where} LIMIT ${batchRows}))`,
      values,
    );
  if (days !== undefined) {
    const day = firstOfMonths(today, days);
    await raiseKeptFrom(link, ALL_SITES, day);
    try {
      await months.drop(link, days, (name) => dropped.push(name));
    } catch (error) {
      failure = error;
    }
    await emptyTable('events_default', '"timestamp" < to_timestamp($1 * 86400.0) ORDER BY "timestamp"', [day]);
    await emptyTable('visitor_days_default', 'day < $1 ORDER BY day', [day]);
    await emptyTable('day_columns', 'site IN (SELECT site FROM sites) AND day < $1', [today - days]);
  }
  const sites = await sitesWithRetention(link);
  const first = Math.floor(random() * sites.length);
  for (const { site, names, days: own } of [...sites.slice(first), ...sites.slice(0, first)]) {
    if (!goesOn()) break;
    const day = today - own;
    await raiseKeptFrom(link, site, day);
    for (const table of await tablesUntil(link, 'events', day))
      await emptyTable(table, 'site_id = ANY ($1) AND "timestamp" < to_timestamp($2 * 86400.0) AND site = $3', [
        names,
        day,
        site,
      ]);
    for (const table of await tablesUntil(link, 'visitor_days', day))
      await emptyTable(table, 'site = $1 AND day < $2', [site, day]);
    await emptyTable('day_columns', 'site = $1 AND day < $2', [site, day]);
    // These days are sealed no more (columns/seal.ts).
    await link.query('UPDATE site_days SET sealed = revision WHERE due AND site = $1 AND day < $2', [site, day]);
  }
  if (failure !== undefined) throw failure;
  return { dropped, deleted };
}

/** Of each of these names the first UTC day that no retention has touched, nor will now. `days`: RETENTION_DAYS. */
export async function keptFrom(
  sql: Sql,
  names: ReadonlySet<string>,
  nowMs: number,
  days: number | undefined,
): Promise<(siteId: string) => number> {
  const today = dayOf(nowMs);
  const first = days === undefined ? Number.NEGATIVE_INFINITY : firstOfMonths(today, days);
  const { rows } = await sql.query<{ site_id: string; day: number | null }>(
    `SELECT given.site_id, greatest($2::int - s.retention_days, k.day,
       (SELECT day FROM kept_from WHERE site = ${ALL_SITES})) AS day
     FROM unnest($1::text[]) AS given (site_id)
     LEFT JOIN site_names USING (site_id) LEFT JOIN sites s USING (site) LEFT JOIN kept_from k USING (site)`,
    [[...names], today],
  );
  const found = new Map(rows.map(({ site_id: siteId, day }) => [siteId, Math.max(first, day ?? first)]));
  return (siteId) => found.get(siteId)!;
}

/** First day of the months that RETENTION_DAYS keeps: one is dropped when it is wholly older. */
const firstOfMonths = (today: number, days: number): number => dayOf(beginOf(monthOf(today - days)));

/** Committed before the first delete, so that nobody can see the deletes and not the day. */
async function raiseKeptFrom(link: PostgresLink, site: number, day: number): Promise<void> {
  await link.query(
    `INSERT INTO kept_from AS k (site, day) VALUES ($1, $2)
     ON CONFLICT (site) DO UPDATE SET day = excluded.day WHERE k.day < excluded.day`,
    [site, day],
  );
}

async function sitesWithRetention(link: PostgresLink): Promise<readonly Site[]> {
  const { rows } = await link.query<{ site: number; names: string[]; days: number }>(
    `SELECT s.site, s.retention_days AS days, array_agg(DISTINCT n.name) AS names
     FROM sites s, LATERAL (SELECT s.site_id AS name UNION SELECT site_id FROM site_names WHERE site = s.site) AS n
     WHERE s.retention_days IS NOT NULL GROUP BY s.site ORDER BY s.site`,
  );
  return rows;
}

/** Partitions that may hold rows before a UTC day. */
async function tablesUntil(
  link: PostgresLink,
  table: (typeof months.tables)[number]['table'],
  day: number,
): Promise<string[]> {
  const date = new Date(day * DAY_MS);
  const last = date.getUTCFullYear() * 12 + date.getUTCMonth();
  const old = (await monthsOf(link, table)).filter((month) => month <= last);
  return [`${table}_default`, ...old.map((month) => `${table}_${monthText(month)}`)];
}
