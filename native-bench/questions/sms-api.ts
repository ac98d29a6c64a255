/** How many messages does the SMS gateway accept a second, beside one transaction for each send? */
import { audit } from '../../src/sms/money/audit.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import type { Bench, Question } from '../rig/bench.ts';
import { type Load, wrk } from '../rig/load.ts';
import { treeCpuUs } from '../rig/proc.ts';
import type { Goal, Table } from '../rig/report.ts';
import { column, interleave, measure, type Results, warmUp } from '../rig/rounds.ts';
import { batchRequests, fillCustomers, type PgbenchResult, pgbench, sendRequests, startSms } from '../rig/sms.ts';
import { median } from '../rig/stats.ts';
import { loadCore, move, type Subject, serverCore } from '../rig/subject.ts';
import { count, rawOf, roundsTable, us } from '../rig/table.ts';

const migrations = new URL('../../src/sms/migrations/', import.meta.url);
const CUSTOMERS = 10_000;
const BATCH = 200;
const RATE = 3000;
const CLIENTS = 16;

const MANY = 'sends, 10,000 customers';
const WHALE = 'sends, one customer';
const AT_RATE = `${RATE.toLocaleString('en')} sends/s, 10,000 customers`;
const BATCHES = `batches of ${BATCH}, 10,000 customers`;
const WHALE_BATCHES = `batches of ${BATCH}, one customer`;

/** One row: its load, and how many messages a request has. */
interface Row {
  readonly name: string;
  readonly load: Load;
  readonly messages: number;
}

function rowsOf(bench: Bench): readonly Row[] {
  const seconds = bench.short ? 1 : 4;
  const sends = (customers: number) => bench.requests(`sms-send-${customers}`, () => sendRequests(customers));
  const batches = (customers: number) =>
    bench.requests(`sms-batch-${customers}`, () => batchRequests(customers, BATCH));
  const send = { connections: 128, seconds, path: '/v1/sms/send' };
  const batch = { connections: 8, seconds, path: '/v1/sms/batch' };
  return [
    { name: MANY, load: wrk(sends(CUSTOMERS), send), messages: 1 },
    { name: WHALE, load: wrk(sends(1), send), messages: 1 },
    // The generator sleeps between sends: Postgres needs its core, too.
    {
      name: AT_RATE,
      load: bench.openLoop(sends(CUSTOMERS), { connections: 128, rate: RATE, seconds, nap: true }),
      messages: 1,
    },
    { name: BATCHES, load: wrk(batches(CUSTOMERS), batch), messages: BATCH },
    { name: WHALE_BATCHES, load: wrk(batches(1), batch), messages: BATCH },
  ];
}

/** Measures the rows in turn; beside each round, the CPU of Postgres. */
async function rowsOn(bench: Bench, sms: Subject, postgres: Subject) {
  const databaseUs = new Map<string, number[]>();
  const contestants = rowsOf(bench).map(({ name, load, messages }) => {
    const spent: number[] = [];
    databaseUs.set(name, spent);
    return {
      name,
      once: async () => {
        const before = treeCpuUs(postgres.pid);
        const round = await measure(sms, load, { eventsPerRequest: messages, behind: [postgres] });
        spent.push((treeCpuUs(postgres.pid) - before) / round.events);
        return round;
      },
    };
  });
  await warmUp(sms, rowsOf(bench)[0]!.load);
  return { results: await interleave(contestants, bench.rounds), databaseUs };
}

function latencies(results: Results, databaseUs: ReadonlyMap<string, readonly number[]>): Table {
  const rows = [...results].map(([name, rounds]) => [
    name,
    us(median([...(databaseUs.get(name) ?? [])])),
    ms(median(column(rounds, 'p50Us'))),
    ms(median(column(rounds, 'p99Us'))),
    ms(median(column(rounds, 'maxUs'))),
  ]);
  return {
    title: 'Of the same rounds',
    head: ['', 'CPU of Postgres, us/message', 'p50 ms', 'p99 ms', 'max ms'],
    rows,
  };
}

/** NaN: too few rounds counted. */
const ms = (microseconds: number): string => (Number.isNaN(microseconds) ? 'void' : (microseconds / 1000).toFixed(1));

async function baseline(bench: Bench, dsn: string): Promise<Table> {
  const { dir } = bench.place();
  const seconds = bench.short ? 1 : 8;
  const measured: [string, PgbenchResult][] = [];
  for (const [name, customers] of [
    ['10,000 customers', CUSTOMERS],
    ['one customer', 1],
  ] as const)
    measured.push([name, await pgbench(dsn, dir, { customers, clients: CLIENTS, seconds })]);
  return {
    title: `pgbench, one transaction for each send, ${CLIENTS} connections, the same tables`,
    head: ['', 'sends/s', 'p50 ms', 'p99 ms'],
    rows: measured.map(([name, { perSecond, p50Ms, p99Ms }]) => [
      name,
      count(perSecond),
      p50Ms.toFixed(1),
      p99Ms.toFixed(1),
    ]),
  };
}

/** What a run has left behind: balances that are not what ledger and messages come to would make it worthless. */
async function drift(link: PostgresLink): Promise<number> {
  const { differences } = await audit(link);
  return differences.length;
}

const perSecond = (results: Results, row: string, limit: number, headline = false): Goal => {
  const rounds = results.get(row)!;
  return {
    goal: `sms-api: ${row}`,
    bound: 'least',
    limit,
    value: median(column(rounds, 'eventsPerSecond')),
    unit: 'messages/s',
    ...(headline ? { headline } : {}),
  };
};

export const smsApi: Question = {
  name: 'sms-api',
  asks: 'Messages that are accepted by one acceptor: guarded balance, message, ledger and outbox in Postgres with fsync, on the same two cores.',
  async answer(bench) {
    const undo: (() => unknown)[] = [];
    const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
    try {
      const server = await startPostgres(scope, {
        port: bench.place().port,
        own: true,
        settings: { max_wal_size: '8GB', shared_buffers: '256MB' },
      });
      move(server, `${serverCore},${loadCore}`);
      const { dsn } = server;
      await migrateUp({ dsn, service: 'sms', folder: migrations, tell: () => undefined });
      const link = await openLink(dsn, { queryTimeoutMs: 600_000 });
      undo.push(() => link.close());
      await fillCustomers(link, CUSTOMERS);
      const postgres: Subject = { name: 'postgres', pid: server.pid, url: '', logs: [], stop: async () => undefined };
      const env = { PG_DSN: dsn, LOG_LEVEL: 'warn', DRAIN_TIMEOUT_MS: '100' };
      return await bench.with([() => startSms('sms', bench.tree, bench.place(), env)], async ([sms]) => {
        const { results, databaseUs } = await rowsOn(bench, sms!, postgres);
        const drifted = await drift(link);
        if (drifted > 0) throw new Error(`the audit must find nothing after the run: found=${drifted}`);
        const beside = await baseline(bench, dsn);
        return {
          tables: [roundsTable(results, { title: 'Accepting' }), latencies(results, databaseUs), beside],
          notes: [
            'Postgres, the service and the load share two cores; an event is a message.',
            'After the rounds the audit found no difference between balances, ledger and messages.',
          ],
          goals: [
            perSecond(results, MANY, 10_000, true),
            perSecond(results, WHALE, 10_000),
            perSecond(results, BATCHES, 15_000),
            perSecond(results, WHALE_BATCHES, 15_000),
            {
              goal: `sms-api: p99 of ${AT_RATE}`,
              bound: 'most',
              limit: 50,
              value: median(column(results.get(AT_RATE)!, 'p99Us')) / 1000,
              unit: 'ms',
              headline: true,
            },
          ],
          versions: ['PostgreSQL 18.4'],
          raw: { results: rawOf(results), databaseUs: Object.fromEntries(databaseUs) },
        };
      });
    } finally {
      for (const fn of undo.reverse()) await fn();
    }
  },
};
