/**
 * The statements of a batch. Each takes a list of rows as arrays in binary form and is cut into chunks. One array is
 * unnested, and the others are read by its ordinality: unnest() of many arrays puts each of them into a store of its own
 * and reads it back, which took a third of a large INSERT. Only one with elements of a fixed length can be read so.
 * Reads answer with one value, which holds all rows as (number of the row i32, length i32, bytes): the driver would take
 * longer to make objects of rows than the server to find them.
 *
 * `OFFSET 0` and the settings of the transaction keep the plan at one look into the primary key per row, whatever the
 * statistics say: tables that grow fast have none that are right.
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import {
  byteaArray,
  byteaArrayOf,
  int2Array,
  int4Array,
  int8Array,
  int8ArrayOfHalves,
  int8ArrayOfNumbers,
  textArray,
  uuidArray,
} from '../../store/postgres/binary-array.ts';
import type { Cell } from './cells.ts';
import { chunks } from './chunks.ts';
import type { Ids } from './ids.ts';
import type { Value } from './values.ts';
import type { VisitorDay } from './visitor-day.ts';
import { encodeDay } from './visitor-day-bytes.ts';

export interface DayKey {
  readonly site: number;
  readonly day: number;
}

export interface VisitorKey extends DayKey {
  readonly visitor: string;
}

/** Rows of one read of states: an answer stays far below the longest string that Node holds. */
const STATES_MAX = 5000;
/** Rows of one write of rollups: few, so that client and server work at the same time. */
const WRITTEN_MAX = 4000;

/** A site of the batch was removed while the load had its number in memory: the same batch succeeds the next time. */
export class SiteGone extends Error {
  override readonly name = 'SiteGone';
}

/** Settings that lockSites() makes, each of which is a row of its answer. */
const OFF = ['enable_seqscan', 'enable_bitmapscan', 'jit'] as const;

/**
 * Locks sites until the end of the transaction, in order, so that no two transactions wait for each other. Throws a
 * SiteGone when one is not there. NO KEY: rows that refer to a site (its keys, its names) may be added meanwhile.
 */
export async function lockSites(transaction: Transaction, sites: readonly number[]): Promise<void> {
  const { rows } = await transaction.query(
    `SELECT locked.site::text FROM
       (SELECT site FROM sites WHERE site = ANY ($1::int4[]) ORDER BY site FOR NO KEY UPDATE) AS locked
     UNION ALL SELECT set_config(name, 'off', true)
       FROM unnest('{${OFF.join()}}'::text[]) AS name`,
    [
      int4Array(
        sites.toSorted((a, b) => a - b),
        (site) => site,
      ),
    ],
  );
  const gone = sites.length - (rows.length - OFF.length);
  if (gone > 0) throw new SiteGone(`each site of the batch must exist: ${gone} of ${sites.length} are gone`);
}

interface DayRow extends Record<string, unknown>, DayKey {
  readonly value_counts: readonly number[];
  readonly property_ids: readonly string[];
  readonly property_counts: readonly number[];
}

/** The days among these that hold events, and how many values each of their dimensions and properties has. */
export async function readDays(
  transaction: Transaction,
  keys: readonly DayKey[],
  found: (key: DayKey, counts: readonly number[], properties: ReadonlyMap<bigint, number>) => void,
): Promise<void> {
  for (const part of chunks(keys)) {
    const { rows } = await transaction.query<DayRow>(
      `SELECT d.site, d.day, d.value_counts, d.property_ids, d.property_counts FROM unnest($1::int4[], $2::int4[]) AS u (site, day),
         LATERAL (SELECT * FROM site_days d WHERE d.site = u.site AND d.day = u.day OFFSET 0) d`,
      [int4Array(part, ({ site }) => site), int4Array(part, ({ day }) => day)],
    );
    for (const row of rows) {
      const properties = row.property_ids.map((id, index) => [BigInt(id), row.property_counts[index]!] as const);
      found(row, row.value_counts, new Map(properties));
    }
  }
}

/** States of visitor days, whole or their first `bytes` bytes. */
export async function readStates<K extends VisitorKey>(
  transaction: Transaction,
  keys: readonly K[],
  bytes: number | undefined,
  found: (key: K, state: Buffer) => void,
): Promise<void> {
  const state = bytes === undefined ? 'v.state' : `substring(v.state FROM 1 FOR ${bytes})`;
  for (const part of chunks(keys, STATES_MAX)) {
    const { rows } = await transaction.query<{ found: Buffer | null }>(
      `SELECT string_agg(int4send(u.ord::int4) || int4send(length(v.state)) || v.state, ''::bytea) AS found
       FROM unnest($3::uuid[]) WITH ORDINALITY AS u (visitor, ord),
         LATERAL (SELECT ${state} AS state FROM visitor_days v
           WHERE v.site = ($1::int4[])[u.ord] AND v.day = ($2::int4[])[u.ord] AND v.visitor = u.visitor OFFSET 0) v`,
      [
        int4Array(part, ({ site }) => site),
        int4Array(part, ({ day }) => day),
        uuidArray(part, ({ visitor }) => visitor),
      ],
    );
    eachFound(rows[0]!.found, (index, of) => found(part[index]!, of));
  }
}

export async function readSketches(
  transaction: Transaction,
  keys: readonly Cell[],
  ids: Ids,
  found: (row: Cell, sketch: Buffer) => void,
): Promise<void> {
  for (const part of chunks(keys)) {
    const { rows } = await transaction.query<{ found: Buffer | null }>(
      `SELECT string_agg(int4send(u.ord::int4) || int4send(length(r.sketch)) || r.sketch, ''::bytea) AS found
       FROM unnest($5::int8[]) WITH ORDINALITY AS u (value, ord),
         LATERAL (SELECT sketch FROM rollups r
           WHERE r.site = ($1::int4[])[u.ord] AND r.dimension = ($2::int2[])[u.ord] AND r.grain = ($3::int2[])[u.ord]
             AND r.t = ($4::int4[])[u.ord] AND r.value = u.value OFFSET 0) r
       WHERE r.sketch IS NOT NULL`,
      rollupKeys(part, ids),
    );
    eachFound(rows[0]!.found, (index, of) => found(part[index]!, of));
  }
}

function eachFound(found: Buffer | null, call: (index: number, bytes: Buffer) => void): void {
  for (let at = 0; found !== null && at < found.length; ) {
    const [ord, length] = [found.readInt32BE(at), found.readInt32BE(at + 4)];
    call(ord - 1, found.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
}

const rollupKeys = (rows: readonly Cell[], ids: Ids): Buffer[] => [
  int4Array(rows, ({ group }) => group.site),
  int2Array(rows, ({ group }) => group.dimension),
  int2Array(rows, ({ group }) => group.grain),
  int4Array(rows, ({ group }) => group.t),
  int8ArrayOfHalves(
    rows,
    ({ value }) => ids.high(value),
    ({ value }) => ids.low(value),
  ),
];

/** Parameters of the statements that write states: a state as bytes lives as long as its statement, as objects it grows old. */
export const statesOf = (
  people: readonly (VisitorKey & { readonly after: VisitorDay; readonly signedIn: boolean })[],
  ids: Ids,
): readonly Buffer[][] =>
  Array.from(chunks(people), (part) => [
    int4Array(part, ({ site }) => site),
    int4Array(part, ({ day }) => day),
    uuidArray(part, ({ visitor }) => visitor),
    byteaArrayOf(part, ({ after, signedIn }) => encodeDay(after, signedIn, ids)),
  ]);

export async function writeStates(transaction: Transaction, states: readonly Buffer[][]): Promise<void> {
  for (const parameters of states) {
    await transaction.query(
      `INSERT INTO visitor_days AS v (site, day, visitor, state)
       SELECT ($1::int4[])[i], ($2::int4[])[i], ($3::uuid[])[i], state
       FROM unnest($4::bytea[]) WITH ORDINALITY AS u (state, i)
       ON CONFLICT (site, day, visitor) DO UPDATE SET state = excluded.state`,
      parameters,
    );
  }
}

/**
 * Writes what `prepare` makes of the rows, a part after the other: each is made while the server writes the one before.
 */
export async function writeRollups(
  transaction: Transaction,
  rows: readonly Cell[],
  ids: Ids,
  prepare: (rows: readonly Cell[]) => readonly Cell[],
): Promise<void> {
  let written: Promise<unknown> = Promise.resolve();
  for (const part of chunks(rows, WRITTEN_MAX)) {
    const values = rollupValues(prepare(part), ids);
    await written;
    written = transaction.query(UPSERT_ROLLUPS, values);
    written.catch(() => {}); // it may fail before anybody waits for it
  }
  await written;
}

/** What one batch adds fits into int4, and costs less so; the sums that it is added to are bigint. */
const UPSERT_ROLLUPS = `
  INSERT INTO rollups AS r (site, dimension, grain, t, value, events, views, visits, bounces, duration_ms, firsts,
    lasts, users, sketch, engaged_ms)
  SELECT ($1::int4[])[i], ($2::int2[])[i], ($3::int2[])[i], ($4::int4[])[i], ($5::int8[])[i], ($6::int4[])[i],
    ($7::int4[])[i], ($8::int4[])[i], ($9::int4[])[i], ($10::int8[])[i], ($11::int4[])[i], ($12::int4[])[i],
    ($13::int4[])[i], sketch, ($15::int8[])[i]
  FROM unnest($14::bytea[]) WITH ORDINALITY AS u (sketch, i)
  ON CONFLICT (site, dimension, grain, t, value) DO UPDATE SET
    events = r.events + excluded.events, views = r.views + excluded.views, visits = r.visits + excluded.visits,
    bounces = r.bounces + excluded.bounces, duration_ms = r.duration_ms + excluded.duration_ms,
    firsts = r.firsts + excluded.firsts, lasts = r.lasts + excluded.lasts, users = r.users + excluded.users,
    sketch = coalesce(excluded.sketch, r.sketch), engaged_ms = r.engaged_ms + excluded.engaged_ms`;

const rollupValues = (rows: readonly Cell[], ids: Ids): Buffer[] => [
  ...rollupKeys(rows, ids),
  int4Array(rows, ({ events }) => events),
  int4Array(rows, ({ views }) => views),
  int4Array(rows, ({ visits }) => visits),
  int4Array(rows, ({ bounces }) => bounces),
  int8ArrayOfNumbers(rows, ({ duration_ms }) => duration_ms),
  int4Array(rows, ({ firsts }) => firsts),
  int4Array(rows, ({ lasts }) => lasts),
  int4Array(rows, ({ users }) => users),
  byteaArray(rows, ({ sketch }) => sketch),
  int8ArrayOfNumbers(rows, ({ engaged_ms }) => engaged_ms),
];

export async function writeDays(
  transaction: Transaction,
  days: readonly (DayKey & {
    readonly counts: readonly number[];
    readonly properties: ReadonlyMap<bigint, number>;
  })[],
): Promise<void> {
  // Arrays of arrays must be even, so the counts travel as text.
  for (const part of chunks(days)) {
    await transaction.query(
      `INSERT INTO site_days AS d (site, day, revision, value_counts, property_ids, property_counts)
       SELECT site, day, 1, counts::int4[], ids::int8[], of::int4[]
       FROM unnest($1::int4[], $2::int4[], $3::text[], $4::text[], $5::text[]) AS u (site, day, counts, ids, of)
       ON CONFLICT (site, day) DO UPDATE SET revision = d.revision + 1, value_counts = excluded.value_counts,
         property_ids = excluded.property_ids, property_counts = excluded.property_counts`,
      [
        int4Array(part, ({ site }) => site),
        int4Array(part, ({ day }) => day),
        textArray(part, ({ counts }) => `{${counts.join(',')}}`),
        textArray(part, ({ properties }) => `{${[...properties.keys()].join(',')}}`),
        textArray(part, ({ properties }) => `{${[...properties.values()].join(',')}}`),
      ],
    );
  }
}

export async function writeValues(transaction: Transaction, values: readonly Value[]): Promise<void> {
  const sorted = values.toSorted(
    (a, b) => a.site - b.site || a.dictionary - b.dictionary || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  );
  for (const part of chunks(sorted)) {
    await transaction.query(
      `INSERT INTO dimension_values (site, dictionary, value, text)
       SELECT * FROM unnest($1::int4[], $2::int2[], $3::int8[], $4::text[]) ON CONFLICT DO NOTHING`,
      [
        int4Array(part, ({ site }) => site),
        int2Array(part, ({ dictionary }) => dictionary),
        int8Array(part, ({ id }) => id),
        textArray(part, ({ text }) => text),
      ],
    );
  }
}

export async function writeGaps(
  transaction: Transaction,
  rows: readonly { site: number; kind: number; slot: number; gap: number; users: number }[],
): Promise<void> {
  for (const part of chunks(rows)) {
    await transaction.query(
      `INSERT INTO user_gaps AS g (site, kind, slot, gap, users)
       SELECT * FROM unnest($1::int4[], $2::int2[], $3::int4[], $4::int2[], $5::int4[])
       ON CONFLICT (site, kind, slot, gap) DO UPDATE SET users = g.users + excluded.users`,
      [
        int4Array(part, ({ site }) => site),
        int2Array(part, ({ kind }) => kind),
        int4Array(part, ({ slot }) => slot),
        int2Array(part, ({ gap }) => gap),
        int4Array(part, ({ users }) => users),
      ],
    );
  }
}
