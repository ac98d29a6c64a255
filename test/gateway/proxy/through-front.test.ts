/**
 * Goal: clients of the gateway get whole answers although a backend dies, see that one which broke off is not whole, and
 * are told when to come again.
 * Method: the front on a real server of the addon, the balancer and the upstream behind it, backends of node:http.
 */
import { expect, onTestFinished, test } from 'vitest';
import { RetryBudget } from '../../../src/gateway/balance/retry-budget.ts';
import type { Guard } from '../../../src/gateway/front/guard.ts';
import { PoolUpstream } from '../../../src/gateway/proxy/pool-upstream.ts';
import type { Upstream } from '../../../src/gateway/proxy/upstream.ts';
import type { Route } from '../../../src/http/router.ts';
import { type Balanced, balanced } from '../balance/table.ts';
import { startRig } from '../front/rig.ts';
import { standIn } from './stand-in.ts';

const PORT = 24_340;
const SIZE = 300_000;

function relayed(guard: Guard, upstream: Upstream): Route {
  const get = guard.route({ route: 'image', scope: 'read' }, async (exchange) => {
    const { target, requestId, signal } = exchange;
    const headers = { 'X-Request-Id': requestId };
    const answer = await upstream.get({ method: 'GET', path: target, headers, signal });
    exchange.backendId = answer.backendId;
    const writer = exchange.stream(answer.status, answer.headers, answer.length);
    const flow = answer.pipe({
      chunk(bytes) {
        const room = writer.write(bytes);
        if (!room) writer.drained(() => flow.resume());
        return room;
      },
      end: () => writer.end(),
      failed: () => writer.abort(),
    });
  });
  return { name: 'image', path: '/*', cors: guard.cors, on: { GET: get } };
}

function start(port: number, urls: readonly string[]): Balanced & { get(path: string): Promise<Response> } {
  const all = balanced(
    urls.map((url) => ({ url })),
    { ejectMs: 60_000 },
  );
  const upstream = new PoolUpstream(
    { balancer: all.balancer, budget: new RetryBudget(all.table, 20), retried: () => undefined },
    { connectMs: 500, headMs: 1000, bodyMs: 1000, wholeMs: 10_000 },
  );
  onTestFinished(() => upstream.close());
  startRig(port, { routes: (guard) => [relayed(guard, upstream)] });
  return {
    ...all,
    get: (path) =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'X-API-Key': 'good', 'X-Request-Id': 'abc' } }),
  };
}

test('a backend that begins to refuse costs no client anything, and is out soon', async (t) => {
  let dead = false;
  const body = Buffer.alloc(SIZE, 'x');
  const [first, second] = await Promise.all(
    [0, 1].map((i) =>
      standIn(t, PORT + 1 + i, (req, res) => {
        if (dead && i === 0) req.socket.destroy();
        else res.writeHead(200, { 'Content-Length': String(SIZE) }).end(body);
      }),
    ),
  );
  const all = start(PORT, [first!.url, second!.url]);
  for (let i = 0; i < 40; i++) {
    dead = i >= 20;
    const answer = await all.get(`/${i}`);
    expect(answer.status).toBe(200);
    expect(Buffer.from(await answer.arrayBuffer()).equals(body)).toBe(true);
  }
  expect(first!.seen.length, 'ten that went well, five failures in a row').toBe(15);
  expect(first!.seen[0]!.headers['x-request-id']).toBe('abc');
  expect(first!.seen[0]!.headers['x-api-key']).toBeUndefined();
  expect(all.standing(1).in_flight + all.standing(2).in_flight).toBe(0);
});

test('an answer that breaks off is not whole for the client either; no backend is 503 with Retry-After', async (t) => {
  const cut = await standIn(t, PORT + 4, (_req, res) => {
    res.writeHead(200, { 'Content-Length': String(SIZE) });
    res.write(Buffer.alloc(SIZE / 2), () => res.destroy());
  });
  const all = start(PORT + 3, [cut.url]);
  await expect((await all.get('/a')).arrayBuffer()).rejects.toThrow();
  all.place([{ url: cut.url, draining: true }]);
  const answer = await all.get('/a');
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ code: 'NO_BACKEND' });
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
});

test('a backend that is about to close a kept connection is asked on another one, and no client sees a 502', async (t) => {
  const sockets = new Set<object>();
  let timeout = 1;
  const backend = await standIn(t, PORT + 6, (req, res) => {
    // Its time is over: the connection ends while a request is on its way.
    if (timeout === 1 && sockets.has(req.socket)) req.socket.destroy();
    else res.writeHead(200, { Connection: 'keep-alive', 'Keep-Alive': `timeout=${timeout}` }).end('a');
    sockets.add(req.socket);
  });
  const all = start(PORT + 5, [backend.url]);
  for (let i = 1; i <= 5; i++) {
    const answer = await all.get(`/${i}`);
    expect([answer.status, await answer.text(), sockets.size]).toEqual([200, 'a', i]);
  }
  // One that keeps it for longer is asked on it again.
  timeout = 60;
  sockets.clear();
  for (let i = 1; i <= 5; i++) expect((await all.get(`/${i}`)).status).toBe(200);
  expect(sockets.size).toBe(1);
});
