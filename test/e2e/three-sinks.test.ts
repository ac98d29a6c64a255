/**
 * The oracle of the engine (test/faults/oracle.test.ts) with all three sinks on, against a real Kafka broker and a real Postgres.
 *
 * Goal: whatever dies, file and table hold each acknowledged event exactly once, the topic at least once; nothing is invented, and each
 * event that is in the topic twice is accounted for.
 * Method: load by many connections that never pauses; in each round some of collector, broker and server are killed with SIGKILL at
 * random moments of their own and started again, and a fresh event must reach all three places. The plan follows from the seed.
 *
 * What the topic may hold twice is not a matter of opinion. A producer id belongs to one life of the collector and holds no event twice.
 * A life begins by sending again what stands behind the checkpoint, so under its id are, of the events that were in the topic before,
 * exactly as many as the checkpoint that its crash has left (`ringmain journal ls`) had not passed yet.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { pick, randomOf } from '../engine/crash-disk.ts';
import { Client, Oracle, sendOne } from '../faults/load.ts';
import { Collector, temporary } from '../servers/collector.ts';
import type { Arrived } from '../sinks/kafka/events.ts';
import { sql } from '../sinks/postgres/fixture.ts';
import {
  assertSameEvents,
  drained,
  envOf,
  PATIENCE_MS,
  type Servers,
  startAgain,
  startServers,
} from './three-sinks.ts';

const LONG = process.env['LONG'] === '1';
const SEED = Number(process.env['SEED'] ?? pick(Math.random, 2 ** 31));
const ROUNDS = Number(process.env['ROUNDS'] ?? (LONG ? 40 : 3));
const CLIENTS = 24;
/** Of each client between two requests: this is about crashes, not about many gigabytes. */
const PAUSE_MS = 50;

const SERVERS = 23_000;
const HTTP = 23_020;
const NAME = 'oracle';
const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');

/** Events that the checkpoint of the Kafka sink has passed; the collector does not run. */
function passedInCheckpoint(folder: string): number {
  const options = { cwd: folder, env: { PATH: process.env['PATH'] }, encoding: 'utf8' } as const;
  const listed = execFileSync(process.execPath, [MAIN, 'journal', 'ls'], options);
  const [, passed, delivered] =
    /^sink kafka .*\n(?: {2}cursor .*\n)* {2}ledger {2}passed (\d+) {2}delivered (\d+) /m.exec(listed) ?? [''];
  assert.equal(passed, delivered, listed);
  return Number(passed);
}

/** Rows and cursor move in one transaction: in any snapshot the table has as many rows as the lanes' cursors have passed records. */
async function assertRowsWithCursors(dsn: string): Promise<void> {
  const both = `SELECT (SELECT count(*) FROM ${NAME})::int AS rows, (SELECT sum(record) FROM ringmain_cursors)::int AS passed`;
  // More than once: under load a snapshot between two transactions that should be one comes soon.
  for (let i = 0; i < 20; i++) {
    const [found] = await sql<{ rows: number; passed: number }>(dsn, both);
    assert.equal(found?.rows, found?.passed, 'rows of the table, and records that the cursors have passed');
  }
}

/** Follows the topic from a time on until `mark` comes by; false when the broker goes away, or when it does not come. Load has no end to stop at. */
function streams(broker: string, fromMs: number, mark: string): Promise<boolean> {
  const kcat = spawn('kcat', ['-C', '-q', '-u', '-b', broker, '-t', NAME, '-o', `s@${fromMs}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: PATIENCE_MS / 4,
  });
  let text = '';
  return new Promise((resolve) => {
    kcat.once('close', () => resolve(false));
    kcat.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      text = text.slice(-mark.length) + chunk;
      if (!text.includes(mark)) return;
      resolve(true);
      kcat.kill();
    });
  });
}

/** A fresh event is acknowledged, and then in all three places, while the load goes on. */
async function arrives(oracle: Oracle, servers: Servers, folder: string): Promise<void> {
  let fresh = -1;
  let sentMs = 0;
  const look = async (what: string, holds: () => boolean | Promise<boolean>) =>
    expect.poll(async () => (await holds()) || sleep(50, false), { message: what, timeout: PATIENCE_MS }).toBe(true);
  await look('a fresh event is acknowledged', async () => {
    sentMs = Date.now();
    fresh = await sendOne(oracle, HTTP);
    return fresh >= 0;
  });
  const mark = `"uid":"u${fresh}"`;
  await look(`event ${fresh} is in the file`, () => readFileSync(join(folder, 'events.ndjson')).includes(mark));
  const inTable = `SELECT FROM ${NAME} WHERE payload->>'uid' = 'u${fresh}'`;
  await look(`event ${fresh} is in the table`, async () => (await sql(servers.postgres.dsn, inTable)).length === 1);
  const found = () => streams(servers.kafka.internal[0]!, sentMs - 1000, mark);
  await look(`event ${fresh} is in the topic`, found);
}

/** Each repetition in the topic belongs to a crash of the collector. `passed`: what its checkpoint had passed, for each crash. */
function assertRepetitionsExplained(t: TestContext, arrived: readonly Arrived[], passed: readonly number[]): void {
  const lives = new Map<number, string[]>();
  for (const { key, producer } of arrived) {
    const life = lives.get(producer!);
    if (life === undefined) lives.set(producer!, [key]);
    else life.push(key);
  }
  const inOrder = [...lives].sort(([a], [b]) => a - b).map(([, keys]) => keys);
  assert.equal(inOrder.length, passed.length + 1, 'producer ids, and lives of the collector');
  const before = new Set<string>();
  for (const [life, keys] of inOrder.entries()) {
    assert.equal(new Set(keys).size, keys.length, `life ${life} has sent an event twice under one producer id`);
    const known = before.size;
    const again = keys.filter((key) => before.has(key)).length;
    for (const key of keys) before.add(key);
    if (life === 0) continue;
    const had = passed[life - 1]!;
    t.annotate(`crash ${life}: in the topic ${known}, in the checkpoint ${had}, sent again ${again}`);
    assert.equal(again, known - had, `crash ${life}: events sent again, and those that no checkpoint told of`);
  }
}

interface Victim {
  readonly name: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

test(`SIGKILL of collector, broker and server in ${ROUNDS} rounds: file and table each once, topic at least once`, {
  timeout: 3_600_000,
}, async (t) => {
  console.log(`seed ${SEED}`);
  const servers = await startServers(t, SERVERS);
  const { kafka, postgres } = servers;
  const random = randomOf(SEED);
  const folder = temporary(t);
  const oracle = new Oracle();
  t.onTestFinished(() => oracle.end());
  const passed: number[] = [];
  const life = () => {
    const ACCEPTORS = String(1 + pick(random, 2));
    return new Collector(t, { port: HTTP, folder, env: { ...envOf(servers, NAME), ACCEPTORS } });
  };
  let collector = life();
  const victims: readonly Victim[] = [
    {
      name: 'collector',
      kill: async () => {
        await collector.kill('SIGKILL');
        assert.doesNotMatch(collector.log, /lost track of our batches/);
        passed.push(passedInCheckpoint(folder));
      },
      start: async () => {
        collector = life();
        await collector.start();
      },
    },
    { name: 'broker', kill: () => kafka.kill9(), start: () => kafka.start() },
    {
      name: 'server',
      kill: () => postgres.kill9(),
      start: () => startAgain(postgres),
    },
  ];

  const began = performance.now();
  await collector.start();
  await arrives(oracle, servers, folder);
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(oracle, HTTP, i % 4 === 0 ? 4 : 1, PAUSE_MS));
  t.onTestFinished(() => clients.forEach((client) => void client.cut()));
  for (let round = 0; round < ROUNDS; round++) {
    // All three every third round; in the others broker or server, and who else has no luck. The last life follows a crash.
    const turn = round % victims.length;
    const last = round === ROUNDS - 1 ? 0 : turn;
    const dying = victims.filter((_, i) => turn === 0 || i === turn || i === last || pick(random, 2) === 1);
    // The collector has more time: what it does while the others are away must not be believed after its own death.
    const plan = dying.map((victim) => ({
      victim,
      at: pick(random, victim.name === 'collector' ? 2400 : 800),
      away: pick(random, 300),
    }));
    console.log(`round ${round}: ${plan.map(({ victim, at }) => `${victim.name} at ${at} ms`).join(', ')}`);
    await Promise.all(
      plan.map(async ({ victim, at, away }) => {
        await sleep(at);
        await victim.kill();
        await sleep(away);
        await victim.start();
      }),
    );
    await arrives(oracle, servers, folder);
    await assertRowsWithCursors(postgres.dsn);
    console.log(`  ${oracle.owed.size} acknowledged after ${Math.round((performance.now() - began) / 1000)} s`);
  }
  await Promise.all(clients.map((client) => client.finish()));
  await arrives(oracle, servers, folder);
  await drained(collector);
  assert.doesNotMatch(collector.log, /lost track of our batches/);
  assert.equal(await collector.kill('SIGTERM'), 0, collector.log.slice(-2000));
  assert.doesNotMatch(collector.log, /Postgres already had these events/);
  await assertRowsWithCursors(postgres.dsn);

  const { lines, arrived } = await assertSameEvents(servers, folder, NAME);
  // Byte for byte what was sent, each once, all that was acknowledged; what had no answer may be there, once.
  oracle.verify(lines);
  t.annotate(
    `sent ${oracle.issued}, acknowledged ${oracle.owed.size}, stored ${lines.length}, in the topic ${arrived.length}`,
  );
  assertRepetitionsExplained(t, arrived, passed);
  assert.ok(oracle.owed.size > 200 * ROUNDS, `too little happened: acknowledged=${oracle.owed.size}`);
  assert.ok(passed.length > ROUNDS / victims.length);
});
