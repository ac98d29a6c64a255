/** Bodies in both directions: back pressure, slow clients, time-outs, and what the record says of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { BodyWriter, Exchange } from '../../../src/gateway/front/exchange.ts';
import type { Guard } from '../../../src/gateway/front/guard.ts';
import type { Route } from '../../../src/http/router.ts';
import { freePort, RawConnection, exchange as raw, request, requestBytes } from '../../http/raw.ts';
import { startRig } from './rig.ts';

const port = await freePort(24110);
const KiB = 1024;
const PIECE = 64 * KiB;
const headers = ['X-API-Key: good'];

/** Byte i of every body. */
const pattern = Buffer.from(Array.from({ length: 251 }, (_, i) => i));
const piece = (from: number, length: number): Buffer => {
  const begin = from % pattern.length;
  return Buffer.alloc(begin + length, pattern).subarray(begin);
};
function isBody(bytes: Buffer, length: number): void {
  assert.equal(bytes.length, length);
  assert.ok(bytes.equals(piece(0, length)));
}

/** Writes a body as its client takes it; tells how much was written. */
async function pour(writer: BodyWriter, length: number, wrote: (bytes: number) => void = () => undefined) {
  for (let at = 0; at < length; at += PIECE) {
    const fits = writer.write(piece(at, Math.min(PIECE, length - at)));
    wrote(Math.min(PIECE, length - at));
    if (!fits) await new Promise<void>((resolve) => writer.drained(resolve));
  }
  writer.end();
}

/** GET /known?n, /chunked?n, /whole?n: a body of n bytes. */
function download(guard: Guard, wrote?: (bytes: number) => void, seen?: (exchange: Exchange) => void): Route {
  const handler = guard.route({ route: 'image', scope: 'read' }, async (exchange, req) => {
    const length = Number(req.getQuery());
    const [, kind = ''] = /^\/(\w+)/.exec(req.getUrl()) ?? [];
    seen?.(exchange);
    await delay(1);
    const type = [['Content-Type', 'image/png']] as const;
    if (kind === 'whole') exchange.answer(200, type, piece(0, length));
    else await pour(exchange.stream(200, type, kind === 'known' ? length : undefined), length, wrote);
  });
  return { name: 'image', path: '/*', cors: guard.cors, on: { GET: handler, HEAD: handler } };
}

/** POST /upload: answers with how many bytes came, or refuses after `refuseAt`. */
function upload(guard: Guard, { max = 1e9, pauseMs = 0 } = {}): Route {
  const handler = guard.route({ route: 'upload', scope: 'upload', takesBody: true }, (exchange, req) => {
    const chunks: Buffer[] = [];
    const flow = exchange.receive(req, max, {
      chunk(bytes) {
        chunks.push(Buffer.from(bytes));
        if (pauseMs === 0) return true;
        setTimeout(() => flow.resume(), pauseMs);
        return false;
      },
      end() {
        const whole = Buffer.concat(chunks);
        isBody(whole, whole.length);
        exchange.json(200, JSON.stringify({ bytes: whole.length }));
      },
      failed: () => void chunks.splice(0),
    });
  });
  return { name: 'upload', path: '/upload', takesBody: true, cors: guard.cors, on: { POST: handler } };
}

async function open(at: number): Promise<Socket> {
  const socket = connect(at, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}
/** The head of an answer and how much of its body has come, as far as it was read. */
function watch(socket: Socket): { readonly text: () => string; closed: boolean } {
  const chunks: Buffer[] = [];
  const seen = { text: () => Buffer.concat(chunks).toString('latin1'), closed: false };
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('close', () => {
    seen.closed = true;
  });
  socket.on('error', () => undefined);
  return seen;
}

test('bodies of known and unknown length and whole ones arrive unchanged, and HEAD has the length', async () => {
  const rig = startRig(port, { routes: (guard) => [download(guard)] });
  for (const target of ['/known?1', '/known?5000000', '/chunked?5000000', '/known?0', '/whole?3000000']) {
    const answer = await fetch(`http://127.0.0.1:${port}${target}`, { headers: { 'X-API-Key': 'good' } });
    assert.equal(answer.status, 200);
    isBody(Buffer.from(await answer.arrayBuffer()), Number(target.split('?')[1]));
    assert.equal(answer.headers.get('content-length') === null, target.startsWith('/chunked'), target);
  }
  // While the process drains each answer is the last of its connection.
  rig.wire.closing = true;
  for (const target of ['/known?100000', '/chunked?100000', '/known?0', '/whole?100000', '/whole?10']) {
    const answer = await fetch(`http://127.0.0.1:${port}${target}`, { headers: { 'X-API-Key': 'good' } });
    isBody(Buffer.from(await answer.arrayBuffer()), Number(target.split('?')[1]));
    assert.equal(answer.headers.get('connection'), 'close', target);
  }
  rig.wire.closing = false;
  const head = await request(port, '/known?5000000', { headers, method: 'HEAD' });
  assert.equal(head.headers['content-length'], '5000000');
  assert.deepEqual(
    rig.records().map(({ out }) => out),
    [1, 5_000_000, 5_000_000, 0, 3_000_000, 100_000, 100_000, 0, 100_000, 10, 0],
  );
  assert.deepEqual(rig.faults, []);
});

test('who does not read holds 256 KiB at most of this process, whatever the length of the body', async () => {
  let written = 0;
  const rig = startRig(port, { routes: (guard) => [download(guard, (bytes) => (written += bytes))] });
  const clients = 24;
  const before = process.memoryUsage().rss;
  const sockets = await Promise.all(Array.from({ length: clients }, () => open(port)));
  for (const [i, socket] of sockets.entries()) {
    socket.pause();
    socket.write(requestBytes(`/${i % 2 === 0 ? 'known' : 'chunked'}?50000000`, { headers }));
  }
  let last = -1;
  while (last !== written || written === 0) {
    last = written;
    await delay(150);
  }
  assert.ok(written < clients * 8_000_000, `written=${written}`);
  global.gc?.();
  const held = process.memoryUsage().rss - before;
  assert.ok(held < clients * 256 * KiB + 40_000_000, `held=${held}`);
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => rig.records().length).toBe(clients);
  for (const { status, out } of rig.records()) {
    assert.equal(status, 200);
    assert.ok((out as number) > 0 && (out as number) < 8_000_000);
  }
});

test('a body that breaks off closes its connection, and one whose client goes fires the signal', async () => {
  let gone = 0;
  const rig = startRig(port, {
    routes: (guard) => [
      {
        name: 'image',
        path: '/*',
        on: {
          GET: guard.route({ route: 'image', scope: 'read' }, async (exchange) => {
            const writer = exchange.stream(200, [], 1000);
            writer.write(piece(0, 10));
            const { signal } = exchange;
            await delay(20);
            if (exchange.target === '/short') writer.end();
            else if (exchange.target === '/long') writer.write(piece(0, 2000));
            else if (signal.aborted) gone += 1;
            else signal.addEventListener('abort', () => (gone += 1));
          }),
        },
      },
    ],
  });
  for (const target of ['/short', '/long']) {
    const socket = await open(port);
    const seen = watch(socket);
    socket.write(requestBytes(target, { headers }));
    await expect.poll(() => seen.closed).toBe(true);
    assert.match(seen.text(), /Content-Length: 1000/);
  }
  const socket = await open(port);
  socket.write(requestBytes('/wait', { headers }));
  await once(socket, 'data');
  socket.destroy();
  await expect.poll(() => gone).toBe(1);
  await expect.poll(() => rig.records().map(({ out }) => out)).toEqual([10, 10, 10]);
  assert.equal(rig.faults.length, 1);
});

test('a client that goes before its answer is logged as 499 and counts for no quota', async () => {
  const quota: string[] = [];
  let asked = 0;
  const rig = startRig(port, {
    quotas: {
      reserve: ({ id }) => ({ userId: id, month: 24_298 }),
      settle: (_reservation, bytes) => void quota.push(`settled ${bytes}`),
      cancel: () => void quota.push('cancelled'),
    },
    routes: (guard) => [
      {
        name: 'image',
        path: '/*',
        on: {
          GET: guard.route({ route: 'image', scope: 'read' }, (exchange) => {
            if (exchange.target === '/now') exchange.json(200, '{}');
            else asked += 1;
          }),
        },
      },
    ],
  });
  assert.equal((await request(port, '/now', { headers })).status, 200);
  const socket = await open(port);
  socket.write(requestBytes('/wait', { headers }));
  await expect.poll(() => asked).toBe(1);
  socket.destroy();
  await expect.poll(() => quota).toEqual(['settled 2', 'cancelled']);
  const said = rig.records().map(({ status, outcome, month }) => [status, outcome, month]);
  assert.deepEqual(said, [
    [200, 'ok', 24_298],
    [499, 'gone', null],
  ]);
});

test('uploads flow as the sink takes them, and end at their bound', async () => {
  const rig = startRig(port, {
    routes: (guard) => [upload(guard, { max: 3_000_000, pauseMs: 2 })],
  });
  const body = piece(0, 2_500_000);
  assert.deepEqual((await request(port, '/upload', { headers, method: 'POST', body })).json(), { bytes: 2_500_000 });
  const tooLarge = await request(port, '/upload', { headers, method: 'POST', body: piece(0, 3_000_001) });
  assert.equal(tooLarge.status, 413);
  const chunk = (bytes: Buffer) =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
  const head = requestBytes('/upload', { headers: [...headers, 'Transfer-Encoding: chunked'], method: 'POST' });
  const chunked = await raw(port, Buffer.concat([head, chunk(piece(0, 100_000)), chunk(Buffer.alloc(0))]));
  assert.deepEqual(chunked?.json(), { bytes: 100_000 });
  const many = Array.from({ length: 40 }, (_, i) => chunk(piece(i * 100_000, 100_000)));
  const beyond = await raw(port, Buffer.concat([head, ...many, chunk(Buffer.alloc(0))]));
  assert.equal(beyond?.status, 413);
  assert.deepEqual(
    rig.records().map(({ status }) => status),
    [200, 413, 200, 413],
  );
  assert.deepEqual(rig.faults, []);
});

// The addon hands over what it has read although it was told to pause, so the last piece may come while it stands still.
test('a connection goes on reading behind a body whose last piece its sink was not ready for', async () => {
  startRig(port, { routes: (guard) => [upload(guard, { pauseMs: 20 })] });
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  for (let i = 0; i < 5; i++) {
    connection.send(requestBytes('/upload', { headers, method: 'POST', body: piece(0, 1 << 20) }));
    assert.deepEqual((await connection.answer())?.json(), { bytes: 1 << 20 });
  }
});

test('time-outs hold for whole requests: 408 for the body, 503 for the answer, closed when it has begun', async () => {
  const rig = startRig(port, {
    env: { SERVER_READ_TIMEOUT: '300ms', SERVER_WRITE_TIMEOUT: '300ms' },
    routes: (guard) => [
      upload(guard),
      {
        name: 'image',
        path: '/*',
        on: {
          GET: guard.route({ route: 'image', scope: 'read' }, (exchange) => {
            if (exchange.target === '/begun') exchange.stream(200, [], 1000).write(piece(0, 10));
          }),
        },
      },
    ],
  });
  const slow = await open(port);
  const seen = watch(slow);
  slow.write(requestBytes('/upload', { headers: [...headers, 'Content-Length: 1000'], method: 'POST' }));
  const never = request(port, '/never', { headers });
  const begun = await open(port);
  const seenBegun = watch(begun);
  begun.write(requestBytes('/begun', { headers }));
  await expect.poll(() => seen.closed && seenBegun.closed).toBe(true);
  assert.match(seen.text(), /^HTTP\/1\.1 408 /);
  const { status, headers: answered } = await never;
  assert.equal(status, 503);
  assert.equal(answered['retry-after'], '1');
  assert.deepEqual(
    rig
      .records()
      .map(({ status, outcome }) => `${status} ${outcome}`)
      .sort(),
    ['200 too_slow', '408 too_slow', '503 too_slow'],
  );
});

test('slow and steady is alive after the 10 s of the addon, below the least rate it ends', {
  timeout: 60_000,
}, async () => {
  const other = await freePort(24120);
  const env = { SERVER_READ_TIMEOUT: '60s', SERVER_WRITE_TIMEOUT: '60s' };
  startRig(port, { env: { ...env, MIN_RATE_BYTES: '4KB' }, routes: (guard) => [upload(guard), download(guard)] });
  const strict = startRig(other, { env: { ...env, MIN_RATE_BYTES: '1MB' }, routes: (guard) => [upload(guard)] });
  /** Sends `total` bytes, 1/10 of a second's each time. */
  const send = async (at: number, total: number, perSecond: number) => {
    const socket = await open(at);
    const seen = watch(socket);
    const begin = Date.now();
    socket.write(requestBytes('/upload', { headers: [...headers, `Content-Length: ${total}`], method: 'POST' }));
    for (let sent = 0; sent < total && !seen.closed && seen.text() === ''; sent += perSecond / 10) {
      socket.write(piece(sent, perSecond / 10));
      await delay(100);
    }
    await expect.poll(() => seen.text()).toMatch(/\r\n\r\n/);
    socket.destroy();
    return { text: seen.text(), seconds: (Date.now() - begin) / 1000 };
  };
  /** Reads 20 KB a second for 13 s, then the rest. */
  const receive = async () => {
    const socket = await open(port);
    let bytes = 0;
    socket.pause();
    socket.write(requestBytes('/known?20000000', { headers }));
    const begin = Date.now();
    while (Date.now() - begin < 13_000) {
      bytes += (socket.read(2000) as Buffer | null)?.length ?? 0;
      await delay(100);
    }
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.on('error', () => undefined);
    socket.resume();
    await expect.poll(() => bytes).toBeGreaterThan(20_000_000);
    socket.destroy();
  };
  const [up, tooSlow] = await Promise.all([send(port, 8000 * 12.5, 8000), send(other, 100_000_000, 8000), receive()]);
  assert.match(up.text, /^HTTP\/1\.1 200 /);
  assert.ok(up.seconds > 12);
  assert.match(tooSlow.text, /^HTTP\/1\.1 408 /);
  assert.ok(tooSlow.seconds > 10 && tooSlow.seconds < 20);
  assert.equal(strict.records()[0]!['outcome'], 'too_slow');
});
