/**
 * Pieces: the rows of `rollups` that make up a stretch of time. Whole UTC months and days come from their own grains,
 * the edges from slots, so a range of any length is a few scans of the primary key.
 *
 * Visitors without a user id have another id on every UTC day, so they add up as rollup/measures.ts says: where a
 * stretch begins within a day, by the slots in which they were last there; else by those in which they came.
 */
import { type RawBuilder, sql } from 'kysely';
import { DAY_MS, type Dimension, dimensions, grains, monthOf, SLOTS_PER_DAY } from '../dimensions.ts';
import { type Parts, partsOf, type Span } from './range.ts';
import type { Range } from './types.ts';

/** What a row of a piece adds to the visitors without a user id. */
type Anonymous = 'firsts' | 'lasts' | 'firsts - lasts';

export interface Piece extends Span {
  readonly grain: (typeof grains)[keyof typeof grains];
  readonly anonymous: Anonymous;
  /** False: it lies outside, and helps to count visitors alone. */
  readonly inside: boolean;
  /** -1: it is in another piece, and taken off. */
  readonly sign: 1 | -1;
}

/** First day of a month since year 0. */
export function firstOfMonth(month: number): number {
  const date = new Date(0);
  date.setUTCFullYear(Math.floor(month / 12), month % 12, 1);
  return date.getTime() / DAY_MS;
}

/** Days as whole months and the days around them. */
function monthsIn({ from, to }: Span): { readonly months: Span; readonly days: readonly Span[] } {
  const first = firstOfMonth(monthOf(from)) === from ? monthOf(from) : monthOf(from) + 1;
  const end = monthOf(to);
  if (first >= end) return { months: { from: first, to: first }, days: [{ from, to }] };
  return {
    months: { from: first, to: end },
    days: [
      { from, to: firstOfMonth(first) },
      { from: firstOfMonth(end), to },
    ],
  };
}

/** Slots at an edge of a stretch, or all of one that holds no whole day. */
function slotPieces({ from, to }: Span): readonly Piece[] {
  const day = Math.floor(from / SLOTS_PER_DAY);
  const [first, next] = [day * SLOTS_PER_DAY, (day + 1) * SLOTS_PER_DAY];
  if (to > next) return [...slotPieces({ from, to: next }), ...slotPieces({ from: next, to })];
  const slots = (span: Span, anonymous: Anonymous, more: Partial<Piece> = {}): Piece => ({
    grain: grains.slot,
    ...span,
    anonymous,
    inside: true,
    sign: 1,
    ...more,
  });
  // Who came before its end and had not gone before its begin.
  if (from > first && to < next)
    return [slots({ from: first, to: from }, 'firsts - lasts', { inside: false }), slots({ from, to }, 'firsts')];
  const begins = from === first;
  const anonymous = begins ? 'firsts' : 'lasts';
  if (to - from <= SLOTS_PER_DAY / 2) return [slots({ from, to }, anonymous)];
  // The day without the rest of it is fewer rows. As many have come on it as have gone.
  const rest = begins ? { from: to, to: next } : { from: first, to: from };
  const whole = slots({ from: day, to: day + 1 }, 'firsts', { grain: grains.day });
  return [whole, slots(rest, anonymous, { sign: -1 })];
}

/** The pieces of a range for what adds up: sums, and visitors without a user id. */
export function piecesOf({ head, days, tail }: Parts): readonly Piece[] {
  return [
    ...(head.from < head.to ? slotPieces(head) : []),
    ...(tail.from < tail.to ? slotPieces(tail) : []),
    ...wholePieces(days),
  ].filter(({ from, to }) => from < to);
}

function wholePieces(days: Span): readonly Piece[] {
  const { months, days: around } = monthsIn(days);
  const whole = { anonymous: 'firsts', inside: true, sign: 1 } as const;
  return [
    ...around.map((span) => ({ grain: grains.day, ...span, ...whole })),
    { grain: grains.month, ...months, ...whole },
  ];
}

/** The pieces for what is merged (sketches): nothing can be taken off. */
export function mergedPieces(range: Pick<Range, 'fromMs' | 'toMs'>): readonly Piece[] {
  const { head, days, tail } = partsOf(range);
  const edge = { grain: grains.slot, anonymous: 'firsts', inside: true, sign: 1 } as const;
  return [{ ...edge, ...head }, { ...edge, ...tail }, ...wholePieces(days)].filter(({ from, to }) => from < to);
}

export const piecesIn = (range: Pick<Range, 'fromMs' | 'toMs'>): readonly Piece[] => piecesOf(partsOf(range));

/**
 * A stretch within one UTC day that touches neither of its ends: who was there before it and after it, and not in it,
 * is counted too, so visitors without a user id are at most so many.
 */
export const isInnerPart = (pieces: readonly Piece[]): boolean => pieces.some(({ inside }) => !inside);

/** The UTC days that pieces of slots and days touch. */
export function utcDaysOf(pieces: readonly Piece[]): Piece {
  const days = pieces.map(({ grain, from, to }) =>
    grain === grains.slot ? [Math.floor(from / SLOTS_PER_DAY), Math.ceil(to / SLOTS_PER_DAY)] : [from, to],
  ) as [number, number][];
  const from = Math.min(...days.map(([first]) => first));
  const to = Math.max(...days.map(([, end]) => end));
  return { grain: grains.day, from, to, anonymous: 'firsts', inside: true, sign: 1 };
}

/** Rows of a dimension in these pieces: `(SELECT columns FROM rollups ... UNION ALL ...)`. */
export function rowsIn(
  site: number,
  dimension: Dimension,
  pieces: readonly Piece[],
  columns: (piece: Piece) => RawBuilder<unknown>,
): RawBuilder<unknown> {
  const { id } = dimensions[dimension];
  const scans = pieces.map(
    (piece) => sql`SELECT ${columns(piece)} FROM rollups WHERE site = ${site} AND dimension = ${sql.lit(id)}
      AND grain = ${sql.lit(piece.grain)} AND t >= ${piece.from} AND t < ${piece.to}`,
  );
  return sql`(${sql.join(scans, sql` UNION ALL `)})`;
}

/** A column of a row of a piece that adds up. */
export const added = (column: RawBuilder<unknown>, { sign }: Piece): RawBuilder<unknown> =>
  sign === 1 ? column : sql`-(${column})`;

const sums = ['events', 'views', 'visits', 'bounces', 'duration_ms', 'engaged_ms', 'users'] as const;

/** The columns that add up, of a row of a piece; none of those outside but the visitors. */
export function sumColumns(piece: Piece): RawBuilder<unknown> {
  const columns = sums.map((name) =>
    piece.inside ? sql`${added(sql.ref(name), piece)} AS ${sql.ref(name)}` : sql`0 AS ${sql.ref(name)}`,
  );
  return sql`${sql.join(columns)}, ${added(sql.raw(piece.anonymous), piece)} AS anonymous`;
}

/** Their sums, as numbers. */
export const summed: RawBuilder<SummedRow> = sql`
  coalesce(sum(events), 0)::float8 AS events, coalesce(sum(views), 0)::float8 AS views,
  coalesce(sum(visits), 0)::float8 AS visits, coalesce(sum(bounces), 0)::float8 AS bounces,
  coalesce(sum(duration_ms), 0)::float8 AS duration_ms, coalesce(sum(engaged_ms), 0)::float8 AS engaged_ms,
  coalesce(sum(users), 0)::float8 AS users,
  coalesce(sum(anonymous), 0)::float8 AS anonymous`;

export interface SummedRow {
  readonly events: number;
  readonly views: number;
  readonly visits: number;
  readonly bounces: number;
  readonly duration_ms: number;
  readonly engaged_ms: number;
  /** Of the grain of days alone. */
  readonly users: number;
  readonly anonymous: number;
}
