/**
 * Goal: the contract of a service holds for a service that uses all of it. Method: the toy of test/service/toy as processes, with a real
 * Kafka and a real Postgres: what goes in by HTTP comes out by HTTP, through lane, topic, transaction and worker.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import type pg from 'pg';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../http/raw.ts';
import { startKafka } from '../servers/kafka.ts';
import { poolOf, startPostgres } from '../servers/postgres.ts';
import { runProgram, ServerProcess, temporaryFolder } from '../servers/process.ts';

const RUN = join(import.meta.dirname, 'toy', 'run.ts');
let brokers = '';
let dsn = '';
let pool: pg.Pool;

beforeAll(async () => {
  const [kafka, postgres] = await Promise.all([
    startKafka(undefined, { port: 22_960 }),
    startPostgres(undefined, { port: 22_970 }),
  ]);
  brokers = kafka.brokers.join(',');
  dsn = postgres.dsn;
  pool = poolOf(dsn);
  return async () => {
    await pool.end();
    await Promise.all([kafka.kill9(), postgres.stop()]);
  };
});

interface Toy {
  readonly url: string;
  readonly process: ServerProcess;
  get(path: string): Promise<Response>;
  note(id: string, text: string): Promise<Response>;
}

interface Wishes {
  readonly words?: readonly string[];
  readonly folder?: string;
  readonly env?: Record<string, string>;
}

async function start({ words = [], folder = temporaryFolder('ringmain-toy-').folder, env = {} }: Wishes): Promise<Toy> {
  const port = await freePort(22_980);
  const all = {
    PATH: process.env['PATH'] ?? '',
    SERVER_ADDR: `127.0.0.1:${port}`,
    ACCEPTORS: '2',
    KAFKA_BROKERS: brokers,
    PG_DSN: dsn,
    SEGMENT_BYTES: '8MiB',
    JOURNAL_MAX_BYTES: '256MiB',
    ...env,
  };
  const server = new ServerProcess(process.execPath, [RUN, ...words], { cwd: folder, env: all }, folder);
  onTestFinished(() => server.end('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  await server.until(async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200, 180_000);
  return {
    url,
    process: server,
    get: (path) => fetch(`${url}${path}`),
    note: (id, text) => fetch(`${url}/notes`, { method: 'POST', body: JSON.stringify({ id, text }) }),
  };
}

/** How many records the topic holds. */
async function recordsOf(topic: string): Promise<number> {
  const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
}

const shown = async (toy: Toy, id: string): Promise<string | undefined> => {
  const answer = await toy.get(`/notes/${id}`);
  return answer.status === 200 ? ((await answer.json()) as { text: string }).text : undefined;
};

test('a note goes through route, lane, topic, load and worker; page, echo, job, metrics and both signals do their part', async () => {
  const toy = await start({});
  expect((await toy.note('a', 'first')).status).toBe(202);
  await expect.poll(() => shown(toy, 'a')).toBe('first');
  expect((await toy.get('/notes/none')).status).toBe(404);
  for (const body of ['{"id":1}', '{', 'null', '{"id":"a"}'])
    expect((await fetch(`${toy.url}/notes`, { method: 'POST', body })).status).toBe(400);
  expect(await (await toy.get('/echo/x/y')).text()).toBe('/echo/x/y');
  expect(await (await toy.get('/')).text()).toContain('<h1>Notes</h1>');
  expect((await fetch(`${toy.url}/notes`, { method: 'PUT' })).headers.get('allow')).toBe('POST');
  await expect.poll(async () => (await pool.query('SELECT max(n)::int AS n FROM note_counts')).rows[0].n).toBe(1);
  const metrics = async () => (await toy.get('/metrics')).text();
  expect(await metrics()).toContain('requests_total{route="note",status="2xx"}');
  // The figures of a sink are told ten times a second, and a text of /metrics is answered again for a moment.
  for (const sink of ['notes', 'stored'])
    await expect.poll(metrics).toContain(`ringmain_sink_delivered_total{sink="${sink}"} 1\n`);
  await expect.poll(metrics).toMatch(/ringmain_job_runs_total\{job="count",outcome="ok"\} [1-9]/);
  await toy.process.end('SIGTERM');
  expect(await toy.process.exited).toBe('0');
  expect(toy.process.log).toContain('drained');
});

test('each role is a process of its own, and every acknowledged note is stored once though both are killed', async () => {
  const folders = [temporaryFolder('ringmain-toy-api-').folder, temporaryFolder('ringmain-toy-keep-').folder];
  const env = { TOY_TOPIC: 'toy-kills' };
  let api = await start({ words: ['api'], folder: folders[0]!, env });
  let keep = await start({ words: ['keep'], folder: folders[1]!, env });
  const promised: string[] = [];
  for (let round = 0; round < 4; round++) {
    const ids = Array.from({ length: 25 }, (_, i) => `k${round}-${i}`);
    for (const id of ids) if ((await api.note(id, 'x')).status === 202) promised.push(id);
    const killed = round % 2 === 0 ? keep : api;
    await killed.process.end('SIGKILL');
    if (round % 2 === 0) keep = await start({ words: ['keep'], folder: folders[1]!, env });
    else api = await start({ words: ['api'], folder: folders[0]!, env });
  }
  expect(promised.length).toBe(100);
  const stored = async () => (await pool.query('SELECT id FROM notes WHERE id = ANY($1)', [promised])).rows.length;
  await expect.poll(stored).toBe(100);
  // A note that the api sent twice (its checkpoint died with it) is two records of the topic; each was loaded once.
  const records = await recordsOf('toy-kills');
  const writes = async () =>
    (await pool.query('SELECT sum(writes)::int AS n FROM notes WHERE id = ANY($1)', [promised])).rows[0].n;
  await expect.poll(writes).toBe(records);
});

test('/readyz is red while the worker and who shares its thread are down, and what waits for it is told so', async () => {
  const toy = await start({});
  await pool.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ringmain' AND pid <> pg_backend_pid()",
  );
  const sees = async () => {
    const ready = await toy.get('/readyz');
    const { missing } = (await ready.json()) as { missing: { part: string }[] };
    return (
      ready.status === 503 && ['reader', 'scheduler-keep'].every((name) => missing.some(({ part }) => part === name))
    );
  };
  await expect.poll(sees, { interval: 10 }).toBe(true);
  await expect.poll(async () => (await toy.get('/readyz')).status).toBe(200);
  expect((await toy.get('/notes/none')).status).toBe(404);
});

test('the subcommand, the migrations and words that are none', async () => {
  const env = { PATH: process.env['PATH'] ?? '', PG_DSN: dsn };
  const ringmain = (...words: string[]) => runProgram(process.execPath, [RUN, ...words], { env });
  expect(await ringmain('migrate', 'up')).toMatch(/applied|nothing to apply/);
  expect(await ringmain('migrate', 'status')).toMatch(/001_notes +applied/);
  expect(await ringmain('count')).toMatch(/^\d+ notes\n$/);
  expect(await ringmain('count', '--help')).toContain('ringmain toy count');
  expect(await ringmain('--help')).toContain('ringmain toy keep');
  await expect(ringmain('cuont')).rejects.toThrow(/status=64[\s\S]*did you mean count/);
  expect(await ringmain('migrate', 'down')).toContain('001_notes');
  expect(await ringmain('migrate', 'up')).toContain('001_notes');
});

test('the toy is an example that is read in one go: less than 120 lines', () => {
  const folder = join(import.meta.dirname, 'toy');
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts') && file !== 'run.ts');
  const lines = files.flatMap((file) => readFileSync(join(folder, file), 'utf8').trimEnd().split('\n'));
  expect(lines.length).toBeLessThan(120);
});
