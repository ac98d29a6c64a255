/**
 * How fast is the Postgres sink, beside psql's \copy, which sorts out no duplicates and keeps no cursor? Server and client share
 * the machine; the server is durable (fsync, synchronous_commit). With a GIN index the time includes emptying its
 * pending list, without which a short run looks twice as fast as a long one is.
 *
 * CPU figures are of the client's process and of all of the server's processes.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { createLog } from '../../src/kernel/log.ts';
import type { PostgresConfig } from '../../src/sinks/postgres/config.ts';
import { PostgresTarget } from '../../src/sinks/postgres/sink.ts';
import { ensureCommand } from '../../test/servers/apt.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { versionBehind } from '../rig/machine.ts';
import { type Kind, type MicroResult, mark } from '../rig/micro.ts';
import { treeCpuUs } from '../rig/proc.ts';
import type { Goal } from '../rig/report.ts';
import { madeEvent, sinkBatch } from '../rig/sink-events.ts';
import { spread } from '../rig/stats.ts';

const PORT = 21680;
const BATCH = 5000;
const BUDGET_MS = 70_000;
const rounds = Number(process.env['ROUNDS'] ?? 6);

// The server needs cores of its own, also when the caller has pinned this process.
execFileSync('taskset', [
  '-apc',
  `0-${Number(execFileSync('nproc', ['--all'], { encoding: 'utf8' })) - 1}`,
  String(process.pid),
]);

const server = await startPostgres(undefined, {
  port: PORT,
  own: true,
  settings: { shared_buffers: '512MB', autovacuum: 'off', max_wal_size: '4GB', min_wal_size: '2GB' },
});
await ensureCommand('psql', 'postgresql-client');
const admin = new pg.Client({ connectionString: server.dsn });
await admin.connect();

interface Measured {
  readonly seconds: number;
  readonly clientUs: number;
  readonly serverUs: number;
}

async function measure(rows: number, clientCpu: () => number, work: () => Promise<void>): Promise<Measured> {
  const [client, serverCpu, begin] = [clientCpu(), treeCpuUs(server.pid), performance.now()];
  await work();
  return {
    seconds: (performance.now() - begin) / 1000,
    clientUs: (clientCpu() - client) / rows,
    serverUs: (treeCpuUs(server.pid) - serverCpu) / rows,
  };
}

/** Empties the pending list, so that the work of the rows is done within their time. */
async function cleanGin(table: string): Promise<void> {
  await admin.query(`SELECT gin_clean_pending_list(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE indrelid = '${table}'::regclass AND relam = (SELECT oid FROM pg_am WHERE amname = 'gin')`);
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

let tables = 0;
async function sink(rows: number, more: Partial<PostgresConfig>): Promise<Measured> {
  tables += 1;
  const pgTable = `bench_${tables}`;
  const config: PostgresConfig = {
    pgDsn: server.dsn,
    pgTable,
    pgBatchSize: BATCH,
    pgBatchBytes: 8 << 20,
    pgFlushMs: 100,
    pgCopy: true,
    pgConnections: 1,
    pgCreateTable: true,
    pgGin: 'off',
    pgConnectTimeoutMs: 5000,
    pgStatementTimeoutMs: 60_000,
    ...more,
  };
  const log = createLog({ level: 'silent', destination: 2, name: 'bench' });
  const target = new PostgresTarget(config, {
    name: 'postgres',
    logId: pgTable,
    journal: true,
    state: undefined,
    log,
    signal: new AbortController().signal,
    ended: () => false,
  });
  await target.cursors();
  // One batch more, outside of the time: connections, plans and the compiler are warm.
  const batches = Array.from({ length: rows / BATCH + 1 }, (_, index) =>
    sinkBatch(
      Array.from({ length: BATCH }, () => Buffer.from(madeEvent().line)),
      index * BATCH,
    ),
  );
  await target.write(batches.shift()!, Promise.resolve());
  const result = await measure(rows, ownCpu, async () => {
    const flying: Promise<void>[] = [];
    for (const batch of batches) {
      if (flying.length === target.inFlightMax) await flying.shift();
      flying.push(target.write(batch, flying.at(-1) ?? Promise.resolve()));
    }
    await Promise.all(flying);
    await cleanGin(pgTable);
  });
  await target.close();
  const { rows: counted } = await admin.query<{ count: string }>(`SELECT count(*) FROM ${pgTable}`);
  if (Number(counted[0]!.count) !== rows + BATCH)
    throw new Error(`rows must be ${rows + BATCH}: found=${counted[0]!.count}`);
  await admin.query(`DROP TABLE ${pgTable}`);
  return result;
}

const folder = mkdtempSync(join(tmpdir(), 'ringmain-bench-pg-'));
async function psql(rows: number, gin: 'ops' | 'off'): Promise<Measured> {
  tables += 1;
  const table = `bench_${tables}`;
  await admin.query(`CREATE TABLE ${table} (id bigserial PRIMARY KEY, event_id uuid UNIQUE NOT NULL, ts timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL);
    CREATE INDEX ON ${table} (ts)${gin === 'off' ? '' : `; CREATE INDEX ON ${table} USING gin (payload)`}`);
  const file = join(folder, 'rows.tsv');
  const lines = Array.from({ length: rows }, () => {
    const { id, tsMs, line } = madeEvent();
    return `${id}\t${new Date(tsMs).toISOString()}\t${line.replaceAll('\\', '\\\\')}`;
  });
  writeFileSync(file, `${lines.join('\n')}\n`);
  const childCpu = (): number => treeCpuUs(process.pid) - treeCpuUsOfThisAlone() - treeCpuUs(server.pid);
  const result = await measure(rows, childCpu, async () => {
    execFileSync('psql', [server.dsn, '-qc', `\\copy ${table} (event_id, ts, payload) FROM '${file}'`]);
    await cleanGin(table);
  });
  await admin.query(`DROP TABLE ${table}`);
  return result;
}
const treeCpuUsOfThisAlone = ownCpu;

const cases: { name: string; kind?: Kind; rows: number; run: (rows: number) => Promise<Measured> }[] = [
  { name: 'no GIN: psql \\copy', kind: 'peer', rows: 60_000, run: (rows) => psql(rows, 'off') },
  { name: 'no GIN: sink, 1 connection', rows: 60_000, run: (rows) => sink(rows, {}) },
  { name: 'no GIN: sink, 2 connections', rows: 60_000, run: (rows) => sink(rows, { pgConnections: 2 }) },
  { name: 'GIN ops: psql \\copy', kind: 'peer', rows: 60_000, run: (rows) => psql(rows, 'ops') },
  { name: 'GIN ops: sink, 1 connection', rows: 60_000, run: (rows) => sink(rows, { pgGin: 'ops' }) },
  {
    name: 'GIN ops: sink, 2 connections',
    rows: 60_000,
    run: (rows) => sink(rows, { pgGin: 'ops', pgConnections: 2 }),
  },
];
const only = process.env['ONLY'];
// A server that has run for a while writes over WAL files; a fresh one makes each of them first, which costs a tenth.
for (let warm = 0; warm < 2; warm += 1) await sink(150_000, { pgConnections: 2 });
const measured = cases
  .filter(({ name }) => only === undefined || name.includes(only))
  .map((one) => ({ one, results: [] as Measured[] }));
for (let round = 0; round < rounds; round += 1) {
  for (const { one, results } of measured) {
    if (results.length > 0 && performance.now() > BUDGET_MS) continue; // one round of a busy machine must do
    await admin.query('CHECKPOINT'); // so that none falls into the time of another case
    results.push(await one.run(one.rows));
  }
}
const { rows: about } = await admin.query<{ server_version: string }>('SHOW server_version');
await admin.end();
rmSync(folder, { recursive: true });
await server.stop();

/** Rows per second that the sinks issue asks for on these two cores. */
const wanted: Readonly<Record<string, number>> = {
  'no GIN: sink, 1 connection': 60_000,
  'no GIN: sink, 2 connections': 85_000,
  'GIN ops: sink, 1 connection': 22_000,
  'GIN ops: sink, 2 connections': 40_000,
};
const goals = measured.flatMap(({ one, results }): Goal[] => {
  const limit = wanted[one.name];
  if (limit === undefined) return [];
  const rate = spread(results.map(({ seconds }) => one.rows / seconds));
  const text = `${Math.round(rate.min).toLocaleString('en')}..${Math.round(rate.max).toLocaleString('en')}`;
  const goal = { goal: `Postgres, ${one.name}`, bound: 'least', limit, value: rate.median, unit: 'rows/s' } as const;
  return [{ ...goal, spread: text, ...(one.name === 'GIN ops: sink, 2 connections' ? { headline: true } : {}) }];
});

const us = (values: number[]): string => spread(values).median.toFixed(1);
const result: MicroResult = {
  asks: 'What does a row cost on its way into Postgres (fsync on, client and server on the same cores)?',
  unit: 'row',
  rows: measured.map(({ one, results }) => ({
    name: `${one.name} (CPU us: client ${us(results.map((r) => r.clientUs))}, server ${us(results.map((r) => r.serverUs))})`,
    kind: one.kind ?? 'ours',
    ns: results.map(({ seconds }) => (seconds * 1e9) / one.rows),
  })),
  goals,
  versions: [`PostgreSQL ${about[0]!.server_version}`, `psql ${versionBehind('PostgreSQL', 'psql', '--version')}`],
};
if (process.argv.includes('--json')) console.log(JSON.stringify(result));
else {
  console.log(`${result.asks} (Node ${process.versions.node}, rows/s, median (min..max) of ${rounds} rounds)`);
  for (const { name, kind, ns } of result.rows) {
    const { median, min, max } = spread(ns);
    const rate = (value: number): string => Math.round(1e9 / value).toLocaleString('en');
    console.log(`  ${mark(kind)}${name.padEnd(84)} ${rate(median).padStart(9)} (${rate(max)}..${rate(min)})`);
  }
}
