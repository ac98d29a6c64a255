/** Many clients at once against the real process: exactly once, an open crowd, hostile slowness, and the load generators people bring. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
// @ts-expect-error: the package brings no types.
import autocannonOf from 'autocannon';
import { expect, test } from 'vitest';
import { RawConnection, request, requestBytes } from '../http/raw.ts';
import { ensureCommand } from '../servers/apt.ts';
import type { Collector } from '../servers/collector.ts';
import { startSmall } from './small-collector.ts';

const autocannon = autocannonOf as (options: Readonly<Record<string, unknown>>) => Promise<{
  readonly errors: number;
  readonly timeouts: number;
  readonly non2xx: number;
  readonly '2xx': number;
}>;

/** Waits until the file has `count` lines, and a little longer for one too many. */
async function linesOf(server: Collector, count: number): Promise<string[]> {
  await expect.poll(() => server.lines().length).toBeGreaterThanOrEqual(count);
  await sleep(100);
  return server.lines();
}

for (const ack of ['journal', 'sync']) {
  test(`500 clients at once, ACK=${ack}: each acknowledged event is recorded exactly once, none is invented`, async (t) => {
    const server = await startSmall(t, 21240, { ACCEPTORS: '2', ACK: ack });
    const acknowledged = new Set<string>();
    const sent = new Set<string>();
    const client = async (index: number) => {
      const connection = await RawConnection.open(server.port);
      for (let i = 0; i < 10; i++) {
        const ids = Array.from({ length: index % 3 === 0 ? 3 : 1 }, () => randomUUID());
        for (const id of ids) sent.add(id);
        connection.send(
          index % 3 === 0
            ? requestBytes('/collect', { method: 'POST', body: JSON.stringify(ids.map((id) => ({ event_id: id }))) })
            : requestBytes(`/px.gif?event_id=${ids[0]}`),
        );
        const answer = await connection.answer(20_000);
        if (answer !== undefined && answer.status < 300) for (const id of ids) acknowledged.add(id);
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: 500 }, (_, index) => client(index)));
    assert.equal(acknowledged.size, sent.size, 'every request must be answered 2xx');
    const lines = await linesOf(server, acknowledged.size);
    const recorded = lines.map((line) => (JSON.parse(line) as { event_id: string }).event_id);
    assert.equal(recorded.length, acknowledged.size);
    assert.deepEqual(new Set(recorded), acknowledged);
    await expect.poll(() => server.metric('ringmain_accepted_events_total')).toBe(acknowledged.size);
  });
}

// Goal: 10,000 open connections with a request every 5 s each are served without an error, in bounded memory.
// Method: open them (fewer where the limit of open files forbids), let each ask every 5 s, measure. LONG=1: for 30 s.
test('a crowd of open connections with a request every 5 s', async (t) => {
  const files = Number(execFileSync('sh', ['-c', 'ulimit -Hn']).toString().replace('unlimited', '1000000'));
  const crowd = Math.min(10_000, files - 1000);
  const server = await startSmall(t, 21245, { ACCEPTORS: '2', MAX_CONNECTIONS: String(files - 500) });
  const before = server.rss();
  const bytes = requestBytes('/px.gif?e=crowd', { headers: ['User-Agent: crowd'] });
  const waits: number[] = [];
  let answered = 0;
  let lost = 0;
  const sockets: Socket[] = [];
  const sentAt = new Float64Array(crowd);
  const open = (index: number) =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true }, resolve);
      socket.on('data', () => {
        // Each answer is one segment.
        answered += 1;
        waits.push(performance.now() - sentAt[index]!);
      });
      socket.on('close', () => (lost += 1));
      socket.on('error', reject);
      sockets.push(socket);
    });
  for (let at = 0; at < crowd; at += 200)
    await Promise.all(Array.from({ length: Math.min(200, crowd - at) }, (_, i) => open(at + i)));
  assert.equal(await server.metric('ringmain_http_connections_shed_total'), 0);
  const started = performance.now();
  let asked = 0;
  // Spread over the 5 s, as clients are.
  const slice = Math.ceil(crowd / 100);
  const crowdMs = process.env['LONG'] ? 30_000 : 8000;
  while (performance.now() - started < crowdMs) {
    const turn = Math.floor((performance.now() - started) / 50);
    for (; asked < (turn + 1) * slice; asked++) {
      const index = asked % crowd;
      sentAt[index] = performance.now();
      sockets[index]!.write(bytes);
    }
    await sleep(10);
  }
  await expect.poll(() => answered + lost).toBeGreaterThanOrEqual(asked);
  const rss = server.rss();
  const gone = lost;
  for (const socket of sockets) socket.destroy();
  waits.sort((a, b) => a - b);
  const p99 = waits[Math.floor(waits.length * 0.99)]!;
  t.annotate(
    `${crowd} connections, ${answered} answers, p50 ${waits[waits.length >> 1]!.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
  );
  t.annotate(`resident memory ${(before / 1048576).toFixed(0)} -> ${(rss / 1048576).toFixed(0)} MB`);
  assert.equal(gone, 0, 'no connection may be closed');
  assert.equal(answered, asked);
  assert.ok(p99 < 1000, `p99 must stay below 1 s: ${p99}`);
  assert.ok(rss - before < 150 * 1024 * 1024, `10,000 connections must not cost more than 15 KB each: ${rss - before}`);
  assert.equal((await linesOf(server, asked)).length, asked);
});

test('slow and hostile clients never slow others', async (t) => {
  const server = await startSmall(t, 21246, { BODY_TIMEOUT_MS: '1000' });
  const hostile = await Promise.all(Array.from({ length: 300 }, () => RawConnection.open(server.port)));
  const big = 'x'.repeat(200_000);
  for (const [i, connection] of hostile.entries()) {
    const kind = i % 5;
    if (kind === 0) connection.send('GET /px.gif?slow=');
    else if (kind === 1) connection.send('POST /collect HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n[');
    else if (kind === 2)
      connection.send(`POST /collect HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n${big}`);
    else if (kind === 3) connection.send(Buffer.alloc(1000, 'GET / HTTP/9'));
    // Asks for much and reads nothing.
    else {
      connection.socket.pause();
      for (let n = 0; n < 200; n++) connection.send(requestBytes('/metrics'));
    }
  }
  const waits: number[] = [];
  for (let n = 0; n < 200; n++) {
    const at = performance.now();
    assert.equal((await request(server.port, `/px.gif?e=ok${n}`)).status, 200);
    waits.push(performance.now() - at);
    await sleep(5);
  }
  for (const connection of hostile) connection.close();
  waits.sort((a, b) => a - b);
  assert.ok(waits[190]! < 250, `p95 beside hostile clients must stay below 250 ms: ${waits[190]}`);
  assert.ok(server.running);
  assert.ok(server.rss() < 400 * 1024 * 1024);
});

test('ACK=sync: an answer waits for the disk; a client that pipelines is closed without a lie', async (t) => {
  const server = await startSmall(t, 21247, { ACK: 'sync', COOKIES: 'off' });
  assert.equal((await request(server.port, '/px.gif?e=one')).headers['ringmain-ack'], 'sync');
  const connection = await RawConnection.open(server.port);
  t.onTestFinished(() => connection.close());
  connection.send(Buffer.concat([requestBytes('/px.gif?e=p1'), requestBytes('/px.gif?e=p2')]));
  assert.equal(await connection.answer(), undefined);
  const lines = await linesOf(server, 2);
  assert.ok(!lines.some((line) => line.includes('"p2"')), 'the request that was not read must not be recorded');
  assert.equal((await request(server.port, '/px.gif?e=next')).status, 200);
});

// With DEFER=auto a busy acceptor gathers requests, and the addon closes a connection whose next request comes meanwhile: the first burst of
// a client that pipelines may be cut, once; from then on the acceptor answers in place. DEFER=off never gathers.
const cannons: readonly (readonly [target: string, pipelining: number, defer: string, errorsMax: number])[] = [
  ['/px.gif?e=cannon&a=1', 1, 'auto', 0],
  ['/collect', 1, 'auto', 0],
  ['/px.gif?e=cannon&a=1', 10, 'off', 0],
  ['/collect', 10, 'off', 0],
  ['/px.gif?e=cannon&a=1', 10, 'auto', 50],
];
for (const [target, pipelining, defer, errorsMax] of cannons) {
  const clean = errorsMax === 0 ? 'runs clean' : 'loses one burst at most';
  test(`autocannon with ${pipelining} request(s) in flight per connection, DEFER=${defer}, ${clean} on ${target}`, async (t) => {
    const server = await startSmall(t, 21250, { ACCEPTORS: '1', DEFER: defer });
    const amount = 20_000;
    const connections = 50;
    const result = await autocannon({
      url: `http://127.0.0.1:${server.port}${target}`,
      connections,
      pipelining,
      amount,
      ...(target === '/collect'
        ? { method: 'POST', body: '[{"e":"cannon"}]', headers: { 'content-type': 'application/json' } }
        : {}),
    });
    assert.deepEqual([result.timeouts, result.non2xx], [0, 0]);
    assert.ok(result.errors <= errorsMax, `connections cut: ${result.errors}`);
    const answered = result['2xx'];
    // With several in flight it ends without reading the answers to its last ones, so it counts fewer than it sent.
    const unread = pipelining > 1 ? connections * pipelining : 0;
    assert.ok(answered >= amount - unread - errorsMax * pipelining && answered <= amount, `answered: ${answered}`);
    const lines = await linesOf(server, answered);
    const most = answered + unread + result.errors;
    assert.ok(lines.length >= answered && lines.length <= most, `${lines.length} lines for ${answered} answers`);
  });
}

test('wrk runs clean', async (t) => {
  await ensureCommand('wrk', 'wrk');
  const server = await startSmall(t, 21252);
  const url = `http://127.0.0.1:${server.port}/px.gif?e=wrk`;
  const { stdout } = spawnSync('wrk', ['-t1', '-c64', '-d3s', url], { encoding: 'utf8', timeout: 30_000 });
  assert.doesNotMatch(stdout, /Socket errors|Non-2xx/);
  const answered = Number(/(\d+) requests in/.exec(stdout)![1]);
  assert.ok(answered > 1000, stdout);
  const lines = await linesOf(server, answered);
  assert.ok(
    lines.length >= answered && lines.length <= answered + 64,
    `${lines.length} lines for ${answered} answers, 64 in flight`,
  );
});
