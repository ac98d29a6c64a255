/**
 * Drains a backlog of a topic with one processor, on both cores, and stores the same events one by one as the seed did. Prints JSON.
 * node analytics-drain.ts <main.js> <folder> <first port> <events> <plain rows>
 *
 *   backlog     a day of a site for each million, in the order of time, 600 bytes of JSON each as intake writes it, in one
 *               partition; made before the processor starts
 *   client      the process of the processor, or this one for the plain rows
 *   server      all processes of Postgres, which is durable (fsync, synchronous_commit). The broker is in neither
 *   memory      malloc as deploy/ has it for a processor (deploy/README.md)
 *   begin       the first WARM share of the events fills empty tables and warms up the code: it counts for memory alone
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { attributes } from '../../src/analytics/columns/format.ts';
import { DAY_MS } from '../../src/analytics/dimensions.ts';
import { Receipts } from '../../src/analytics/intake/receipts.ts';
import { ensureCommand } from '../../test/servers/apt.ts';
import { startKafka } from '../../test/servers/kafka.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { runProgram } from '../../test/servers/process.ts';
import { makeTopic } from '../../test/servers/topics.ts';
import { makeDay } from './analytics-traffic.ts';
import { treeCpuUs } from './proc.ts';
import { startPinned, stopChild, untilListening } from './subject.ts';

export interface Cost {
  readonly events: number;
  readonly perSecond: number;
  /** CPU us per event. */
  readonly clientUs: number;
  readonly serverUs: number;
}

export interface Drained {
  readonly drain: Cost;
  readonly plain: Cost;
  /** RSS of the processor while it drained, four times a second: MiB. */
  readonly rssMiB: readonly number[];
  /** Rows of `rollups` when all was counted. */
  readonly rollupRows: number;
}

const WARM = 0.2;
const LOOK_MS = 250;
/** Nothing takes longer, or something is wrong. */
const STALLED_MS = 60_000;
const TODAY = Math.floor(Date.now() / DAY_MS);
/** A larger backlog is of more days. */
const DAY_EVENTS_MAX = 1e6;

interface Plain {
  readonly site_id: string;
  readonly event_type: string;
  readonly path: string;
  readonly user_id: string | undefined;
  readonly timestamp: string;
}

/** Ids of version 7, as intake makes them: they ascend with time. */
function idAt(ms: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(ms, 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Writes records for kcat, key and value; returns how many there are, and the first ones as the seed stores them. */
async function writeRecords(
  file: string,
  day: number,
  events: number,
  plainMax: number,
): Promise<{ count: number; plain: Plain[] }> {
  const lines: { readonly ms: number; readonly line: Buffer }[] = [];
  const plain: Plain[] = [];
  const receipts = new Receipts(0);
  makeDay(day, events, (event) => {
    const timestamp = new Date(event.timestampMs).toISOString();
    const userId = event.signedIn ? `user-${event.user}` : undefined;
    const known = attributes.flatMap((name, i) => {
      const text = event.attribute(i);
      if (text === '' || name === 'source') return [];
      return [[name, name === 'referrer' ? `https://${text}.example/` : text]];
    });
    const shape = { site_id: 'shop', event_type: event.eventType, path: event.path, user_id: userId, timestamp };
    if (plain.length < plainMax) plain.push(shape);
    const value = JSON.stringify({
      event_id: idAt(event.timestampMs),
      ...shape,
      received_at: receipts.text(event.timestampMs),
      visitor: event.signedIn ? undefined : Buffer.from(event.visitor, 'latin1').toString('hex'),
      url: `https://shop.example${event.path}`,
      title: `Title of ${event.path}`,
      props: event.props.length > 0 ? { plan: 'pro' } : undefined,
      ...Object.fromEntries(known),
      via: 'events',
    });
    lines.push({ ms: event.timestampMs, line: Buffer.from(`shop|${value}\n`) });
  });
  lines.sort((a, b) => a.ms - b.ms);
  const out = createWriteStream(file, { highWaterMark: 1 << 22 });
  for (const { line } of lines)
    if (!out.write(line)) await new Promise<void>((drained) => out.once('drain', () => drained()));
  await finished(out.end());
  return { count: lines.length, plain };
}

const ownCpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** The seed's table, and its statement for each event. */
async function storePlain(client: pg.Client, rows: readonly Plain[], serverCpuUs: () => number): Promise<Cost> {
  await client.query(`CREATE TABLE plain (id serial PRIMARY KEY, site_id varchar(100) NOT NULL,
    event_type varchar(50) NOT NULL, path text, user_id varchar(100), "timestamp" timestamptz NOT NULL);
    CREATE INDEX ON plain (site_id, "timestamp"); CREATE INDEX ON plain (user_id);
    CREATE INDEX ON plain (site_id, event_type, "timestamp")`);
  const text = 'INSERT INTO plain (site_id, event_type, path, user_id, "timestamp") VALUES ($1, $2, $3, $4, $5)';
  const [ms, own, server] = [performance.now(), ownCpuUs(), serverCpuUs()];
  for (const { site_id, event_type, path, user_id, timestamp } of rows)
    await client.query({ name: 'plain', text, values: [site_id, event_type, path, user_id, timestamp] });
  return {
    events: rows.length,
    perSecond: (rows.length / (performance.now() - ms)) * 1000,
    clientUs: (ownCpuUs() - own) / rows.length,
    serverUs: (serverCpuUs() - server) / rows.length,
  };
}

async function drain(main: string, folder: string, port: number, events: number, plainRows: number): Promise<Drained> {
  const undo: (() => unknown)[] = [];
  const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
  try {
    await ensureCommand('kcat', 'kcat');
    const settings = { shared_buffers: '512MB', max_wal_size: '4GB' };
    const [kafka, postgres] = await Promise.all([
      startKafka(scope, { port: port + 10, own: true }),
      startPostgres(scope, { port: port + 1, own: true, settings }),
    ]);
    const broker = kafka.brokers[0]!;
    await makeTopic(broker, 'events', 1);
    const file = join(folder, 'records');
    const days = Math.ceil(events / DAY_EVENTS_MAX);
    const plain: Plain[] = [];
    let count = 0;
    for (let day = TODAY - days; day < TODAY; day++) {
      const written = await writeRecords(file, day, events / days, plainRows - plain.length);
      count += written.count;
      plain.push(...written.plain);
      await runProgram('kcat', ['-P', '-b', broker, '-t', 'events', '-K', '|', '-z', 'lz4', '-l', file]);
      rmSync(file);
    }

    const client = new pg.Client({ connectionString: postgres.dsn });
    await client.connect();
    undo.push(() => client.end());
    const serverCpuUs = (): number => treeCpuUs(postgres.pid);
    const ofPlain = await storePlain(client, plain, serverCpuUs);

    const messages = join(folder, 'processor.out');
    const child = startPinned({
      command: process.execPath,
      args: [main, 'analytics', 'processor'],
      env: {
        SERVER_ADDR: `127.0.0.1:${port}`,
        DATABASE_URL: postgres.dsn,
        KAFKA_BROKER_URLS: broker,
        JOURNAL_DIR: join(folder, 'journal'),
        MALLOC_MMAP_THRESHOLD_: process.env['MALLOC_MMAP_THRESHOLD_'] ?? '32768',
        PG_CONNECTIONS: process.env['PG_CONNECTIONS'],
        PG_BATCH_SIZE: process.env['PG_BATCH_SIZE'],
      },
      cwd: folder,
      messages,
      core: '0,1',
    });
    undo.push(() => stopChild(child));
    await untilListening(child, port, messages);
    const pid = child.pid!;
    const rssMiB: number[] = [];
    const look = async () => {
      const { rows } = await client.query('SELECT coalesce(sum(stored), 0)::int AS stored FROM outcome_hours');
      rssMiB.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1024);
      const stored = (rows[0] as { stored: number }).stored;
      return { stored, ms: performance.now(), client: treeCpuUs(pid), server: serverCpuUs() };
    };
    let begin: Awaited<ReturnType<typeof look>> | undefined;
    let last = await look();
    for (let at = last; at.stored < count; at = await look()) {
      if (at.stored !== last.stored) last = at;
      if (begin === undefined && at.stored >= count * WARM) begin = at;
      if (at.ms - last.ms > STALLED_MS)
        throw new Error(`the backlog must be drained: ${readFileSync(messages, 'utf8').slice(-2000)}`);
      await delay(LOOK_MS);
    }
    const end = await look();
    begin ??= last;
    const drained = end.stored - begin.stored;
    const { rows } = await client.query('SELECT count(*)::int AS n FROM rollups');
    return {
      drain: {
        events: drained,
        perSecond: (drained / (end.ms - begin.ms)) * 1000,
        clientUs: (end.client - begin.client) / drained,
        serverUs: (end.server - begin.server) / drained,
      },
      plain: ofPlain,
      rssMiB,
      rollupRows: (rows[0] as { n: number }).n,
    };
  } finally {
    for (const fn of undo.reverse()) await fn();
  }
}

const [main, folder, ...numbers] = process.argv.slice(2);
const [port, events, plainRows] = numbers.map(Number) as [number, number, number];
console.log(JSON.stringify(await drain(main!, folder!, port, events, plainRows)));
process.exit(0);
