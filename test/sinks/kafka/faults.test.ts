/**
 * The Kafka sink against a real broker that goes away, freezes, refuses, and behind a proxy that cuts and keeps silent.
 * Goal of each: every event is in the topic exactly once, by id and by count, as a consumer that is not ours sees it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import pino from 'pino';
import { beforeAll, expect, test } from 'vitest';
import type { SinkBatch, SinkTarget } from '../../../src/delivery/contract.ts';
import { putForeign } from '../../../src/events/foreign.ts';
import { type FaultProxy, faultProxy } from '../../servers/fault-proxy.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { makeTopic, removeTopic } from '../../servers/topics.ts';
import {
  assertEachOnce,
  type Course,
  consumeAll,
  deliver,
  deliverAll,
  event,
  events,
  kcatAll,
  newCourse,
  openPatiently,
  openSink,
  patiently,
  type TestEvent,
} from './events.ts';

const PORT = 21310;
const PROXY = 21319;
const file = fileScope();
let kafka: KafkaCluster;
let proxy: FaultProxy;

beforeAll(async () => {
  proxy = await faultProxy(file, { target: { port: PORT }, port: PROXY });
  kafka = await startKafka(file, {
    port: PORT,
    own: true,
    advertisedPort: PROXY,
    properties: {
      'message.max.bytes': 200_000,
      // Retention sweeps what is a week old, at once and often.
      'log.retention.ms': 7 * 86_400_000,
      'log.initial.task.delay.ms': 100,
      'log.retention.check.interval.ms': 200,
    },
  });
});

let topics = 0;
/** A topic of its own, and the options to reach it through the proxy with short limits. */
function place(more: Record<string, string> = {}) {
  topics += 1;
  const topic = `faults-${topics}`;
  return {
    topic,
    env: {
      KAFKA_BROKERS: `127.0.0.1:${PROXY}`,
      KAFKA_TOPIC: topic,
      KAFKA_PARTITIONS: '2',
      KAFKA_CONNECT_TIMEOUT_MS: '1000',
      KAFKA_REQUEST_TIMEOUT_MS: '1500',
      ...more,
    },
  };
}

/** Sends events while `fault` happens, and proves that each arrived once. */
async function throughFault(
  t: { onTestFinished(fn: () => unknown): void },
  fault: (sink: SinkTarget, course: Course) => Promise<unknown>,
  { count = 6000, size = 100, more = {} as Record<string, string> } = {},
): Promise<Course> {
  const { topic, env } = place(more);
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  const course = newCourse();
  const sent = events(0, count);
  await deliverAll(sink, sent.slice(0, 200), size, course);
  const faulty = fault(sink, course);
  await deliverAll(sink, sent.slice(200), size, course, 1);
  await faulty;
  assertEachOnce(await consumeAll(kafka.internal, topic), sent);
  return course;
}

test('waits for a broker that is down at the start', async (t) => {
  const { topic, env } = place();
  await kafka.stop();
  await assert.rejects(openSink(env), { verdict: 'retry' });
  const opening = openPatiently(env);
  await kafka.start();
  const sink = await opening;
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 100));
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 100));
});

test('delivers each event once through kill -9 and a restart under load', async (t) => {
  const course = await throughFault(
    t,
    async () => {
      await sleep(30);
      await kafka.kill9();
      await sleep(300);
      await kafka.start();
    },
    { count: 20_000 },
  );
  assert.ok(course.failures.retry > 0, 'the broker was never missed');
  assert.equal(course.failures.stop + course.failures.split, 0, course.codes.join());
});

test('delivers each event once through a frozen broker (SIGSTOP)', async (t) => {
  const course = await throughFault(t, async () => {
    kafka.freeze();
    await sleep(2500);
    kafka.thaw();
  });
  assert.ok(course.failures.retry > 0, 'the freeze was never felt');
});

test('delivers each event once through a network that freezes', async (t) => {
  const course = await throughFault(t, async () => {
    proxy.freeze();
    await sleep(2500);
    await proxy.heal();
  });
  assert.ok(course.failures.retry > 0, 'the freeze was never felt');
});

test('a broker that accepts and never answers fails each attempt in time, and costs nothing when it is back', async (t) => {
  const { topic, env } = place();
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  proxy.silence();
  const course = newCourse();
  const begun = performance.now();
  const writing = deliverAll(sink, events(0, 1000), 100, course);
  await expect
    .poll(() => course.failures.retry, { message: 'a failure of every batch under way' })
    .toBeGreaterThanOrEqual(5);
  assert.ok(performance.now() - begun < 10_000, 'an attempt took longer than its limits');
  await assert.rejects(openSink(env), { verdict: 'retry', code: 'TIMEOUT' });
  await proxy.heal();
  await writing;
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 1000));
});

test('delivers each event once through connections cut at any byte of request and answer', async (t) => {
  const { topic, env } = place();
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  const course = newCourse();
  let sent: TestEvent[] = [];
  await deliver(sink, events(0, 10), { lane: 9 }, course);
  sent = events(0, 10);
  // In the length, the header, the topic, the record batch, its end; in the answer, before and in the error code.
  const cuts = [
    ['toTarget', [0, 2, 9, 40, 200, 1500, 4000]],
    ['toClient', [0, 3, 20, 30]],
  ] as const;
  for (const [direction, places] of cuts) {
    for (const bytes of places) {
      const before = proxy.cuts;
      void proxy.cutAfter(direction, bytes);
      const chunk = events(sent.length, 500);
      await deliverAll(sink, chunk, 100, course, 10 + sent.length);
      sent.push(...chunk);
      assert.equal(proxy.cuts, before + 1, `no cut ${direction} after ${bytes}`);
    }
  }
  assert.ok(course.failures.retry >= 11);
  assertEachOnce(await consumeAll(kafka.internal, topic), sent);
  assertEachOnce(await kcatAll(kafka.internal[0]!, topic), sent);
});

test('a missing topic that may not be created stops the sink until somebody creates it', async (t) => {
  const { topic, env } = place({ KAFKA_CREATE_TOPIC: 'false' });
  await assert.rejects(openSink(env), { verdict: 'stop', code: 'TOPIC_MISSING' });
  await makeTopic(kafka.internal[0]!, topic, 1);
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 50));
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 50));
});

test('a topic deleted under way is made again, and one made anew with fewer partitions is used', async (t) => {
  const { topic, env } = place({ KAFKA_PARTITIONS: '4' });
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 100));
  // The broker hears of it a moment after the controller: until then it takes batches that go with the topic.
  await removeTopic(kafka.internal[0]!, topic);
  const course = await deliver(sink, events(100, 100), { lane: 1 });
  assert.ok(course.codes.includes('UNKNOWN_TOPIC_OR_PARTITION'), course.codes.join());
  assertEachOnce(await consumeAll(kafka.internal, topic), events(100, 100));
  await removeTopic(kafka.internal[0]!, topic);
  await makeTopic(kafka.internal[0]!, topic, 1);
  await deliver(sink, events(200, 100), { lane: 2 });
  assertEachOnce(await consumeAll(kafka.internal, topic), events(200, 100));
});

test('what the broker refuses becomes dead letters, one by one, and everything else arrives once', async (t) => {
  const { topic, env } = place();
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  const good = events(0, 300);
  const bad = [
    event(1000, { extra: { text: randomBytes(200_000).toString('base64') } }),
    event(1001, { extra: { text: randomBytes(190_000).toString('base64') } }),
  ];
  const mixed = [...good.slice(0, 100), bad[0]!, ...good.slice(100, 220), bad[1]!, ...good.slice(220)];
  const course = newCourse();
  const other = events(2000, 1000);
  await Promise.all([deliver(sink, mixed, { lane: 1 }, course), deliverAll(sink, other, 50, course, 2)]);
  assert.deepEqual(
    course.deadLetters.map(({ id }) => id),
    bad.map(({ id }) => id),
  );
  assertEachOnce(await consumeAll(kafka.internal, topic), [...good, ...other]);
});

// Goal: what is wrong with one record is told of that record, with the broker's words, and its neighbours arrive.
// Method: a compacted topic takes no record without a key; records of another log may have none.
test('a record that its topic cannot keep is refused alone (INVALID_RECORD)', async (t) => {
  const { topic, env } = place({ KAFKA_CREATE_TOPIC: 'false' });
  await makeTopic(kafka.internal[0]!, topic, 1, { 'cleanup.policy': 'compact' });
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  const buffer = Buffer.alloc(4096);
  const keys = ['a', undefined, 'c', undefined].map((key) => (key === undefined ? undefined : Buffer.from(key)));
  const offsets = new Int32Array(keys.length);
  let end = 0;
  for (const [i, key] of keys.entries()) {
    offsets[i] = end;
    end = putForeign(buffer, end, Buffer.from(`v${i}`), key, Date.now(), { topic: 0, partition: 0, offset: i });
  }
  const piece = (from: number, to: number): SinkBatch => ({
    lane: { life: 1, lane: 0 },
    count: to - from,
    buffer,
    offsets: offsets.subarray(from),
    positions: Float64Array.from(offsets.subarray(from)),
    from: { position: 0, record: 0 },
    to: { position: end, record: keys.length },
    commit: to - from === keys.length,
  });
  const write = (from: number, to: number) => patiently(() => sink.write(piece(from, to), Promise.resolve()));
  const refused = { verdict: 'split', code: 'INVALID_RECORD', message: /key/ };
  await assert.rejects(write(0, 4), refused);
  await write(0, 1);
  await assert.rejects(write(1, 2), refused);
  await write(2, 3);
  await assert.rejects(write(3, 4), refused);
  const arrived = await consumeAll(kafka.internal, topic);
  assert.deepEqual(
    arrived.map(({ key, value }) => [key, value]),
    [
      ['a', 'v0'],
      ['c', 'v2'],
    ],
  );
});

const DAY = 86_400_000;
const YEAR_2099 = Date.UTC(2099, 0, 1);

// Goal: the clock of a client neither stops delivery nor makes events vanish, and a wrong clock of our own does neither.
// Method: ts in 2099 and 30 days ago beside good neighbours, received now and two hours ahead. A sweep of retention has
// happened when it has emptied a topic whose records are too old for it.
test('events of 2099 and of last month are delivered with the time of receipt and outlive a sweep of retention', async (t) => {
  const admin = new kafkajs.Kafka({ brokers: kafka.internal, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  t.onTestFinished(() => admin.disconnect());
  const week = place({ KAFKA_PARTITIONS: '1' });
  const [sink, old] = await Promise.all([openPatiently(week.env), openPatiently(place().env)]);
  t.onTestFinished(() => sink.close());
  t.onTestFinished(() => old.close());
  const receivedMs = Date.now();
  const lastMonth = events(0, 5).map((_, n) => event(n, { receivedMs, tsMs: receivedMs - 30 * DAY }));
  const mixed = [
    event(5),
    event(6, { receivedMs, tsMs: YEAR_2099 }),
    event(7, { receivedMs, tsMs: YEAR_2099 }),
    event(8),
  ];
  const course = await deliver(sink, lastMonth);
  await deliver(sink, mixed, { lane: 1 }, course);
  // The control: received 30 days ago, as a backlog of that age would be.
  const swept = `faults-${topics}`;
  await deliver(old, [event(100, { receivedMs: receivedMs - 30 * DAY })], { lane: 2 }, course);
  assert.deepEqual(course.codes, []);
  const lows = async () => (await admin.fetchTopicOffsets(swept)).map(({ low, high }) => `${low}/${high}`);
  await expect.poll(lows, { message: 'a sweep' }).toContain('1/1');
  assertEachOnce(await consumeAll(kafka.internal, week.topic), [...lastMonth, ...mixed]);
});

for (const time of ['received', 'event'])
  test(`a clock of ours that is two hours ahead delivers each event once by KAFKA_TIMESTAMP=${time}`, async (t) => {
    const { topic, env } = place({ KAFKA_TIMESTAMP: time });
    const warnings: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
    const sink = await openPatiently(env, log);
    t.onTestFinished(() => sink.close());
    const ahead = Date.now() + 7_200_000;
    const sent = events(0, 300).map((_, n) => event(n, { receivedMs: ahead + n, tsMs: ahead + n }));
    const course = newCourse();
    await deliverAll(sink, sent, 50, course);
    assert.deepEqual(course.deadLetters, []);
    assert.match(warnings.join(), /rejects the times of records.*without a time/);
    assertEachOnce(await consumeAll(kafka.internal, topic), sent, () => -1);
    assertEachOnce(await kcatAll(kafka.internal[0]!, topic), sent, () => -1);
  });

test('by KAFKA_TIMESTAMP=event, a time that the topic refuses becomes the time of receipt', async (t) => {
  const { topic, env } = place({ KAFKA_TIMESTAMP: 'event', KAFKA_CREATE_TOPIC: 'false' });
  await makeTopic(kafka.internal[0]!, topic, 1, { 'message.timestamp.before.max.ms': '600000' });
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  const receivedMs = Date.now();
  const sent = events(0, 20).map((_, n) =>
    event(n, { receivedMs, tsMs: n === 7 ? receivedMs - DAY / 2 : receivedMs - n }),
  );
  await deliver(sink, sent.slice(0, 5));
  const course = await deliver(sink, sent.slice(5), { lane: 1 });
  assert.deepEqual([course.deadLetters, course.failures.split], [[], 0]);
  const timeOf = ({ tsMs }: TestEvent) => (sent.findIndex((one) => one.tsMs === tsMs) < 5 ? tsMs : receivedMs);
  assertEachOnce(await consumeAll(kafka.internal, topic), sent, timeOf);
});

for (const acks of ['1', '0']) {
  test(`delivers with KAFKA_ACKS=${acks}, and says at the start what that costs`, async (t) => {
    const { topic, env } = place({ KAFKA_ACKS: acks });
    // With acks=0 not even 'the leader is not there yet' is heard: the topic exists and has taken a batch before.
    const first = await openPatiently({ ...env, KAFKA_ACKS: 'all' });
    await deliver(first, events(0, 100));
    await first.close();
    const warnings: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
    const sink = await openPatiently(env, log);
    t.onTestFinished(() => sink.close());
    assert.match(warnings.join(), new RegExp(`KAFKA_ACKS=${acks}: .*los`));
    await deliverAll(sink, events(100, 900), 100);
    await sleep(acks === '0' ? 300 : 0);
    assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 1000));
  });
}
