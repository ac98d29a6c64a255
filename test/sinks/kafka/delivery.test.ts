/** The Kafka sink against a real broker: what arrives is what was sent, as consumers that are not ours see it. */
import assert from 'node:assert/strict';
import { beforeAll, test } from 'vitest';
import type { SinkBatch, SinkTarget } from '../../../src/delivery/contract.ts';
import { putRecord } from '../../../src/events/record.ts';
import { addKey } from '../../../src/events/record-key.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import {
  assertEachOnce,
  consumeAll,
  deliver,
  event,
  events,
  kcatAll,
  openPatiently,
  patiently,
  silent,
} from './events.ts';

const file = fileScope();
let kafka: KafkaCluster;
beforeAll(async () => {
  kafka = await startKafka(file, { port: 21300 });
});

for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  test(`delivers keys, bytes, headers and times with ${compression}`, async (t) => {
    const topic = `codec-${compression}-${process.pid}`;
    const sink = await openPatiently({
      KAFKA_BROKERS: kafka.brokers.join(),
      KAFKA_TOPIC: topic,
      KAFKA_COMPRESSION: compression,
      KAFKA_PARTITIONS: '3',
    });
    t.onTestFinished(() => sink.close());
    const sent = [
      ...events(0, 2000),
      event(5000, { type: 'a "quoted" \\ name', tsMs: 1_700_000_000_000 }),
      event(5001, { type: 'überschuß ☃', tsMs: 1_500_000_000_000 }),
      event(5002, { extra: { text: 'x'.repeat(100_000) } }),
    ];
    await deliver(sink, sent);
    const arrived = await consumeAll(kafka.brokers, topic);
    assertEachOnce(arrived, sent);
    assert.equal(new Set(arrived.map(({ partition }) => partition)).size, 3, 'keys spread over the partitions');
    assertEachOnce(await kcatAll(kafka.brokers[0]!, topic), sent);
  });
}

test('two outputs take their records to topics of their own; records with a key share its partition, in order', async () => {
  const open = (name: string, topic: string) => {
    const env = { KAFKA_BROKERS: kafka.brokers.join(','), KAFKA_TOPIC: topic, KAFKA_PARTITIONS: '4' };
    return openPatiently(env, silent, name);
  };
  const [first, second] = await Promise.all([open('requests', 'requests'), open('receipts', 'receipts')]);
  const keyOf = (n: number) => `customer ${n % 5}`;
  const batchOf = (from: number): SinkBatch => {
    const list = events(from, 100);
    const buffer = Buffer.alloc(100_000);
    const offsets = new Int32Array(list.length);
    let end = 0;
    for (const [i, { line, tsMs }] of list.entries()) {
      offsets[i] = end;
      putRecord(buffer, end, Buffer.from(line), tsMs);
      end = addKey(buffer, end, Buffer.from(keyOf(from + i)));
    }
    const positions = Float64Array.from(offsets);
    const to = { position: end, record: list.length };
    const lane = { life: 1, lane: from };
    return { lane, count: list.length, buffer, offsets, positions, from: { position: 0, record: 0 }, to, commit: true };
  };
  const put = (target: SinkTarget, batch: SinkBatch) => patiently(() => target.write(batch, Promise.resolve()));
  await Promise.all([put(first, batchOf(0)).then(() => put(first, batchOf(100))), put(second, batchOf(1000))]);
  await Promise.all([first.close(), second.close()]);
  for (const [topic, from, count] of [
    ['requests', 0, 200],
    ['receipts', 1000, 100],
  ] as const) {
    const arrived = (await consumeAll(kafka.brokers, topic)).toSorted((a, b) => a.offset - b.offset);
    assert.equal(arrived.length, count);
    for (let k = 0; k < 5; k++) {
      const mine = arrived.filter(({ key }) => key === keyOf(k));
      const numbers = mine.map(({ value }) => (JSON.parse(value) as { props: { n: number } }).props.n);
      assert.deepEqual(
        numbers,
        Array.from({ length: count / 5 }, (_, i) => from + k + 5 * i),
      );
      assert.equal(new Set(mine.map(({ partition }) => partition)).size, 1);
    }
  }
});
