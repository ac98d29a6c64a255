/**
 * The Kafka sink against three nodes: leaders that move and in-sync replicas that are missing. LONG=1 only: three
 * brokers are too much for the two cores of a quick run. Goal of each: every event exactly once, by id and by count.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { beforeAll, test } from 'vitest';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import {
  assertEachOnce,
  type Course,
  consumeAll,
  deliver,
  deliverAll,
  events,
  newCourse,
  openPatiently,
} from './events.ts';

/** Three brokers take more than the machine of a short run has: these tests exist in long mode. */
const long = Boolean(process.env['LONG']);
const file = fileScope();
let kafka: KafkaCluster;

beforeAll(async () => {
  if (!long) return;
  kafka = await startKafka(file, { port: 21370, nodes: 3, own: true, properties: { 'min.insync.replicas': 2 } });
});

const env = (topic: string) => ({
  KAFKA_BROKERS: kafka.brokers.join(),
  KAFKA_TOPIC: topic,
  KAFKA_PARTITIONS: '3',
  KAFKA_REPLICATION: '3',
  KAFKA_CONNECT_TIMEOUT_MS: '1500',
  KAFKA_REQUEST_TIMEOUT_MS: '4000',
});

async function leaders(topic: string): Promise<number[]> {
  const admin = new kafkajs.Kafka({ brokers: kafka.internal, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  await admin.disconnect();
  return topics[0]!.partitions.map(({ leader }) => leader);
}

/** Sends events for as long as `fault` lasts, and proves that each arrived once. */
async function throughFault(
  t: { onTestFinished(fn: () => unknown): void; annotate(text: string): unknown },
  topic: string,
  fault: () => Promise<void>,
): Promise<Course> {
  const sink = await openPatiently(env(topic));
  t.onTestFinished(() => sink.close());
  const course = newCourse();
  await deliverAll(sink, events(0, 300), 100, course);
  let sent = 300;
  let over = false;
  const faulty = fault().finally(() => {
    over = true;
  });
  while (!over) {
    await deliverAll(sink, events(sent, 500), 100, course, sent);
    sent += 500;
    await sleep(20);
  }
  await faulty;
  await deliverAll(sink, events(sent, 500), 100, course, sent);
  t.annotate(
    `sent=${sent + 500}, failures: ${JSON.stringify(course.failures)}, codes: ${[...new Set(course.codes)].join()}`,
  );
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, sent + 500));
  return course;
}

const inLongMode = test.skipIf(!long);

inLongMode('kill -9 of one leader after the other: the others take over, each event once', async (t) => {
  const course = await throughFault(t, 'killed', async () => {
    for (const node of kafka.nodes) {
      await sleep(100);
      await node.kill9();
      await sleep(4000); // its session ends, its partitions get other leaders
      await node.start();
      await sleep(3000); // back in sync, or the next kill would leave too few
    }
  });
  assert.ok(course.failures.retry > 0, 'no fault was felt');
  assert.equal(course.failures.split + course.failures.stop, 0, course.codes.join());
});

inLongMode('a leader that moves under load (orderly stop) costs nothing', async (t) => {
  const before: number[] = [];
  const course = await throughFault(t, 'moved', async () => {
    before.push(...(await leaders('moved')));
    const [node] = before;
    await kafka.nodes[node!]!.stop();
    assert.notDeepEqual(await leaders('moved'), before, 'no leader has moved');
    await kafka.nodes[node!]!.start();
    await sleep(2000);
  });
  assert.ok(course.failures.retry > 0, 'no fault was felt');
  assert.equal(course.failures.split + course.failures.stop, 0, course.codes.join());
});

inLongMode('too few in-sync replicas hold events back, and lose none', async (t) => {
  const topic = 'replicas';
  const sink = await openPatiently(env(topic));
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 300));
  // One broker of three is enough to lead, and not to be safe; the quorum of controllers needs two, so one is frozen.
  await kafka.nodes[1]!.kill9();
  await sleep(5000);
  kafka.nodes[2]!.freeze();
  const course = newCourse();
  const writing = deliverAll(sink, events(300, 1000), 100, course, 1);
  await sleep(8000);
  assert.ok(course.failures.retry > 0, 'nothing was held back');
  assert.equal(course.failures.split + course.failures.stop, 0, course.codes.join());
  kafka.nodes[2]!.thaw();
  await kafka.nodes[1]!.start();
  await writing;
  t.annotate(`failures: ${JSON.stringify(course.failures)}, codes: ${[...new Set(course.codes)].join()}`);
  assertEachOnce(await consumeAll(kafka.internal, topic), events(0, 1300));
});
