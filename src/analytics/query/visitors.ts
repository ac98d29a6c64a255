/**
 * Visitors: how many distinct ones there were. Those without a user id add up (pieces.ts); signed-in ones do not, for
 * they come on several days. Of one UTC day they are counted; of up to 25 hours of a whole site they are counted by
 * their gaps (rollup/gaps.ts); else they come from merged sketches.
 */
import { sql } from 'kysely';
import { grains } from '../dimensions.ts';
import { gapKinds } from '../rollup/measures.ts';
import { estimate, mergeSketches, SKETCH_STANDARD_ERROR, type Sketch } from '../rollup/sketch.ts';
import type { Snapshot } from './database.ts';
import { isInnerPart, type Piece, type SummedRow } from './pieces.ts';
import type { Span } from './range.ts';
import { type Certainty, exact, type Measured } from './types.ts';

/** Windows that gaps are kept for. */
export const GAP_SLOTS_MAX = 100;

/** Signed-in visitors, and the standard error of their number. */
export interface SignedIn {
  readonly users: number;
  readonly error: number;
}

/** One UTC day and nothing else: its users are counted. */
export const isOneDay = ([piece, ...more]: readonly Piece[]): boolean =>
  piece !== undefined && more.length === 0 && piece.grain === grains.day && piece.to - piece.from === 1;

/** First byte of a sketch that has registers; a list is all but exact. */
const DENSE = 2;

export function mergedSize(sketches: Iterable<Sketch>): SignedIn {
  const merged = mergeSketches(sketches);
  const users = estimate(merged);
  return { users, error: merged?.[0] === DENSE ? Math.ceil(users * SKETCH_STANDARD_ERROR) : 0 };
}

/** Signed-in visitors of a site in each of these windows of up to 100 slots. */
export async function usersByGaps(snapshot: Snapshot, site: number, windows: readonly Span[]): Promise<number[]> {
  const found = windows.map(() => 0);
  const rows = await snapshot.rows(sql<{ at: number; users: number }>`
    SELECT w.at::int, sum(g.users)::float8 AS users
    FROM unnest(${windows.map(({ from }) => from)}::int[], ${windows.map(({ to }) => to)}::int[])
      WITH ORDINALITY AS w (from_slot, to_slot, at)
    CROSS JOIN LATERAL (SELECT users FROM user_gaps WHERE site = ${site} AND kind = ${sql.lit(gapKinds.visitors)}
      AND slot >= w.from_slot AND slot < w.to_slot AND gap > slot - w.from_slot OFFSET 0) AS g
    GROUP BY 1`);
  for (const { at, users } of rows) found[at - 1] = users;
  return found;
}

/** Sums of a stretch with its visitors. */
export function measured(row: SummedRow, { users, error }: SignedIn, pieces: readonly Piece[]): Measured {
  const { events, views, visits, bounces, duration_ms: durationMs, engaged_ms: engagedMs, anonymous } = row;
  const certainty: Certainty =
    isInnerPart(pieces) && anonymous > 0 ? { kind: 'at_most' } : error > 0 ? { kind: 'estimate', error } : exact;
  return { visitors: anonymous + users, visits, views, bounces, durationMs, events, engagedMs, certainty };
}
