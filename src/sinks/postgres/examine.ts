/**
 * What `ringmain doctor` asks a Postgres server: names, connection with TLS and login, the tables and the rights on
 * them, its clock, and the settings that decide what a commit is worth. It changes nothing.
 */
import { error, type Finding, note, ok, skewFinding, warning } from '../../kernel/finding.ts';
import { resolveFinding } from '../../kernel/resolve.ts';
import { connect, type PostgresLink } from '../../store/postgres/connection.ts';
import { exists } from '../../store/postgres/create.ts';
import { parseDsn } from '../../store/postgres/dsn.ts';
import { describeFault, faultOf } from '../../store/postgres/fault.ts';
import { parseTableName, siblingOf, type TableName } from '../../store/postgres/names.ts';
import type { PostgresConfig } from './config.ts';
import { CURSORS } from './cursor.ts';

export interface PostgresExamination {
  /** False for an output that loads tables of its service and has no table of events. */
  readonly ownTable: boolean;
  /** What the operator calls the option of the DSN. */
  readonly option: string;
}

export async function* examinePostgres(
  config: PostgresConfig,
  { ownTable, option }: PostgresExamination,
): AsyncGenerator<Finding> {
  const dsn = parseDsn(config.pgDsn ?? '');
  const names = dsn.hosts.map(({ host }) => resolveFinding(host, option));
  for (const found of await Promise.all(names)) if (found !== undefined) yield found;
  let link: PostgresLink;
  try {
    link = await connect(dsn, {
      connectTimeoutMs: config.pgConnectTimeoutMs,
      queryTimeoutMs: config.pgStatementTimeoutMs,
      applicationName: 'ringmain doctor',
    });
  } catch (cause) {
    const advice =
      faultOf(cause) === 'setup'
        ? `Correct user, password or database in ${option}, or pg_hba.conf of the server.`
        : `Start the server, or correct host and port in ${option}; until then the journal keeps the events.`;
    yield error(describeFault(cause), advice);
    return;
  }
  try {
    yield* server(link, option);
    yield* clock(link);
    if (ownTable) yield* tables(link, config, option);
  } catch (cause) {
    yield error(describeFault(cause), 'Fix what the server reports.');
  } finally {
    await link.close();
  }
}

interface ServerRow {
  readonly version: string;
  readonly role: string;
  readonly tls: boolean;
  readonly fsync: string;
  readonly commit: string;
  readonly standby: boolean;
  readonly most: number;
  readonly used: number;
}

async function* server(link: PostgresLink, option: string): AsyncGenerator<Finding> {
  const { rows } = await link.query<ServerRow>(
    `SELECT current_setting('server_version') AS version, current_user::text AS role,
            coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
            current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
            pg_is_in_recovery() AS standby, current_setting('max_connections')::int AS most,
            (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS used`,
  );
  const { version, role, tls, fsync, commit, standby, most, used } = rows[0]!;
  const where = `${link.host.host}:${link.host.port}`;
  yield ok(`PostgreSQL ${version} at ${where} answers as ${role}${tls ? ', over TLS' : ''}`);
  if (standby)
    yield error(`${where} is a standby and accepts no writes`, `Put the primary, or all hosts, into ${option}.`);
  if (fsync === 'off')
    yield warning('fsync is off: a crash of that machine may corrupt the database', 'Set fsync = on.');
  if (commit === 'off')
    yield warning(
      'synchronous_commit is off: a crash of the server loses rows that count as delivered',
      'Set synchronous_commit = on for this role.',
    );
  if (most - used < 5) yield warning(`${used} of ${most} connections are in use`, 'Raise max_connections.');
}

async function* clock(link: PostgresLink): AsyncGenerator<Finding> {
  const asked = Date.now();
  const { rows } = await link.query<{ ms: number }>(
    'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms',
  );
  yield skewFinding('the database', rows[0]!.ms, asked, Date.now());
}

async function* tables(link: PostgresLink, config: PostgresConfig, option: string): AsyncGenerator<Finding> {
  const events = parseTableName(config.pgTable);
  const wanted: readonly (readonly [TableName, string])[] = [
    [events, 'INSERT'],
    [siblingOf(events, CURSORS), 'SELECT, INSERT, UPDATE, DELETE'],
  ];
  for (const [name, rights] of wanted) {
    if (!(await exists(link, name))) {
      yield await creatable(link, name, config.pgCreateTable);
      continue;
    }
    const { rows } = await link.query<{ right: string }>(
      `SELECT r AS right FROM unnest(string_to_array($2, ', ')) AS r
        WHERE NOT has_table_privilege(to_regclass($1), r)`,
      [name.sql, rights],
    );
    const lacking = rows.map(({ right }) => right).join(', ');
    yield lacking === ''
      ? ok(`table ${name.sql} exists, with all required privileges`)
      : error(`the role lacks ${lacking} on ${name.sql}`, `GRANT ${lacking} ON ${name.sql} TO the role of ${option}.`);
  }
  if (!config.pgCopy) return;
  const { rows } = await link.query<{ may: boolean }>(
    "SELECT has_database_privilege(current_database(), 'TEMPORARY') AS may",
  );
  if (!rows[0]!.may)
    yield error(
      'the role may not create temporary tables, which COPY requires',
      'GRANT TEMPORARY ON DATABASE, or set PG_COPY=false.',
    );
}

async function creatable(link: PostgresLink, name: TableName, create: boolean): Promise<Finding> {
  if (!create)
    return error(`table ${name.sql} does not exist, and PG_CREATE_TABLE=false`, 'Create it, or correct PG_TABLE.');
  const { rows } = await link.query<{ schema: string | null; may: boolean | null }>(
    `SELECT s AS schema, has_schema_privilege(s, 'CREATE') AS may
       FROM (SELECT CASE WHEN $1::text IS NULL THEN current_schema()::text
                         ELSE (SELECT nspname::text FROM pg_namespace WHERE nspname = $1) END AS s) AS found`,
    [name.schema ?? null],
  );
  const { schema, may } = rows[0]!;
  if (schema === null)
    return error(`the schema of table ${name.sql} does not exist`, 'CREATE SCHEMA, or correct PG_TABLE.');
  return may
    ? note(`table ${name.sql} does not exist yet; it is created at startup`)
    : error(
        `the role may not create table ${name.sql}`,
        `GRANT CREATE ON SCHEMA ${schema}, or create the table yourself.`,
      );
}
