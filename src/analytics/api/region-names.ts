/** Names of regions beside their codes, as far as they are known (intake/region-names.ts). */
import { sql } from 'kysely';
import type { Snapshot } from '../query/database.ts';
import type * as contract from './contract.ts';

type Names = Readonly<Record<string, string>>;

export async function regionNames(snapshot: Snapshot, codes: readonly string[]): Promise<Names> {
  if (codes.length === 0) return {};
  const rows = await snapshot.rows(
    sql<{ code: string; name: string }>`SELECT code, name FROM region_names WHERE code = ANY (${codes}::text[])`,
  );
  return Object.fromEntries(rows.map(({ code, name }) => [code, name]));
}

/** All names by their codes: some thousands at most. */
export async function allRegionNames(snapshot: Snapshot): Promise<ReadonlyMap<string, string>> {
  const rows = await snapshot.rows(sql<{ code: string; name: string }>`SELECT code, name FROM region_names`);
  return new Map(rows.map(({ code, name }) => [code, name]));
}

/** Names of the regions that filters name: a link may lead to a view in which no row has them. */
export function namesOfFilters(snapshot: Snapshot, filters: readonly contract.Filter[]): Promise<Names> {
  return regionNames(
    snapshot,
    filters.flatMap(([, dimension, values]) => (dimension === 'region' ? values : [])),
  );
}

export async function withNames(
  snapshot: Snapshot,
  rows: readonly contract.BreakdownRow[],
): Promise<readonly contract.BreakdownRow[]> {
  const names = await regionNames(
    snapshot,
    rows.map(({ value }) => value),
  );
  return rows.map((row) => (Object.hasOwn(names, row.value) ? { ...row, name: names[row.value]! } : row));
}
