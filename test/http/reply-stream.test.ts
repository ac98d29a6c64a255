/** Answers that are written piece by piece: how much a client that does not read may make the server hold. */
import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Fairness } from '../../src/http/fairness.ts';
import { later } from '../../src/http/reply.ts';
import type { ReplyStream } from '../../src/http/reply-stream.ts';
import type { Route } from '../../src/http/router.ts';
import { freePort, RawConnection, requestBytes } from './raw.ts';
import { startRoutes } from './routes.ts';

const port = await freePort(21360);
const PIECE = 'x'.repeat(1 << 20);
const PIECES = 64;

/** A route that writes PIECES as fast as its client takes them; how many were written, and whether the client has gone. */
function pieces() {
  const seen = { written: 0, gone: 0, stream: undefined as ReplyStream | undefined };
  const handler = later(async (reply) => {
    const stream = reply.stream(200, 'text/plain', {}, () => (seen.gone += 1));
    seen.stream = stream;
    while (stream?.open && seen.written < PIECES) {
      seen.written += 1;
      if (!stream.write(PIECE)) await stream.drained();
    }
    stream?.end();
  });
  startRoutes(port, [{ name: 'pieces', path: '/pieces', on: { GET: handler } }]);
  return seen;
}

test('the server writes no faster than the client reads', async () => {
  const seen = pieces();
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.pause();
  socket.write('GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n');
  await expect.poll(() => seen.stream?.behind).toBe(true);
  // What the sockets of both sides hold, and the piece that did not fit.
  expect(seen.written).toBeLessThan(PIECES / 2);
  let bytes = 0;
  socket.on('data', (chunk) => (bytes += chunk.length)).resume();
  await expect.poll(() => bytes).toBeGreaterThanOrEqual(PIECES * PIECE.length);
  expect(seen.written).toBe(PIECES);
});

test('a client that goes away is told once, and nothing waits for it', async () => {
  const seen = pieces();
  const socket = connect(port, '127.0.0.1');
  socket.pause();
  socket.write('GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n');
  await expect.poll(() => seen.stream?.behind).toBe(true);
  socket.destroy();
  await expect.poll(() => seen.gone).toBe(1);
  expect(seen.stream?.open).toBe(false);
  expect(seen.written).toBeLessThan(PIECES);
});

/** A few pieces, then the end. */
const three = later(async (reply) => {
  const stream = reply.stream(200, 'text/plain', {}, () => undefined);
  for (const piece of ['one', 'two', 'three']) {
    stream?.write(piece);
    await turn();
  }
  stream?.end();
});
const threeRoute: Route = { name: 'three', path: '/three', streams: true, on: { GET: three } };

// The addon writes Connection: close where the answer stands when it is asked to close.
test('an answer in pieces is whole when it is the last of its connection', async () => {
  startRoutes(port, [threeRoute], { wire: { closing: true } });
  for (let i = 0; i < 3; i++) {
    const answer = await fetch(`http://127.0.0.1:${port}/three`);
    expect(await answer.text()).toBe('onetwothree');
    expect(answer.headers.get('connection')).toBe('close');
  }
});

test('answers in pieces are whole, whichever of them fairness looks at', async () => {
  startRoutes(port, [threeRoute], { fairness: new Fairness(() => undefined) });
  // One of some 64 is looked at, and of those every fourth closes an answer without a body.
  for (let i = 0; i < 2000; i++)
    expect(await (await fetch(`http://127.0.0.1:${port}/three`)).text()).toBe('onetwothree');
});

test('with PROXY protocol an answer in pieces is whole, and nothing behind its request is served', async () => {
  const others: Route = { name: 'others', path: '/*', on: { GET: (res) => void res.end('other') } };
  startRoutes(port, [threeRoute, others], { single: () => undefined, wire: { closing: true } });
  const together = await RawConnection.open(port);
  together.send(Buffer.concat([requestBytes('/three'), requestBytes('/three')]));
  await together.closed();
  const apart = await RawConnection.open(port);
  apart.send(requestBytes('/three'));
  // The server closes by itself: no client has to.
  await apart.closed();
  expect(apart.rest).toMatch(
    /\r\nConnection: close\r\n[\s\S]*\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n$/,
  );
  expect(apart.rest.split('HTTP/1.1')).toHaveLength(2);
});

test('an answer that breaks off is not whole to its client', async () => {
  const handler = later((reply) => {
    const stream = reply.stream(200, 'text/plain', {}, () => undefined);
    stream?.write('half');
    stream?.breakOff();
  });
  startRoutes(port, [{ name: 'half', path: '/half', on: { GET: handler } }]);
  const answer = await fetch(`http://127.0.0.1:${port}/half`)
    .then((got) => got.text())
    .catch((error: Error) => error);
  expect(answer).toBeInstanceOf(Error);
});
