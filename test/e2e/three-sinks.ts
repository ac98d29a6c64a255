/** What the tests of all three sinks together share: real servers, the collector's settings, and the comparison of the three places. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { linesOf } from '../faults/load.ts';
import { ensureCommand } from '../servers/apt.ts';
import type { Collector } from '../servers/collector.ts';
import { type KafkaCluster, startKafka } from '../servers/kafka.ts';
import { type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { runProgram, type TestScope } from '../servers/process.ts';
import { type Arrived, consumeAll } from '../sinks/kafka/events.ts';
import { sql } from '../sinks/postgres/fixture.ts';

/** For anything that has to come: servers start in it on a machine that is busy with other things. */
export const PATIENCE_MS = 90_000;

export interface Servers {
  readonly kafka: KafkaCluster;
  readonly postgres: PostgresServer;
}

/** A broker and a server of our own; they take `port` up to `port` + 10. */
export async function startServers(t: TestScope, port: number): Promise<Servers> {
  await ensureCommand('kcat', 'kcat');
  const [kafka, postgres] = await Promise.all([
    startKafka(t, { port, own: true }),
    startPostgres(t, { port: port + 10, own: true }),
  ]);
  return { kafka, postgres };
}

/** Starts a killed server. Its children may still hold the shared memory: then a start is refused. */
export function startAgain(postgres: PostgresServer): Promise<void> {
  const started = () =>
    postgres.restart().then(
      () => true,
      () => false,
    );
  return expect.poll(started, { message: 'the server runs again', timeout: PATIENCE_MS }).toBe(true);
}

export function envOf({ kafka, postgres }: Servers, name: string): Record<string, string> {
  return {
    OUTPUTS: 'log,kafka,postgres',
    COOKIES: 'off',
    LOG_LEVEL: 'info',
    LOG_PATH: 'events.ndjson',
    RING_BYTES: '1MiB',
    SEGMENT_BYTES: '1MiB',
    MAX_BODY_BYTES: '128k',
    MAX_EVENT_BYTES: '16k',
    KAFKA_BROKERS: kafka.brokers.join(),
    KAFKA_TOPIC: name,
    KAFKA_PARTITIONS: '3',
    KAFKA_CONNECT_TIMEOUT_MS: '3000',
    KAFKA_REQUEST_TIMEOUT_MS: '5000',
    PG_DSN: postgres.dsn,
    PG_TABLE: name,
    // What is indexed besides changes nothing of the promises; it would only take the longest part of the run.
    PG_GIN: 'off',
    PG_FLUSH_MS: '10',
  };
}

/** Waits until no sink owes anything, and the ledgers say that nothing was lost on the way. */
export async function drained(collector: Collector): Promise<void> {
  for (const sink of ['log', 'kafka', 'postgres']) {
    await expect
      .poll(() => collector.metric('queue_depth', sink), {
        message: `${sink} has everything\n${collector.log.slice(-2000)}`,
        timeout: PATIENCE_MS,
      })
      .toBe(0);
    for (const name of ['ledger_mismatch', 'given_up_total', 'dead_letters_total'])
      assert.equal(await collector.metric(`ringmain_sink_${name}`, sink), 0, `${sink}: ${name}`);
  }
}

export interface Places {
  readonly lines: readonly string[];
  readonly arrived: readonly Arrived[];
}

/** Table and topic against the file: the same events, the same content, by id and by count; the table each once. */
export async function assertSameEvents(servers: Servers, folder: string, name: string): Promise<Places> {
  const lines = linesOf(join(folder, 'events.ndjson'));
  const idOf = (line: string) => (JSON.parse(line) as { event_id: string }).event_id;
  const lineOf = new Map(lines.map((line) => [idOf(line), line]));
  assert.equal(lineOf.size, lines.length, 'an event is in the file twice');

  const rows = await sql<{ event_id: string; ts: Date; payload: { ts: string } }>(
    servers.postgres.dsn,
    `SELECT event_id, ts, payload FROM ${name}`,
  );
  assert.equal(new Set(rows.map((row) => row.event_id)).size, rows.length, 'an event is in the table twice');
  for (const { event_id, ts, payload } of rows) {
    const line = lineOf.get(event_id);
    assert.ok(line !== undefined, `${event_id} is in the table and not in the file`);
    if (!isDeepStrictEqual(payload, JSON.parse(line))) assert.deepEqual(payload, JSON.parse(line));
    assert.equal(ts.toISOString(), payload.ts);
  }
  assert.equal(rows.length, lines.length, 'rows of the table, and lines of the file');

  const arrived = await consumeAll(servers.kafka.internal, name);
  for (const { key, value } of arrived)
    if (value !== lineOf.get(key))
      assert.equal(value, lineOf.get(key), `${key} is in the topic as it is not in the file`);
  assert.equal(new Set(arrived.map(({ key }) => key)).size, lines.length, 'events of the topic, and lines of the file');

  // A reader of another make sees as many messages under the same keys.
  const [broker] = servers.kafka.internal;
  const keys = await runProgram('kcat', [
    '-C',
    '-q',
    '-e',
    '-b',
    broker!,
    '-t',
    name,
    '-o',
    'beginning',
    '-f',
    '%k\\n',
  ]);
  assert.deepEqual(keys.split('\n').slice(0, -1).sort(), arrived.map(({ key }) => key).sort());
  return { lines, arrived };
}
