/** The tables of rollups held against the recount, row by row. */
import assert from 'node:assert/strict';
import { type Dimension, dimensions, grains, OTHER } from '../../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { estimate } from '../../../src/analytics/rollup/sketch.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import {
  type ExpectedRow,
  gapKey,
  measureNames,
  OTHER_TEXT,
  type RecountOptions,
  recount,
  rowKey,
} from '../recount.ts';

export interface StoredRow {
  readonly site: number;
  readonly dimension: number;
  readonly grain: number;
  readonly t: number;
  readonly text: string;
  readonly sketch: Buffer | null;
  readonly measures: Record<(typeof measureNames)[number], number>;
}

async function readRows(link: PostgresLink, sites: readonly number[]): Promise<StoredRow[]> {
  const ids = Object.values(dimensions);
  const { rows } = await link.query<Record<string, string & number> & { sketch: Buffer | null }>(
    `SELECT r.*, r.value::text AS value, v.text FROM rollups r
     LEFT JOIN unnest($2::int[], $3::int[]) AS d (dimension, dictionary) USING (dimension)
     LEFT JOIN dimension_values v ON v.site = r.site AND v.dictionary = d.dictionary AND v.value = r.value
     WHERE r.site = ANY ($1::int[])`,
    [sites, ids.map(({ id }) => id), ids.map(({ dictionary }) => dictionary)],
  );
  return rows.map((row) => {
    const text = row['dimension'] === 0 ? '' : row['value'] === String(OTHER) ? OTHER_TEXT : row['text'];
    assert.notEqual(text, null, `the text of a value is missing: ${JSON.stringify(row)}`);
    return {
      site: row['site']!,
      dimension: row['dimension']!,
      grain: row['grain']!,
      t: row['t']!,
      text: text!,
      sketch: row.sketch,
      measures: Object.fromEntries(measureNames.map((name) => [name, Number(row[name])])) as StoredRow['measures'],
    };
  });
}

const SHOWN = 10;

/** The same lines in any order. Only some differences are shown: a diff of all would take minutes. */
function assertSame(found: readonly string[], expected: readonly string[]): void {
  const [left, right] = [new Set(found), new Set(expected)];
  const extra = found.filter((line) => !right.has(line));
  const missing = expected.filter((line) => !left.has(line));
  assert.deepEqual({ extra: extra.slice(0, SHOWN), missing: missing.slice(0, SHOWN) }, { extra: [], missing: [] });
  assert.equal(found.length, expected.length);
}

/** Rollups, gaps and counts of values of these sites equal a recount of the events. */
export async function assertEqual(
  link: PostgresLink,
  sites: readonly number[],
  events: readonly CountedEvent[],
  settings: RecountOptions & { dimensionValuesMax: number },
): Promise<StoredRow[]> {
  const rows = await readRows(link, sites);
  const places = new Set(
    rows
      .filter(({ grain }) => grain === grains.day)
      .map(({ site, t, dimension, text }) => JSON.stringify([site, t, dimension, text])),
  );
  const admitted = (site: number, day: number, dimension: Dimension, text: string) =>
    places.has(JSON.stringify([site, day, dimensions[dimension].id, text]));
  // Which values had a place depends on the order; where all have one, nothing is taken from the tables.
  const expected = recount(events, settings.dimensionValuesMax < 100 ? { ...settings, admitted } : settings);

  const flat = (row: ExpectedRow | StoredRow) => {
    const measures = 'measures' in row ? row.measures : row;
    return measureNames.map((name) => measures[name]).join(' ');
  };
  const stored = new Map(
    rows
      .filter(({ measures }) => measureNames.some((name) => measures[name] !== 0))
      .map((row) => [rowKey(row.site, row.dimension, row.grain, row.t, row.text), row]),
  );
  assertSame(
    [...stored].map(([key, row]) => `${key}: ${flat(row)}`),
    [...expected.rollups].map(([key, row]) => `${key}: ${flat(row)}`),
  );
  for (const [key, { signedIn }] of expected.rollups) {
    const { sketch } = stored.get(key)!;
    // A sketch may hold visitors whom a late event has taken from the value, and none may be missing.
    if (signedIn.size > 0) assert.ok(estimate(sketch!) >= signedIn.size, key);
  }
  const { rows: gaps } = await link.query<{ site: number; kind: number; slot: number; gap: number; users: number }>(
    'SELECT * FROM user_gaps WHERE site = ANY ($1::int[]) AND users <> 0',
    [sites],
  );
  assert.deepEqual(
    gaps.map(({ site, kind, slot, gap, users }) => `${gapKey(site, kind, slot, gap)}: ${users}`).sort(),
    [...expected.gaps].map(([key, users]) => `${key}: ${users}`).sort(),
  );
  const { rows: wrong } = await link.query(
    `SELECT * FROM site_days d, unnest(value_counts) WITH ORDINALITY AS c (count, dimension)
     WHERE site = ANY ($1::int[])
       AND c.count <> (SELECT count(*) FROM rollups r WHERE r.site = d.site AND r.dimension = c.dimension
         AND r.grain = 1 AND r.t = d.day AND r.value <> 1 AND NOT EXISTS (SELECT FROM dimension_values v
           WHERE v.site = r.site AND v.dictionary = 18 AND v.value = r.value AND json_array_length(v.text::json) = 2))`,
    [sites],
  );
  assert.deepEqual(wrong, []);
  const { rows: ofProperties } = await link.query<{ day: string; counts: number[] }>(
    `SELECT site || ' ' || day AS day, (SELECT coalesce(array_agg(c ORDER BY c), '{}') FROM unnest(property_counts) c) AS counts
     FROM site_days WHERE site = ANY ($1::int[])`,
    [sites],
  );
  const props = rows.filter(
    ({ grain, dimension, text }) =>
      grain === 1 && dimension === 18 && text !== OTHER_TEXT && (JSON.parse(text) as unknown[]).length === 3,
  );
  const byDay = Map.groupBy(props, ({ site, t }) => `${site} ${t}`);
  for (const { day, counts } of ofProperties) {
    const properties = Map.groupBy(byDay.get(day) ?? [], ({ text }) => JSON.stringify(JSON.parse(text).slice(0, 2)));
    const found = [...properties.values()].map(({ length }) => length);
    assert.deepEqual(
      counts,
      found.sort((a, b) => a - b),
      day,
    );
  }
  return rows;
}
