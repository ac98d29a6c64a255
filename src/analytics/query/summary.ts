/** Summary: what a site had in a range, and in another to compare it with; bots beside it. */
import { sql } from 'kysely';
import type { Snapshot } from './database.ts';
import { added, type Piece, piecesIn, rowsIn } from './pieces.ts';
import { timeseries } from './timeseries.ts';
import type { Condition, Measured, Range, Scan } from './types.ts';

/** Events and views of bots, which count nowhere else. */
export interface Bots {
  readonly events: number;
  readonly views: number;
}

export interface Summary extends Measured {
  /** Undefined under filters: bots have no visits to filter by. */
  readonly bots: Bots | undefined;
}

export async function summary(
  snapshot: Snapshot,
  site: number,
  range: Range,
  filters: readonly Condition[],
  scan: Scan,
): Promise<Summary> {
  const [all] = await timeseries(snapshot, site, range, [range.fromMs, range.toMs], filters, scan);
  const { fromMs: _, toMs: __, ...sums } = all!;
  return { ...sums, bots: filters.length > 0 ? undefined : await botsIn(snapshot, site, range) };
}

async function botsIn(snapshot: Snapshot, site: number, range: Range): Promise<Bots> {
  const pieces = piecesIn(range).filter(({ inside }) => inside);
  const columns = (piece: Piece) => sql`${added(sql`events`, piece)} AS events, ${added(sql`views`, piece)} AS views`;
  const rows = rowsIn(site, 'bot', pieces, columns);
  const [bots] = await snapshot.rows(sql<Bots>`
    SELECT coalesce(sum(events), 0)::float8 AS events, coalesce(sum(views), 0)::float8 AS views
    FROM ${rows} AS r`);
  return bots!;
}
