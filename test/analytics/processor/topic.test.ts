/**
 * Goal: what anybody writes into the topic is counted once or is a dead letter, whoever wrote it and whatever dies.
 * Method: the built processor with a real Kafka and a real Postgres; producers that are not ours (kafkajs, kcat); kcat
 * reads the dead letters.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { DeadTopic } from '../../../src/sinks/kafka/dead-topic.ts';
import { ensureCommand } from '../../servers/apt.ts';
import { temporary } from '../../servers/collector.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { runProgram } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { client, makeTopic } from '../../servers/topics.ts';
import { configOf, kcatAll } from '../../sinks/kafka/events.ts';
import { startAnalytics } from '../running.ts';
import { ours, outcomesOf, sql, taken, theirs, uuid } from './fixture.ts';

const { CompressionTypes } = kafkajs;
const file = fileScope();
const scope = { onTestFinished: (fn: () => unknown) => onTestFinished(async () => void (await fn())) };
let kafka: KafkaCluster;
let dsn = '';
let broker = '';
beforeAll(async () => {
  const properties = { 'group.min.session.timeout.ms': 1000 };
  const [cluster, postgres] = await Promise.all([
    startKafka(file, { port: 21820, own: true, properties }),
    startPostgres(file, { port: 21830, settings: fastSettings, own: true }),
    ensureCommand('kcat', 'kcat'),
  ]);
  kafka = cluster;
  broker = kafka.brokers[0]!;
  dsn = postgres.dsn;
});

const start = (topic: string, env: Readonly<Record<string, string>> = {}, port = 21840) =>
  startAnalytics(scope, {
    port,
    words: ['processor'],
    env: {
      DATABASE_URL: dsn,
      KAFKA_BROKER_URLS: broker,
      KAFKA_TOPIC: topic,
      KAFKA_GROUP_ID: topic,
      KAFKA_SESSION_TIMEOUT_MS: '2000',
      PG_FLUSH_MS: '20ms',
      ...env,
    },
  });

const logAppendTime = (topic: string): Promise<void> =>
  makeTopic(broker, topic, 2, { 'message.timestamp.type': 'LogAppendTime' });

interface Message {
  readonly key: string;
  readonly value: string | null;
  readonly partition?: number;
  readonly timestamp?: string;
}

async function produce(topic: string, messages: readonly Message[]): Promise<void> {
  const producer = client(broker).producer();
  await producer.connect();
  for (let at = 0; at < messages.length; at += 2000)
    await producer.send({ topic, messages: messages.slice(at, at + 2000) });
  await producer.disconnect();
}

async function kcat(topic: string, lines: readonly string[]): Promise<void> {
  const path = join(temporary(scope), 'lines');
  writeFileSync(path, lines.map((line) => `kcat|${line}\n`).join(''));
  await runProgram('kcat', ['-P', '-b', broker, '-t', topic, '-p', '0', '-K', '|', '-l', path]);
}

interface Row extends Record<string, unknown> {
  readonly event_id: string;
  readonly path: string;
  readonly timestamp: Date;
  readonly received_at: Date;
}
const rowsOf = (site: string): Promise<Row[]> =>
  sql<Row>(dsn, `SELECT * FROM events WHERE site_id = '${site}' ORDER BY path`).catch(() => []);

test('kafkajs and kcat as producers, poison between: good events count, the rest is in the dead topic', async () => {
  const topic = 'events';
  await logAppendTime(topic);
  const begunMs = Date.now();
  const ahead = new Date(begunMs + 3_600_000).toISOString();
  const site = { site_id: 'foreign', path: '/a' };
  await produce(topic, [
    { key: 'js', partition: 0, value: theirs(1, { ...site, timestamp: '2025-11-15T05:00:00Z' }) },
    { key: 'js', partition: 0, value: 'poison: "\u00e4' },
    { key: 'js', partition: 0, value: theirs(1, { ...site, path: '/b', timestamp: ahead }) },
    { key: 'js', partition: 1, value: theirs(1, { ...site, path: '/c', event_id: uuid(3) }) },
    { key: 'js', partition: 1, value: theirs(1, { ...site, path: '/again', event_id: uuid(3).toUpperCase() }) },
    { key: 'js', partition: 1, value: theirs(1, { ...site, timestamp: 'yesterday' }) },
    { key: 'gone', partition: 1, value: null },
    { key: 'js', partition: 1, value: theirs(1, { ...site, path: '/e' }) },
  ]);
  const writtenMs = Date.now();
  await kcat(topic, [theirs(1, { ...site, path: '/d', user_id: undefined }), '[1]']);
  await start(topic);
  await expect.poll(async () => (await rowsOf('foreign')).length).toBe(5);
  const rows = await rowsOf('foreign');
  expect(rows.map(({ path }) => path)).toEqual(['/a', '/b', '/c', '/d', '/e']);
  expect(rows[0]!.timestamp).toEqual(new Date('2025-11-15T05:00:00Z'));
  // The broker's time and not that of reading: the processor had not begun.
  for (const { received_at } of rows.slice(0, 3)) {
    expect(received_at.getTime()).toBeGreaterThanOrEqual(begunMs);
    expect(received_at.getTime()).toBeLessThanOrEqual(writtenMs);
  }
  expect(rows[1]!.timestamp).toEqual(rows[1]!.received_at);
  expect(rows[0]!.event_id).toMatch(/^.{14}8.{4}[89ab]/);

  await expect.poll(async () => (await kcatAll(broker, `${topic}.dead`)).length).toBe(4);
  const dead = await kcatAll(broker, `${topic}.dead`);
  expect(dead.map(({ key, value }) => [key, value]).sort()).toEqual([
    ['gone', ''],
    ['js', 'poison: "\u00e4'],
    ['js', theirs(1, { ...site, timestamp: 'yesterday' })],
    ['kcat', '[1]'],
  ]);
  const poison = dead.find(({ value }) => value.startsWith('poison'))!;
  expect(JSON.stringify(poison.headers)).toMatch(/JSON.*events.*offset/s);
  // A tombstone stays one: in a topic that is compacted it means something else than an empty value.
  const lengths = await runProgram('kcat', ['-C', '-q', '-e', '-b', broker, '-t', `${topic}.dead`, '-f', '%k %S\n']);
  expect(lengths).toContain('gone -1\n');
  expect(JSON.stringify(dead.find(({ key }) => key === 'gone')!.headers)).toContain('tombstone');
  const books = await outcomesOf(dsn);
  const sum = (key: 'accepted' | 'stored' | 'duplicates' | 'rejected') =>
    books.reduce((total, row) => total + row[key], 0);
  expect([sum('accepted'), sum('stored'), sum('duplicates'), sum('rejected')]).toEqual([10, 5, 1, 4]);
});

test('a letter that its topic has no room for keeps what fits, and says how long it was', async () => {
  await makeTopic(broker, 'small.dead', 1, { 'max.message.bytes': '2000' });
  const dead = new DeadTopic(configOf({ KAFKA_BROKERS: broker, KAFKA_TOPIC: 'small' }), 'test');
  onTestFinished(() => dead.close());
  // Random bytes: no compression makes them fit.
  const value = Buffer.from(randomBytes(3000).toString('hex'));
  const letter = { topic: 'small', partition: 0, offset: 7, key: undefined, value, reason: 'no', timeMs: Date.now() };
  await dead.put([
    letter,
    { ...letter, offset: 8, value: Buffer.from('fits') },
    { ...letter, offset: 9, key: value, value: Buffer.from('fits') },
  ]);
  const [cut, whole, keyless] = await kcatAll(broker, 'small.dead');
  expect(cut!.headers).toMatchObject({
    reason: 'no',
    topic: 'small',
    partition: '0',
    offset: '7',
    value_bytes: '6000',
  });
  expect(value.toString().startsWith(cut!.value)).toBe(true);
  expect(whole!.value).toBe('fits');
  expect(whole!.headers).not.toHaveProperty('value_bytes');
  expect(keyless).toMatchObject({ value: '', headers: { offset: '9', value_bytes: '4', key_bytes: '6000' } });
});

test("a topic without the broker's time: a foreign record counts as received when it is read", async () => {
  const topic = 'plain';
  await makeTopic(broker, topic, 1);
  await produce(topic, [
    { key: 'a', value: theirs(1, { site_id: topic, timestamp: undefined }), timestamp: '1600000000000' },
  ]);
  const begunMs = Date.now();
  await start(topic);
  await expect.poll(async () => (await rowsOf(topic)).length).toBe(1);
  const [row] = await rowsOf(topic);
  expect(row!.received_at.getTime()).toBeGreaterThanOrEqual(begunMs);
  expect(row!.timestamp).toEqual(row!.received_at);
});

test('two processors, one is killed in the middle, ids come twice: every event is stored and counted once', async () => {
  const topic = 'killed';
  await makeTopic(broker, topic, 2);
  const total = 8000;
  const message = (n: number, partition: number) => ({
    key: `k${n}`,
    partition,
    value: ours(n + 10_000, { site_id: topic }),
  });
  const accepted = (n: number) => ({ ...message(n, 1), value: taken(n + 10_000, n, { site_id: topic }) });
  const messages = Array.from({ length: total }, (_, n) => message(n, n % 2));
  // A tenth is sent again by its client, and a tenth by the pipe, in the other partition.
  const again = Array.from({ length: total / 10 }, (_, n) => [accepted(10 * n), message(10 * n + 1, 0)]).flat();
  await produce(topic, [...messages, ...again]);
  const env = { PG_BATCH_SIZE: '200' };
  const first = await start(topic, env);
  const stored = async () =>
    (await sql<{ n: number }>(dsn, `SELECT count(*)::int AS n FROM events WHERE site_id = '${topic}'`))[0]!.n;
  await expect.poll(stored, { interval: 20 }).toBeGreaterThan(400);
  first.process.signal('SIGKILL');
  const [second, third] = await Promise.all([start(topic, env, 21850), start(topic, env, 21860)]);
  await expect.poll(stored, { interval: 20 }).toBeGreaterThan(total / 2);
  second.process.signal('SIGKILL');
  const books = async () => {
    const [row] = await outcomesOf(dsn).then((all) => all.filter(({ site_id }) => site_id === topic));
    return [row?.accepted, row?.stored, row?.duplicates, row?.rejected];
  };
  await expect.poll(books).toEqual([0, total, total / 10, 0]);
  expect(third.process.running).toBe(true);
  const [row] = await sql(
    dsn,
    `SELECT count(*)::int AS rows, count(DISTINCT event_id)::int AS ids,
       (SELECT sum(views)::int FROM rollups JOIN sites USING (site)
        WHERE site_id = '${topic}' AND dimension = 0 AND grain = 1) AS views
     FROM events WHERE site_id = '${topic}'`,
  );
  expect(row).toEqual({ rows: total, ids: total, views: total });
});

// Goal: a batch of a few kilobytes that unpacks to more than a processor may hold costs that batch and nothing else.
test('a batch that unpacks to more than KAFKA_UNPACKED_BYTES is given up and counted; its partition goes on', async () => {
  const topic = 'bomb';
  await makeTopic(broker, topic, 1);
  const producer = client(broker).producer();
  await producer.connect();
  const send = (lines: readonly string[]) =>
    producer.send({
      topic,
      compression: CompressionTypes.GZIP,
      messages: lines.map((value) => ({ value })),
    });
  await send([theirs(1, { site_id: topic })]);
  await send(Array.from({ length: 30 }, (_, n) => theirs(n, { site_id: topic, title: 'x'.repeat(50_000) })));
  await send([theirs(2, { site_id: topic })]);
  await producer.disconnect();
  const least = {
    KAFKA_UNPACKED_BYTES: '1MiB',
    KAFKA_FETCH_BYTES: '1MiB',
    KAFKA_FETCH_WAIT_MS: '10ms',
    KAFKA_REBALANCE_TIMEOUT_MS: '5s',
  };
  const { get } = await start(topic, least);
  await expect.poll(async () => (await rowsOf(topic)).map(({ path }) => path)).toEqual(['/p1', '/p2']);
  const figures = async () => (await get('/metrics')).text();
  await expect.poll(figures).toMatch(/ringmain_sink_given_up_total\{[^}]*store[^}]*\} 30$/m);
});
