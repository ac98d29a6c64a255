/** Answers that come later, on a real server of the addon. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { onTestFinished, test } from 'vitest';
import { deliveryErrors } from '../../src/delivery/errors.ts';
import { BodyReader } from '../../src/http/body.ts';
import { Cors } from '../../src/http/cors.ts';
import { httpErrors } from '../../src/http/errors.ts';
import { serializerOf } from '../../src/http/json.ts';
import { later, type Reply } from '../../src/http/reply.ts';
import type { Route } from '../../src/http/router.ts';
import {
  type Answer,
  exchange,
  freePort,
  RawConnection,
  request,
  requestBytes,
  type Sent,
  sendThenRead,
} from './raw.ts';
import { startRoutes } from './routes.ts';

const port = await freePort(21320);
const userBody = serializerOf<{ id: string; name?: string }>({
  type: 'object',
  properties: { id: { type: 'string' }, name: { type: 'string' } },
  required: ['id'],
});
const MiB = 1 << 20;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Begins an answer at once and ends it in a later turn. */
function streamed(reply: Reply): void {
  const stream = reply.stream(200, 'text/plain', {}, () => undefined)!;
  stream.write('first and ');
  setImmediate(() => {
    stream.write('last');
    stream.end();
  });
}

/** Without its chunks' lengths. */
const bodyOf = (answer: Answer | undefined) =>
  answer?.headers['transfer-encoding'] === undefined
    ? answer?.text()
    : answer.text().replace(/[\da-f]+\r\n([^\r]*)\r\n(?:\r\n)?/g, '$1');

/** A gate that a test opens, and the replies that wait at it. */
function gate() {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const replies: Reply[] = [];
  return { open, opened, replies };
}
const arrived = async (replies: readonly Reply[], count: number) => {
  while (replies.length < count) await turn();
};
function bodies(limits: Partial<BodyReader['limits']> = {}): BodyReader {
  const reader = new BodyReader({ maxBodyBytes: 1000, bodyMemoryBytes: 2 ** 20, bodyTimeoutMs: 5000, ...limits });
  onTestFinished(() => reader.close());
  return reader;
}

test('JSON, bytes, an empty answer and HEAD leave after the await, each counted under its route', async () => {
  const wait = gate();
  const answer = later(async (reply, req) => {
    const id = req.getParameter(0)!;
    wait.replies.push(reply);
    await wait.opened;
    if (id === 'none') reply.empty(204);
    else if (id === 'moved') reply.empty(302, { Location: '/users/7' });
    else if (id === 'text') reply.bytes(200, 'text/csv', 'a,b\n', { 'Cache-Control': 'max-age=60' });
    else reply.json(201, userBody, { id });
  });
  const { count } = startRoutes(port, [{ name: 'user', path: '/users/:id', on: { GET: answer, HEAD: answer } }]);
  const asked = [
    request(port, '/users/7'),
    request(port, '/users/none'),
    request(port, '/users/moved'),
    request(port, '/users/text'),
    request(port, '/users/7', { method: 'HEAD' }),
  ];
  await arrived(wait.replies, asked.length);
  assert.equal(count('user 2xx') + count('user 3xx'), 0, 'nothing may leave before the await');
  wait.open();
  const [user, none, moved, text, head] = await Promise.all(asked);
  assert.equal(user!.status, 201);
  assert.equal(user!.text(), '{"id":"7"}');
  assert.equal(user!.headers['content-type'], 'application/json');
  assert.equal(user!.headers['cache-control'], 'no-store');
  assert.equal(none!.status, 204);
  assert.equal(moved!.headers['location'], '/users/7');
  assert.equal(text!.headers['cache-control'], 'max-age=60');
  assert.equal(head!.headers['content-length'], '10');
  assert.equal(count('user 2xx'), 4);
  assert.equal(count('user 3xx'), 1);
});

test('a connection goes on after an answer that came later', async () => {
  const route = later(async (reply) => {
    await turn();
    reply.json(200, userBody, { id: 'x' });
  });
  startRoutes(port, [{ name: 'a', path: '/a', on: { GET: route } }]);
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  for (let round = 0; round < 3; round++) {
    connection.send(requestBytes('/a'));
    assert.equal((await connection.answer())?.status, 200);
  }
});

test('a client that goes away meanwhile is told to the handler; answering then does nothing and counts nothing', async () => {
  const wait = gate();
  let told = false;
  const route = later(async (reply) => {
    wait.replies.push(reply);
    await once(reply.signal, 'abort');
    told = true;
    assert.equal(reply.open, false);
    reply.json(200, userBody, { id: 'x' });
    reply.problem(httpErrors.NOT_FOUND, { path: '/' });
  });
  const { count, faults } = startRoutes(port, [{ name: 'a', path: '/a', on: { GET: route } }]);
  const connection = await RawConnection.open(port);
  connection.send(requestBytes('/a'));
  await arrived(wait.replies, 1);
  connection.close();
  while (!told) await turn();
  await turn();
  assert.equal(count('a 2xx') + count('a 4xx'), 0);
  assert.deepEqual(faults, []);
  assert.equal((await request(port, '/none')).status, 404, 'the acceptor goes on');
});

test('what takes longer than its time is answered 503 once, and called off; the late answer is dropped', async () => {
  const wait = gate();
  const route = later(
    async (reply) => {
      wait.replies.push(reply);
      await once(reply.signal, 'abort');
      reply.json(200, userBody, { id: 'late' });
    },
    { timeoutMs: 30 },
  );
  const { count, faults } = startRoutes(port, [{ name: 'a', path: '/a', on: { GET: route } }]);
  const answers = await Promise.all([request(port, '/a'), request(port, '/a')]);
  for (const answer of answers) {
    assert.equal(answer.status, 503);
    assert.equal((answer.json() as { code: string }).code, 'ANSWER_TIMEOUT');
    assert.equal(answer.headers['retry-after'], '1');
  }
  assert.equal(count('a 5xx'), 2);
  assert.equal(count('a 2xx'), 0);
  assert.deepEqual(faults, []);
});

test('a shown error of the table is the answer; any other costs one 500 and one report', async () => {
  const failing = (error: unknown): Route['on'] => ({
    GET: later(async () => {
      await turn();
      throw error;
    }),
  });
  const { count, faults } = startRoutes(port, [
    { name: 'a', path: '/shown', on: failing(httpErrors.NOT_FOUND({ path: '/shown' })) },
    { name: 'a', path: '/busy', on: failing(httpErrors.BACKPRESSURE({ reason: 'queue' })) },
    { name: 'a', path: '/hidden', on: failing(deliveryErrors.SINK_WRITE({ sink: 'pg', reason: 'secret host' })) },
    { name: 'a', path: '/bug', on: failing(new Error('a bug')) },
    {
      name: 'a',
      path: '/at-once',
      on: {
        GET: later(() => {
          throw new Error('at once');
        }),
      },
    },
    { name: 'a', path: '/silent', on: { GET: later(async () => {}) } },
  ]);
  assert.equal((await request(port, '/shown')).status, 404);
  const busy = await request(port, '/busy');
  assert.equal(busy.status, 429);
  assert.equal(busy.headers['retry-after'], '1');
  assert.equal(faults.length, 0);
  const hidden = await request(port, '/hidden');
  assert.equal(hidden.status, 503);
  assert.doesNotMatch(hidden.text(), /secret/);
  for (const path of ['/bug', '/at-once', '/silent']) assert.equal((await request(port, path)).status, 500, path);
  assert.deepEqual(
    faults.map((error) => (error as Error).message.slice(0, 30)),
    ['sink write failed: sink=pg, re', 'a bug', 'at once', 'a handler must have answered w'],
  );
  assert.equal(count('a 5xx'), 4);
});

test('many replies may be kept and answered by somebody else; a second answer is a fault and harms nobody', async () => {
  const kept: Reply[] = [];
  const { faults } = startRoutes(port, [
    { name: 'a', path: '/a', on: { GET: later((reply) => void kept.push(reply)) } },
  ]);
  const asked = [1, 2, 3].map(() => request(port, '/a'));
  await arrived(kept, 3);
  kept.forEach((reply, i) => void reply.json(200, userBody, { id: String(i) }));
  const ids = (await Promise.all(asked)).map((answer) => (answer.json() as { id: string }).id);
  assert.deepEqual(ids.sort(), ['0', '1', '2']);
  kept[0]!.empty(204);
  assert.match((faults[0] as Error).message, /answered once: route=a/);
});

test('with cors a foreign page is refused before the handler, another one reads the answer and the problem', async () => {
  const cors = new Cors(['https://page.example'], { exposed: 'X-Total' });
  let calls = 0;
  const route = later(async (reply, req) => {
    calls += 1;
    const bad = req.getQuery('bad') !== undefined;
    await turn();
    if (bad) throw httpErrors.NOT_FOUND({ path: '/a' });
    reply.json(200, userBody, { id: 'x' }, { 'X-Total': '1' });
  });
  startRoutes(port, [{ name: 'a', path: '/a', cors, on: { GET: route } }]);
  const foreign = await request(port, '/a', { headers: ['Origin: https://other.example'] });
  assert.equal(foreign.status, 403);
  assert.equal(foreign.headers['access-control-allow-origin'], undefined);
  assert.equal(calls, 0);
  for (const target of ['/a', '/a?bad=1']) {
    const answer = await request(port, target, { headers: ['Origin: https://page.example'] });
    assert.equal(answer.headers['access-control-allow-origin'], 'https://page.example', target);
    assert.equal(answer.headers['vary'], 'Origin');
  }
});

test('a body is read whole, unpacked, in pieces and chunked; the connection of a chunked one closes', async () => {
  const reader = bodies();
  const route = later(async (reply, req) => {
    const bytes = await reply.body(req, reader);
    await turn();
    reply.bytes(200, 'text/plain', bytes);
  });
  startRoutes(port, [{ name: 'a', path: '/a', takesBody: true, on: { POST: route } }]);
  const post = async (body: string | Uint8Array, headers: readonly string[] = []) =>
    (await request(port, '/a', { method: 'POST', body, headers })).text();
  assert.equal(await post('hello'), 'hello');
  assert.equal(await post(''), '');
  assert.equal(await post(gzipSync('packed'), ['Content-Encoding: gzip']), 'packed');
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  const bytes = requestBytes('/a', { method: 'POST', body: 'in pieces' });
  connection.send(bytes.subarray(0, -4));
  await turn();
  connection.send(bytes.subarray(-4));
  assert.equal((await connection.answer())?.text(), 'in pieces');
  const chunked = 'POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n';
  const answer = await exchange(port, chunked);
  assert.equal(answer?.text(), 'abc');
  assert.equal(answer.headers['connection'], 'close');
  assert.equal(reader.heldBytes, 0);
});

test('a body that is too large, too slow, too much or badly packed is refused for the handler', async () => {
  const reader = bodies({ bodyTimeoutMs: 40 });
  let bodiesRead = 0;
  const route = later(async (reply, req) => {
    await reply.body(req, reader);
    bodiesRead += 1;
    reply.empty(204);
  });
  const { faults } = startRoutes(port, [{ name: 'a', path: '/a', takesBody: true, on: { POST: route } }]);
  const post = (body: string | Uint8Array, headers: readonly string[] = []) =>
    request(port, '/a', { method: 'POST', body, headers });
  assert.equal((await post('x'.repeat(1001))).status, 413);
  assert.equal((await post('x', ['Content-Encoding: gzip'])).status, 400);
  assert.equal((await post('x', ['Content-Encoding: zstd'])).status, 415);
  assert.equal((await post(gzipSync('x'.repeat(5000)), ['Content-Encoding: gzip'])).status, 413);
  const slow = await exchange(port, 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc');
  assert.equal(slow?.status, 408);
  assert.equal(slow.headers['connection'], 'close');
  assert.equal(bodiesRead, 0);
  assert.equal(reader.heldBytes, 0);
  assert.deepEqual(faults, [], 'none of this is a fault of ours');
});

// Goal: an answer that does not wait for its body harms neither the next request nor the reader's memory.
// Method: the time is over, or the handler answers, while half of the body is missing; the body's own time is over later.
test('an answer before the body is there lets go of the body and closes', async () => {
  const reader = bodies({ bodyTimeoutMs: 80 });
  const slow = later(
    async (reply, req) => {
      await reply.body(req, reader);
      reply.empty(204);
    },
    { timeoutMs: 20 },
  );
  const hasty = later(async (reply, req) => {
    void reply.body(req, reader);
    await turn();
    reply.empty(403);
  });
  const { faults } = startRoutes(port, [
    { name: 'a', path: '/slow', takesBody: true, on: { POST: slow } },
    { name: 'a', path: '/hasty', takesBody: true, on: { POST: hasty } },
  ]);
  for (const [path, status] of [
    ['/slow', 503],
    ['/hasty', 403],
  ] as const) {
    const answer = await exchange(port, `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc`);
    assert.equal(answer?.status, status);
    assert.equal(answer.headers['connection'], 'close');
    assert.equal(reader.heldBytes, 0);
  }
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal((await request(port, '/none')).status, 404, 'the time-out of the body must not touch its response');
  assert.deepEqual(faults, []);
});

test('a chunked body that nobody waits for is not followed by another request', async () => {
  let smuggled = 0;
  const { faults } = startRoutes(port, [
    { name: 'a', path: '/a', takesBody: true, on: { POST: later((reply) => reply.empty(403)) } },
    {
      name: 'b',
      path: '/b',
      on: {
        GET: (res) => {
          smuggled += 1;
          res.end();
        },
      },
    },
  ]);
  const head = 'POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const chunked = `${head}3\r\nabc\r\n0\r\n\r\n`;
  const next = 'GET /b HTTP/1.1\r\nHost: a\r\n\r\n';
  // A chunk extension and a trailer are what the addon reads differently than a proxy.
  for (const bytes of [chunked + next, `${head}3;x\r\nabc\r\n0\r\n\r\n${next}`, `${head}0\r\nX: 1\r\n\r\n${next}`])
    await exchange(port, bytes);
  assert.equal((await exchange(port, chunked))?.headers['connection'], 'close');
  assert.equal(smuggled, 0);
  assert.deepEqual(faults, []);
});

// Goal: a client that sends all of its request before it reads gets the refusal that was given meanwhile, although its connection must close.
// Method: send more than the buffers of both sockets hold, without reading; then read what is there.
test('a refusal is read by a client that sends all of its body first', async () => {
  const [reader, small] = [bodies({ maxBodyBytes: 1 << 18 }), bodies({ maxBodyBytes: 1 << 26 })];
  const reads = (from: BodyReader) =>
    later(async (reply, req) => {
      await reply.body(req, from);
      reply.empty(204);
    });
  const refused = () => httpErrors.NOT_FOUND({ path: 'x' });
  const meanwhile = later(async (reply, req) => {
    reply.body(req, small).catch(() => undefined);
    await turn();
    throw refused();
  });
  const unread = later(async () => {
    await turn();
    throw refused();
  });
  const atOnce = later(() => {
    throw refused();
  });
  const route = (path: string, handler: ReturnType<typeof later>): Route => ({
    name: 'a',
    path,
    takesBody: true,
    on: { POST: handler },
  });
  const { faults } = startRoutes(port, [
    route('/large', reads(reader)),
    route('/memory', reads(small)),
    route('/meanwhile', meanwhile),
    route('/unread', unread),
    route('/at-once', atOnce),
    { name: 'a', path: '/none', on: { POST: (res) => void res.end() } },
    { name: 'a', path: '/none-refused', on: { POST: atOnce } },
  ]);
  const closes = ['Connection: close'];
  const cases: readonly [Sent, number, boolean][] = [
    [{ target: '/large', mib: 12, chunked: true }, 413, true],
    [{ target: '/large', mib: 12, headers: closes }, 413, true],
    [{ target: '/large', mib: 12 }, 413, false],
    [{ target: '/memory', mib: 12, chunked: true }, 503, true],
    [{ target: '/memory', mib: 12 }, 503, true],
    [{ target: '/meanwhile', mib: 12 }, 404, true],
    [{ target: '/unread', mib: 12, chunked: true }, 404, true],
    [{ target: '/unread', mib: 12, headers: closes }, 404, true],
    [{ target: '/at-once', mib: 12, chunked: true }, 404, true],
    [{ target: '/at-once', mib: 12, headers: closes }, 404, true],
    [{ target: '/none', mib: 12, chunked: true }, 400, true],
    [{ target: '/none-refused', mib: 12, headers: closes }, 404, true],
    [{ target: '/none-refused', mib: 12 }, 404, false],
    [{ target: '/none', method: 'PUT', mib: 12, chunked: true }, 405, true],
    [{ target: '/none', method: 'PUT', mib: 12, headers: closes }, 405, true],
    [{ target: '/nowhere', mib: 12, chunked: true }, 404, true],
  ];
  for (const [sent, status, closed] of cases) {
    const answer = await sendThenRead(port, sent);
    assert.deepEqual([sent, answer?.status, answer?.closed], [sent, status, closed]);
    assert.equal((answer!.json() as { status: number }).status, status);
    assert.match(answer?.headers['date'] ?? '', / GMT$/);
  }
  assert.deepEqual([reader.heldBytes, small.heldBytes, faults], [0, 0, []]);
});

// Goal: as above, of answers that are no refusals: they wait for the end of their request.
test.each<[string, Sent['method'], (reply: Reply) => void, unknown[]]>([
  ['JSON', 'POST', (reply) => reply.json(200, userBody, { id: 'x' }), [200, '{"id":"x"}']],
  ['a large body', 'POST', (reply) => reply.bytes(200, 'text/csv', 'x'.repeat(MiB)), [200, 'x'.repeat(MiB)]],
  ['no body', 'DELETE', (reply) => reply.empty(204), [204, '']],
  ['a redirect', 'GET', (reply) => reply.empty(302, { Location: '/b' }), [302, '']],
  ['a stream', 'GET', streamed, [200, 'first and last']],
])('an answer is read by a client that sends all of its body first: %s', async (_what, method, answer, said) => {
  const atOnce = later((reply) => answer(reply));
  const afterwards = later(async (reply) => {
    await turn();
    answer(reply);
  });
  const { faults, count } = startRoutes(port, [
    { name: 'a', path: '/at-once', streams: true, on: { [method!]: atOnce } },
    { name: 'a', path: '/afterwards', streams: true, on: { [method!]: afterwards } },
  ]);
  for (const target of ['/at-once', '/afterwards']) {
    const sent = await sendThenRead(port, { target, method, mib: 12, headers: ['Connection: close'] } as Sent);
    assert.deepEqual([sent?.status, bodyOf(sent)], said, target);
  }
  assert.deepEqual([count(`a ${String(said[0])[0]}xx`), faults], [2, []]);
});

test('a chunked body that nobody reads, one that is let go, and a refused HEAD leave the answer whole as well', async () => {
  const reader = bodies({ maxBodyBytes: 16 * MiB, bodyMemoryBytes: 64 * MiB });
  const gone = later(async (reply, req) => {
    reply.body(req, reader).catch(() => undefined);
    await turn();
    reply.json(200, userBody, { id: 'x' });
  });
  const unread = later((reply) => reply.json(200, userBody, { id: 'x' }));
  const refused = later((reply) => reply.problem(httpErrors.NOT_FOUND, { path: 'x' }));
  const { faults } = startRoutes(port, [
    { name: 'a', path: '/gone', takesBody: true, on: { POST: gone } },
    { name: 'a', path: '/unread', takesBody: true, on: { POST: unread, HEAD: refused } },
  ]);
  for (const sent of [
    { target: '/gone', mib: 12 },
    { target: '/gone', mib: 12, chunked: true },
    { target: '/unread', mib: 12, chunked: true },
  ])
    assert.deepEqual([sent, (await sendThenRead(port, sent))?.status], [sent, 200]);
  const head = await RawConnection.open(port);
  onTestFinished(() => head.close());
  head.send(`HEAD /unread HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${2 * MiB}\r\n\r\n`);
  head.send(Buffer.alloc(2 * MiB));
  await head.closed();
  assert.match(head.rest, /^HTTP\/1\.1 404 [\s\S]*\r\n\r\n$/);
  assert.deepEqual([reader.heldBytes, faults], [0, []]);
});

test('a client that goes before its request has come is not counted as answered, and its answer is let go', async () => {
  const wait = gate();
  const { count, faults } = startRoutes(port, [
    {
      name: 'a',
      path: '/a',
      on: {
        POST: later((reply) => {
          wait.replies.push(reply);
          reply.json(200, userBody, { id: 'x' });
        }),
      },
    },
  ]);
  const connection = await RawConnection.open(port);
  connection.send('POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc');
  await arrived(wait.replies, 1);
  connection.close();
  assert.equal((await request(port, '/none')).status, 404);
  assert.deepEqual([count('a 2xx'), faults], [0, []]);
});

test('a client that never ends a refused body is closed when the time of a body is over', async () => {
  const reader = bodies({ bodyTimeoutMs: 300 });
  const route = later(async (reply, req) => {
    await reply.body(req, reader);
  });
  startRoutes(port, [{ name: 'a', path: '/a', takesBody: true, on: { POST: route } }]);
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  connection.send('POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n');
  connection.send(Buffer.alloc(2001));
  assert.equal((await connection.answer())?.status, 413);
  await connection.closed(5000);
});

test('while the process drains a late answer closes its connection', async () => {
  const { wire } = startRoutes(port, [
    {
      name: 'a',
      path: '/a',
      on: {
        GET: later(async (reply) => {
          await turn();
          reply.json(200, userBody, { id: 'x' });
        }),
      },
    },
  ]);
  wire.closing = true;
  assert.equal((await request(port, '/a')).headers['connection'], 'close');
});
