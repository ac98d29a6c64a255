/** Fairness on a real server of the addon: one connection floods, another one is answered. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { onTestFinished, test } from 'vitest';
import { endBare } from '../../src/http/answer.ts';
import { BodyReader } from '../../src/http/body.ts';
import { encodingOf } from '../../src/http/decompress.ts';
import { Fairness } from '../../src/http/fairness.ts';
import { type CloseReason, endWhole } from '../../src/http/hold-back.ts';
import { later } from '../../src/http/reply.ts';
import type { Handler, Route } from '../../src/http/router.ts';
import { type Answer, freePort, RawConnection, request, requestBytes } from './raw.ts';
import { startRoutes } from './routes.ts';

const port = await freePort(21396);
const text: Handler = (res, _req, at) => {
  at.tally.answered(200);
  if (at.head) endBare(res, 6, false);
  else res.end('a body');
};
const MEDIUM = 'x'.repeat(8 * 1024);
const ONE = requestBytes('/text');
const LARGE = 'x'.repeat(1024 * 1024);

function start() {
  const closed: CloseReason[] = [];
  const fairness = new Fairness((reason) => closed.push(reason));
  const bodies = new BodyReader(
    { maxBodyBytes: 2 ** 20, bodyMemoryBytes: 2 ** 22, bodyTimeoutMs: 1000 },
    undefined,
    fairness,
  );
  onTestFinished(() => bodies.close());
  const routes: Route[] = [
    { name: 'text', path: '/text', on: { GET: text, HEAD: text } },
    { name: 'user', path: '/users/:id', on: { GET: (res, req) => void res.end(`user ${req.getParameter(0)}`) } },
    { name: 'web', path: '/*', on: { GET: (res, req) => void res.end(`web ${req.getUrl()}`) } },
    { name: 'medium', path: '/medium', on: { GET: later((reply) => reply.bytes(200, 'text/plain', MEDIUM)) } },
    { name: 'large', path: '/large', on: { GET: later((reply) => reply.bytes(200, 'text/plain', LARGE)) } },
    {
      name: 'body',
      path: '/body',
      takesBody: true,
      on: {
        POST: later(async (reply, req) =>
          reply.bytes(200, 'text/plain', String((await reply.body(req, bodies)).length)),
        ),
      },
    },
    {
      name: 'read',
      path: '/read',
      takesBody: true,
      on: {
        POST: (res, req, at) => {
          bodies.read(res, at.framing, encodingOf(req.getHeader('content-encoding'))!, {
            body: (bytes) => void res.end(`read ${bytes.length}`),
            failed: () => undefined,
            aborted: () => undefined,
          });
        },
      },
    },
  ];
  const onClose = (reason: CloseReason) => void closed.push(reason);
  return { ...startRoutes(port, routes, { fairness, wire: { closing: false, onClose } }), closed };
}

/** Writes as fast as the socket takes it, on a new connection whenever the last one was closed. Ends with the test. */
function flood(bytes: string | Buffer, reads: boolean): () => number {
  const chunk = Buffer.alloc(64 * 1024 - ((64 * 1024) % bytes.length), bytes as string);
  let opened = 0;
  let over = false;
  let socket = connect(port, '127.0.0.1');
  const open = () => {
    if (over) return;
    opened += 1;
    socket = connect(port, '127.0.0.1');
    if (reads) socket.resume();
    const write = () => {
      while (!over && socket.writable && socket.write(chunk));
    };
    socket
      .on('connect', write)
      .on('drain', write)
      .on('error', () => undefined)
      .on('close', () => setImmediate(open));
  };
  socket.on('connect', () => socket.destroy()).on('close', open);
  onTestFinished(() => {
    over = true;
    socket.destroy();
  });
  return () => opened;
}

// Goal: one socket never keeps another client waiting. Method: this thread floods and serves, so what is held is what
// the flood gets per turn: the slowest of twenty answers to others while it runs. Without the bound none comes at all.
const floods: readonly (readonly [string, Buffer, boolean])[] = [
  ['GETs', requestBytes('/text'), true],
  ['GETs whose answers nobody reads', requestBytes('/text'), false],
  ['requests of a method that no route has', requestBytes('/users/1', { method: 'BREW' }), true],
  ['404s', requestBytes('/text/none', { method: 'POST' }), true],
  ['POSTs', requestBytes('/read', { method: 'POST', body: '{}' }), true],
  ['HEADs, whose answers have no body', requestBytes('/text', { method: 'HEAD' }), true],
  ['OPTIONS, answered 204', requestBytes('/text', { method: 'OPTIONS' }), false],
];
for (const [name, bytes, reads] of floods) {
  test(`another client is answered while one socket floods with ${name}`, async () => {
    const { closed } = start();
    const opened = flood(bytes, reads);
    for (let i = 0; i < 20; i++) {
      const started = performance.now();
      assert.equal((await request(port, `/users/${i}`)).text(), `user ${i}`);
      assert.ok(performance.now() - started < 5000, `answer ${i} must not wait for the flood`);
    }
    assert.ok(opened() > 1 && closed.length > 0, 'the flood is closed again and again');
  });
}

test('a connection over its share is told 429 behind all answers that it is owed, and closed', async () => {
  const { closed } = start();
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  connection.send(Buffer.concat(Array.from({ length: 2000 }, () => requestBytes('/text'))));
  let answered = 0;
  let answer = await connection.answer();
  for (; answer?.status === 200; answer = await connection.answer()) answered += 1;
  assert.equal(answer?.status, 429);
  assert.equal(answer.headers['connection'], 'close');
  assert.equal((answer.json() as { code: string }).code, 'BACKPRESSURE');
  assert.ok(answered >= 256 && answered < 600, `answered=${answered}`);
  await connection.closed();
  assert.deepEqual(closed, ['pipelined']);
});

// Goal: what is looked at is served like any other request. Method: 64 requests in one read, over and over, of every kind
// of pattern; each answer is compared, and one in 64 of them was routed twice.
test('clients that pipeline up to 64 requests get every answer, in order', async () => {
  const { closed, faults } = start();
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  const kinds: readonly ((i: number) => readonly [Buffer, number, string])[] = [
    (i) => [requestBytes(`/users/${i}`), 200, `user ${i}`],
    (i) => [requestBytes(`/any/${i}`), 200, `web /any/${i}`],
    (i) => [requestBytes('/read', { method: 'POST', body: 'y'.repeat(i) }), 200, `read ${i}`],
    (i) => [requestBytes(`/users/${i}`, { method: 'PUT' }), 405, ''],
    (i) => [requestBytes(`/none/${i}`, { method: 'DELETE' }), 405, ''],
  ];
  for (let round = 0; round < 40; round++) {
    const asked = Array.from({ length: 64 }, (_, i) => kinds[(i + round) % kinds.length]!(i));
    connection.send(Buffer.concat(asked.map(([bytes]) => bytes)));
    for (const [, status, body] of asked) {
      const answer = await connection.answer();
      assert.equal(answer?.status, status);
      if (body !== '') assert.equal(answer.text(), body);
    }
  }
  assert.deepEqual([closed, faults], [[], []]);
});

test('three hundred connections that send at once are nobody over its share', async () => {
  const { closed } = start();
  const connections = await Promise.all(Array.from({ length: 300 }, () => RawConnection.open(port)));
  onTestFinished(() => {
    for (const connection of connections) connection.close();
  });
  for (let round = 0; round < 8; round++) {
    // The last round: an answer without a body may end its connection.
    const head = round === 7;
    const bytes = head ? requestBytes('/text', { method: 'HEAD' }) : Buffer.alloc(4 * ONE.length, ONE);
    for (const connection of connections) connection.send(bytes);
    for (const connection of connections)
      for (let i = head ? 3 : 0; i < 4; i++) assert.equal((await connection.answer(5000, head))?.status, 200);
  }
  assert.deepEqual(closed, []);
});

test('a large answer reaches a slow reader whole, and a second request before it is read closes the connection', async () => {
  const { closed } = start();
  const slow = await RawConnection.open(port);
  onTestFinished(() => slow.close());
  slow.socket.pause();
  slow.send(requestBytes('/large'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  slow.socket.resume();
  assert.equal((await slow.answer())?.body.length, LARGE.length);
  const deaf = await RawConnection.open(port);
  onTestFinished(() => deaf.close());
  deaf.socket.pause();
  for (let i = 0; i < 30; i++) deaf.send(requestBytes('/large'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  deaf.socket.resume();
  await deaf.closed();
  const answers = deaf.rest.split('HTTP/1.1 200').length - 1;
  assert.ok(answers < 10, `of thirty large answers that nobody read few were buffered: ${answers}`);
  assert.ok(closed.includes('unread'), closed.join());
});

/** A header of PROXY protocol v2: TCP over IPv4 from this address. */
const proxyHeader = (address: string) =>
  Buffer.concat([
    Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex'),
    Buffer.from([...address.split('.').map(Number), 127, 0, 0, 1, 0x10, 0, 0x20, 0]),
  ]);

// Goal: a client's own header never gives it another address. Method: it is sent where a client behind a TCP proxy can
// send it: behind the first request of the connection, in the same read and in a later one.
test('only the first PROXY header of a connection counts, because nothing behind its first request is served', async () => {
  const closed: CloseReason[] = [];
  const seen: string[] = [];
  const address: Handler = (res, _req, at) => {
    seen.push(Buffer.from(res.getProxiedRemoteAddressAsText()).toString());
    endWhole(res, seen.at(-1)!, at.wire.closing);
  };
  const handlers: Route[] = [
    { name: 'address', path: '/address', on: { GET: address } },
    { name: 'later', path: '/later', on: { GET: later(async (reply) => reply.bytes(200, 'text/plain', 'later')) } },
  ];
  startRoutes(port, handlers, { single: (reason) => closed.push(reason), wire: { closing: true } });
  const [real, fake] = [proxyHeader('198.51.100.1'), proxyHeader('203.0.113.9')];
  for (const first of ['/address', '/later', '/none']) {
    const together = await RawConnection.open(port);
    together.send(Buffer.concat([real, requestBytes(first), fake, requestBytes('/address')]));
    await together.closed();
    const apart = await RawConnection.open(port);
    apart.send(Buffer.concat([real, requestBytes(first)]));
    assert.equal((await apart.answer())?.status, first === '/none' ? 404 : 200);
    apart.send(Buffer.concat([fake, requestBytes('/address')]));
    await apart.closed();
    assert.equal(apart.rest, '');
  }
  const twice = await RawConnection.open(port);
  twice.send(Buffer.concat([real, fake, requestBytes('/address')]));
  twice.socket.end();
  await twice.closed();
  assert.deepEqual(seen, ['198.51.100.1', '198.51.100.1']);
  assert.deepEqual(closed, ['pipelined', 'pipelined', 'pipelined']);
});

// Goal: small answers that nobody reads do not pile up without a bound. Method: a client far below its share of a turn
// sends and never reads, until the buffers of the kernel are full; it is closed soon after.
test('a client that sends little at a time and never reads is closed', async () => {
  const { closed, count } = start();
  const deaf = await RawConnection.open(port);
  onTestFinished(() => deaf.close());
  deaf.socket.pause();
  const some = Buffer.concat(Array.from({ length: 50 }, () => requestBytes('/medium')));
  let over = false;
  deaf.socket.on('close', () => {
    over = true;
  });
  for (let i = 0; i < 1000 && closed.length === 0 && !over; i++) {
    deaf.send(some);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.deepEqual(closed, ['unread']);
  const megabytes = (count('medium 2xx') * MEDIUM.length) / 2 ** 20;
  assert.ok(megabytes < 64, `answers of ${megabytes} MiB were made for nobody`);
});

// Goal: answers without a body, which the addon cannot hold back, do not pile up for a client that never reads. Method:
// nobody can tell who reads, so every connection ends some time; a client that reads is told so, in a whole answer.
for (const method of ['HEAD', 'OPTIONS']) {
  test(`a connection that asks for answers without a body (${method}) ends after some hundreds`, async () => {
    const { closed } = start();
    const connection = await RawConnection.open(port);
    onTestFinished(() => connection.close());
    let answer: Answer | undefined;
    let answers = 0;
    while (answers < 6000 && answer?.headers['connection'] !== 'close') {
      connection.send(requestBytes('/text', { method }));
      answer = await connection.answer(5000, true);
      assert.equal(answer?.status, method === 'HEAD' ? 200 : 204);
      answers += 1;
    }
    assert.ok(answers < 6000, 'the connection goes on for ever');
    assert.equal(answer?.headers['content-length'], method === 'HEAD' ? '6' : undefined);
    await connection.closed(2000);
    assert.equal(connection.rest, '');
    assert.deepEqual(closed, [], 'it was not over its share');
  });
}

test('small bodies that unpack to much are a large share', async () => {
  const { closed } = start();
  const body = gzipSync(Buffer.alloc(200 * 1024, 'a'));
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  const one = requestBytes('/read', { method: 'POST', headers: ['Content-Encoding: gzip'], body });
  connection.send(Buffer.concat(Array.from({ length: 200 }, () => one)));
  let answered = 0;
  let answer = await connection.answer();
  for (; answer?.status === 200; answer = await connection.answer()) answered += 1;
  assert.ok(answered < 30, `answered=${answered}`);
  assert.equal(
    answer?.status,
    429,
    'the few answers before it are still in the buffer of the addon, and leave with it',
  );
  assert.deepEqual(closed, ['pipelined']);
});
