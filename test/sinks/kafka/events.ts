/**
 * Events for the tests of the Kafka sink: records as they lie in a lane, batches of them, and consumers that are not
 * ours (kafkajs, kcat) to say what arrived.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import { decompressFrameSync } from 'lz4-napi';
import pino from 'pino';
import { uncompressSync } from 'snappy';
import type { ErrorClass, SinkBatch, SinkTarget } from '../../../src/delivery/contract.ts';
import { packRecords } from '../../../src/events/record.ts';
import { loadConfig } from '../../../src/kernel/config.ts';
import { type KafkaConfig, kafkaConfig } from '../../../src/sinks/kafka/config.ts';
import { kafkaSink } from '../../../src/sinks/kafka/sink.ts';
import { ensureCommand } from '../../servers/apt.ts';
import { runProgram } from '../../servers/process.ts';

export interface TestEvent {
  readonly id: string;
  readonly tsMs: number;
  /** When the collector took it. */
  readonly receivedMs: number;
  readonly type: string;
  readonly line: string;
}

/**
 * Events are of the last hour: a broker that restarts forgets producers whose newest record time is older than a day
 * (producer.id.expiration.ms compares record times), and with them whether it has a batch already.
 */
const EPOCH = Date.now() - 3_600_000;

/** Event number `n`: its id and content follow from the number alone. */
export function event(
  n: number,
  { type = `type_${n % 7}`, tsMs = (EPOCH + n) as number, receivedMs = tsMs as number, extra = {} as object } = {},
): TestEvent {
  const hex = n.toString(16).padStart(12, '0');
  const id = `0193${hex.slice(0, 4)}-${hex.slice(4, 8)}-7abc-8def-${hex}`;
  const ts = new Date(tsMs).toISOString();
  const line = JSON.stringify({
    event_id: id,
    ts,
    e: type,
    uid: `u${n % 100}`,
    url: `https://example.com/p/${n}?q=ä`,
    utm: {},
    geo: {},
    props: { n, ...extra },
  });
  return { id, tsMs, receivedMs, type, line };
}

export const events = (from: number, count: number): TestEvent[] =>
  Array.from({ length: count }, (_, i) => event(from + i));

/** A batch as the runner hands it over; `position` and `record` are where it begins in lane `lane`. */
export function batchOf(
  list: readonly TestEvent[],
  { lane = 0, position = 0, record = 0, commit = true } = {},
): SinkBatch {
  const { buffer, offsets } = packRecords(
    list.map(({ line, receivedMs }) => ({ line: Buffer.from(line), receivedMs })),
  );
  return {
    lane: { life: 1, lane },
    count: list.length,
    buffer,
    offsets,
    positions: Float64Array.from(offsets, (offset) => position + offset),
    from: { position, record },
    to: { position: position + buffer.length, record: record + list.length },
    commit,
  };
}

/** Options of the sink as an operator would set them. */
export function configOf(env: Record<string, string>): KafkaConfig {
  return loadConfig([kafkaConfig], { env, argv: [] }).values['kafka'] as unknown as KafkaConfig;
}

export const silent = pino({ level: 'silent' });

export function openSink(env: Record<string, string>, log = silent, name = 'kafka'): Promise<SinkTarget> {
  const context = {
    name,
    logId: '0'.repeat(32),
    journal: true,
    state: undefined,
    log,
    signal: new AbortController().signal,
    ended: () => false,
  };
  return kafkaSink.open(configOf(env), context);
}

/** Opens a sink as the runner does: again while the answer is 'retry'. */
export async function openPatiently(env: Record<string, string>, log = silent, name = 'kafka'): Promise<SinkTarget> {
  return patiently(() => openSink(env, log, name));
}

/** As the runner does it: the same call again while the sink calls its failure passing, a leader that is new for example. */
export async function patiently<T>(call: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (let wait = 20; ; wait = Math.min(2 * wait, 500)) {
    try {
      return await call();
    } catch (error) {
      if (kafkaSink.classify(error) !== 'retry' || Date.now() > deadline) throw error;
      await sleep(wait);
    }
  }
}

/** A batch that is not delivered in this time fails its test; the sink itself never gives up. */
const PATIENCE_MS = 40_000;

export interface Course {
  /** Failed attempts by class. */
  readonly failures: Record<ErrorClass, number>;
  /** Codes of the failures, in order. */
  readonly codes: string[];
  /** Events that were refused alone. */
  readonly deadLetters: TestEvent[];
}

export const newCourse = (): Course => ({ failures: { retry: 0, split: 0, stop: 0 }, codes: [], deadLetters: [] });

/**
 * What the runner does with one batch: again after back-off on 'retry' and 'stop', halved on 'split' until a refused
 * event stands alone. `where` is the place of `list` in its lane.
 */
export async function deliver(
  sink: SinkTarget,
  list: readonly TestEvent[],
  where: { lane?: number; position?: number; record?: number } = {},
  course: Course = newCourse(),
): Promise<Course> {
  const whole = batchOf(list, where);
  await persist(sink, list, whole, course);
  return course;
}

async function persist(sink: SinkTarget, list: readonly TestEvent[], batch: SinkBatch, course: Course): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (let wait = 20; ; wait = Math.min(2 * wait, 500)) {
    try {
      return await sink.write(batch, Promise.resolve());
    } catch (error) {
      const verdict = kafkaSink.classify(error);
      course.failures[verdict] += 1;
      course.codes.push((error as { code?: string }).code ?? String(error));
      if (verdict === 'split') {
        await halve(sink, list, batch, course);
        if (batch.commit) await persist(sink, [], { ...batch, count: 0 }, course);
        return;
      }
      if (Date.now() > deadline) throw error;
      await sleep(wait);
    }
  }
}

/** The runner's bisection: parts carry the marks of the whole batch, and an empty batch moves the cursor at the end. */
async function halve(sink: SinkTarget, list: readonly TestEvent[], batch: SinkBatch, course: Course): Promise<void> {
  if (list.length === 1) {
    course.deadLetters.push(list[0]!);
    return;
  }
  const half = list.length >> 1;
  for (const [from, to] of [
    [0, half],
    [half, list.length],
  ] as const) {
    const part = {
      ...batch,
      count: to - from,
      offsets: batch.offsets.subarray(from),
      positions: batch.positions.subarray(from),
      commit: false,
    };
    await persist(sink, list.slice(from, to), part, course);
  }
}

/**
 * Writes `list` in batches of `size`, as many under way as the sink allows, in order of their lane; each is repeated
 * until it is delivered.
 */
export async function deliverAll(
  sink: SinkTarget,
  list: readonly TestEvent[],
  size: number,
  course = newCourse(),
  lane = 0,
): Promise<Course> {
  const underWay = new Set<Promise<unknown>>();
  let position = 0;
  for (let i = 0; i < list.length; i += size) {
    const chunk = list.slice(i, i + size);
    const batch = batchOf(chunk);
    const one: Promise<unknown> = deliver(sink, chunk, { lane, position, record: i }, course).finally(() =>
      underWay.delete(one),
    );
    underWay.add(one);
    position += batch.to.position;
    if (underWay.size >= sink.inFlightMax) await Promise.race(underWay);
  }
  await Promise.all(underWay);
  return course;
}

export interface Arrived {
  readonly key: string;
  readonly value: string;
  readonly headers: Record<string, string>;
  readonly timestamp: number;
  readonly partition: number;
  readonly offset: number;
  /** Producer id that wrote it; only consumeAll() knows. */
  readonly producer?: number;
}

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
// kafkajs brings gzip alone; the others are decoded by libraries that the sink does not encode with.
const decoder = (decompress: (bytes: Buffer) => Buffer) => () => ({
  compress: async () => Promise.reject(new Error('the test consumer does not write')),
  decompress: async (bytes: Buffer) => decompress(bytes),
});
CompressionCodecs[CompressionTypes.Snappy] = decoder((bytes) => uncompressSync(bytes, { asBuffer: true }) as Buffer);
CompressionCodecs[CompressionTypes.LZ4] = decoder(decompressFrameSync);
CompressionCodecs[CompressionTypes.ZSTD] = decoder(zstdDecompressSync);

/** All messages of a topic, by kafkajs, up to the end offsets of now. */
export async function consumeAll(brokers: readonly string[], topic: string): Promise<Arrived[]> {
  const kafka = new Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 20, initialRetryTime: 50 },
  });
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const open = new Map(
    ends
      .filter(({ low, high }) => BigInt(high) > BigInt(low))
      .map(({ partition, high }) => [partition, BigInt(high) - 1n]),
  );
  const arrived: Arrived[] = [];
  if (open.size === 0) return arrived;
  const consumer = kafka.consumer({ groupId: `test-${process.hrtime.bigint()}`, maxWaitTimeInMs: 50 });
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => payload.restart || reject(payload.error));
      consumer
        .run({
          eachBatch: async ({ batch }) => {
            for (const message of batch.messages) {
              const { key, value, headers, timestamp, offset } = message;
              // What kafkajs decodes, but does not declare.
              const { batchContext } = message as { batchContext?: { producerId: string } };
              const texts = Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)] as const);
              arrived.push({
                key: String(key),
                value: String(value),
                headers: Object.fromEntries(texts),
                timestamp: Number(timestamp),
                partition: batch.partition,
                offset: Number(offset),
                producer: Number(batchContext?.producerId),
              });
            }
            const last = open.get(batch.partition);
            if (last !== undefined && BigInt(batch.lastOffset()) >= last) open.delete(batch.partition);
            if (open.size === 0) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return arrived;
}

/** All messages of a topic, by kcat (librdkafka): partition, key, timestamp, headers, value. */
export async function kcatAll(broker: string, topic: string): Promise<Arrived[]> {
  await ensureCommand('kcat', 'kcat');
  const output = await runProgram('kcat', [
    '-C',
    '-q',
    '-e',
    '-b',
    broker,
    '-t',
    topic,
    '-o',
    'beginning',
    '-f',
    '%p\\t%o\\t%k\\t%T\\t%h\\t%s\\n',
  ]);
  return output
    .split('\n')
    .filter(Boolean)
    .map((row) => {
      const [partition, offset, key, timestamp, headers, value] = row.split('\t');
      const pairs = (headers ?? '').split(',').map((pair) => pair.split('=') as [string, string]);
      return {
        key: key!,
        value: value!,
        headers: Object.fromEntries(pairs),
        timestamp: Number(timestamp),
        partition: Number(partition),
        offset: Number(offset),
      };
    });
}

/** Each event once, with its bytes, headers and time; and nothing else. By id and by count. */
export function assertEachOnce(
  arrived: readonly Arrived[],
  sent: readonly TestEvent[],
  timeOf: (event: TestEvent) => number = ({ receivedMs }) => receivedMs,
): void {
  const byId = new Map<string, Arrived>();
  let twice = 0;
  for (const one of arrived) {
    if (byId.has(one.key)) twice += 1;
    byId.set(one.key, one);
  }
  const missing = sent.filter(({ id }) => !byId.has(id)).length;
  assert.deepEqual({ missing, twice, arrived: arrived.length }, { missing: 0, twice: 0, arrived: sent.length });
  for (const event of sent) {
    const { id, line, type } = event;
    const one = byId.get(id)!;
    assert.equal(one.value, line);
    assert.deepEqual(one.headers, { event_type: type, schema: 'v1' });
    assert.equal(one.timestamp, timeOf(event));
  }
}
