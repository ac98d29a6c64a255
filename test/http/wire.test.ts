import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { test } from 'vitest';
import { exchange, freePort, RawConnection, request, requestBytes } from './raw.ts';
import { startServer } from './server.ts';

const port = await freePort(21210);
const post = (framing: string, body: string) => `POST /body HTTP/1.1\r\nHost: test\r\n${framing}\r\n\r\n${body}`;
const smuggled = 'GET /get?smuggled HTTP/1.1\r\nHost: test\r\n\r\n';

// What a proxy may read differently than we do. Each with a request behind the shorter of the two readings.
const hostile: readonly (readonly [name: string, bytes: string])[] = [
  ['two Content-Lengths', post('Content-Length: 3\r\nContent-Length: 60', `abc${smuggled}`)],
  ['two equal Content-Lengths', post('Content-Length: 3\r\nContent-Length: 3', `abc${smuggled}`)],
  ['an empty Content-Length', post('Content-Length:', `abc${smuggled}`)],
  ['a list in Content-Length', post('Content-Length: 3, 3', `abc${smuggled}`)],
  ['a sign in Content-Length', post('Content-Length: +3', `abc${smuggled}`)],
  ['a negative Content-Length', post('Content-Length: -3', `abc${smuggled}`)],
  ['a hexadecimal Content-Length', post('Content-Length: 0x3', `abc${smuggled}`)],
  ['a Content-Length past 2^64', post('Content-Length: 18446744073709551619', `abc${smuggled}`)],
  [
    'Content-Length, then Transfer-Encoding',
    post('Content-Length: 3\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
  ],
  [
    'Transfer-Encoding, then Content-Length',
    post('Transfer-Encoding: chunked\r\nContent-Length: 3', `0\r\n\r\n${smuggled}`),
  ],
  ['Transfer-Encoding: xchunked', post('Transfer-Encoding: xchunked', `0\r\n\r\n${smuggled}`)],
  ['Transfer-Encoding: gzip, chunked', post('Transfer-Encoding: gzip, chunked', `0\r\n\r\n${smuggled}`)],
  ['Transfer-Encoding: identity', post('Transfer-Encoding: identity', `0\r\n\r\n${smuggled}`)],
  ['two Transfer-Encodings', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', `0\r\n\r\n${smuggled}`)],
  ['a space before the colon of Content-Length', post('Content-Length : 3', `abc${smuggled}`)],
  ['a space before the colon of Transfer-Encoding', post('Transfer-Encoding : chunked', `0\r\n\r\n${smuggled}`)],
  ['a folded header', post('X-A: b\r\n Content-Length: 3', `abc${smuggled}`)],
  ['a chunk size past 2^64', post('Transfer-Encoding: chunked', `ffffffffffffffff1\r\nabc\r\n0\r\n\r\n${smuggled}`)],
  ['a negative chunk size', post('Transfer-Encoding: chunked', `-3\r\nabc\r\n0\r\n\r\n${smuggled}`)],
  ['a chunk size that is no number', post('Transfer-Encoding: chunked', `zz\r\nabc\r\n0\r\n\r\n${smuggled}`)],
];
for (const [name, bytes] of hostile) {
  test(`${name} is refused: no body and no second request is read, the connection closes`, async (t) => {
    const { seen } = startServer(t, port);
    const connection = await RawConnection.open(port);
    t.onTestFinished(() => connection.close());
    connection.send(bytes);
    const answer = await connection.answer();
    // Without an answer when the smuggled request was in the same read: then the addon itself closes.
    if (answer !== undefined) assert.equal(answer.status, 400);
    await connection.closed();
    connection.send(smuggled);
    await sleep(20);
    assert.deepEqual(seen.gets, []);
    assert.deepEqual(seen.bodies, []);
  });
}

test('bad framing alone is answered 400 with a problem, then closed', async (t) => {
  startServer(t, port);
  const answer = await exchange(port, post('Content-Length: 3\r\nContent-Length: 5', 'abc'));
  assert.equal(answer?.status, 400);
  assert.equal(answer?.headers['content-type'], 'application/problem+json');
  assert.equal(answer?.headers['connection'], 'close');
  assert.equal((answer!.json() as { code: string }).code, 'BAD_REQUEST');
});

test('what follows a chunked body is never read as a request', async (t) => {
  const { seen } = startServer(t, port);
  const chunked = post('Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n');
  assert.equal(
    await exchange(port, chunked + smuggled),
    undefined,
    'in the same read the addon closes without an answer',
  );
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  connection.send(chunked);
  assert.equal((await connection.answer())?.text(), 'read 3');
  connection.send(smuggled);
  await connection.closed();
  assert.deepEqual(seen.gets, []);
  assert.deepEqual(seen.bodies, ['abc']);
});

test('a trailer that comes in the read of the last chunk drops the body with the 505 of the addon', async (t) => {
  const { seen } = startServer(t, port);
  const answer = await exchange(port, post('Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n'));
  assert.equal(answer?.status, 505);
  assert.deepEqual(seen.bodies, [], 'a body whose client reads 505 must not be taken');
});

test('a trailer that comes later changes nothing', async (t) => {
  const { seen } = startServer(t, port);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  connection.send(post('Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\n'));
  assert.equal((await connection.answer())?.text(), 'read 3');
  connection.send('X-Sum: 1\r\n\r\n');
  await connection.closed();
  assert.deepEqual(seen.bodies, ['abc']);
});

test('a body arrives whole however it is cut', async (t) => {
  const { seen, reader } = startServer(t, port);
  const body = 'x'.repeat(40);
  const plain = requestBytes('/body', { method: 'POST', body });
  const chunks = Buffer.from(
    post('Transfer-Encoding: chunked', `14\r\n${'x'.repeat(20)}\r\n14\r\n${'x'.repeat(20)}\r\n0\r\n\r\n`),
  );
  for (const bytes of [plain, chunks]) {
    for (const step of [1, 7, bytes.length - 1]) {
      const connection = await RawConnection.open(port);
      for (let at = 0; at < bytes.length; at += step) {
        connection.send(bytes.subarray(at, at + step));
        if (step > 1 || at % 16 === 0) await sleep(1);
      }
      assert.equal((await connection.answer())?.text(), 'read 40');
      connection.close();
    }
  }
  assert.deepEqual(new Set(seen.bodies), new Set([body]));
  assert.equal(reader.heldBytes, 0);
});

test('a body of the limit is taken, one byte more is not, however it is framed', async (t) => {
  const { seen, reader } = startServer(t, port, { maxBodyBytes: 300_000 });
  for (const extra of [0, 1]) {
    const body = 'x'.repeat(300_000 + extra);
    const chunked = post('Transfer-Encoding: chunked', `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
    for (const bytes of [requestBytes('/body', { method: 'POST', body }), chunked]) {
      const answer = await exchange(port, bytes);
      assert.equal(answer?.status, extra === 0 ? 200 : 400);
    }
  }
  assert.deepEqual(
    seen.failures.map((failure) => failure.code),
    ['BODY_TOO_LARGE', 'BODY_TOO_LARGE'],
  );
  assert.equal(reader.heldBytes, 0);
});

test('Expect: 100-continue is answered before the body', async (t) => {
  startServer(t, port);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  connection.send(post('Expect: 100-continue\r\nContent-Length: 3', ''));
  assert.equal((await connection.answer())?.status, 100);
  connection.send('abc');
  assert.equal((await connection.answer())?.text(), 'read 3');
});

test('pipelined requests are answered in their order on one connection', async (t) => {
  const { seen } = startServer(t, port);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  const get = (n: number) => `GET /get?${n} HTTP/1.1\r\nHost: test\r\n\r\n`;
  connection.send(get(1) + post('Content-Length: 3', 'abc') + get(2) + get(3));
  const texts = [];
  for (let n = 0; n < 4; n++) texts.push((await connection.answer())?.text());
  assert.deepEqual(texts, ['got', 'read 3', 'got', 'got']);
  assert.deepEqual(seen.gets, ['1', '2', '3']);
});

test('a client that has closed its side is answered', async (t) => {
  startServer(t, port);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  connection.socket.end(post('Content-Length: 3', 'abc'));
  assert.equal((await connection.answer())?.text(), 'read 3');
});

test('a body that stands still is given up after the time-out, and others are not held up by it', async (t) => {
  const { seen, reader } = startServer(t, port, { bodyTimeoutMs: 500 });
  const slow = await Promise.all(Array.from({ length: 20 }, () => RawConnection.open(port)));
  t.onTestFinished(() => closeAll(slow));
  const started = performance.now();
  for (const [i, connection] of slow.entries()) {
    connection.send(i % 2 ? post('Transfer-Encoding: chunked', '5\r\nabc') : post('Content-Length: 100', 'abc'));
  }
  await sleep(50);
  assert.ok(reader.heldBytes > 0);
  for (let n = 0; n < 20; n++) {
    const at = performance.now();
    assert.equal((await request(port, '/get')).status, 200);
    assert.ok(performance.now() - at < 400, 'a request waited for a slow client');
  }
  for (const connection of slow) assert.equal((await connection.answer())?.status, 400);
  assert.ok(performance.now() - started >= 499);
  assert.deepEqual(
    seen.failures.map((failure) => failure.code),
    Array(20).fill('BODY_TIMEOUT'),
  );
  assert.equal(reader.heldBytes, 0);
});

test('a client that goes away in its body leaves nothing behind', async (t) => {
  const { seen, reader } = startServer(t, port);
  const connection = await RawConnection.open(port);
  connection.send(post('Content-Length: 100', 'abc'));
  while (reader.heldBytes === 0) await sleep(5);
  connection.close();
  while (seen.aborted === 0) await sleep(5);
  assert.equal(reader.heldBytes, 0);
  assert.deepEqual(seen.bodies, []);
});

test('bodies on their way share a bound of memory; announcing one costs nothing', async (t) => {
  const { seen, reader } = startServer(t, port, { bodyMemoryBytes: 64 * 1024, bodyTimeoutMs: 400 });
  const connections = await Promise.all(Array.from({ length: 30 }, () => RawConnection.open(port)));
  t.onTestFinished(() => closeAll(connections));
  for (const connection of connections) connection.send(post('Content-Length: 1000000', ''));
  await sleep(50);
  assert.ok(reader.heldBytes <= 64 * 1024);
  for (const connection of connections) connection.send('abc');
  for (const connection of connections) await connection.answer();
  const codes = seen.failures.map((failure) => failure.code);
  assert.ok(codes.includes('BODY_MEMORY'));
  assert.ok(codes.includes('BODY_TIMEOUT'));
  assert.equal(reader.heldBytes, 0);
});

test('gzip, deflate (with and without header) and br are unpacked, small and large', async (t) => {
  const { seen } = startServer(t, port);
  for (const size of [20, 900_000]) {
    const plain = Buffer.alloc(size, 'line of text ');
    const noise = Buffer.from(plain.map((byte, i) => (size > 100 ? byte ^ ((i * 2654435761) >>> 29) : byte)));
    const packed: readonly (readonly [string, Buffer])[] = [
      ['gzip', gzipSync(noise)],
      ['deflate', deflateSync(noise)],
      ['deflate', deflateRawSync(noise)],
      ['br', brotliCompressSync(noise)],
    ];
    for (const [encoding, body] of packed) {
      seen.bodies.length = 0;
      const answer = await request(port, '/body', { method: 'POST', headers: [`Content-Encoding: ${encoding}`], body });
      assert.equal(answer.text(), `read ${size}`, encoding);
      assert.ok(Buffer.from(seen.bodies[0]!, 'latin1').equals(noise), encoding);
    }
  }
});

test('a bomb stops at the limit, damage and a cut are refused, and the next request works', async (t) => {
  const { seen } = startServer(t, port);
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  const brBomb = brotliCompressSync(Buffer.alloc(16 * 1024 * 1024));
  const fine = gzipSync('x'.repeat(1000));
  const damaged = Buffer.from(fine);
  damaged[12]! ^= 0xff;
  const bodies: readonly (readonly [string, Buffer])[] = [
    ['gzip', bomb],
    ['br', brBomb],
    ['gzip', damaged],
    ['gzip', fine.subarray(0, fine.length - 9)],
    ['br', Buffer.from('not packed')],
    ['gzip', Buffer.alloc(0)],
  ];
  for (const [encoding, body] of bodies) {
    const answer = await request(port, '/body', { method: 'POST', headers: [`Content-Encoding: ${encoding}`], body });
    assert.equal(answer.status, 400);
  }
  assert.deepEqual(
    seen.failures.map((failure) => failure.code),
    ['UNPACKED_TOO_LARGE', 'UNPACKED_TOO_LARGE', ...Array(4).fill('BAD_ENCODING')],
  );
  assert.deepEqual(seen.bodies, []);
  assert.equal((await request(port, '/get')).status, 200);
});

function closeAll(connections: readonly RawConnection[]): void {
  for (const connection of connections) connection.close();
}
