/**
 * Goal: an answer of a backend reaches the sink whole or not at all; what fails before its first byte goes to another
 * backend, within the budget; a slow reader holds little; no header of a connection travels.
 * Method: real servers on loopback that are slow, broken, silent, or lie about lengths.
 */
import { expect, onTestFinished, test } from 'vitest';
import { RetryBudget } from '../../../src/gateway/balance/retry-budget.ts';
import { PoolUpstream, type RetryResult } from '../../../src/gateway/proxy/pool-upstream.ts';
import type { UpstreamAnswer, UpstreamFlow } from '../../../src/gateway/proxy/upstream.ts';
import { type Balanced, balanced } from '../balance/table.ts';
import { rawStandIn, standIn } from './stand-in.ts';

const PORT = 24_300;
const never = new AbortController().signal;

interface Started extends Balanced {
  readonly upstream: PoolUpstream;
  readonly retries: RetryResult[];
  get(
    path?: string,
    wishes?: { method?: 'GET' | 'HEAD'; headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<UpstreamAnswer>;
}

function start(urls: readonly string[], percent = 100): Started {
  const all = balanced(
    urls.map((url) => ({ url })),
    { failures: 1000 },
  );
  const retries: RetryResult[] = [];
  const upstream = new PoolUpstream(
    {
      balancer: all.balancer,
      budget: new RetryBudget(all.table, percent),
      retried: (result) => void retries.push(result),
    },
    { connectMs: 500, headMs: 300, bodyMs: 300, wholeMs: 10_000 },
  );
  onTestFinished(() => upstream.close());
  return {
    ...all,
    upstream,
    retries,
    get: (path = '/a', { method = 'GET', headers = {}, signal = never } = {}) =>
      upstream.get({ method, path, headers, signal }),
  };
}

interface Read {
  readonly body: string;
  readonly error: { readonly code?: string } | undefined;
}

const read = (answer: UpstreamAnswer): Promise<Read> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const done = (error?: unknown): void =>
      resolve({ body: Buffer.concat(chunks).toString(), error: error as Read['error'] });
    answer.pipe({ chunk: (bytes) => chunks.push(Buffer.from(bytes)) > 0, end: () => done(), failed: done });
  });

const idle = (all: Balanced): number[] => all.table.placed.map(({ id }) => all.standing(id).in_flight);

test('an answer comes as it is, without headers of the connection in either direction', async (t) => {
  const backend = await standIn(t, PORT, (_req, res) => {
    res.writeHead(200, {
      'Content-Type': 'image/webp',
      'Content-Length': '5',
      Connection: 'X-Hop, keep-alive',
      'X-Hop': '1',
      'Keep-Alive': 'timeout=9',
      'Proxy-Authenticate': 'Basic',
      ETag: '"a"',
    });
    res.end('hello');
  });
  const all = start([backend.url]);
  const answer = await all.get('/rs:fit:3:3/plain/local:///a.jpg@webp?x=1', {
    headers: {
      'X-Request-Id': 'abc',
      Accept: 'image/webp',
      Connection: 'x-mine',
      'X-Mine': '1',
      TE: 'trailers',
      'X-API-Key': 'secret',
      Authorization: 'Bearer secret',
      Upgrade: 'websocket',
    },
  });
  expect(answer).toMatchObject({ status: 200, length: 5, backendId: 1 });
  expect(Object.fromEntries(answer.headers)).toEqual({
    'content-type': 'image/webp',
    etag: '"a"',
    date: expect.any(String),
  });
  expect(await read(answer)).toEqual({ body: 'hello', error: undefined });
  const [req] = backend.seen;
  expect(req!.url).toBe('/rs:fit:3:3/plain/local:///a.jpg@webp?x=1');
  expect(req!.headers).toEqual({
    host: new URL(backend.url).host,
    'x-request-id': 'abc',
    accept: 'image/webp',
    connection: 'keep-alive',
  });
  expect(idle(all)).toEqual([0]);
  expect(all.counts.leased).toEqual(['1 answered']);
});

test('HEAD has the length and no body; 304 has neither', async (t) => {
  const backend = await standIn(t, PORT + 1, (req, res) => {
    if (req.method === 'HEAD') res.writeHead(200, { 'Content-Length': '500' }).end();
    else res.writeHead(304, { ETag: '"a"' }).end();
  });
  const all = start([backend.url]);
  const head = await all.get('/a', { method: 'HEAD' });
  expect(head.length).toBe(500);
  expect(await read(head)).toEqual({ body: '', error: undefined });
  const unchanged = await all.get();
  expect(unchanged.status).toBe(304);
  expect(await read(unchanged)).toEqual({ body: '', error: undefined });
});

test('a backend that refuses, breaks off, is silent or says "not now" is passed over for another one', async (t) => {
  const good = await standIn(t, PORT + 2, (_req, res) => res.end('good'));
  const busy = await standIn(t, PORT + 3, (_req, res) => res.writeHead(503).end('busy'));
  const cut = await rawStandIn(t, PORT + 4, '', 'ends');
  const silent = await rawStandIn(t, PORT + 5, '', 'stays');
  const noise = await rawStandIn(t, PORT + 6, 'SSH-2.0-OpenSSH_9.2\r\n', 'stays');
  const endless = await rawStandIn(t, PORT + 7, 'HTTP/1.1 200 OK\r\n\r\nwho knows where this ends', 'ends');
  for (const bad of ['http://127.0.0.1:24399', busy.url, cut, silent, noise, endless]) {
    const all = start([bad, good.url]);
    const answers = await Promise.all([all.get(), all.get()]);
    expect(await Promise.all(answers.map(read)), bad).toEqual([
      { body: 'good', error: undefined },
      { body: 'good', error: undefined },
    ]);
    expect(all.retries).toEqual(['retried']);
    expect([...all.counts.leased].sort()).toEqual(['1 failed', '2 answered', '2 answered']);
    expect(idle(all)).toEqual([0, 0]);
  }
});

test('a full queue of imgproxy is passed over, and is no failure', async (t) => {
  const good = await standIn(t, PORT + 25, (_req, res) => res.end('good'));
  const full = await standIn(t, PORT + 26, (_req, res) => res.writeHead(429).end('full'));
  const all = start([full.url, good.url]);
  for (let i = 0; i < 4; i++) expect((await read(await all.get())).body).toBe('good');
  expect(full.seen.length).toBeGreaterThan(1);
  expect(all.counts.leased.filter((one) => one.endsWith('failed'))).toEqual([]);
});

test('a body that nobody wants gives the place back: a short one is read, a long one is broken off', async (t) => {
  const sockets = new Set<unknown>();
  const backend = await standIn(t, PORT + 27, (req, res) => {
    sockets.add(req.socket);
    if (req.url === '/short') res.writeHead(404).end('no such picture');
    else res.end(Buffer.alloc(4 << 20));
  });
  const all = start([backend.url]);
  for (let i = 0; i < 6; i++) {
    (await all.get('/short')).discard();
    await expect.poll(() => idle(all)).toEqual([0]);
  }
  expect(sockets.size).toBe(1);
  (await all.get('/long')).discard();
  await expect.poll(() => idle(all)).toEqual([0]);
  expect(all.counts.leased).toEqual([...Array.from({ length: 6 }, () => '1 answered'), '1 given_up']);
  // HEAD needs neither.
  await all.get('/long', { method: 'HEAD' });
  await expect.poll(() => idle(all)).toEqual([0]);
});

test('without another backend the failure is said, and by which limit', async (t) => {
  const silent = await rawStandIn(t, PORT + 8, '', 'stays');
  const slow = start([silent]);
  await expect(slow.get()).rejects.toMatchObject({ code: 'BACKEND_TIMEOUT', fields: { limitMs: 300 } });
  const dead = start(['http://127.0.0.1:24399']);
  const error = await dead.get().catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ code: 'BACKEND_FAILED' });
  expect((error as Error).message).not.toContain('127.0.0.1');
  const busy = await standIn(t, PORT + 9, (_req, res) => res.writeHead(503).end('busy'));
  const answer = await start([busy.url]).get();
  expect([answer.status, (await read(answer)).body]).toEqual([503, 'busy']);
});

test('an answer that breaks off, or whose length lies, never looks whole', async (t) => {
  const bodies = {
    'ends too early': 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello',
    'a chunk is missing': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    'a chunk is no chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n',
  };
  let port = PORT + 10;
  for (const [name, bytes] of Object.entries(bodies)) {
    const all = start([await rawStandIn(t, port++, bytes, 'ends')]);
    const { body, error } = await read(await all.get());
    expect(['', 'hello'], name).toContain(body);
    expect(error, name).toMatchObject({ code: 'BACKEND_FAILED' });
    expect(all.counts.leased, name).toEqual(['1 failed']);
  }
  const stalls = start([await rawStandIn(t, port++, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello', 'stays')]);
  expect((await read(await stalls.get())).error).toMatchObject({ code: 'BACKEND_TIMEOUT', fields: { limitMs: 300 } });
  // What comes behind the length belongs to no answer, also not to the next one.
  const more = start([
    await rawStandIn(
      t,
      port++,
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
      'stays',
    ),
  ]);
  for (let i = 0; i < 3; i++) expect((await read(await more.get())).body).toBe('hello');
  const behind = 'HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';
  const none = start([await rawStandIn(t, port++, behind, 'stays')]);
  for (const { status } of await Promise.all([none.get(), none.get(), none.get()])) expect(status).toBe(304);
  expect((await none.get()).status).toBe(304);
  for (const framing of ['Content-Length: 5\r\nContent-Length: 4', 'Content-Length: 5\r\nTransfer-Encoding: chunked']) {
    const both = start([await rawStandIn(t, port++, `HTTP/1.1 200 OK\r\n${framing}\r\n\r\nhello`, 'ends')]);
    await expect(both.get(), framing).rejects.toMatchObject({ code: 'BACKEND_FAILED' });
  }
});

test('retries end with their budget', async (t) => {
  const good = await standIn(t, PORT + 20, (_req, res) => res.end('good'));
  const busy = await standIn(t, PORT + 21, (_req, res) => res.writeHead(503).end('busy'));
  const all = start([busy.url, good.url], 1);
  const bodies: string[] = [];
  // So few that the busy one is not ejected for the share of its failures.
  for (let i = 0; i < 38; i++) bodies.push((await read(await all.get())).body);
  expect(busy.seen).toHaveLength(19);
  expect(all.retries.filter((result) => result === 'retried')).toHaveLength(10);
  expect(all.retries.filter((result) => result === 'no_budget')).toHaveLength(9);
  expect(bodies.filter((body) => body === 'busy')).toHaveLength(9);
});

test('a request is tried at three backends at most, and a retry that nobody takes costs no budget', async (t) => {
  const busy = [PORT + 28, PORT + 29, PORT + 30, PORT + 31].map((port) =>
    standIn(t, port, (_req, res) => res.writeHead(503).end('busy')),
  );
  const all = await Promise.all(busy);
  expect((await start(all.map(({ url }) => url)).get()).status).toBe(503);
  expect(all.map(({ seen }) => seen.length).sort()).toEqual([0, 1, 1, 1]);
  const alone = start([all[0]!.url], 1);
  for (let i = 0; i < 30; i++) await read(await alone.get());
  expect(new Set(alone.retries)).toEqual(new Set(['no_backend']));
});

test('a slow reader holds at most 256 KiB', async (t) => {
  const size = 8 << 20;
  const backend = await standIn(t, PORT + 22, (_req, res) => {
    res.writeHead(200, { 'Content-Length': String(size) });
    res.end(Buffer.alloc(size, 'x'));
  });
  const all = start([backend.url]);
  const answer = await all.get();
  let got = 0;
  let room = false;
  let flow: UpstreamFlow | undefined;
  const whole = new Promise<void>((resolve, reject) => {
    flow = answer.pipe({
      chunk(bytes) {
        got += bytes.length;
        return room;
      },
      end: resolve,
      failed: reject,
    });
  });
  await expect.poll(() => got).toBeGreaterThan(0);
  // Longer than the limit for a pause of the body: it is not the backend that pauses.
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(got).toBeLessThanOrEqual(256 << 10);
  const before = got;
  flow!.resume();
  await expect.poll(() => got).toBeGreaterThan(before);
  expect(got).toBeLessThanOrEqual(512 << 10);
  room = true;
  flow!.resume();
  await whole;
  expect(got).toBe(size);
});

test('what came before its reader is kept, a little of it, and given in order', async (t) => {
  const backend = await standIn(t, PORT + 28, (req, res) => {
    res.write(Buffer.alloc(30_000, 'a'));
    res.end(req.url === '/small' ? 'b' : Buffer.alloc(4 << 20, 'b'));
  });
  const all = start([backend.url]);
  const small = await all.get('/small');
  // The place is free before anybody reads.
  await expect.poll(() => idle(all)).toEqual([0]);
  const large = await all.get('/large');
  for (const [answer, size] of [
    [small, 30_001],
    [large, 30_000 + (4 << 20)],
  ] as const) {
    let flow: UpstreamFlow | undefined;
    let [got, busy, early] = [0, false, 0];
    await new Promise<void>((resolve, reject) => {
      flow = answer.pipe({
        // Takes one piece at a time, and says later that there is room.
        chunk(bytes) {
          if (busy) early += 1;
          for (const byte of [bytes[0]!, bytes.at(-1)!]) expect('ab').toContain(String.fromCharCode(byte));
          got += bytes.length;
          busy = true;
          setImmediate(() => {
            busy = false;
            flow!.resume();
          });
          return false;
        },
        end: resolve,
        failed: reject,
      });
    });
    expect(got).toBe(size);
    expect(early, 'pieces that came although the sink had enough').toBe(0);
  }
  expect(idle(all)).toEqual([0]);
});

test('who goes away gives the place back at once, before and behind the head', async (t) => {
  const gone: string[] = [];
  const backend = await standIn(t, PORT + 23, (req, res) => {
    res.on('close', () => gone.push(req.url!));
    if (req.url === '/body') res.writeHead(200, { 'Content-Length': '10' }).write('hello');
  });
  const all = start([backend.url]);
  const early = new AbortController();
  const waits = all.get('/head', { signal: early.signal });
  await expect.poll(() => backend.seen.length).toBe(1);
  early.abort(new Error('gone'));
  await expect(waits).rejects.toThrow('gone');

  const late = new AbortController();
  const reading = read(await all.get('/body', { signal: late.signal }));
  late.abort(new Error('gone'));
  expect((await reading).error).toBeDefined();

  const flow = (await all.get('/body')).pipe({ chunk: () => true, end: () => undefined, failed: () => undefined });
  flow.cancel();
  await expect.poll(() => gone).toEqual(['/head', '/body', '/body']);
  expect(idle(all)).toEqual([0]);
  expect(all.counts.leased).toEqual(['1 given_up', '1 given_up', '1 given_up']);
});

test('what HTTP does not allow is refused here, and is no fault of a backend', async (t) => {
  const backend = await standIn(t, PORT + 24, (_req, res) => res.end());
  const all = start([backend.url]);
  await expect(all.get('/a b')).rejects.toThrow();
  await expect(all.get('/a', { headers: { x: 'a\r\nb: c' } })).rejects.toThrow();
  expect(backend.seen).toHaveLength(0);
  expect(all.counts.leased).toEqual(['1 given_up', '1 given_up']);
});
