/**
 * Answers that end nothing: a real broker behind a proxy that lies. Goal of each: no answer stops delivery for ever, ends
 * the thread or loses an event. What a broker says of us or of itself passes; what it says of a record costs that record
 * alone; what nobody can read costs a connection.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { protocolErrors, Writer } from '@platformatic/kafka';
import { beforeAll, expect, test } from 'vitest';
import type { SinkTarget } from '../../../src/delivery/contract.ts';
import { DOUBTS_MAX } from '../../../src/sinks/kafka/verdict.ts';
import { KafkaConsumer } from '../../../src/store/kafka/consumer.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { api, Liar, spoilt } from '../../store/kafka/liar.ts';
import {
  assertEachOnce,
  configOf,
  consumeAll,
  deliver,
  deliverAll,
  event,
  events,
  newCourse,
  openPatiently,
  openSink,
  type TestEvent,
} from './events.ts';

const PORT = 21380;
const LIAR = 21389;
const file = fileScope();
let kafka: KafkaCluster;
let liar: Liar;

beforeAll(async () => {
  liar = new Liar(PORT);
  await liar.listen(file, LIAR);
  kafka = await startKafka(file, { port: PORT, own: true, advertisedPort: LIAR });
});

const env = (topic: string) => ({
  KAFKA_BROKERS: `127.0.0.1:${LIAR}`,
  KAFKA_TOPIC: topic,
  KAFKA_PARTITIONS: '1',
  KAFKA_COMPRESSION: 'none',
  KAFKA_CONNECT_TIMEOUT_MS: '2000',
  KAFKA_REQUEST_TIMEOUT_MS: '2000',
});

/** Answer of a Produce request that gives partition 0 of the topic this code. */
const refusal = (topic: string, code: number): Buffer =>
  Writer.create()
    .appendUnsignedVarInt(2)
    .appendString(topic)
    .appendUnsignedVarInt(2)
    .appendInt32(0)
    .appendInt16(code)
    .appendInt64(-1n)
    .appendInt64(-1n)
    .appendInt64(-1n)
    .appendUnsignedVarInt(1)
    .appendString(null)
    .appendUnsignedInt8(0)
    .appendUnsignedInt8(0)
    .appendInt32(0)
    .appendUnsignedInt8(0).buffer;

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

/** As the runner opens a sink: again whatever the failure is called, only slower after some of them. */
async function openAnyhow(options: Record<string, string>): Promise<SinkTarget> {
  for (let attempt = 0; ; attempt++)
    try {
      return await openSink(options);
    } catch (error) {
      if (attempt > 10) throw error;
      await sleep(20 * 2 ** attempt);
    }
}

test('every code that a broker may answer is got over: the record is a dead letter, or its batch goes again', async (t) => {
  // Success and "I have it already" would be believed; INVALID_TIMESTAMP is tried with other times (faults.test.ts).
  const codes = Object.values(protocolErrors)
    .map(({ code }) => code)
    .filter((code) => code !== 0 && code !== 46 && code !== 32);
  assert.ok(codes.length > 120);
  /** The lie of each topic; most of the time is the pause before a batch goes again, so several sinks work at once. */
  const lies = new Map<string, number>();
  liar.lie = (request) => {
    if (request.api !== api.produce) return undefined;
    const [topic, code] = [...lies].find(([name]) => request.frame.includes(name)) ?? [];
    if (topic === undefined || code === undefined) return undefined;
    lies.delete(topic);
    return { instead: refusal(topic, code) };
  };
  const dead: number[] = [];
  const tell = async (topic: string, mine: readonly number[]) => {
    const sink = await openPatiently(env(topic));
    t.onTestFinished(() => sink.close());
    const sent: TestEvent[] = [];
    for (const code of mine) {
      lies.set(topic, code);
      const batch = events(sent.length, 2);
      const course = await deliver(sink, batch, { lane: sent.length });
      assert.ok(course.codes.length > 0 && !lies.has(topic), `code ${code} was not felt`);
      if (course.failures.split > 0) dead.push(code);
      assert.deepEqual(course.deadLetters, []); // halved once, it was taken
      sent.push(...batch);
    }
    assertEachOnce(await consumeAll(kafka.internal, topic), sent);
  };
  const sinks = 5;
  await Promise.all(
    Array.from({ length: sinks }, (_, i) =>
      tell(
        `codes-${i}`,
        codes.filter((_, at) => at % sinks === i),
      ),
    ),
  );
  liar.lie = undefined;
  assert.deepEqual(
    dead.toSorted((one, other) => one - other),
    [10, 18, 87],
  );
});

test('a code that may mean the record costs that record alone, and nothing when it passes', async (t) => {
  const poison = (request: { frame: Buffer }) => request.frame.includes('poison');
  const doubtful = [-1, 2, 44, 999];
  const topics = new Map(doubtful.map((code) => [`doubt-${code}`, code]));
  let passing = DOUBTS_MAX - 1;
  liar.lie = (request) => {
    if (request.api !== api.produce) return undefined;
    for (const [topic, code] of topics)
      if (request.frame.includes(topic) && poison(request)) return { instead: refusal(topic, code) };
    if (request.frame.includes('doubt-passes') && passing-- > 0) return { instead: refusal('doubt-passes', -1) };
    return undefined;
  };
  const bad = event(5, { extra: { word: 'poison' } });
  const good = [...events(0, 5), ...events(6, 5)];
  await Promise.all([
    ...[...topics.keys()].map(async (topic) => {
      const sink = await openPatiently(env(topic));
      t.onTestFinished(() => sink.close());
      const course = newCourse();
      await deliver(sink, [...good.slice(0, 5), bad, ...good.slice(5)], {}, course);
      assert.deepEqual(course.deadLetters, [bad], topic);
      const names = ['UNKNOWN_SERVER_ERROR', 'CORRUPT_MESSAGE', 'POLICY_VIOLATION', 'CODE_999'];
      const felt = course.codes.filter((code) => names.includes(code)).length - course.failures.split;
      assert.equal(felt, 2 * (DOUBTS_MAX - 1), 'the whole batch and the record get every chance');
      assertEachOnce(await consumeAll(kafka.internal, topic), good);
    }),
    (async () => {
      const sink = await openPatiently(env('doubt-passes'));
      t.onTestFinished(() => sink.close());
      const course = await deliver(sink, good);
      assert.deepEqual([course.deadLetters, course.failures.split], [[], 0]);
      assertEachOnce(await consumeAll(kafka.internal, 'doubt-passes'), good);
    })(),
  ]);
  liar.lie = undefined;
});

test('a bit that falls on the way to the broker is sent again whole', async (t) => {
  const topic = 'fallen';
  const sink = await openPatiently(env(topic));
  t.onTestFinished(() => sink.close());
  let lies = 3;
  liar.lie = (request) => {
    if (request.api !== api.produce || lies-- <= 0) return undefined;
    return { request: (frame) => Buffer.from(frame.map((byte, i) => (i === frame.length - 40 ? byte ^ 4 : byte))) };
  };
  const course = await deliver(sink, events(0, 20));
  liar.lie = undefined;
  assert.deepEqual([course.deadLetters, [...new Set(course.codes)]], [[], ['CORRUPT_MESSAGE']]);
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 20));
});

for (const [name, number] of Object.entries({
  versions: api.versions,
  metadata: api.metadata,
  producerId: api.producerId,
  produce: api.produce,
}))
  test(`sink: answers that nobody can read cost a connection each: ${name}`, async () => {
    const topic = `spoilt-${name}`;
    const random = randomFrom(number + 1);
    const sent: TestEvent[] = [];
    for (const [how, spoil] of Object.entries(spoilt)) {
      let lies = 2;
      const before = [liar.told, liar.accepted] as const;
      liar.lie = (request) =>
        request.api === number && lies-- > 0 ? { answer: (frame) => spoil(frame, random) } : undefined;
      const sink = await openAnyhow(env(topic));
      const course = newCourse();
      const batch = events(sent.length, 3);
      await deliver(sink, batch, { lane: sent.length }, course);
      await sink.close();
      sent.push(...batch);
      assert.ok(liar.told > before[0], `${how}: no lie was told`);
      assert.ok(liar.accepted - before[1] <= 4, `${how}: connections ${liar.accepted - before[1]}`);
      assert.deepEqual(course.deadLetters, [], how);
    }
    liar.lie = undefined;
    const arrived = await consumeAll(kafka.internal, topic);
    assertEachOnce(arrived, sent);
  });

// Goal: a number in the answer makes nothing of its size: a queue for each of a thousand million partitions, for example.
test('a topic whose partitions have no place in its list is asked for again', async (t) => {
  const topic = 'places';
  await (await openPatiently(env(topic))).close();
  for (const index of [1, 2 ** 30, -1]) {
    const partition = Writer.create().appendInt16(0).appendInt32(index).appendInt32(0).appendInt32(0);
    for (let lists = 0; lists < 3; lists++) partition.appendUnsignedVarInt(1);
    const body = Writer.create().appendInt32(0).appendUnsignedVarInt(2);
    body.appendInt32(0).appendString('127.0.0.1').appendInt32(LIAR).appendString(null).appendUnsignedInt8(0);
    body.appendString('cluster').appendInt32(0).appendUnsignedVarInt(2).appendInt16(0).appendString(topic);
    body.appendInt64(0n).appendInt64(0n).appendInt8(0).appendUnsignedVarInt(2).appendFrom(partition);
    body.appendUnsignedInt8(0).appendInt32(0).appendUnsignedInt8(0).appendUnsignedInt8(0);
    let lies = 1;
    liar.lie = (request) => (request.api === api.metadata && lies-- > 0 ? { instead: body.buffer } : undefined);
    await assert.rejects(openSink(env(topic)), {
      verdict: 'retry',
      code: 'UNREADABLE_ANSWER',
      message: /must be 0\.\.0/,
    });
  }
  liar.lie = undefined;
  const sink = await openPatiently(env(topic));
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 10));
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 10));
});

// One consumer for each API, all at once: what fails is tried again after a pause that doubles.
test('consumer: answers that nobody can read hold a group up and lose no record', async (t) => {
  const topic = 'spoilt-group';
  const sink = await openPatiently(env(topic));
  await deliverAll(sink, events(0, 200), 20);
  await sink.close();
  const { coordinator, join, sync, offsets, listOffsets, fetch } = api;
  const random = randomFrom(99);
  const spoils = ['cut short', 'random bytes', 'lengths and counts of 2^31 and more', 'a length of 2 GiB'];
  const left = new Map(
    [coordinator, join, sync, offsets, listOffsets, fetch].map((one) => [one as number, [...spoils]]),
  );
  liar.lie = (request) => {
    if (!request.frame.includes(`spoilt-${request.api}.`)) return undefined;
    const spoil = spoilt[left.get(request.api)?.pop() ?? ''];
    return spoil && { answer: (frame) => spoil(frame, random) };
  };
  await Promise.all(
    [...left.keys()].map(async (number) => {
      const reader = readAll(topic, `spoilt-${number}.`);
      t.onTestFinished(() => reader.consumer.close());
      await expect.poll(() => reader.values.length, { message: `records of ${number}` }).toBeGreaterThanOrEqual(200);
      await expect.poll(() => reader.consumer.problem).toBeUndefined();
      assert.ok(reader.problems.has('UNREADABLE_ANSWER'), `${number}: ${[...reader.problems].join()}`);
      assert.deepEqual(
        [...new Set(reader.values)],
        events(0, 200).map(({ line }) => line),
      );
    }),
  );
  liar.lie = undefined;
  assert.deepEqual([...left.values()].flat(), [], 'lies that were not told');
});

/** Reads a topic as a source does, from its beginning. */
function readAll(topic: string, name: string) {
  let partitions: ReturnType<KafkaConsumer['begin']> = [];
  const values: string[] = [];
  const problems = new Set<string>();
  const consumer: KafkaConsumer = new KafkaConsumer(
    configOf(env(topic)),
    { topics: [topic], groupId: name, start: 'earliest', sessionTimeoutMs: 10_000 },
    name,
    () => {
      if (consumer.problem !== undefined) problems.add(consumer.problem.code);
      if (consumer.recalling) {
        partitions = [];
        consumer.released();
      }
      if (consumer.arrived.length > 0) partitions = consumer.begin((arrival) => arrival.offset);
      for (const partition of partitions)
        for (let record = partition.read(); record !== undefined; record = partition.read()) {
          values.push(String(record.value));
          partition.pass(record);
        }
      consumer.pump();
    },
  );
  consumer.start();
  return { consumer, values, problems };
}
