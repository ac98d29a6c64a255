/**
 * Goal: a sink whose thread hangs costs nobody but itself: intake and the other sinks go on, memory stays, operators are told, an end
 * comes in time; when it hangs no more, everything arrives, each event once.
 * Method: the real server, one of its sinks a kind of this test that stands at a gate in shared memory (gate-sink.ts).
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';
import { Client, linesOf, Oracle, sendOne } from './load.ts';

const PORT = 23_510;
const MiB = 2 ** 20;

interface Stage {
  readonly oracle: Oracle;
  /** Lines of the file of the other sink, and of what passed the gate. */
  readonly path: string;
  readonly gated: string;
  collector(env?: Record<string, string>): Collector;
  clients(count: number, pauseMs: number): Client[];
  open(): void;
}

function stage(t: TestContext, waits: 'blocking' | 'event-loop' | 'dies' = 'blocking'): Stage {
  const folder = temporary(t);
  const oracle = new Oracle();
  t.onTestFinished(() => oracle.end());
  const sign = join(folder, 'sign');
  const gated = join(folder, 'gated.out');
  const env = {
    NODE_OPTIONS: `--import=${new URL('./gate-hook.ts', import.meta.url).href} --disable-warning=ExperimentalWarning`,
    GATE_SIGN: sign,
    GATE_PATH: gated,
    GATE_WAITS: waits,
    OUTPUTS: 'log,http',
    HTTP_SINK_URL: 'http://127.0.0.1:9/',
    COOKIES: 'off',
    LOG_PATH: 'events.ndjson',
    RING_BYTES: '1MiB',
    SEGMENT_BYTES: '1MiB',
    JOURNAL_MAX_BYTES: '512MiB',
    JOURNAL_RETAIN_MS: '0',
    MAX_BODY_BYTES: '32k',
    MAX_EVENT_BYTES: '16k',
  };
  return {
    oracle,
    path: join(folder, 'events.ndjson'),
    gated,
    collector: (more = {}) => new Collector(t, { port: PORT, folder, env: { ...env, ...more } }),
    clients(count, pauseMs) {
      const all = Array.from({ length: count }, () => new Client(oracle, PORT, 1, pauseMs));
      t.onTestFinished(() => {
        for (const client of all) client.cut();
      });
      return all;
    },
    open: () => writeFileSync(sign, ''),
  };
}

const gatedLines = ({ gated }: Stage): string[] =>
  existsSync(gated) ? readFileSync(gated, 'utf8').split('\n').slice(0, -1) : [];

/** Waits until both sinks have everything that is owed, then compares them line by line. */
async function settled(s: Stage): Promise<void> {
  for (const [sink, lines] of [
    ['the file', () => linesOf(s.path)],
    ['the gated sink', () => gatedLines(s)],
  ] as const) {
    await expect
      .poll(() => lines().length >= s.oracle.owed.size && s.oracle.verify(lines(), true) === 0, {
        message: `${sink} has everything that is owed`,
        timeout: 60_000,
      })
      .toBe(true);
    s.oracle.verify(lines());
  }
}

function rssOf(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

// One call that hangs, a process that looks well, nothing delivered for hours: Fluent Bit, Jitsu, Umami and Snowplow have all had it.
test('fluent-bit#11847, jitsu#1180, worldmonitor#6024, stream-collector#418: a sink that hangs is told, stops nobody, and drains when it is let go', async (t) => {
  const s = stage(t);
  const collector = s.collector();
  await collector.start();
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const clients = s.clients(16, 4);
  await expect
    .poll(() => s.oracle.owed.size, { message: 'some thousand events are taken', timeout: 60_000 })
    .toBeGreaterThan(2000);
  const before = rssOf(collector.pid);
  await expect
    .poll(async () => /"part":"http","reason":"no sign of life for \d+ s/.test((await collector.ready()).text), {
      message: 'readiness tells that the sink gives no sign of life',
      timeout: 60_000,
    })
    .toBe(true);
  assert.equal((await collector.ready()).status, 503);
  assert.equal((await collector.ready('?sinks=ignore')).status, 200, 'load balancers keep sending');
  assert.equal(await collector.metric('ringmain_sink_up', 'http'), 0);
  assert.equal(await collector.metric('ringmain_sink_up', 'log'), 1);
  const owed = s.oracle.owed.size;
  // One text of the metrics serves all who ask within some ms.
  await expect
    .poll(async () => (await collector.metric('queue_depth', 'http')) >= owed, {
      message: 'its lag grows though its thread tells nothing',
    })
    .toBe(true);
  assert.ok((await collector.metric('ringmain_sink_oldest_seconds', 'http')) > 5);
  await expect
    .poll(() => linesOf(s.path).length >= owed, { message: 'the other sink has what came meanwhile' })
    .toBe(true);
  assert.equal(gatedLines(s).length, 0);
  const grown = rssOf(collector.pid) - before;
  assert.ok(grown < 60 * MiB, `memory grew by ${grown / MiB} MiB while a sink hung`);
  assert.deepEqual([...s.oracle.refused], [], 'intake went on');
  await Promise.all(clients.map((client) => client.finish()));
  s.open();
  await settled(s);
  await expect.poll(async () => (await collector.ready()).status, { message: 'readiness is green again' }).toBe(200);
  await expect.poll(() => collector.metric('queue_depth', 'http'), { message: 'nothing is owed' }).toBe(0);
  assert.equal(await collector.metric('ringmain_sink_ledger_mismatch', 'http'), 0);
  assert.equal(await collector.kill('SIGTERM'), 0);
  await settled(s);
});

test('a sink whose thread dies over and over is told, stops nobody, and delivers each event once when it lives', async (t) => {
  const s = stage(t, 'dies');
  const collector = s.collector();
  await collector.start();
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const clients = s.clients(8, 4);
  await expect
    .poll(async () => (await collector.ready()).text.includes('"part":"http","reason":"its thread is being started"'), {
      message: 'readiness tells that its thread is gone',
    })
    .toBe(true);
  await expect
    .poll(() => collector.log.split('a thread died').length, { message: 'it was started several times' })
    .toBeGreaterThan(4);
  assert.equal((await collector.ready('?sinks=ignore')).status, 200);
  assert.equal(gatedLines(s).length, 0);
  s.open();
  await expect
    .poll(async () => (await collector.ready()).status, { message: 'the last one lives', timeout: 60_000 })
    .toBe(200);
  await Promise.all(clients.map((client) => client.finish()));
  assert.deepEqual([...s.oracle.refused], [], 'intake went on');
  await settled(s);
  assert.equal(await collector.kill('SIGTERM'), 0);
});

// Jitsu flushed for 10 s and forgot what was left.
for (const waits of ['blocking', 'event-loop'] as const)
  test(`Jitsu shutdown: SIGTERM while a sink hangs (${waits}) ends within DRAIN_TIMEOUT_MS, and the next start delivers each event once`, async (t) => {
    const s = stage(t, waits);
    const collector = s.collector({ DRAIN_TIMEOUT_MS: '2s' });
    await collector.start();
    await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
    const clients = s.clients(4, 0);
    await expect.poll(() => s.oracle.owed.size, { message: 'events are taken' }).toBeGreaterThan(300);
    await Promise.all(clients.map((client) => client.finish()));
    const begin = performance.now();
    assert.equal(await collector.kill('SIGTERM'), 0, collector.log);
    const ms = performance.now() - begin;
    // The bound is the server's own; what is on top is for a machine that is busy with other things.
    assert.ok(ms < 5000, `the end took ${ms.toFixed(0)} ms`);
    assert.match(collector.log, /sinks could not deliver everything in time/);
    s.oracle.verify(linesOf(s.path));
    assert.equal(gatedLines(s).length, 0);
    s.open();
    const next = s.collector();
    await next.start();
    await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
    await settled(s);
    assert.equal(await next.kill('SIGTERM'), 0);
  });

// Vector's http_server lets requests pile up; Fluent Bit throws away the oldest; Snowplow answers 200 and keeps it all in the heap.
test('vector#18457, vector#8820, fluent-bit#2475, fluent-bit#7461, snowplow#2465: a quota full of undelivered events answers 429 at once, drops nothing, keeps its memory', async (t) => {
  const s = stage(t);
  const collector = s.collector({ JOURNAL_MAX_BYTES: '8MiB' });
  await collector.start();
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const clients = s.clients(24, 1);
  await expect
    .poll(() => s.oracle.refused.get(429) ?? 0, { message: 'the quota is full', timeout: 120_000 })
    .toBeGreaterThan(200);
  const before = rssOf(collector.pid);
  const refused = s.oracle.refused.get(429) ?? 0;
  await expect
    .poll(() => (s.oracle.refused.get(429) ?? 0) > refused + 5000, {
      message: 'thousands more are refused',
      timeout: 60_000,
    })
    .toBe(true);
  assert.deepEqual([...s.oracle.refused.keys()], [429], 'no other answer, no time-out');
  // As long as any that was refused: a shorter one may fit into what the last segment has left.
  const answer = await fetch(`${collector.url}/px.gif?e=o&pad=${'p'.repeat(3000)}`);
  assert.equal(answer.status, 429);
  assert.ok(Number(answer.headers.get('retry-after')) > 0);
  const grown = rssOf(collector.pid) - before;
  assert.ok(grown < 40 * MiB, `memory grew by ${grown / MiB} MiB while requests were refused`);
  const ready = await collector.ready('?sinks=ignore');
  assert.equal(ready.status, 503);
  assert.match(ready.text, /JOURNAL_MAX_BYTES is reached/);
  const owed = s.oracle.owed.size;
  s.open();
  await expect.poll(() => s.oracle.owed.size > owed + 500, { message: 'intake is back', timeout: 60_000 }).toBe(true);
  await Promise.all(clients.map((client) => client.finish()));
  await settled(s);
  assert.equal(await collector.kill('SIGTERM'), 0);
});
