/**
 * Tables: made when missing, checked before use, never altered.
 *
 *   events            id bigserial primary key, event_id uuid unique not null, ts timestamptz not null default now(),
 *                     payload jsonb not null; btree on ts, GIN on payload (PG_GIN)
 *   ringmain_cursors  in the same schema: how far each lane of each log has been stored (cursor.ts)
 *   ringmain_stage    temporary, one per session: where COPY puts a batch before its duplicates are sorted out
 *
 * A table that is there may have more columns than ours, as long as they fill themselves, and may be partitioned by ts.
 * What cannot work is said at once, in one message that tells what must hold; nothing is dead-lettered for it.
 */

import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault, faultOf, sqlState } from '../../store/postgres/fault.ts';
import { quoteName, siblingOf, type TableName } from '../../store/postgres/names.ts';

export interface TableOptions {
  readonly name: TableName;
  readonly create: boolean;
  readonly gin: 'ops' | 'path' | 'off';
  readonly copy: boolean;
}

export interface EventTable {
  /** Quoted names for SQL. */
  readonly events: string;
  readonly cursors: string;
  /** Columns of the unique index that tells duplicates: "event_id", on a partitioned table "event_id","ts". */
  readonly conflict: string;
  readonly payload: 'json' | 'jsonb';
}

export const STAGE = 'pg_temp.ringmain_stage';
export const CURSORS = 'ringmain_cursors';

/** An operator has to act; the message says how. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}

/** Makes what is missing (when allowed), checks what is there, prepares the session. */
export async function prepareTables(link: PostgresLink, options: TableOptions): Promise<EventTable> {
  const events = options.name;
  const cursors = siblingOf(events, CURSORS);
  if (options.create) await createMissing(link, events, cursors, options.gin);
  const { conflict, payload } = await inspect(link, events);
  if (!(await exists(link, cursors))) {
    throw new SetupError(
      `table ${cursors.sql} must exist when PG_CREATE_TABLE=false; it is made by: ${cursorsSql(cursors)}`,
    );
  }
  if (options.copy) await createStage(link);
  return { events: events.sql, cursors: cursors.sql, conflict, payload };
}

async function createMissing(
  link: PostgresLink,
  events: TableName,
  cursors: TableName,
  gin: TableOptions['gin'],
): Promise<void> {
  if ((await exists(link, events)) && (await exists(link, cursors))) return;
  // Two collectors that start together would both create; IF NOT EXISTS alone does not keep them apart.
  await link.query('BEGIN');
  try {
    await link.query("SELECT pg_advisory_xact_lock(hashtext('ringmain create'))");
    if (!(await exists(link, events))) await link.query(eventsSql(events, gin));
    await link.query(cursorsSql(cursors));
    await link.query('COMMIT');
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    if (faultOf(error) !== 'setup') throw error;
    throw new SetupError(`tables could not be made: ${describeFault(error)}`, { cause: error });
  }
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

function cursorsSql(cursors: TableName): string {
  // A low fillfactor keeps the one row that changes with every transaction on its page (HOT), so the table never grows.
  return (
    `CREATE TABLE IF NOT EXISTS ${cursors.sql} (log_id text, sink text, life bigint, lane int, position bigint NOT NULL,` +
    ' record bigint NOT NULL, epoch bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),' +
    ' PRIMARY KEY (log_id, sink, life, lane)) WITH (fillfactor = 20)'
  );
}

async function exists(link: PostgresLink, name: TableName): Promise<boolean> {
  // Through pg_class: opening a table makes the session take in what others have committed. to_regclass alone answers from a
  // cache, and would not see the table whose creator we have just waited for.
  const { rows } = await link.query<{ found: boolean }>(
    'SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1)) AS found',
    [name.sql],
  );
  return rows[0]!.found;
}

async function createStage(link: PostgresLink): Promise<void> {
  try {
    await link.query(
      `CREATE TEMPORARY TABLE IF NOT EXISTS ${STAGE} (event_id uuid, ts timestamptz, payload jsonb) ON COMMIT DELETE ROWS`,
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
