/**
 * Time series: the sums of a site in stretches of equal meaning: quarters of an hour, hours, days, weeks (from Monday)
 * or months of a time zone. The first and the last are cut to the range. All stretches are one statement.
 */
import { type RawBuilder, sql } from 'kysely';
import { DAY_MS, dimensions, SLOT_MS } from '../dimensions.ts';
import type { Snapshot } from './database.ts';
import { mergedPieces, type Piece, piecesIn, type SummedRow, sumColumns, summed } from './pieces.ts';
import { beginOfDay, dayIn, type Span } from './range.ts';
import { type Condition, type Interval, type Measured, POINTS_MAX, type Range, type Scan, sampled } from './types.ts';
import { GAP_SLOTS_MAX, isOneDay, measured, mergedSize, type SignedIn, usersByGaps } from './visitors.ts';

const HOUR_SLOTS = 4;

export interface Point extends Measured {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Where stretches begin, and the end; undefined: there are more than POINTS_MAX. */
export function edgesOf({ fromMs, toMs, timeZone }: Range, interval: Interval): number[] | undefined {
  const edges = [fromMs];
  const add = (ms: number): boolean => {
    if (ms > edges.at(-1)! && ms < toMs) edges.push(ms);
    return ms < toMs && edges.length <= POINTS_MAX;
  };
  if (interval === 'quarter' || interval === 'hour') {
    const step = interval === 'quarter' ? SLOT_MS : HOUR_SLOTS * SLOT_MS;
    // Hours begin with those of the day there: a zone may be 45 minutes off, and a day may have a half hour more.
    for (let day = dayIn(fromMs, timeZone), more = true; more; day += 1) {
      const next = beginOfDay(day + 1, timeZone);
      for (let ms = beginOfDay(day, timeZone); more && ms < next; ms += step) more = add(ms);
    }
  } else {
    for (let day = dayIn(fromMs, timeZone); ; day = following(day, interval))
      if (!add(beginOfDay(day, timeZone))) break;
  }
  return edges.length > POINTS_MAX ? undefined : [...edges, toMs];
}

/** The day on which the next day, week or month begins. */
function following(day: number, interval: 'day' | 'week' | 'month'): number {
  if (interval === 'day') return day + 1;
  // 1 January 1970 was a Thursday.
  if (interval === 'week') return day + 7 - ((((day + 3) % 7) + 7) % 7);
  const date = new Date(day * DAY_MS);
  date.setUTCMonth(date.getUTCMonth() + 1, 1);
  return date.getTime() / DAY_MS;
}

/** Sums of a site in each stretch between two edges; all stretches lie within the same range. */
export async function measureStretches(snapshot: Snapshot, site: number, edges: readonly number[]): Promise<Point[]> {
  const stretches = edges.slice(1).map((toMs, i) => ({ fromMs: edges[i]!, toMs }));
  const pieces = stretches.map(piecesIn);
  const rows = await snapshot.rows(sql<SummedRow & { at: number }>`
    SELECT at, ${summed} FROM (${byPieces(site, pieces, sumsOf)}) AS r GROUP BY at`);
  const sums = new Map(rows.map((row) => [row.at, row]));
  const signedIn = await signedInOf(snapshot, site, stretches, pieces, sums);
  return stretches.map((stretch, at) => ({
    ...stretch,
    ...measured(sums.get(at) ?? nothing, signedIn[at]!, pieces[at]!),
  }));
}

const nothing: SummedRow = {
  events: 0,
  views: 0,
  visits: 0,
  bounces: 0,
  duration_ms: 0,
  engaged_ms: 0,
  users: 0,
  anonymous: 0,
};

const sumsOf = (like: Piece): RawBuilder<unknown> => sql`p.at, ${sumColumns(like)}`;

/** Rows of the site in the pieces of many stretches, each with the number of its stretch. */
function byPieces(
  site: number,
  stretches: readonly (readonly Piece[])[],
  columns: (like: Piece) => RawBuilder<unknown>,
): RawBuilder<unknown> {
  const all = stretches.flatMap((pieces, at) => pieces.map((piece) => ({ ...piece, at })));
  // Pieces of one kind are one scan by their list. OFFSET 0: each is looked up in the index, in place of a join that
  // reads all slots that the site ever had.
  const kinds = [
    ...Map.groupBy(all, ({ grain, anonymous, inside, sign }) => `${grain}${anonymous}${inside}${sign}`).values(),
  ];
  const scans = kinds.map(
    (list) => sql`SELECT ${columns(list[0]!)}
      FROM unnest(${list.map(({ at }) => at)}::int[], ${list.map(({ from }) => from)}::int[],
        ${list.map(({ to }) => to)}::int[]) AS p (at, from_t, to_t)
      CROSS JOIN LATERAL (SELECT * FROM rollups WHERE site = ${site} AND dimension = ${sql.lit(dimensions.site.id)}
        AND grain = ${sql.lit(list[0]!.grain)} AND t >= p.from_t AND t < p.to_t OFFSET 0) AS r`,
  );
  return sql`${sql.join(scans, sql` UNION ALL `)}`;
}

async function signedInOf(
  snapshot: Snapshot,
  site: number,
  stretches: readonly { readonly fromMs: number; readonly toMs: number }[],
  pieces: readonly (readonly Piece[])[],
  sums: ReadonlyMap<number, SummedRow>,
): Promise<SignedIn[]> {
  const found: SignedIn[] = stretches.map(() => ({ users: 0, error: 0 }));
  const windows: (Span & { readonly at: number })[] = [];
  const sketched: number[] = [];
  stretches.forEach(({ fromMs, toMs }, at) => {
    const window = { from: fromMs / SLOT_MS, to: toMs / SLOT_MS, at };
    if (isOneDay(pieces[at]!)) found[at] = { users: sums.get(at)?.users ?? 0, error: 0 };
    else if (window.to - window.from <= GAP_SLOTS_MAX) windows.push(window);
    else sketched.push(at);
  });
  if (windows.length > 0) {
    const users = await usersByGaps(snapshot, site, windows);
    for (const [i, { at }] of windows.entries()) found[at] = { users: users[i]!, error: 0 };
  }
  if (sketched.length > 0) {
    const wanted = sketched.map((at) => mergedPieces(stretches[at]!));
    const rows = await snapshot.rows(sql<{ at: number; sketch: Buffer }>`
      SELECT at, sketch FROM (${byPieces(site, wanted, () => sql`p.at, sketch`)}) AS r WHERE sketch IS NOT NULL`);
    for (const [at, list] of Map.groupBy(rows, (row) => row.at))
      found[sketched[at]!] = mergedSize(list.map(({ sketch }) => sketch));
  }
  return found;
}

/** The series of a site, from sums; with filters from its events. */
export async function timeseries(
  snapshot: Snapshot,
  site: number,
  range: Pick<Range, 'fromMs' | 'toMs'>,
  edges: readonly number[],
  filters: readonly Condition[],
  scan: Scan,
): Promise<Point[]> {
  if (filters.length === 0) return measureStretches(snapshot, site, edges);
  const { rows, userWeight } = await scan({ site, range, filters, group: { by: 'time', edges } });
  const byKey = new Map(rows.map((row) => [row.key, row]));
  return edges.slice(1).map((toMs, i) => {
    const {
      visitors = 0,
      visits = 0,
      views = 0,
      bounces = 0,
      durationMs = 0,
      events = 0,
      engagedMs = 0,
    } = byKey.get(`${edges[i]}`) ?? {};
    return {
      fromMs: edges[i]!,
      toMs,
      visitors,
      visits,
      views,
      bounces,
      durationMs,
      events,
      engagedMs,
      certainty: sampled(visitors, userWeight),
    };
  });
}
