/** The HTTP sink in the real collector: what its few lines leave to the runner. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { summarize } from '../../../src/delivery/dead-letter-replay.ts';
import { exitCodes } from '../../../src/kernel/errors.ts';
import { Collector } from '../../servers/collector.ts';
import { faultProxy } from '../../servers/fault-proxy.ts';

const HTTP = 21620;

test('the collector posts every event, through an outage, and keeps what is refused', async (t) => {
  const got: number[] = [];
  const replayed: string[] = [];
  let lenient = false;
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request.setEncoding('utf8')) text += part;
    const numbers = text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { props: { n: number } }).props.n);
    response.statusCode = numbers.includes(13) && !lenient ? 422 : 200;
    const key = String(request.headers['idempotency-key']);
    if (key.startsWith('replay:')) replayed.push(key);
    if (response.statusCode === 200) got.push(...numbers);
    response.end('the number 13');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const proxy = await faultProxy(t, { target: { port: (server.address() as AddressInfo).port } });
  const env = {
    OUTPUTS: 'http',
    HTTP_SINK_URL: `http://${proxy.address}/in`,
    HTTP_SINK_SECRET: 's',
    HTTP_SINK_FLUSH_MS: '10',
  };
  const collector = new Collector(t, { port: HTTP, env });
  await collector.start();
  const numbered = (from: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({ e: 'view', props: { n: from + at } }));
  await collector.deliver(numbered(0, 100));
  await expect.poll(() => got.length, { message: 'the first part has arrived' }).toBe(99);
  const delivered = () => collector.metric('ringmain_sink_delivered_total', 'http');
  // Whose answer is lost is posted again: this sink delivers at least once.
  await expect.poll(delivered, { message: 'and its answers' }).toBe(99);
  await proxy.refuse();
  await collector.deliver(numbered(100, 100));
  await expect.poll(async () => (await collector.ready()).status, { message: 'readyz names the sink' }).toBe(503);
  assert.match((await collector.ready()).text, /"http"/);
  await proxy.heal();
  await expect.poll(() => got.length, { message: 'the rest has arrived' }).toBe(199);
  assert.deepEqual(
    got.toSorted((a, b) => a - b),
    numbered(0, 200)
      .map(({ props }) => props.n)
      .filter((n) => n !== 13),
  );
  await expect.poll(delivered, { message: 'the ledger agrees' }).toBe(199);
  assert.equal(await collector.metric('ringmain_sink_dead_letters_total', 'http'), 1);
  const [summary] = summarize(join(collector.folder, 'data', 'dead-letters'), 'http');
  assert.equal(summary!.pending, 1);
  assert.match(summary!.reasons[0]![0], /status=422, answer=the number 13/);

  const main = join(import.meta.dirname, '..', '..', '..', 'dist', 'main.js');
  const replay = () => {
    const options = { cwd: collector.folder, env: { ...env, PATH: process.env['PATH'] }, encoding: 'utf8' } as const;
    return promisify(execFile)(process.execPath, [main, 'deadletter', 'replay', 'http'], options);
  };
  await proxy.refuse();
  await assert.rejects(replay(), (error: { code: number; stderr: string }) => {
    assert.equal(error.code, exitCodes.temporary);
    assert.match(error.stderr, /replay cannot reach its sink: sink=http, delivered=0, reason=.*stay pending/);
    return true;
  });
  assert.equal(summarize(join(collector.folder, 'data', 'dead-letters'), 'http')[0]!.pending, 1);
  await proxy.heal();
  await assert.rejects(replay(), { code: exitCodes.failed, stdout: '0 delivered, 1 rejected again\n' });
  lenient = true;
  assert.equal((await replay()).stdout, '1 delivered, 0 rejected again\n');
  await assert.rejects(replay(), (error: { code: number; stderr: string }) => {
    assert.equal(error.code, exitCodes.failed);
    assert.match(error.stderr, /^nothing to replay: no letter of http is pending in /);
    return true;
  });
  assert.equal(got.length, 200);
  assert.match(replayed[0]!, /^replay:[0-9a-f]{32}$/);
  assert.deepEqual(replayed, [replayed[0], replayed[0]], 'a letter keeps its key');
  assert.equal(await collector.kill('SIGTERM'), 0);
});
