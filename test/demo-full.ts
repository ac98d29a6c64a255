/**
 * `npm run demo:full`: events in a file, a Kafka topic and a Postgres table side by side, while Ringmain and Postgres are
 * killed with SIGKILL under load. It ends with the count, sent = acknowledged = stored, and stays up for your own curl
 * until Ctrl-C. Everything lies in a temporary folder and goes with it. PG_DSN and KAFKA_BROKERS, when set, are used
 * instead of servers of our own; what is not ours is not killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ensureCommand } from './servers/apt.ts';
import { startKafka } from './servers/kafka.ts';
import { startPostgres } from './servers/postgres.ts';
import { onExit, ServerProcess, temporaryFolder } from './servers/process.ts';

const PORT = 19_890;
const URL_ = `http://127.0.0.1:${PORT}`;
const TOPIC = 'gotrack.events';
const READY_MS = 30_000;
/** A batch every so many milliseconds: about 400 events/s, few enough to watch. */
const PAUSE_MS = 25;
const BATCH = 10;
const AWAY_MS = 2000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const count = (n: number): string => n.toLocaleString('en-US');
const row = (cells: readonly string[]): string => cells.map((cell) => cell.padStart(13)).join('');

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = performance.now() + READY_MS; performance.now() < deadline; await sleep(50))
    if (await holds()) return;
  throw new Error(`${what} must hold within ${READY_MS} ms`);
}

/** Event ids that were seen at one place, and how many lines there were for them. */
class Place {
  readonly ids = new Set<string>();
  lines = 0;
  see(id: string | undefined): void {
    if (id === undefined || !sent.has(id)) return;
    this.ids.add(id);
    this.lines += 1;
  }
}

const sent = new Set<string>();
let acknowledged = 0;
let offered = true;

/** Sends batches; one that is not acknowledged is sent again with the same event ids until it is. */
async function offer(): Promise<void> {
  for (let n = 0; offered; await sleep(PAUSE_MS)) {
    const events = Array.from({ length: BATCH }, () => ({ event_id: randomUUID(), e: 'demo', props: { n: n++ } }));
    for (const { event_id } of events) sent.add(event_id);
    while (!(await acknowledges(JSON.stringify(events)))) await sleep(PAUSE_MS);
    acknowledged += events.length;
  }
}

async function acknowledges(body: string): Promise<boolean> {
  try {
    const answer = await fetch(`${URL_}/collect`, { method: 'POST', body, signal: AbortSignal.timeout(2000) });
    await answer.arrayBuffer();
    return answer.status === 202;
  } catch {
    return false;
  }
}

/** Reads what has been added to a file of lines. */
function tail(path: string, line: (text: string) => void): () => void {
  let at = 0;
  let rest = '';
  const buffer = Buffer.alloc(1 << 20);
  return () => {
    if (!existsSync(path)) return;
    const file = openSync(path, 'r');
    for (let bytes = 1; bytes > 0; at += bytes) {
      bytes = readSync(file, buffer, 0, buffer.length, at);
      const lines = (rest + buffer.toString('utf8', 0, bytes)).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(line);
    }
    closeSync(file);
  };
}

/** The keys of a topic, by a client of another make than ours. */
function follow(brokers: readonly string[], see: (key: string) => void): ChildProcess {
  const args = ['-C', '-u', '-q', '-b', brokers.join(), '-t', TOPIC, '-o', 'beginning', '-f', '%k\\n'];
  const kcat = spawn('kcat', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  onExit(() => kcat.kill('SIGKILL'));
  let rest = '';
  kcat.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(see);
  });
  return kcat;
}

const { folder, remove } = temporaryFolder('demo');
await ensureCommand('kcat', 'kcat');
say('starting Postgres and Kafka ...');
const [postgres, kafka] = await Promise.all([
  startPostgres(undefined, { port: 22_900 }),
  startKafka(undefined, { port: 22_910 }),
]);
const logPath = join(folder, 'events.ndjson');
const begin = (): ServerProcess =>
  new ServerProcess(
    process.execPath,
    ['dist/main.js', 'pixel'],
    {
      env: {
        ...process.env,
        SERVER_ADDR: `127.0.0.1:${PORT}`,
        OUTPUTS: 'log,kafka,postgres',
        LOG_PATH: logPath,
        LOG_LEVEL: 'warn',
        JOURNAL_DIR: join(folder, 'journal'),
        DEAD_LETTER_DIR: join(folder, 'dead-letters'),
        KAFKA_BROKERS: kafka.brokers.join(','),
        KAFKA_TOPIC: TOPIC,
        PG_DSN: postgres.dsn,
      },
    },
    folder,
  );
say('starting Ringmain with OUTPUTS=log,kafka,postgres ...');
let ringmain = begin();
const isReady = async (): Promise<boolean> => (await fetch(`${URL_}/readyz`).catch(() => undefined))?.ok ?? false;
await until('Ringmain with all sinks', isReady);

const file = new Place();
const topic = new Place();
const readFile = tail(logPath, (line) => file.see((JSON.parse(line) as { event_id?: string }).event_id));
const kcat = follow(kafka.brokers, (key) => topic.see(key));

/** Distinct ids in the table; the number of before while Postgres is away. */
let stored = 0;
async function lookIntoTable(): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.dsn, connectionTimeoutMillis: 500 });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ n: number }>(
      `SELECT count(DISTINCT event_id)::int AS n FROM events_json WHERE payload->>'e' = 'demo'`,
    );
    stored = rows[0]!.n;
  } catch {
    // Away: the row shows what was known.
  } finally {
    await client.end().catch(() => {});
  }
}

async function show(what = ''): Promise<void> {
  readFile();
  await lookIntoTable();
  say(`${row([sent.size, acknowledged, file.ids.size, topic.ids.size, stored].map(count))}   ${what}`.trimEnd());
}

async function watch(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await sleep(1000);
    await show();
  }
}

say(`\n${row(['sent', 'acknowledged', 'file', 'topic', 'table'])}`);
const load = offer();
await watch(3);

ringmain.signal('SIGKILL');
await ringmain.exited;
await show(`kill -9 of Ringmain (process ${ringmain.pid})`);
ringmain = begin();
await watch(3);

if (postgres.own) {
  await postgres.kill9();
  await show('kill -9 of Postgres');
  await watch(AWAY_MS / 1000);
  await postgres.restart();
  await show('Postgres is started again');
}
await watch(3);

offered = false;
await load;
await until('every event at every place', async () => {
  readFile();
  await lookIntoTable();
  return [file.ids.size, topic.ids.size, stored].every((n) => n === sent.size);
});
await show();
const places = [
  ['sent', sent.size],
  ['acknowledged', acknowledged],
  ['file', file.ids.size],
  ['topic', topic.ids.size],
  ['table', stored],
] as const;
say(`\n${places.map(([name, n]) => `${name} ${count(n)}`).join(' = ')}`);
say(
  `Written more than once: file ${file.lines - file.ids.size}, topic ${topic.lines - topic.ids.size}. A batch that was stored ` +
    'but not yet answered\nwhen Ringmain was killed is sent again by its client, and a topic may repeat up to a second.',
);
say(`\nIt stays up. Try: curl -i '${URL_}/px.gif?e=mine'`);
say(`  file   tail -f ${logPath}`);
say(`  topic  kcat -C -b ${kafka.brokers.join()} -t ${TOPIC}`);
say(`  table  psql '${postgres.dsn}' -c 'SELECT * FROM events_json ORDER BY ts DESC LIMIT 5'`);
say('Ctrl-C ends it.');

await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The harness would end the process at once, with the servers still running.
    process.removeAllListeners(signal);
    process.once(signal, () => resolve());
  }
});
kcat.kill();
await ringmain.end('SIGTERM');
await Promise.all([kafka.stop(), postgres.own ? postgres.stop() : undefined]);
remove();
say('ended');
process.exit(0);
