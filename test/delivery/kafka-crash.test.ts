/**
 * Goal: a consumer that is killed at any moment loses no record (L4). Method: kill -9 real processes that take a topic
 * to a file or to Postgres, again and again while they deliver; then let them end and compare what is there with what
 * was produced.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type KafkaCluster, startKafka } from '../servers/kafka.ts';
import { type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';
import { makeTopic } from '../servers/topics.ts';
import { sql } from '../sinks/postgres/fixture.ts';
import { committed, produce, until } from './members.ts';

const file = fileScope();
let kafka: KafkaCluster;
let postgres: PostgresServer;
beforeAll(async () => {
  kafka = await startKafka(file, { port: 21720, properties: { 'group.min.session.timeout.ms': 1000 } });
  postgres = await startPostgres(file, { port: 21740 });
});

const numbers = (count: number): string[] => Array.from({ length: count }, (_, n) => `{"n":${n}}`);

/** A process that takes a topic to a file in `folder`, or to Postgres. */
class Consumer {
  readonly #child: ChildProcess;
  readonly #said = new Set<string>();

  constructor(topic: string, folder: string, dsn?: string) {
    const script = join(import.meta.dirname, 'consumer-process.ts');
    const words = [script, kafka.brokers.join(','), topic, topic, folder, ...(dsn === undefined ? [] : [dsn])];
    this.#child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.on('data', (text: Buffer) => {
      for (const word of String(text).split('\n')) this.#said.add(word);
    });
    onTestFinished(() => void this.#child.kill('SIGKILL'));
  }

  said(word: 'joined' | 'delivering'): Promise<void> {
    return until(`a consumer has said ${word}`, () => this.#said.has(word));
  }

  async kill9(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  /** Ends it in order; its exit code. */
  async end(): Promise<number> {
    this.#child.stdin!.end('\n');
    const [code] = (await once(this.#child, 'exit')) as [number];
    return code;
  }
}

function folderOf(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-consumer-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('into a file: a consumer that is killed while it delivers loses nothing, and repeats only what was not committed', async () => {
  const brokers = kafka.brokers.join(',');
  const folder = folderOf();
  await makeTopic(brokers, 'crash', 3);
  const lines = () => readFileSync(join(folder, 'out.ndjson'), 'utf8').split('\n').filter(Boolean);
  let sent = 0;
  for (let kills = 0; kills < 4; kills++) {
    await produce(brokers, 'crash', sent, sent + 3000, 3);
    sent += 3000;
    const consumer = new Consumer('crash', folder);
    await consumer.said('delivering');
    // In the middle of a second, so that the last checkpoint lies behind what is delivered.
    await sleep(150 * kills);
    await consumer.kill9();
  }
  const last = new Consumer('crash', folder);
  // Now the file is cut to its checkpoint.
  await last.said('joined');
  await until('every record is there', () => new Set(lines()).size === sent, 180_000);
  expect(await last.end()).toBe(0);
  const found = lines();
  const there = new Set(found);
  assert.deepEqual(
    numbers(sent)
      .filter((value) => !there.has(value))
      .slice(0, 5),
    [],
  );
  expect(there.size).toBe(sent);
  // The file is cut to its checkpoint; only what was checkpointed and not committed may stand twice.
  const twice = found.length - sent;
  assert.ok(twice < sent / 2, `${twice} of ${sent} stand twice`);
  expect([...(await committed(brokers, 'crash', 'crash')).values()]).toEqual([4000, 4000, 4000]);
});

test('into Postgres: two consumers that are killed in turns while the group deals anew store each record once', async () => {
  const brokers = kafka.brokers.join(',');
  const { dsn } = postgres;
  await sql(dsn, 'CREATE TABLE got (value text)');
  await makeTopic(brokers, 'exact', 4);
  let consumers = [new Consumer('exact', folderOf(), dsn), new Consumer('exact', folderOf(), dsn)];
  let sent = 0;
  for (let kills = 0; kills < 4; kills++) {
    const [victim, other] = consumers as [Consumer, Consumer];
    // Each of the two has half of the partitions before records come, so the victim has work when it dies.
    await victim.said('joined');
    const producing = produce(brokers, 'exact', sent, sent + 2000, 4);
    sent += 2000;
    await sleep(100 * kills);
    await victim.kill9();
    await producing;
    // The newcomer waits for the dead member's session, as the other one does: both get their strands anew.
    consumers = [other, new Consumer('exact', folderOf(), dsn)];
    // Sessions of the server end too: an in-doubt commit must not be repeated.
    await sql(dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ringmain'`);
  }
  let stored = 0;
  for (const end = performance.now() + 60_000; stored < sent && performance.now() < end; await sleep(100))
    stored = Number((await sql<{ n: string }>(dsn, 'SELECT count(*) AS n FROM got'))[0]!.n);
  expect(await Promise.all(consumers.map((consumer) => consumer.end()))).toEqual([0, 0]);
  const rows = (await sql<{ value: string }>(dsn, 'SELECT value FROM got')).map(({ value }) => value);
  const there = new Set(rows);
  assert.deepEqual(
    numbers(sent)
      .filter((value) => !there.has(value))
      .slice(0, 5),
    [],
  );
  expect({ there: there.size, rows: rows.length }).toEqual({ there: sent, rows: sent });
});
