/** The Kafka sink against a real broker: what arrives is what was sent, as consumers that are not ours see it. */
import assert from 'node:assert/strict';
import { beforeAll, test } from 'vitest';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { assertEachOnce, consumeAll, deliver, event, events, kcatAll, openPatiently } from './events.ts';

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
