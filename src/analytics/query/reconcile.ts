/**
 * Reconcile: the books of a site for one UTC day of receipt, by hours, so that people can check us.
 *
 *   accepted     counted from the log of the process that gave the 2xx (accepted-load.ts)
 *   stored, duplicates, rejected   counted where the event ends (processor/)
 *   pending      what is on its way. It is measured and not the difference: at most as many as the pipe holds of the
 *                hour (pipe.ts), and none when it holds nothing so old. A lost event shows, whatever else is on its way:
 *                the sum of the others is less than accepted, and stays so
 *
 * An answer is the state of one moment (one snapshot). Books are kept by names: what came under a site's earlier name
 * stands under it, and is asked for together.
 */
import { sql } from 'kysely';
import type { Booked, Reconciled } from '../schemas.ts';
import type { Snapshot } from './database.ts';
import { dateText, type Span } from './range.ts';

export interface ReconcileQuestion {
  readonly siteId: string;
  /** UTC days since 1970. */
  readonly day: number;
}

/**
 * What may be of an hour and is on its way: between intake and the database, and between intake and the count of what
 * was accepted. An hour's holds that of the hours before it.
 */
export interface Pipe {
  readonly events: number;
  readonly uncounted: number;
}

interface Row {
  readonly hour: number;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
}

const HOURS = 24;
const HOUR_MS = 3_600_000;

/** `measure`: what the pipe holds of these times, in the same snapshot. */
export async function reconcile(
  snapshot: Snapshot,
  { siteId, day }: ReconcileQuestion,
  measure: (times: readonly Span[]) => Promise<readonly Pipe[]>,
): Promise<Reconciled> {
  const from = day * HOURS;
  const names = sql`(SELECT ${siteId}::text UNION SELECT others.site_id FROM site_names asked
    JOIN site_names others USING (site) WHERE asked.site_id = ${siteId})`;
  const within = sql`site_id IN ${names} AND hour >= ${from} AND hour < ${from + HOURS}`;
  const rows = await snapshot.rows(sql<Row>`
    SELECT hour - ${from} AS hour, sum(accepted)::float8 AS accepted, sum(stored)::float8 AS stored,
      sum(duplicates)::float8 AS duplicates, sum(rejected)::float8 AS rejected
    FROM (SELECT hour, accepted, 0 AS stored, 0 AS duplicates, 0 AS rejected FROM accepted_hours WHERE ${within}
      UNION ALL SELECT hour, 0, stored, duplicates, rejected FROM outcome_hours WHERE ${within}) AS books
    GROUP BY 1`);
  const open = rows.filter((row) => openOf(row) !== 0).map(({ hour }) => hour);
  const times = open.map((hour) => ({ from: (from + hour) * HOUR_MS, to: (from + hour + 1) * HOUR_MS }));
  const pipes = open.length === 0 ? [] : await measure(times);
  const hours = booksOf(rows, new Map(open.map((hour, index) => [hour, pipes[index]!])));
  return {
    site_id: siteId,
    date: dateText(day),
    ...hours.reduce(plus),
    hours: hours.map((sums, hour) => ({ hour, ...sums })),
  };
}

const nothing: Booked = { accepted: 0, stored: 0, duplicates: 0, rejected: 0, pending: 0 };

const plus = (a: Booked, b: Booked): Booked => ({
  accepted: a.accepted + b.accepted,
  stored: a.stored + b.stored,
  duplicates: a.duplicates + b.duplicates,
  rejected: a.rejected + b.rejected,
  pending: a.pending + b.pending,
});

/** Accepted, and not known to have ended. */
const openOf = ({ accepted, stored, duplicates, rejected }: Omit<Row, 'hour'>): number =>
  accepted - stored - duplicates - rejected;

/**
 * The hours with what is pending in each: the pipe keeps its order, so the newest events are in it. `pipes`: of hours
 * that are open.
 */
export function booksOf(rows: readonly Row[], pipes: ReadonlyMap<number, Pipe>): readonly Booked[] {
  const hours = Array.from({ length: HOURS }, () => ({ ...nothing }));
  for (const { hour, ...sums } of rows) Object.assign(hours[hour]!, sums);
  let [events, uncounted] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const [index, hour] of [...hours.entries()].toReversed()) {
    const pipe = pipes.get(index);
    if (pipe === undefined) continue;
    events = Math.min(events, pipe.events);
    uncounted = Math.min(uncounted, pipe.uncounted);
    const open = openOf(hour);
    const pending = Math.min(Math.max(open, 0), events);
    // What is stored already and not counted as accepted yet is in the log of accepted events.
    const late = Math.min(Math.max(-open, 0), uncounted);
    Object.assign(hour, { pending, accepted: hour.accepted + late });
    events -= pending;
    uncounted -= late;
  }
  return hours;
}
