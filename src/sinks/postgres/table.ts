/**
 * Table of the events: made when missing, checked before use, never altered.
 *
 *   events          id bigserial primary key, event_id uuid unique not null, ts timestamptz not null default now(),
 *                   payload jsonb not null; btree on ts, GIN on payload (PG_GIN)
 *   ringmain_stage  temporary, one per session: COPY puts a batch there before its duplicates are sorted out
 *
 * A table that exists may have more columns than ours, as long as they fill themselves, and may be partitioned by ts. A
 * table that cannot work is refused at once, with a message that says what must hold, and no event is dead-lettered.
 */

import type { PostgresLink } from '../../store/postgres/connection.ts';
import { createOnce, exists } from '../../store/postgres/create.ts';
import { describeFault, SetupError, sqlState } from '../../store/postgres/fault.ts';
import { quoteName, type TableName } from '../../store/postgres/names.ts';

export interface TableOptions {
  readonly name: TableName;
  readonly create: boolean;
  readonly gin: 'ops' | 'path' | 'off';
  readonly copy: boolean;
}

export interface EventTable {
  /** Quoted names for SQL. */
  readonly events: string;
  /** Columns of the unique index that tells duplicates: "event_id", on a partitioned table "event_id","ts". */
  readonly conflict: string;
  readonly payload: 'json' | 'jsonb';
}

export const STAGE = 'pg_temp.ringmain_stage';

/** Makes the table when it is missing and that is allowed, checks it, and prepares the session. */
export async function prepareTable(link: PostgresLink, options: TableOptions): Promise<EventTable> {
  const { name: events, create, gin, copy } = options;
  if (create && !(await exists(link, events))) {
    await createOnce(link, async () => {
      if (!(await exists(link, events))) await link.query(eventsSql(events, gin));
    });
  }
  const { conflict, payload } = await inspect(link, events);
  if (copy) await createStage(link);
  return { events: events.sql, conflict, payload };
}

/** The events table and its indexes, as one text of statements. */
export function eventsSql(events: TableName, gin: TableOptions['gin']): string {
  const statements = [
    `CREATE TABLE ${events.sql} (id bigserial PRIMARY KEY, event_id uuid UNIQUE NOT NULL,` +
      ' ts timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL)',
    `CREATE INDEX ON ${events.sql} (ts)`,
  ];
  if (gin !== 'off') {
    statements.push(`CREATE INDEX ON ${events.sql} USING gin (payload${gin === 'path' ? ' jsonb_path_ops' : ''})`);
  }
  return statements.join('; ');
}

async function createStage(link: PostgresLink): Promise<void> {
  try {
    await link.query(
      `CREATE TEMPORARY TABLE IF NOT EXISTS ${STAGE} (event_id uuid, ts timestamptz, payload jsonb)
         ON COMMIT DELETE ROWS`,
    );
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new SetupError(
      `the role must be allowed TEMPORARY on the database, or PG_COPY must be false: ${describeFault(error)}`,
      {
        cause: error,
      },
    );
  }
}

interface ColumnRow {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
}

const expected: Readonly<Record<string, readonly string[]>> = {
  event_id: ['uuid'],
  ts: ['timestamp with time zone'],
  payload: ['jsonb', 'json'],
};

async function inspect(link: PostgresLink, events: TableName): Promise<Pick<EventTable, 'conflict' | 'payload'>> {
  const { rows: columns } = await link.query<ColumnRow>(
    `SELECT attname::text AS name, format_type(atttypid, NULL) AS type,
            attnotnull AND NOT atthasdef AND attidentity = '' AND attgenerated = '' AS required
       FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`,
    [events.sql],
  );
  if (columns.length === 0)
    throw new SetupError(`table ${events.sql} must exist when PG_CREATE_TABLE=false: found none`);
  const problems: string[] = [];
  for (const [name, types] of Object.entries(expected)) {
    const type = columns.find((column) => column.name === name)?.type;
    if (type === undefined || !types.includes(type))
      problems.push(`${name} must be ${types.join(' or ')}: found=${type ?? 'none'}`);
  }
  for (const { name, required } of columns) {
    if (required && !(name in expected)) problems.push(`column ${name} must have a default or allow NULL`);
  }
  const conflict = await uniqueColumns(link, events);
  if (conflict === undefined)
    problems.push('event_id must have a unique index of its own (or with ts, when partitioned)');
  if (problems.length > 0) throw new SetupError(`table ${events.sql} does not fit: ${problems.join('; ')}`);
  const payload = columns.find(({ name }) => name === 'payload')!.type === 'json' ? 'json' : 'jsonb';
  return { conflict: conflict!, payload };
}

/** The smallest unique index over event_id, or event_id and ts, that ON CONFLICT can use. */
async function uniqueColumns(link: PostgresLink, events: TableName): Promise<string | undefined> {
  const { rows } = await link.query<{ columns: string[] }>(
    `SELECT array_agg(a.attname::text ORDER BY a.attname) AS columns
       FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
       LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
        AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
      GROUP BY i.indexrelid`,
    [events.sql],
  );
  const sets = rows.map(({ columns }) => columns);
  const fitting = sets.find((set) => set.join() === 'event_id') ?? sets.find((set) => set.join() === 'event_id,ts');
  return fitting?.map(quoteName).join(', ');
}
