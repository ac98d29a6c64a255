/**
 * Goal: a sink that is away costs disk, not memory and not the others; it catches up by itself; a large backlog is no danger to a start.
 * Method: the real server with the file sink and an HTTP sink whose receiver is a gate of this test: shut, it takes requests and never answers.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';

const PORT = 21_860;
const MiB = 2 ** 20;
const BACKLOG = (process.env.LONG === '1' ? 2048 : 200) * MiB;
const PAD = 'x'.repeat(8000);

interface Receiver {
  readonly url: string;
  readonly seen: Map<number, number>;
  open: boolean;
}

/** Takes NDJSON; counts how often each event came. While it is shut, requests hang. */
async function receiver(t: TestContext): Promise<Receiver> {
  const seen = new Map<number, number>();
  const hanging: (() => void)[] = [];
  const gate: Receiver & { open: boolean } = { url: '', seen, open: false };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const take = () => {
        for (const [, n] of Buffer.concat(chunks)
          .toString('latin1')
          .matchAll(/"n":(\d+)/g))
          seen.set(Number(n), (seen.get(Number(n)) ?? 0) + 1);
        response.end('ok');
      };
      if (gate.open) take();
      else hanging.push(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    for (const end of hanging) end();
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(gate, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
}

let next = 0;
/** Sends `bytes` of events, in bodies of 1 MiB at most; those that were acknowledged. */
async function send(collector: Collector, bytes: number): Promise<number[]> {
  const owed: number[] = [];
  for (let sent = 0; sent < bytes; ) {
    const events = Array.from({ length: Math.min(100, Math.ceil(bytes / PAD.length)) }, () => ({
      e: 'x',
      props: { n: next++, pad: PAD },
    }));
    sent += events.length * PAD.length;
    if (await collector.send(events)) owed.push(...events.map(({ props }) => props.n));
    else await sleep(20);
  }
  return owed;
}

/** Bytes of memory: now and at most. */
function memory(pid: number): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return { rss: of('VmRSS'), peak: of('VmHWM') };
}

function journalBytes(folder: string): number {
  return readdirSync(join(folder, 'data', 'journal'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function numbersIn(path: string): Set<number> {
  return new Set([...readFileSync(path, 'latin1').matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n)));
}

test('bento#329, rudder#4953, fluent-bit#7461: a dead sink, a large backlog, a SIGKILL, a start; then the sink returns', async (t) => {
  const folder = temporary(t);
  const gate = await receiver(t);
  const env = {
    OUTPUTS: 'log,http',
    HTTP_SINK_URL: gate.url,
    HTTP_SINK_TIMEOUT_MS: '2s',
    COOKIES: 'off',
    LOG_PATH: 'events.ndjson',
    RING_BYTES: '4MiB',
    SEGMENT_BYTES: '16MiB',
    JOURNAL_MAX_BYTES: String(BACKLOG + 500 * MiB),
    JOURNAL_RETAIN_MS: '0',
  };
  const first = new Collector(t, { port: PORT, folder, env });
  await first.start();
  const owed = await send(first, 20 * MiB);
  const before = memory(first.pid).rss;
  owed.push(...(await send(first, BACKLOG)));
  const after = memory(first.pid).rss;
  assert.ok(owed.length * PAD.length > 0.9 * BACKLOG, `intake held: ${owed.length} events`);
  assert.ok(
    after - before < 80 * MiB,
    `memory grew by ${(after - before) / MiB} MiB in an outage of ${BACKLOG / MiB} MiB`,
  );
  assert.ok(journalBytes(folder) > BACKLOG, 'the journal has it');
  // The other sink has never waited for the dead one.
  await expect
    .poll(() => numbersIn(join(folder, 'events.ndjson')).size >= owed.length, {
      message: 'the file has everything',
      timeout: 30_000,
    })
    .toBe(true);
  await expect
    .poll(async () => /"part":"http"/.test((await first.ready()).text), { message: 'readiness names the dead sink' })
    .toBe(true);
  assert.equal((await first.ready('?sinks=ignore')).status, 200);
  await first.kill('SIGKILL');

  const second = new Collector(t, { port: PORT, folder, env });
  const began = performance.now();
  await second.start();
  const startMs = performance.now() - began;
  assert.ok(startMs < 15_000, `a start over the backlog took ${startMs} ms`);
  await expect
    .poll(async () => second.send([{ e: 'x', props: { n: next++ } }]), { message: 'it takes events' })
    .toBe(true);
  // The sink is still away: it retries, and comes back without a restart.
  await sleep(500);
  gate.open = true;
  await expect
    .poll(() => owed.every((n) => gate.seen.has(n)), { message: 'the sink has caught up', timeout: 120_000 })
    .toBe(true);
  const { peak } = memory(second.pid);
  console.log(
    `backlog ${BACKLOG / MiB} MiB: start ${startMs.toFixed(0)} ms, peak of memory ${(peak / MiB).toFixed(0)} MiB`,
  );
  assert.ok(peak < before + 120 * MiB, `memory peaked at ${peak / MiB} MiB; before the outage it was ${before / MiB}`);
  await expect.poll(async () => (await second.ready()).status, { message: 'readiness is green again' }).toBe(200);
  await expect
    .poll(() => journalBytes(folder) < BACKLOG / 2 + 100 * MiB, {
      message: 'the journal gives its space back',
      timeout: 30_000,
    })
    .toBe(true);
  assert.equal(await second.kill('SIGTERM'), 0);
  const found = numbersIn(join(folder, 'events.ndjson'));
  assert.deepEqual(
    owed.filter((n) => !found.has(n)),
    [],
  );
});
