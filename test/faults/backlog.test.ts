/**
 * Goal: a start over a backlog of gigabytes is quick and delivers all of it, each event once, without a peak of memory. Fluent Bit needed
 * 1.17 GB for 2 GB of chunks.
 * Method: the backlog is written through the engine itself, in this process, at the speed of the disk; then the real server starts on it,
 * with an HTTP sink whose receiver is a gate of this test: it holds requests until the server's memory was looked at.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { engineConfig } from '../../src/engine/config.ts';
import { type Disk, realDisk } from '../../src/engine/disk.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { Keeper } from '../../src/engine/keeper.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { at, EVENT_KIND, EVENT_VERSION, packRecords } from '../../src/events/record.ts';
import { type ConfigOf, loadConfig } from '../../src/kernel/config.ts';
import { Collector, temporary } from '../servers/collector.ts';

const PORT = 23_520;
const MiB = 2 ** 20;
const GiB = 2 ** 30;
const BACKLOG = (process.env.LONG === '1' ? 50 : 2) * GiB;
const LINE_BYTES = 8000;
const EVENTS = Math.ceil(BACKLOG / LINE_BYTES);
const NUMBER_AT = '{"event_id":"'.length;

/** Every line has the same length, and its number in the last digits of its id. */
function template(): Buffer {
  const head = `{"event_id":"00000000-0000-7000-8000-000000000000","ts":"2026-11-21T08:00:00.000Z","e":"x","utm":{},"geo":{},"props":{"pad":"`;
  const line = Buffer.from(`${head}${'x'.repeat(LINE_BYTES - head.length - 4)}"}}\n`);
  assert.equal(line.length, LINE_BYTES);
  return packRecords([{ line: line.subarray(0, -1), receivedMs: 0 }]).buffer;
}

/** Twelve decimal digits are as good in an id as any hex. */
function number(record: Buffer, from: number, n: number): void {
  record.write(String(n).padStart(12, '0'), from + at.json + NUMBER_AT + 24, 'latin1');
}

/** A process that took EVENTS events, delivered none, and died. */
function writeBacklog(dir: string): void {
  const env = { JOURNAL_DIR: dir, JOURNAL_MAX_BYTES: String(BACKLOG + 2 * GiB), RING_BYTES: '16MiB' };
  const loaded = loadConfig([engineConfig], { env, argv: [] });
  const config = (loaded.values as unknown as { engine: ConfigOf<typeof engineConfig> }).engine;
  const engine = openEngine({
    config,
    lanes: 1,
    sinks: [{ name: 'http', drops: false, lagBytesMax: 0 }],
    keep: [],
    start: 'earliest',
  });
  // Nobody cuts the power here: the backlog need not wait for the disk.
  const disk: Disk = { ...realDisk, fdatasync: () => undefined };
  const keeper = new Keeper(engine.shared.keeper!, disk);
  const writer = new LaneWriter(engine.shared.lanes[0]!, disk, Date.now);
  const record = template();
  let now = 0;
  for (let n = 0; n < EVENTS; ) {
    for (let tries = 0; writer.refusal(4 * MiB) !== undefined; tries++) {
      assert.ok(tries < 10_000, `no room: ${writer.refusal(4 * MiB)}`);
      now += 10;
      keeper.step(now);
    }
    for (let left = 400; left > 0 && n < EVENTS; left--, n++) {
      const from = writer.begin(record.length);
      record.copy(writer.buffer, from);
      number(writer.buffer, from, n);
      writer.commit(from + record.length, EVENT_KIND, EVENT_VERSION);
    }
    assert.ok(writer.publish(), String(writer.stuck));
  }
  engine.release();
}

interface Receiver {
  readonly url: string;
  /** How often each event came. */
  readonly seen: Uint8Array;
  /** Events of the backlog that came for the first time. */
  arrived: number;
  open(): void;
}

async function receiver(t: TestContext): Promise<Receiver> {
  const held: (() => void)[] = [];
  let isOpen = false;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const take = () => {
        count(Buffer.concat(chunks));
        response.end('ok');
      };
      if (isOpen) take();
      else held.push(take);
    });
  });
  const found: Receiver = {
    url: '',
    seen: new Uint8Array(EVENTS),
    arrived: 0,
    open() {
      isOpen = true;
      for (const take of held.splice(0)) take();
    },
  };
  function count(body: Buffer): void {
    for (let line = 0; line < body.length; line = body.indexOf(10, line) + 1) {
      const from = line + NUMBER_AT + 24;
      // Events that came by HTTP have ids of their own.
      if (body.toString('latin1', line + NUMBER_AT, from) !== '00000000-0000-7000-8000-') continue;
      const n = Number(body.toString('latin1', from, from + 12));
      if (found.seen[n]++ === 0) found.arrived += 1;
    }
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(found, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
}

/** Bytes of memory: now, and at most so far. */
function memory(pid: number): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return { rss: of('VmRSS'), peak: of('VmHWM') };
}

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => {
      const found = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
      return sum + (found?.size ?? 0);
    }, 0);
}

test(`fluent-bit#5166: a start over a backlog of ${BACKLOG / GiB} GiB is quick, delivers it all once, and has no peak of memory`, {
  timeout: 3_600_000,
}, async (t) => {
  const folder = temporary(t);
  const journal = join(folder, 'journal');
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  assert.ok(
    free > BACKLOG + 3 * GiB,
    `TMPDIR must have ${(BACKLOG + 3 * GiB) / GiB} GiB free: path=${folder}, found=${free / GiB}`,
  );
  const wrote = performance.now();
  writeBacklog(journal);
  const wroteMs = performance.now() - wrote;
  assert.ok(bytesBelow(journal) > BACKLOG);

  const gate = await receiver(t);
  const collector = new Collector(t, {
    port: PORT,
    folder,
    env: {
      OUTPUTS: 'http',
      HTTP_SINK_URL: gate.url,
      HTTP_SINK_TIMEOUT_MS: '60s',
      HTTP_SINK_CONNECTIONS: '4',
      COOKIES: 'off',
      JOURNAL_DIR: journal,
      JOURNAL_MAX_BYTES: String(BACKLOG + 2 * GiB),
      JOURNAL_RETAIN_MS: '0',
    },
  });
  const began = performance.now();
  await collector.start();
  const startMs = performance.now() - began;
  assert.ok(startMs < 15_000, `a start over the backlog took ${startMs} ms`);
  await expect.poll(async () => collector.send([{ e: 'x' }]), { message: 'it takes events' }).toBe(true);
  const { rss: before } = memory(collector.pid);
  assert.ok(before < 300 * MiB, `a server with a backlog begins with ${before / MiB} MiB`);
  const drained = performance.now();
  gate.open();
  await expect
    .poll(() => gate.arrived === EVENTS, { message: 'all of it has arrived', timeout: BACKLOG / ((20 * MiB) / 1000) })
    .toBe(true);
  const drainMs = performance.now() - drained;
  const { peak } = memory(collector.pid);
  console.log(
    `backlog ${BACKLOG / GiB} GiB: written in ${wroteMs.toFixed(0)} ms, start ${startMs.toFixed(0)} ms, delivered in ` +
      `${drainMs.toFixed(0)} ms; memory ${(before / MiB).toFixed(0)} MiB, at most ${(peak / MiB).toFixed(0)} MiB`,
  );
  assert.ok(peak < before + 120 * MiB, `memory peaked at ${peak / MiB} MiB, after ${before / MiB} MiB at the start`);
  assert.equal(
    gate.seen.findIndex((times) => times !== 1),
    -1,
    'each event once: a receiver that answers gets nothing twice',
  );
  await expect
    .poll(() => bytesBelow(journal) < BACKLOG / 4, { message: 'the journal gives its space back', timeout: 60_000 })
    .toBe(true);
  assert.equal(await collector.kill('SIGTERM'), 0);
});
