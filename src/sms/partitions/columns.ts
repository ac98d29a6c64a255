/**
 * Columns: what a table of Postgres is in a Parquet file. Read from the catalogue, so that a column that a migration
 * adds is archived as well.
 *
 *   bigint       INT64                     smallint, integer   INT32
 *   timestamptz  INT64, micros of UTC      boolean             BOOLEAN
 *   all others   as Postgres writes them, in UTF-8
 *
 * A value has one text here, from whichever side it is read: that of Postgres, with micros since 1970 for a time.
 */
import type { SchemaElement } from 'hyparquet';
import { quoteName } from '../../store/postgres/names.ts';
import type { Sql } from '../../store/postgres/time-partitions.ts';

export type Value = string | number | bigint | boolean | null;

export interface Column {
  readonly name: string;
  /** Its text, as SQL. */
  readonly sql: string;
  readonly element: SchemaElement;
  /** The value in the file by its text. */
  value(text: string): Value;
}

interface Kind {
  readonly element: Omit<SchemaElement, 'name'>;
  value(text: string): Value;
  sql?(column: string): string;
}

const int32: Kind = { element: { type: 'INT32' }, value: Number };
const other: Kind = { element: { type: 'BYTE_ARRAY', converted_type: 'UTF8' }, value: (text) => text };
const kinds: Readonly<Record<string, Kind>> = {
  smallint: int32,
  integer: int32,
  bigint: { element: { type: 'INT64' }, value: BigInt },
  boolean: { element: { type: 'BOOLEAN' }, value: (text) => text === 'true' },
  'timestamp with time zone': {
    element: {
      type: 'INT64',
      converted_type: 'TIMESTAMP_MICROS',
      logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
    },
    value: BigInt,
    sql: (column) => `(extract(epoch FROM ${column}) * 1000000)::bigint::text`,
  },
};

export async function columnsOf(sql: Sql, relation: string): Promise<readonly Column[]> {
  const { rows } = await sql.query<{ name: string; type: string; required: boolean }>(
    `SELECT attname AS name, format_type(atttypid, NULL) AS type, attnotnull AS required FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [quoteName(relation)],
  );
  return rows.map(({ name, type, required }) => {
    const kind = kinds[type] ?? other;
    const quoted = quoteName(name);
    return {
      name,
      sql: kind.sql?.(quoted) ?? `${quoted}::text`,
      element: { name, ...kind.element, repetition_type: required ? 'REQUIRED' : 'OPTIONAL' },
      value: kind.value,
    };
  });
}

/** Columns of the primary key, in its order: [name, type]. */
export async function keyOf(sql: Sql, relation: string): Promise<readonly (readonly [string, string])[]> {
  const { rows } = await sql.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, NULL) AS type
     FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
     WHERE indrelid = $1::regclass AND indisprimary ORDER BY array_position(indkey::int2[], attnum)`,
    [quoteName(relation)],
  );
  return rows.map(({ name, type }) => [quoteName(name), type]);
}
