/** Postgres sink: its options. */
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  duration,
  integer,
  KiB,
  MiB,
  oneOf,
  secret,
  text,
} from '../../kernel/config.ts';
import { parseDsn } from '../../store/postgres/dsn.ts';
import { parseTableName } from '../../store/postgres/names.ts';

export const postgresConfig = defineConfig(
  'postgres',
  {
    pgDsn: secret({
      doc:
        'Connection string in libpq syntax: postgres://user:password@host1,host2:5433/db?sslmode=verify-full, or ' +
        'host=... dbname=... pairs. Several hosts are tried in order; target_session_attrs then defaults to ' +
        'read-write.',
      unset: 'required when OUTPUTS includes postgres',
    }),
    pgTable: text({
      default: 'events_json',
      doc:
        'Table that events are written to, with or without a schema. Follows SQL quoting: Events means events, ' +
        '"Events" does not.',
      must: 'a name like events_json, analytics.events or "My Schema"."Events"',
      test: (name) => !throws(() => parseTableName(name)),
    }),
    pgBatchSize: integer({
      default: 5000,
      min: 1,
      max: 100_000,
      doc: 'Maximum events per transaction. Above 5,000, throughput hardly grows, but a failure repeats more.',
    }),
    pgBatchBytes: bytes({
      default: 8 * MiB,
      min: 64 * KiB,
      max: 256 * MiB,
      doc:
        'Maximum bytes per transaction; whichever limit is reached first applies. Each connection keeps a buffer ' +
        'of about this size.',
    }),
    pgFlushMs: duration({
      default: 500,
      min: 1,
      doc: 'Maximum time an event waits for others to share its transaction.',
    }),
    pgCopy: bool({
      default: true,
      doc:
        'Load with binary COPY through a temporary table. false: plain INSERTs with one parameter, for PgBouncer ' +
        'in transaction mode, where a session keeps no temporary table.',
    }),
    pgConnections: integer({
      default: 2,
      min: 1,
      max: 16,
      doc:
        'Connections that load in parallel; commits keep the order of the journal. Two are about 1.6 times as ' +
        'fast as one while the server has cores to spare.',
    }),
    pgCreateTable: bool({
      default: true,
      doc:
        'Create missing tables (events with their indexes, ringmain_cursors). An existing table is never changed. ' +
        'false: they must exist.',
    }),
    pgGin: oneOf(['ops', 'path', 'off'], {
      default: 'ops',
      doc:
        'GIN index on payload when the table is created here. ops: every jsonb operator. path: only @> and ' +
        'jsonpath, 1.7 times the rows per second. off: no index, three times the rows per second.',
    }),
    pgConnectTimeoutMs: duration({
      default: 5000,
      min: 100,
      doc: 'Connect timeout per host, unless the DSN has connect_timeout.',
    }),
    pgStatementTimeoutMs: duration({
      default: 60_000,
      min: 100,
      doc:
        'Maximum run time of one statement. The server cancels it; if the server itself does not respond, the ' +
        'connection is closed 5 s later.',
    }),
  },
  {
    check: ({ pgDsn }, all, named) =>
      dsnProblems(pgDsn, (all['sinks']?.['outputs'] as readonly string[] | undefined) ?? [], named('PG_DSN')),
    prefix: 'PG_',
  },
);
export type PostgresConfig = ConfigOf<typeof postgresConfig>;

function dsnProblems(dsn: string | undefined, outputs: readonly string[], name: string): string[] {
  if (dsn === undefined)
    return outputs.includes('postgres') ? [`${name} must be set when OUTPUTS includes postgres`] : [];
  try {
    parseDsn(dsn);
    return [];
  } catch (error) {
    return [`${name}: ${(error as Error).message}`];
  }
}

function throws(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}
