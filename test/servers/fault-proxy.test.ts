/** The proxy's faults are exact: what a test of a sink blames on the network was done by the network. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { faultProxy } from './fault-proxy.ts';

/** A server that records what it got and answers each byte with the same byte. */
async function echo(t: TestContext, port: number) {
  const got: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      got.push(chunk);
      socket.write(chunk);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { received: () => Buffer.concat(got).length };
}

async function client(t: TestContext, port: number) {
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
  const got: Buffer[] = [];
  const state = { socket, error: '', closed: false, received: () => Buffer.concat(got).length };
  socket.on('error', (error) => (state.error = (error as NodeJS.ErrnoException).code ?? 'unknown'));
  socket.on('close', () => (state.closed = true));
  socket.on('data', (chunk) => got.push(chunk));
  t.onTestFinished(() => void socket.destroy());
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {}); // refused: state.error has it
  return state;
}

test('passes bytes both ways, also a half-closed client its whole answer', async (t) => {
  const server = await echo(t, 21490);
  const proxy = await faultProxy(t, { target: { port: 21490 } });
  const one = await client(t, proxy.port);
  one.socket.end(Buffer.alloc(300_000, 7));
  await expect.poll(() => one.received()).toBe(300_000);
  await expect.poll(() => one.closed).toBe(true);
  assert.equal(server.received(), 300_000);
  assert.deepEqual(proxy.passed, { toTarget: 300_000, toClient: 300_000 });
  await expect.poll(() => proxy.open).toBe(0);
});

test('cuts after exactly n bytes towards the target, once', async (t) => {
  const server = await echo(t, 21491);
  const proxy = await faultProxy(t, { target: { port: 21491 } });
  const one = await client(t, proxy.port);
  one.socket.write(Buffer.alloc(1000));
  await expect.poll(() => one.received()).toBe(1000);
  const cut = proxy.cutAfter('toTarget', 1500);
  one.socket.write(Buffer.alloc(1000));
  one.socket.write(Buffer.alloc(1000));
  await cut;
  await expect.poll(() => one.closed).toBe(true);
  await expect.poll(() => server.received()).toBe(2500);
  assert.equal(proxy.cuts, 1);
  const two = await client(t, proxy.port);
  two.socket.write(Buffer.alloc(5000));
  await expect.poll(() => two.received()).toBe(5000);
});

test('cuts after exactly n bytes towards the client', async (t) => {
  await echo(t, 21492);
  const proxy = await faultProxy(t, { target: { port: 21492 } });
  const one = await client(t, proxy.port);
  const cut = proxy.cutAfter('toClient', 77);
  one.socket.write(Buffer.alloc(1000));
  await cut;
  await expect.poll(() => one.closed).toBe(true);
  assert.equal(one.received(), 77);
});

test('silence accepts and takes in bytes, answers nothing, and heals', async (t) => {
  const server = await echo(t, 21493);
  const proxy = await faultProxy(t, { target: { port: 21493 } });
  const before = await client(t, proxy.port);
  proxy.silence();
  const during = await client(t, proxy.port);
  before.socket.write(Buffer.alloc(10));
  during.socket.write(Buffer.alloc(100_000));
  await expect.poll(() => during.socket.writableLength).toBe(0);
  await sleep(50);
  assert.deepEqual([before.received(), during.received(), server.received()], [0, 0, 0]);
  assert.deepEqual([before.closed, during.closed], [false, false]);
  await proxy.heal();
  await expect.poll(() => before.closed).toBe(true);
  const after = await client(t, proxy.port);
  after.socket.write(Buffer.alloc(10));
  await expect.poll(() => after.received()).toBe(10);
});

test('freeze holds bytes back without losing one', async (t) => {
  const server = await echo(t, 21494);
  const proxy = await faultProxy(t, { target: { port: 21494 } });
  const one = await client(t, proxy.port);
  one.socket.write(Buffer.alloc(10));
  await expect.poll(() => one.received()).toBe(10);
  proxy.freeze();
  const two = await client(t, proxy.port);
  one.socket.write(Buffer.alloc(20));
  two.socket.write(Buffer.alloc(20_000_000));
  await sleep(50);
  assert.equal(server.received(), 10);
  assert.ok(two.socket.writableLength > 0, 'the sender never ran into back-pressure');
  await proxy.heal();
  await expect.poll(() => one.received()).toBe(30);
  await expect.poll(() => two.received()).toBe(20_000_000);
});

test('refuse turns connections away and heal listens on the same port', async (t) => {
  await echo(t, 21495);
  const proxy = await faultProxy(t, { target: { port: 21495 } });
  const port = proxy.port;
  const one = await client(t, port);
  await proxy.refuse();
  await expect.poll(() => one.closed).toBe(true);
  const two = await client(t, port);
  assert.equal(two.error, 'ECONNREFUSED');
  await proxy.heal();
  assert.equal(proxy.port, port);
  const three = await client(t, port);
  three.socket.write(Buffer.alloc(5));
  await expect.poll(() => three.received()).toBe(5);
});

test('delay keeps order', async (t) => {
  await echo(t, 21496);
  const proxy = await faultProxy(t, { target: { port: 21496 } });
  proxy.delay(100);
  const one = await client(t, proxy.port);
  const start = performance.now();
  one.socket.write(Buffer.alloc(5));
  await expect.poll(() => one.received()).toBe(5);
  assert.ok(performance.now() - start >= 195, 'each direction delays once');
});
