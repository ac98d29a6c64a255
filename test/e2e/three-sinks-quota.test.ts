/** All three sinks at the quota of the journal, with a real Kafka broker and a real Postgres that are both away. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Collector } from '../servers/collector.ts';
import { assertSameEvents, drained, envOf, PATIENCE_MS, startAgain, startServers } from './three-sinks.ts';

const SERVERS = 23_050;
const HTTP = 23_070;
const MiB = 2 ** 20;

// Goal: with both servers away the journal grows to its quota, and nothing else does: neither memory nor the lag of the file. Then the
// answer is 429, which means what it says, and all of it drains when the servers are back.
test('broker and server away until the quota: memory flat, 429 is no lie, everything drains', async (t) => {
  const servers = await startServers(t, SERVERS);
  const { kafka, postgres } = servers;
  const name = 'quota';
  const quota = 128 * MiB;
  const env = {
    ...envOf(servers, name),
    JOURNAL_MAX_BYTES: String(quota),
    SEGMENT_BYTES: '8MiB',
    RING_BYTES: '4MiB',
  };
  const collector = new Collector(t, { port: HTTP, env });
  await collector.start();
  const [taken, refused]: [Set<number>, Set<number>] = [new Set(), new Set()];
  let next = 0;
  const text = 'x'.repeat(8000);
  /** Offers some 80 KB; a refusal is heeded for a moment. */
  const offer = async (): Promise<Response> => {
    const events = Array.from({ length: 10 }, () => ({ e: 'x', props: { n: next++, text } }));
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${collector.url}/collect`, { method: 'POST', headers, body: JSON.stringify(events) });
    await answer.arrayBuffer();
    for (const { props } of events) (answer.ok ? taken : refused).add(props.n);
    if (!answer.ok) {
      assert.deepEqual([answer.status, Number(answer.headers.get('retry-after')) >= 1], [429, true]);
      await sleep(10);
    }
    return answer;
  };
  const atTheQuota = async () =>
    /refused_events_total\{reason="journal_full"\} [1-9]/.test(await (await fetch(`${collector.url}/metrics`)).text());
  while (taken.size * text.length < 30 * MiB) await offer();
  await drained(collector);
  const before = residentBytes(collector.pid);
  // A topic that is made at the start is not led at once.
  const [kafkaAway, postgresAway] = ['kafka', 'postgres'].map((sink) =>
    linesSaying(collector, `${sink} accepts no events`),
  );
  await Promise.all([kafka.kill9(), postgres.kill9()]);
  const outset = taken.size;
  while (!(await atTheQuota())) {
    for (let i = 0; i < 10; i++) await offer();
    assert.ok(taken.size * text.length < 2 * quota, 'the quota has no effect');
  }
  for (let i = 0; i < 50; i++) await offer();
  await expect.poll(() => collector.metric('queue_depth', 'log'), { message: 'the file has what was taken' }).toBe(0);
  const inOutage = taken.size - outset;
  const full = residentBytes(collector.pid);
  const red = await collector.ready();
  assert.equal(red.status, 503);
  assert.equal((await collector.ready('?sinks=ignore')).status, 503, 'a full journal is no matter of sinks alone');
  const during = await figuresOf(collector);
  for (const [sink, away] of [['kafka', kafkaAway!] as const, ['postgres', postgresAway!] as const]) {
    assert.match(red.text, new RegExp(`"part":"${sink}"`));
    const lines = linesSaying(collector, `${sink} accepts no events`);
    assert.ok(lines >= 1 && lines <= away + 1, `one line when a sink goes away: ${lines}, ${away} before`);
    const { up, lagBytes, oldestSeconds, retries } = during(sink);
    assert.equal(up, 0);
    assert.ok(lagBytes > 0.6 * quota && oldestSeconds > 0 && retries > 0, JSON.stringify(during(sink)));
  }
  await Promise.all([kafka.start(), startAgain(postgres)]);
  await drained(collector);
  await expect
    .poll(async () => (await collector.ready()).status, { message: 'it is ready', timeout: PATIENCE_MS })
    .toBe(200);
  const after = residentBytes(collector.pid);
  assert.ok((await offer()).ok, 'intake has come back by itself');
  await drained(collector);
  // A text of /metrics is answered again for a moment: it may be of before.
  let returned = await figuresOf(collector);
  const lagging = async () => {
    returned = await figuresOf(collector);
    return ['log', 'kafka', 'postgres'].some((sink) => returned(sink).lagBytes > 0);
  };
  await expect.poll(lagging).toBe(false);
  for (const sink of ['log', 'kafka', 'postgres']) {
    const { up, lagBytes, batches, bytes, flushes, flushSeconds } = returned(sink);
    assert.deepEqual([up, lagBytes], [1, 0]);
    assert.ok(batches > 0 && flushes === batches && flushSeconds > 0, JSON.stringify(returned(sink)));
    assert.ok(bytes >= taken.size * text.length, `${sink}: bytes=${bytes}`);
  }
  // A line that follows another one too soon is held back for ten seconds, and comes though nothing is sent.
  for (const sink of ['kafka', 'postgres']) {
    await expect
      .poll(() => linesSaying(collector, `${sink} accepts events`), {
        message: `a line when ${sink} returns`,
        timeout: PATIENCE_MS,
      })
      .toBeGreaterThan(0);
    assert.match(collector.log, new RegExp(`"downMs":\\d+,"msg":"${sink} accepts events"`));
  }
  await drained(collector);
  t.annotate(
    `taken ${taken.size}, refused ${refused.size}; MiB of memory before, at the quota, after: ${[before, full, after].map((bytes) => Math.round(bytes / MiB)).join(', ')}`,
  );
  assert.equal(await collector.kill('SIGTERM'), 0);
  const { lines, arrived } = await assertSameEvents(servers, collector.folder, name);
  const numbers = lines.map((line) => (JSON.parse(line) as { props: { n: number } }).props.n);
  assert.deepEqual(
    numbers.sort((a, b) => a - b),
    [...taken],
  );
  assert.equal(arrived.length, lines.length, 'the collector has not crashed: the topic has each event once');
  assert.ok(inOutage * text.length > 0.6 * quota, 'the outage has filled the quota');
  assert.ok(full - before < 80 * MiB, `memory grew by ${(full - before) / MiB} MiB in the outage`);
  assert.ok(after - before < 120 * MiB, `memory grew by ${(after - before) / MiB} MiB over the outage`);
});

/** What /metrics says of each sink. */
async function figuresOf(collector: Collector): Promise<(sink: string) => Record<Figure, number>> {
  const text = await (await fetch(`${collector.url}/metrics`)).text();
  const value = (sink: string, [name, more]: readonly [string, string]): number => {
    const found = text.split('\n').find((line) => line.startsWith(`${name}{sink="${sink}"${more}}`));
    assert.ok(found !== undefined, `${name} of ${sink} is not in /metrics`);
    return Number(found.split(' ').at(-1));
  };
  return (sink) =>
    Object.fromEntries(Object.entries(figures).map(([key, name]) => [key, value(sink, name)])) as Record<
      Figure,
      number
    >;
}
const figures = {
  batches: ['ringmain_sink_batches_total', ''],
  bytes: ['ringmain_sink_bytes_total', ''],
  flushes: ['batch_flush_seconds_count', ''],
  flushSeconds: ['batch_flush_seconds_sum', ''],
  retries: ['sink_failures_total', ',class="retry"'],
  splits: ['sink_failures_total', ',class="split"'],
  stops: ['sink_failures_total', ',class="stop"'],
  lag: ['queue_depth', ''],
  lagBytes: ['ringmain_sink_lag_bytes', ''],
  oldestSeconds: ['ringmain_sink_oldest_seconds', ''],
  up: ['ringmain_sink_up', ''],
  stopped: ['ringmain_sink_state', ',state="stopped"'],
} as const;
type Figure = keyof typeof figures;

const linesSaying = (collector: Collector, words: string): number => collector.log.split(words).length - 1;

function residentBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}
