/**
 * `npm run demo:full`: Ringmain with all three outputs beside a real Kafka and a real Postgres of its own, a little traffic, and the same
 * events in file, topic and table. Everything lies in a temporary folder and ends with it. PG_DSN and KAFKA_BROKERS, when set, are used
 * instead of servers of our own.
 */
import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { ensureCommand } from './servers/apt.ts';
import { startKafka } from './servers/kafka.ts';
import { startPostgres } from './servers/postgres.ts';
import { temporaryFolder } from './servers/process.ts';

const PORT = 19_890;
const EVENTS = 5;
const TOPIC = 'gotrack.events';
const READY_MS = 30_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + READY_MS; Date.now() < deadline; await sleep(100)) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`${what} must be there within ${READY_MS} ms`);
}

const { folder, remove } = temporaryFolder('demo');
say('starting Postgres and Kafka ...');
const [postgres, kafka] = await Promise.all([
  startPostgres(undefined, { port: 22_900 }),
  startKafka(undefined, { port: 22_910 }),
]);
const logPath = join(folder, 'events.ndjson');
say('starting Ringmain with OUTPUTS=log,kafka,postgres ...');
const ringmain = spawn(process.execPath, ['dist/main.js', 'pixel'], {
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
  stdio: 'inherit',
});
process.once('SIGINT', () => ringmain.kill());

try {
  const url = `http://127.0.0.1:${PORT}`;
  await until('Ringmain with all sinks', async () => {
    const answer = await fetch(`${url}/readyz`).catch(() => undefined);
    return answer?.ok ? true : undefined;
  });
  for (let i = 0; i < EVENTS; i++) await (await fetch(`${url}/px.gif?e=demo&n=${i}`)).arrayBuffer();
  await showAll();
} finally {
  ringmain.kill('SIGTERM');
  await new Promise((resolve) => ringmain.once('exit', resolve));
  await Promise.all([kafka.stop(), postgres.stop()]);
  remove();
}

async function showAll(): Promise<void> {
  const lines = await until('the events in the file', async () => {
    const found = readFileSync(logPath, 'utf8').trim().split('\n');
    return found.length >= EVENTS && found[0] !== ''
      ? found.map((line) => JSON.parse(line) as { event_id: string; e: string })
      : undefined;
  });
  const ids = lines.map((line) => line.event_id);

  const client = new pg.Client(postgres.dsn);
  await client.connect();
  const rows = await until('the events in the table', async () => {
    const { rows } = await client.query<{ event_id: string }>(
      'select event_id from events_json where event_id = any($1)',
      [ids],
    );
    return rows.length >= EVENTS ? new Set(rows.map((row) => row.event_id)) : undefined;
  });
  await client.end();

  // kcat: a client of another make than ours, that reads every compression.
  await ensureCommand('kcat', 'kcat');
  const keys = await until('the events in the topic', async () => {
    const args = ['-C', '-e', '-q', '-b', kafka.brokers.join(','), '-t', TOPIC, '-o', 'beginning', '-f', '%k\\n'];
    const { stdout } = await promisify(execFile)('kcat', args, { timeout: READY_MS });
    const found = new Set(stdout.split('\n'));
    return ids.every((id) => found.has(id)) ? found : undefined;
  });

  say('\nevent_id                              file   topic  table');
  for (const id of ids) say(`${id}  yes    ${keys.has(id) ? 'yes' : 'NO '}    ${rows.has(id) ? 'yes' : 'NO'}`);
  say('');
}
process.exit(0);
