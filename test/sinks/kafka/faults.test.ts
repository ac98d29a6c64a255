/**
 * The Kafka sink against a real broker that goes away, freezes, refuses, and behind a proxy that cuts and keeps silent.
 * Goal of each: every event is in the topic exactly once, by id and by count, as a consumer that is not ours sees it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { beforeAll, expect, test } from 'vitest';
import type { SinkTarget } from '../../../src/delivery/contract.ts';
import { type FaultProxy, faultProxy } from '../../servers/fault-proxy.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
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
    properties: { 'message.max.bytes': 200_000 },
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
  assert.ok(performance.now() - begun < 4000, 'an attempt took longer than its limits');
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
  const admin = new kafkajs.Kafka({ brokers: kafka.internal, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  await admin.disconnect();
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
  const admin = new kafkajs.Kafka({ brokers: kafka.internal, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  t.onTestFinished(() => admin.disconnect());
  await admin.deleteTopics({ topics: [topic] });
  const course = await deliver(sink, events(100, 100), { lane: 1 });
  assert.ok(course.codes.includes('UNKNOWN_TOPIC_OR_PARTITION'), course.codes.join());
  assertEachOnce(await consumeAll(kafka.internal, topic), events(100, 100));
  await admin.deleteTopics({ topics: [topic] });
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
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
    event(1001, { tsMs: Date.now() + 3 * 86_400_000 }), // Kafka refuses times more than an hour ahead
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

for (const acks of ['1', '0']) {
  test(`delivers with KAFKA_ACKS=${acks}, and says at the start what that costs`, async (t) => {
    const { topic, env } = place({ KAFKA_ACKS: acks });
    // With acks=0 not even 'the leader is not there yet' is heard: the topic exists and has taken a batch before.
    const first = await openPatiently({ ...env, KAFKA_ACKS: 'all' });
    await deliver(first, events(0, 100));
    await first.close();
    const warnings: string[] = [];
    const { default: pino } = await import('pino');
    const log = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
    const sink = await openPatiently(env, log);
    t.onTestFinished(() => sink.close());
    assert.match(warnings.join(), new RegExp(`KAFKA_ACKS=${acks}: .*los`));
    await deliverAll(sink, events(100, 900), 100);
    await sleep(acks === '0' ? 300 : 0);
    assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 1000));
  });
}
