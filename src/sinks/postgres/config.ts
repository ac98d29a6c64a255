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
        "Where the database is, in libpq's spelling: " +
        'postgres://user:password@host1,host2:5433/db?sslmode=verify-full, or host=... dbname=... pairs. ' +
        'Several hosts are tried in order; then target_session_attrs defaults to read-write.',
      unset: 'needed when OUTPUTS names postgres',
    }),
    pgTable: text({
      default: 'events_json',
      doc: 'Table of the events, with or without its schema. Read as SQL reads it: Events is events, "Events" is not.',
      must: 'a name like events_json, analytics.events or "My Schema"."Events"',
      test: (name) => !throws(() => parseTableName(name)),
    }),
    pgBatchSize: integer({
      default: 5000,
      min: 1,
      max: 100_000,
      doc: 'Most events of one transaction. From 5,000 on throughput hardly grows, only what a failure repeats.',
    }),
    pgBatchBytes: bytes({
      default: 8 * MiB,
      min: 64 * KiB,
      max: 256 * MiB,
      doc:
        'Most bytes of one transaction, whichever limit comes first. Each connection keeps a buffer of about this ' +
        'size.',
    }),
    pgFlushMs: duration({
      default: 500,
      min: 1,
      doc: 'Longest wait of an event for others to share its transaction.',
    }),
    pgCopy: bool({
      default: true,
      doc:
        'Load by binary COPY through a temporary table. false: plain INSERTs of one parameter, for PgBouncer in ' +
        'transaction mode, where a session keeps no temporary table.',
    }),
    pgConnections: integer({
      default: 2,
      min: 1,
      max: 16,
      doc:
        'Connections that load at the same time; commits keep the order of the journal. Two are about 1.6 times as ' +
        'fast as one, while the server has cores to spare.',
    }),
    pgCreateTable: bool({
      default: true,
      doc:
        'Create the tables that are missing (events with their indexes, ringmain_cursors). A table that exists is ' +
        'never changed. false: they must exist.',
    }),
    pgGin: oneOf(['ops', 'path', 'off'], {
      default: 'ops',
      doc:
        'GIN index on payload of a table made here. ops: every jsonb operator; path: only @> and jsonpath, 1.7 times ' +
        'the rows per second; off: three times.',
    }),
    pgConnectTimeoutMs: duration({
      default: 5000,
      min: 100,
      doc: 'Longest wait for one host to take a connection, unless the DSN has connect_timeout.',
    }),
    pgStatementTimeoutMs: duration({
      default: 60_000,
      min: 100,
      doc:
        'Longest run of one statement. The server ends it; should the server itself be silent, the connection is ' +
        'given up 5 s later.',
    }),
  },
  {
    check: ({ pgDsn }, all) => dsnProblems(pgDsn, (all['sinks']?.['outputs'] as readonly string[] | undefined) ?? []),
    prefix: 'PG_',
  },
);
export type PostgresConfig = ConfigOf<typeof postgresConfig>;

function dsnProblems(dsn: string | undefined, outputs: readonly string[]): string[] {
  if (dsn === undefined)
    return outputs.includes('postgres') ? ['PG_DSN must be set when OUTPUTS names postgres: found none'] : [];
  try {
    parseDsn(dsn);
    return [];
  } catch (error) {
    return [`PG_DSN: ${(error as Error).message}`];
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
