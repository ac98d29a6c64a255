/**
 * Breakdown: the values of a dimension in a range, by a metric, a page of them at a time. Texts are joined to the rows
 * of the page alone.
 *
 *   by sums       one statement ranks all values and gives the page; visitors are worked out for its rows
 *   by visitors   signed-in visitors of more than one UTC day come from sketches, and merging those of thousands of
 *                 values takes seconds. A value has at most as many visitors as visits (events, where it has no
 *                 visits): values are ranked by that bound and cut into blocks of BLOCK, whose order is that of their
 *                 visitors. In a block the first ones are merged, and more of them until nobody behind can still get
 *                 onto the page. So every page is cut out of one order, and has each value that no other page has;
 *                 beyond the first block a value may have more visitors than one of the block before
 *
 * What a day counted beyond DIMENSION_VALUES_MAX stands apart, as `other`; its visitors are distinct on each day. A
 * property has one of its own.
 */
import { type RawBuilder, sql } from 'kysely';
import { dimensions, OTHER } from '../dimensions.ts';
import { propertyText, valueId } from '../rollup/values.ts';
import type { Snapshot } from './database.ts';
import { mergedPieces, type Piece, piecesIn, rowsIn, type SummedRow, sumColumns, summed } from './pieces.ts';
import {
  type AskedDimension,
  type Condition,
  type Measured,
  type Metric,
  metricUnder,
  type Range,
  type Scan,
  sampled,
} from './types.ts';
import { isOneDay, measured, mergedSize } from './visitors.ts';

export interface BreakdownQuestion {
  readonly dimension: AskedDimension;
  readonly order: { readonly metric: Metric; readonly descending: boolean };
  readonly limit: number;
  readonly offset: number;
  readonly filters: readonly Condition[];
  /** Some values alone; then there is no `other`, but with a prefix alone. */
  readonly narrow?: Narrow | undefined;
  /** Event type and key of the property that `narrow` leaves all values of. */
  readonly property?: readonly [eventType: string, key: string] | undefined;
}

/**
 * Values that begin with `prefix` and contain `search` behind it, in large or small letters; those of a list; those that
 * a regular expression fits, which Postgres and JavaScript must read alike.
 */
export interface Narrow {
  readonly prefix?: string;
  readonly search?: string;
  readonly only?: readonly string[];
  readonly pattern?: string;
}

const isPrefix = ({ prefix = '', search = '', only, pattern }: Narrow): boolean =>
  prefix !== '' && search === '' && only === undefined && pattern === undefined;

export interface Value extends Measured {
  readonly text: string;
}

export interface Breakdown {
  readonly values: readonly Value[];
  /** How many values there are in all. */
  readonly total: number;
  /** Values beyond DIMENSION_VALUES_MAX of their days, together; undefined: there are none. */
  readonly other: Measured | undefined;
  /** There were too many values to hold all: those seen last are missing. Under filters only. */
  readonly cut: boolean;
}

/** Values of one block: the most whose sketches are merged for a page within it. */
const BLOCK = 2000;
/** More of them than the page, at first. */
const AHEAD = 20;

interface Ranked extends SummedRow {
  readonly value: string;
  /** It has sketches: `users` of days do not add up. */
  readonly sketched: boolean;
  readonly bound: number;
}

export async function breakdown(
  snapshot: Snapshot,
  site: number,
  range: Pick<Range, 'fromMs' | 'toMs'>,
  question: BreakdownQuestion,
  scan: Scan,
): Promise<Breakdown> {
  if (question.filters.length > 0) return filtered(site, range, question, scan);
  const { order, limit, offset } = question;
  const pieces = piecesIn(range);
  if (pieces.length === 0) return { values: [], total: 0, other: undefined, cut: false };
  const ranking = new Ranking(snapshot, site, question, range, pieces);
  const bounded = order.metric === 'visitors' && !isOneDay(pieces);
  const { page, total, rest } = bounded
    ? await byVisitors(ranking, order.descending, offset, limit)
    : await bySums(ranking, order, offset, limit);
  const texts = await ranking.texts(page.map(({ value }) => value));
  const values = page.map(({ value, ...sums }) => ({ text: texts.get(value) ?? '', ...sums }));
  return { values, total, other: await otherOf(ranking, rest), cut: false };
}

type Placed = Measured & { readonly value: string };

/** A page, and what stands beside it. */
interface Page {
  readonly page: readonly Placed[];
  readonly total: number;
  readonly rest: Ranked | undefined;
}

async function bySums(
  ranking: Ranking,
  { metric, descending }: BreakdownQuestion['order'],
  offset: number,
  limit: number,
): Promise<Page> {
  const { rows, ...beside } = await ranking.rank(orderOf(metric), descending, offset, limit);
  return { page: await ranking.measure(rows), ...beside };
}

async function byVisitors(ranking: Ranking, descending: boolean, offset: number, limit: number): Promise<Page> {
  const bound = sql.ref('bound');
  if (!descending) {
    // A value behind may have fewer visitors than its bound says; the bound decides.
    const { rows, ...beside } = await ranking.rank(bound, false, offset, limit);
    return { page: await ranking.measure(rows), ...beside };
  }
  const end = offset + limit;
  const first = Math.floor(offset / BLOCK) * BLOCK;
  const { rows, ...beside } = await ranking.rank(bound, true, first, Math.ceil(end / BLOCK) * BLOCK - first);
  const page: Placed[] = [];
  for (let at = 0; at < rows.length; at += BLOCK) {
    const block = rows.slice(at, at + BLOCK);
    page.push(...(await inBlock(ranking, block, Math.max(0, offset - first - at), Math.min(BLOCK, end - first - at))));
  }
  return { page, ...beside };
}

/** The values of a block from one place to another. */
async function inBlock(ranking: Ranking, block: readonly Ranked[], from: number, to: number): Promise<Placed[]> {
  const merged: Placed[] = [];
  let found: Placed[] = [];
  for (let at = 0, count = to + AHEAD; at < block.length; at += count) {
    merged.push(...(await ranking.measure(block.slice(at, at + count))));
    // The sort is stable: of equal ones that with the larger bound comes first, and all that are behind come later.
    found = merged.toSorted((a, b) => b.visitors - a.visitors);
    const last = found[to - 1];
    if (last !== undefined && last.visitors >= (block[at + count]?.bound ?? 0)) break;
  }
  return found.slice(from, to);
}

async function otherOf(ranking: Ranking, rest: Ranked | undefined): Promise<Measured | undefined> {
  if (rest === undefined) return undefined;
  const [{ value: _, ...sums }] = (await ranking.measure([rest])) as [Placed];
  return sums;
}

/** What a metric is ordered by, of the columns of a ranked row. */
function orderOf(metric: Metric): RawBuilder<unknown> {
  switch (metric) {
    case 'visitors':
      return sql`anonymous + users`;
    case 'views_per_visit':
      return sql`views / nullif(visits, 0)`;
    case 'bounce_rate':
      return sql`bounces / nullif(visits, 0)`;
    case 'visit_duration':
      return sql`duration_ms / nullif(visits, 0)`;
    case 'engaged_time':
      return sql`engaged_ms / nullif(views, 0)`;
    default:
      return sql`${sql.ref(metric)}`;
  }
}

/** All values of a dimension in some pieces, with their sums. */
class Ranking {
  readonly #snapshot: Snapshot;
  readonly #site: number;
  readonly #dimension: AskedDimension;
  readonly #range: Pick<Range, 'fromMs' | 'toMs'>;
  readonly #pieces: readonly Piece[];
  readonly #narrow: Narrow | undefined;
  /** What counts the values that have no place: none of a part of the values. */
  readonly #other: string | undefined;

  constructor(
    snapshot: Snapshot,
    site: number,
    { dimension, narrow, property }: BreakdownQuestion,
    range: Pick<Range, 'fromMs' | 'toMs'>,
    pieces: readonly Piece[],
  ) {
    this.#narrow = narrow;
    if (property !== undefined)
      this.#other = valueId(site, dimensions.prop.dictionary, propertyText(...property)).toString();
    else if (narrow === undefined || isPrefix(narrow)) this.#other = OTHER.toString();
    this.#range = range;
    this.#snapshot = snapshot;
    this.#site = site;
    this.#dimension = dimension;
    this.#pieces = pieces;
  }

  /** A sum for each value; `bound`: most visitors that it may have. */
  #sums(): RawBuilder<unknown> {
    const rows = rowsIn(
      this.#site,
      this.#dimension,
      this.#pieces,
      (piece) => sql`value, ${sumColumns(piece)}, ${piece.inside ? sql`sketch IS NOT NULL` : sql`false`} AS sketched`,
    );
    const most = dimensions[this.#dimension].level === 'visit' ? sql`sum(visits)` : sql`sum(events)`;
    return sql`SELECT value, ${summed}, bool_or(sketched) AS sketched,
        (CASE WHEN bool_or(sketched) THEN greatest(${most}, sum(anonymous)) ELSE sum(anonymous) END)::float8 AS bound
      FROM ${rows} AS r ${this.#where()} GROUP BY value HAVING sum(events) > 0`;
  }

  #where(): RawBuilder<unknown> {
    if (this.#narrow === undefined) return sql``;
    const { prefix = '', search = '', only, pattern } = this.#narrow;
    const { dictionary } = dimensions[this.#dimension];
    const other = this.#other === undefined ? sql`` : sql`value = ${this.#other} OR`;
    return sql`WHERE ${other} value IN (SELECT value FROM dimension_values
      WHERE site = ${this.#site} AND dictionary = ${sql.lit(dictionary)} AND starts_with(text, ${prefix})
        AND strpos(lower(substr(text, ${[...prefix].length + 1}::int)), lower(${search})) > 0
        ${only === undefined ? sql`` : sql`AND text = ANY (${only}::text[])`}
        ${pattern === undefined ? sql`` : sql`AND text ~ ${pattern}`})`;
  }

  /** A page of the values in this order, how many there are in all, and what has none of its own. */
  async rank(
    order: RawBuilder<unknown>,
    descending: boolean,
    offset: number,
    limit: number,
  ): Promise<{ readonly rows: readonly Ranked[]; readonly total: number; readonly rest: Ranked | undefined }> {
    const other = this.#other ?? OTHER.toString();
    const sorted = sql`${order} ${descending ? sql`DESC NULLS LAST` : sql`ASC NULLS FIRST`}, value`;
    const found = await this.#snapshot.rows(sql<Ranked & { total: number | null }>`
      WITH s AS MATERIALIZED (${this.#sums()})
      (SELECT s.*, NULL::float8 AS total FROM s WHERE value <> ${other} ORDER BY ${sorted}
        LIMIT ${limit} OFFSET ${offset})
      UNION ALL SELECT s.*, counted.total
      FROM (SELECT count(*) FILTER (WHERE value <> ${other})::float8 AS total FROM s) AS counted
      LEFT JOIN s ON s.value = ${other}`);
    const rows = found.filter(({ total }) => total === null);
    const { total, ...rest } = found.find((row) => row.total !== null)!;
    return { rows, total: total ?? 0, rest: rest.value === null ? undefined : rest };
  }

  /** The rows with their visitors; of several days by the sketches of these values alone. */
  async measure(rows: readonly Ranked[]): Promise<Placed[]> {
    const oneDay = isOneDay(this.#pieces);
    const sketched = oneDay ? [] : rows.filter((row) => row.sketched).map(({ value }) => value);
    const sketches = new Map<string, Buffer[]>();
    if (sketched.length > 0) {
      for (const { value, sketch } of await this.#snapshot.rows(this.#sketches(sketched))) {
        const list = sketches.get(value);
        if (list === undefined) sketches.set(value, [sketch]);
        else list.push(sketch);
      }
    }
    return rows.map((row) => {
      const signedIn = oneDay ? { users: row.users, error: 0 } : mergedSize(sketches.get(row.value) ?? []);
      const sums = measured(row, signedIn, this.#pieces);
      // An estimate may be too high, and the order of pages goes by the bound.
      return { value: row.value, ...sums, visitors: oneDay ? sums.visitors : Math.min(sums.visitors, row.bound) };
    });
  }

  #sketches(values: readonly string[]): RawBuilder<{ value: string; sketch: Buffer }> {
    const rows = rowsIn(this.#site, this.#dimension, mergedPieces(this.#range), () => sql`value, sketch`);
    return sql`SELECT value, sketch FROM ${rows} AS r WHERE value = ANY (${values}::bigint[]) AND sketch IS NOT NULL`;
  }

  async texts(values: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (values.length === 0) return new Map();
    const { dictionary } = dimensions[this.#dimension];
    const rows = await this.#snapshot.rows(sql<{ value: string; text: string }>`SELECT value, text FROM dimension_values
      WHERE site = ${this.#site} AND dictionary = ${sql.lit(dictionary)} AND value = ANY (${values}::bigint[])`);
    return new Map(rows.map(({ value, text }) => [value, text]));
  }
}

/** The same from events. */
async function filtered(
  site: number,
  range: Pick<Range, 'fromMs' | 'toMs'>,
  { dimension, order, limit, offset, filters, narrow }: BreakdownQuestion,
  scan: Scan,
): Promise<Breakdown> {
  const { rows, userWeight, cut } = await scan({ site, range, filters, group: { by: 'dimension', dimension } });
  const sign = order.descending ? -1 : 1;
  const isWithin = withinOf(narrow);
  const ranked = rows
    .filter(({ key, events }) => events > 0 && isWithin(key))
    .map((row) => ({ row, rank: metricUnder(dimension, order.metric, row) }))
    .sort((a, b) => sign * (a.rank - b.rank) || (a.row.key < b.row.key ? -1 : 1));
  const values = ranked.slice(offset, offset + limit).map(({ row: { key, ...sums } }) => ({
    text: key,
    ...sums,
    certainty: sampled(sums.visitors, userWeight),
  }));
  return { values, total: ranked.length, other: undefined, cut };
}

function withinOf(narrow: Narrow | undefined): (text: string) => boolean {
  if (narrow === undefined) return () => true;
  const { prefix = '', search = '', only, pattern } = narrow;
  const wanted = search.toLowerCase();
  const fits = pattern === undefined ? undefined : new RegExp(pattern);
  return (text) =>
    text.startsWith(prefix) &&
    text.slice(prefix.length).toLowerCase().includes(wanted) &&
    (only?.includes(text) ?? true) &&
    (fits?.test(text) ?? true);
}
