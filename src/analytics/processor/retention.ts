/**
 * Retention: raw events are deleted when they are too old; statistics stay.
 *
 *   RETENTION_DAYS        months that are wholly older are dropped, and rows of the default partition are deleted
 *   sites.retention_days  events of that site, under all of its names, are deleted
 *
 * Deletes take BATCH_ROWS at a time, each a transaction of its own, and a run ends after RUN_MS: what is left is for
 * the next run, which begins with another site: thousands of sites have more partitions than a run looks at. So they
 * hold no lock for long, and the vacuum keeps pace.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { beginOf, monthNow, monthsOf, monthText } from '../../store/postgres/month-partitions.ts';
import { DAY_MS, dayOf, monthOf } from '../dimensions.ts';
import { months } from './partitions.ts';

const BATCH_ROWS = 5000;
const RUN_MS = 60_000;
/** Between two batches: others write as well. */
const PAUSE_MS = 20;

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

/** `days`: RETENTION_DAYS. */
export async function retain(
  link: PostgresLink,
  days: number | undefined,
  signal: AbortSignal,
  { batchRows = BATCH_ROWS, runMs = RUN_MS, random = Math.random }: RetentionLimits = {},
): Promise<Retained> {
  const end = performance.now() + runMs;
  const goesOn = () => !signal.aborted && performance.now() < end;
  const { ms } = await monthNow(link);
  const dropped = days === undefined ? [] : await months.drop(link, days);
  let deleted = 0;
  const empty = async (sql: string, values: readonly unknown[]): Promise<void> => {
    while (goesOn()) {
      const { rowCount } = await link.query(sql, values);
      deleted += rowCount ?? 0;
      if ((rowCount ?? 0) < batchRows) return;
      await delay(PAUSE_MS);
    }
  };
  /** `where` names the rows of a table; all are found by an index, or the table is small. */
  const emptyTable = (table: string, where: string, values: readonly unknown[]) =>
    empty(
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE ${where} LIMIT ${batchRows}))`,
      values,
    );
  if (days !== undefined) {
    const day = Math.floor((ms - days * DAY_MS) / DAY_MS);
    await emptyTable('events_default', '"timestamp" < to_timestamp($1 * 86400.0)', [day]);
    await emptyTable('visitor_days_default', 'day < $1', [day]);
    await emptyTable('day_columns', 'day < $1', [day]);
  }
  const sites = await sitesWithRetention(link);
  const first = Math.floor(random() * sites.length);
  for (const { site, names, days: own } of [...sites.slice(first), ...sites.slice(0, first)]) {
    if (!goesOn()) break;
    const day = Math.floor((ms - own * DAY_MS) / DAY_MS);
    for (const table of await tablesUntil(link, 'events', day))
      await emptyTable(table, 'site_id = ANY ($1) AND "timestamp" < to_timestamp($2 * 86400.0) AND site = $3', [
        names,
        day,
        site,
      ]);
    for (const table of await tablesUntil(link, 'visitor_days', day))
      await emptyTable(table, 'site = $1 AND day < $2', [site, day]);
    await emptyTable('day_columns', 'site = $1 AND day < $2', [site, day]);
  }
  return { dropped, deleted };
}

/** Of each of these names the first UTC day that no retention has touched. `days`: RETENTION_DAYS. */
export async function keptFrom(
  transaction: Pick<Transaction, 'query'>,
  names: ReadonlySet<string>,
  nowMs: number,
  days: number | undefined,
): Promise<(siteId: string) => number> {
  const today = dayOf(nowMs);
  const first = days === undefined ? Number.NEGATIVE_INFINITY : dayOf(beginOf(monthOf(today - days)));
  const { rows } = await transaction.query<{ site_id: string; days: number }>(
    `SELECT n.site_id, s.retention_days AS days FROM site_names n JOIN sites s USING (site)
     WHERE n.site_id = ANY ($1::text[]) AND s.retention_days IS NOT NULL`,
    [[...names]],
  );
  const own = new Map(rows.map((row) => [row.site_id, Math.max(first, today - row.days)]));
  return (siteId) => own.get(siteId) ?? first;
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
