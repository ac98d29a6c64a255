/** The Kafka sink in the real collector: through HTTP, lanes, journal and runner into a real broker. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Readiness } from '../../../src/service/schemas.ts';
import { Collector } from '../../servers/collector.ts';
import { type FaultProxy, faultProxy } from '../../servers/fault-proxy.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Arrived, consumeAll, kcatAll } from './events.ts';

const PORT = 21350;
const PROXY = 21359;
const HTTP = 21360;

function numbered(from: number, count: number, props: object = {}): object[] {
  return Array.from({ length: count }, (_, at) => ({ e: 'view', props: { n: from + at, ...props } }));
}

/** How often each number is in the topic; the key must be the event id of the value. */
function tally(arrived: readonly Arrived[]): Map<number, number> {
  const times = new Map<number, number>();
  for (const { key, value, headers } of arrived) {
    const line = JSON.parse(value) as { event_id: string; props: { n: number } };
    assert.equal(key, line.event_id);
    assert.deepEqual(headers, { event_type: 'view', schema: 'v1' });
    times.set(line.props.n, (times.get(line.props.n) ?? 0) + 1);
  }
  return times;
}

describe('Kafka in the collector', () => {
  const scope = fileScope();
  let proxy: FaultProxy;
  let kafka: KafkaCluster;
  beforeAll(async () => {
    proxy = await faultProxy(scope, { target: { port: PORT }, port: PROXY });
    kafka = await startKafka(scope, {
      port: PORT,
      own: true,
      advertisedPort: PROXY,
      properties: { 'message.max.bytes': 20_000 },
    });
  });
  const env = (topic: string) => ({
    OUTPUTS: 'kafka',
    KAFKA_BROKERS: kafka.brokers.join(),
    KAFKA_TOPIC: topic,
    KAFKA_PARTITIONS: '3',
    KAFKA_CONNECT_TIMEOUT_MS: '1000',
    KAFKA_REQUEST_TIMEOUT_MS: '2000',
  });
  // Before the sink is up nobody has said what it owes.
  const drained = async (collector: Collector) => {
    await expect.poll(async () => (await collector.ready()).status, { message: 'ready' }).toBe(200);
    await expect
      .poll(() => collector.metric('queue_depth', 'kafka'), {
        message: `everything is delivered\n${collector.log.slice(-2000)}`,
        timeout: 45_000,
      })
      .toBe(0);
  };

  // Goal: without a crash of ours each event is in the topic exactly once, whatever the broker and the network do.
  test('kill -9 of the broker and cut connections under load: exactly once', async (t) => {
    const collector = new Collector(t, { port: HTTP, env: env('once') });
    await collector.start();
    let sent = 0;
    const load = async (ms: number) => {
      for (const end = Date.now() + ms; Date.now() < end; await sleep(3)) {
        assert.ok(await collector.send(numbered(sent, 50)), 'an outage of the sink must not be felt at intake');
        sent += 50;
      }
    };
    await expect.poll(async () => (await collector.ready()).status, { message: 'the sink is up' }).toBe(200);
    await load(300);
    void proxy.cutAfter('toTarget', 5000);
    await load(300);
    void proxy.cutAfter('toClient', 10);
    await load(300);
    const back = kafka.kill9().then(() => kafka.start());
    await load(500);
    await back;
    await load(300);
    await drained(collector);
    assert.equal(await collector.metric('ringmain_sink_ledger_mismatch', 'kafka'), 0);
    assert.equal(await collector.kill('SIGTERM'), 0);
    const times = tally(await consumeAll(kafka.internal, 'once'));
    t.annotate(`sent=${sent}, distinct=${times.size}, cuts=${proxy.cuts}`);
    assert.equal(times.size, sent);
    assert.deepEqual(
      [...times].filter(([, n]) => n !== 1),
      [],
      'numbers that are there more than once',
    );
    assert.equal(tally(await kcatAll(kafka.internal[0]!, 'once')).size, sent);
  });

  // Goal: after a crash of ours at least once; what was not acknowledged may be there, what was not sent may not.
  test('SIGKILL of collector and broker: every acknowledged event is there, none invented', async (t) => {
    const rounds = process.env['LONG'] === undefined ? 4 : 40;
    const collector = new Collector(t, { port: HTTP, env: env('crash') });
    const acked = new Set<number>();
    let sent = 0;
    for (let round = 0; round < rounds; round++) {
      await collector.start();
      let back: Promise<void> | undefined;
      for (const end = Date.now() + 400 + Math.random() * 400; Date.now() < end; await sleep(3)) {
        const from = sent;
        sent += 40;
        if (await collector.send(numbered(from, 40))) for (let n = from; n < sent; n++) acked.add(n);
        if (round === 1) back ??= kafka.kill9().then(() => kafka.start());
      }
      await collector.kill();
      await back;
    }
    await collector.start();
    await drained(collector);
    assert.equal(await collector.kill('SIGTERM'), 0);
    const times = tally(await consumeAll(kafka.internal, 'crash'));
    const twice = [...times.values()].reduce((sum, n) => sum + n - 1, 0);
    t.annotate(`sent=${sent}, acknowledged=${acked.size}, distinct=${times.size}, repeated after a crash=${twice}`);
    assert.ok(acked.size > 500);
    assert.deepEqual(
      [...acked].filter((n) => !times.has(n)),
      [],
      'acknowledged and missing',
    );
    assert.deepEqual(
      [...times.keys()].filter((n) => n >= sent),
      [],
      'invented',
    );
  });

  test('an outage does not slow intake, turns readyz red with the reason, and drains by itself', async (t) => {
    const collector = new Collector(t, { port: HTTP, env: { ...env('outage'), OUTPUTS: 'log,kafka' } });
    await collector.start();
    await expect.poll(async () => (await collector.ready()).status, { message: 'the sink is up' }).toBe(200);
    const rates: number[] = [];
    let sent = 0;
    const during = async (ms: number) => {
      const [begin, before] = [performance.now(), sent];
      for (; performance.now() - begin < ms; await sleep(3)) {
        assert.ok(await collector.send(numbered(sent, 100)));
        sent += 100;
      }
      rates.push((sent - before) / ((performance.now() - begin) / 1000));
    };
    await during(600);
    proxy.silence();
    await during(3500);
    const red = await collector.ready();
    assert.equal(red.status, 503);
    assert.match(red.text, new RegExp(`"part":"kafka","reason":"[^"]*${proxy.address}`));
    assert.equal((await collector.ready('?sinks=ignore')).status, 200);
    await expect.poll(() => collector.metric('queue_depth', 'log'), { message: 'the log sink has everything' }).toBe(0);
    await proxy.heal();
    await during(600);
    await drained(collector);
    await expect.poll(async () => (await collector.ready()).status, { message: 'readyz is green' }).toBe(200);
    // Without traffic it is told as well: nobody should learn of it from the first event of the morning.
    const connects = () => collector.metric('sink_failures_total{sink="kafka",class="connect"}');
    const before = await connects();
    await proxy.refuse();
    t.onTestFinished(() => proxy.heal());
    await expect.poll(async () => (await collector.ready()).status, { message: 'readyz is red while idle' }).toBe(503);
    // At first the connection that was there has ended; the next one is refused.
    const reason = async () => (JSON.parse((await collector.ready()).text) as Readiness).sinks[0]!.reason;
    await expect.poll(reason).toMatch(new RegExp(`metadata from ${proxy.address}: .*ECONNREFUSED`));
    await expect.poll(connects, { message: 'connects that fail are counted' }).toBeGreaterThan(before + 1);
    await proxy.heal();
    await expect.poll(async () => (await collector.ready()).status, { message: 'readyz is green again' }).toBe(200);
    t.annotate(`events/s before, during, after: ${rates.map(Math.round).join(', ')}`);
    assert.ok(rates[1]! > rates[0]! / 4, 'intake must not wait for the sink');
    const times = tally(await consumeAll(kafka.internal, 'outage'));
    assert.deepEqual([times.size, [...times.values()].every((n) => n === 1)], [sent, true]);
  });

  test('an event that the broker refuses is a dead letter, and everything around it arrives once', async (t) => {
    const collector = new Collector(t, { port: HTTP, env: env('dead') });
    await collector.start();
    await expect.poll(async () => (await collector.ready()).status, { message: 'the sink is up' }).toBe(200);
    const large = { text: randomBytes(30_000).toString('base64') };
    assert.ok(
      await collector.send([
        ...numbered(0, 30),
        ...numbered(30, 1, large),
        ...numbered(31, 60),
        ...numbered(91, 1, large),
        ...numbered(92, 8),
      ]),
    );
    assert.ok(await collector.send(numbered(100, 100)));
    // Clocks of clients, one ahead and one behind: the record has the time of receipt.
    const [ahead, behind] = numbered(200, 2);
    const begun = Date.now();
    const lastMonth = new Date(begun - 30 * 86_400_000).toISOString();
    assert.ok(
      await collector.send([
        { ...ahead, ts: '2099-01-01T00:00:00Z' },
        { ...behind, ts: lastMonth },
      ]),
    );
    await drained(collector);
    assert.equal(await collector.kill('SIGTERM'), 0);
    const arrived = await consumeAll(kafka.internal, 'dead');
    const times = tally(arrived);
    assert.deepEqual([times.size, [...times.values()].every((n) => n === 1)], [200, true]);
    const stray = arrived.filter(({ value }) => /"ts":"(2099-|.*"n":201\b)/.test(value));
    assert.equal(stray.length, 2);
    assert.ok(stray.every(({ timestamp }) => timestamp >= begun && timestamp <= Date.now()));
    const letters = readdirSync(collector.folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /kafka-\d+\.ndjson$/.test(name))
      .flatMap((name) => readFileSync(join(collector.folder, name), 'utf8').trim().split('\n'))
      .map((line) => JSON.parse(line) as { reason: string; event: { props: { n: number } } });
    assert.deepEqual(letters.map(({ event }) => event.props.n).sort(), [30, 91]);
    assert.match(letters[0]!.reason, /MESSAGE_TOO_LARGE/);
  });
});
