import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { beforeAll, test } from 'vitest';
import { buildGo } from '../../native-bench/rig/install.ts';
import { type OpenReply, openLoop } from '../../native-bench/rig/load.ts';
import { pixelRequests, writeRequests } from '../../native-bench/rig/request.ts';
import { ensureCommand } from '../servers/apt.ts';

process.env['PATH'] += ':/usr/local/go/bin';
beforeAll(() => ensureCommand('go', 'golang-go'));

// Goal: a stall of the server is charged to every request that was due meanwhile, not to the one that happened to wait.
// Method: a server that stands still for 200 of 1000 ms, at 500 requests a second over two connections. A closed loop would
// see two slow answers (p99 low); by the schedule about a fifth of all waited, 100 ms on average.
test('the fixed-rate generator does not omit what a stall delayed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'open-loop-'));
  t.onTestFinished(() => rmSync(dir, { recursive: true }));
  const binary = buildGo('load/open-loop', dir);
  const requests = join(dir, 'requests');
  writeRequests(requests, pixelRequests());
  let served = 0;
  const server = createServer((_, res) => {
    served += 1;
    if (served === 200) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    res.end('ok');
  }).listen(0, '127.0.0.1');
  t.onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const reply = await openLoop(requests, {
    binary,
    connections: 2,
    seconds: 1,
    rate: 500,
    timelineMs: 100,
    nap: true,
  }).run(url);
  assert.deepEqual([reply.sent, reply.answered, reply.refused, reply.failed], [500, 500, 0, 0]);
  assert.equal(served, 500, 'every request that was sent was waited for');
  assert.ok(reply.p90Us > 50_000, `a fifth of the requests waited: p90Us=${reply.p90Us}`);
  assert.ok(reply.p50Us < 50_000, `the others did not: p50Us=${reply.p50Us}`);
  assert.ok(reply.backlogMax > 50, `they queued in the generator: backlogMax=${reply.backlogMax}`);
  assert.ok(reply.timeline!.some((slice) => slice.maxUs > 150_000));
  // The generator itself was on time meanwhile: it queued them when they were due.
  assert.ok(reply.queued > 50, `queued=${reply.queued}`);
  assert.ok(reply.lateP50Us < 80_000, `lateP50Us=${reply.lateP50Us}`);
  assert.ok(reply.servedP99Us > 100_000, `waiting for the server is no lateness: servedP99Us=${reply.servedP99Us}`);
});

// Goal: what the generator did late is told apart from what the server did late.  Method: its thread stands still for 1 s, by
// SIGSTOP, before a server that answers at once. Requests that were due then are late by up to that; the server owes none of it.
test('a stall of the generator itself is shown as its own lateness', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'open-loop-'));
  t.onTestFinished(() => rmSync(dir, { recursive: true }));
  const requests = join(dir, 'requests');
  writeRequests(requests, pixelRequests());
  let served = 0;
  const { promise: halfWay, resolve: reached } = Promise.withResolvers<void>();
  const server = createServer((_, res) => {
    served += 1;
    if (served === 250) reached();
    res.end('ok');
  }).listen(0, '127.0.0.1');
  t.onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const flags = [
    '-addr',
    address,
    '-requests',
    requests,
    '-rate',
    '500',
    '-seconds',
    '1',
    '-connections',
    '256',
    '-nap',
  ];
  const child = spawn(buildGo('load/open-loop', dir), flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk));
  const closed = new Promise((resolve) => child.once('close', resolve));
  await halfWay;
  child.kill('SIGSTOP');
  await sleep(1000);
  child.kill('SIGCONT');
  await closed;
  const reply = JSON.parse(out) as OpenReply;
  assert.equal(reply.answered, 500);
  assert.ok(reply.lateP99Us > 900_000, `lateP99Us=${reply.lateP99Us}`);
  assert.ok(reply.p99Us > 900_000, `the latency counts from when they were due: p99Us=${reply.p99Us}`);
  assert.ok(reply.servedP99Us < reply.p99Us / 2, `servedP99Us=${reply.servedP99Us}, p99Us=${reply.p99Us}`);
});

// Goal: percentiles of the generator are true.  Method: a server that answers every tenth request 20 ms later.
test('percentiles stand where the delays were put', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'open-loop-'));
  t.onTestFinished(() => rmSync(dir, { recursive: true }));
  const requests = join(dir, 'requests');
  writeRequests(requests, pixelRequests());
  const worker = new Worker(
    `const { createServer } = require('node:http');
     let n = 0;
     const server = createServer((_, res) => { if (++n % 10 === 0) setTimeout(() => res.end(), 20); else res.end(); });
     server.listen(0, '127.0.0.1', () => require('node:worker_threads').parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  t.onTestFinished(async () => void (await worker.terminate()));
  const port = await new Promise<number>((resolve) => worker.once('message', resolve));
  const binary = buildGo('load/open-loop', dir);
  const reply = await openLoop(requests, { binary, connections: 32, seconds: 1, rate: 500, nap: true }).run(
    `http://127.0.0.1:${port}`,
  );
  assert.equal(reply.answered, 500);
  assert.ok(reply.p50Us < 15_000, `p50Us=${reply.p50Us}`);
  assert.ok(reply.p99Us > 19_000, `p99Us=${reply.p99Us}`);
});
