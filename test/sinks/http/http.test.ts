import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'vitest';
import type { SinkContext } from '../../../src/delivery/contract.ts';
import { ManualClock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { HttpSinkConfig } from '../../../src/sinks/http/config.ts';
import { HttpRefusal, HttpTarget, httpSink, Paused, signature } from '../../../src/sinks/http/sink.ts';
import { faultProxy } from '../../servers/fault-proxy.ts';
import { deliver, event, events, type Subject, TestLane } from '../lane.ts';

interface Received {
  readonly lines: string[];
  readonly body: Buffer;
  readonly headers: IncomingMessage['headers'];
}

/** A real server: `answer` decides what a request gets; what got a 2xx is kept. */
async function receiver(t: TestContext, answer: (request: Received, response: ServerResponse) => void | Promise<void>) {
  const kept: Received[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    try {
      for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    } catch {
      return; // a cut connection
    }
    const body = Buffer.concat(parts);
    const lines = body.toString().split('\n');
    assert.equal(lines.pop(), '', 'every line ends with a newline');
    const received = { lines, body, headers: request.headers };
    await answer(received, response);
    if (response.statusCode >= 200 && response.statusCode < 300) kept.push(received);
    if (!response.writableEnded) response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { kept, port, lines: () => kept.flatMap(({ lines }) => lines) };
}

const end = new AbortController();

function configOf(port: number, more: Partial<HttpSinkConfig> = {}): HttpSinkConfig {
  return {
    httpSinkUrl: `http://127.0.0.1:${port}/in?x=1`,
    httpSinkSecret: undefined,
    httpSinkAuthorization: undefined,
    httpSinkTlsCa: undefined,
    httpSinkBatchSize: 500,
    httpSinkBatchBytes: 1 << 20,
    httpSinkFlushMs: 10,
    httpSinkConnections: 1,
    httpSinkTimeoutMs: 2000,
    httpSinkRetryAfterMaxMs: 60_000,
    ...more,
  };
}

const contextOf = (): SinkContext => ({
  name: 'http',
  logId: 'log-a',
  journal: true,
  state: undefined,
  log: createLog({ level: 'silent', destination: 2, name: 'test' }),
  signal: end.signal,
  ended: () => false,
});

async function open(t: TestContext, port: number, more: Partial<HttpSinkConfig> = {}): Promise<Subject> {
  const target = await httpSink.open(configOf(port, more), contextOf());
  t.onTestFinished(() => target.close());
  return Object.assign(target, { classify: (error: unknown) => httpSink.classify(error) });
}

test('events arrive as signed NDJSON, in order, with a key that names the records', async (t) => {
  const { kept, lines, port } = await receiver(t, () => {});
  const target = await open(t, port, { httpSinkSecret: 'k', httpSinkAuthorization: 'Bearer b' });
  const lane = new TestLane([...events(100), event(100, { props: '{"a":"ü\\n"}' })]);
  await deliver(target, lane, { batch: 40 });
  assert.deepEqual(
    lines(),
    lane.events.map(({ line }) => line),
  );
  for (const { body, headers } of kept) {
    const [, seconds, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['ringmain-signature']))!;
    assert.equal(mac, createHmac('sha256', 'k').update(`${seconds}.`).update(body).digest('hex'));
    assert.ok(Math.abs(Date.now() / 1000 - Number(seconds)) < 5);
    assert.equal(headers['authorization'], 'Bearer b');
    assert.equal(headers['content-type'], 'application/x-ndjson');
  }
  const keys = kept.map(({ headers }) => headers['idempotency-key']);
  assert.equal(keys[1], `log-a:1-0:${lane.mark(40).position}-${lane.mark(79).position}`);
  assert.equal(new Set(keys).size, 3);
});

test('the signature is the one of the README', () => {
  assert.equal(
    signature('secret', 1_700_000_000, Buffer.from('{"a":1}\n')),
    `t=1700000000,v1=${createHmac('sha256', 'secret').update('1700000000.{"a":1}\n').digest('hex')}`,
  );
});

test('an answer of 4xx halves the batch until the refused event stands alone', async (t) => {
  const bad = new Set([17, 18, 63].map((n) => event(n).line));
  const { lines, port } = await receiver(t, ({ lines: found }, response) => {
    response.statusCode = found.some((line) => bad.has(line)) ? 422 : 204;
  });
  const target = await open(t, port);
  const { refused } = await deliver(target, new TestLane(events(100)), { batch: 100 });
  assert.deepEqual(refused, [17, 18, 63]);
  assert.deepEqual(
    lines(),
    events(100)
      .map(({ line }) => line)
      .filter((line) => !bad.has(line)),
  );
});

test('each status has its verdict', () => {
  const verdicts: Record<string, number[]> = {
    retry: [408, 425, 429, 500, 502, 503, 504],
    split: [400, 404, 409, 410, 413, 415, 422],
    stop: [301, 302, 307, 401, 403, 407],
  };
  for (const [verdict, statuses] of Object.entries(verdicts)) {
    for (const status of statuses)
      assert.equal(httpSink.classify(new HttpRefusal('127.0.0.1:80', status, '')), verdict, String(status));
  }
  assert.equal(httpSink.classify(new Error('ECONNRESET')), 'retry');
});

test('Retry-After is obeyed, in seconds and as a date, and up to the limit', async (t) => {
  let requests = 0;
  let retryAfter: string | undefined;
  const { kept, port } = await receiver(t, (_, response) => {
    requests += 1;
    if (retryAfter === undefined) return;
    response.statusCode = 429;
    response.setHeader('retry-after', retryAfter);
  });
  const lane = new TestLane(events(10));
  const write = (target: Subject) => target.write(lane.batch(0, 10), Promise.resolve());
  for (const [text, limit] of [
    ['1', 60_000],
    ['100000', 300],
    [new Date(Date.now() + 100_000_000).toUTCString(), 300],
  ] as const) {
    const target = await open(t, port, { httpSinkRetryAfterMaxMs: limit });
    retryAfter = text;
    const before = requests;
    const begin = performance.now();
    await assert.rejects(write(target), HttpRefusal);
    retryAfter = undefined;
    await assert.rejects(write(target), (error) => error instanceof Paused && httpSink.classify(error) === 'retry');
    assert.equal(requests, before + 1, 'nothing is sent in the pause');
    const { verdicts } = await deliver(target, lane, { from: 0 });
    assert.ok(verdicts.length > 0);
    const waited = performance.now() - begin;
    assert.ok(waited >= Math.min(limit, 1000) - 5 && waited < 3000, `waited=${waited}`);
  }
  for (const nonsense of ['soon', '-5', '']) {
    const target = await open(t, port);
    retryAfter = nonsense;
    await assert.rejects(write(target), HttpRefusal);
    retryAfter = undefined;
    await write(target);
  }
  assert.equal(kept.length, 6);
});

// Goal: a pause is as long as the receiver meant it, whatever is done to our wall clock, and whatever it says.
test("Retry-After lasts as long as time passes, and a date counts from the receiver's own clock", async (t) => {
  let retryAfter: string | undefined;
  const wrong = Date.UTC(2031, 0, 1);
  const { port } = await receiver(t, (_, response) => {
    if (retryAfter === undefined) return;
    response.statusCode = 503;
    response.setHeader('date', new Date(wrong).toUTCString());
    response.setHeader('retry-after', retryAfter);
  });
  const lane = new TestLane(events(1));
  for (const text of ['30', new Date(wrong + 30_000).toUTCString()])
    for (const set of [-1, 1]) {
      const clock = new ManualClock(Date.UTC(2026, 0, 1));
      const target = new HttpTarget(configOf(port), contextOf(), clock);
      t.onTestFinished(() => target.close());
      const write = () => target.write(lane.batch(0, 1));
      retryAfter = text;
      await assert.rejects(write(), HttpRefusal);
      retryAfter = undefined;
      clock.set(clock.now() + set * 86_400_000);
      clock.advance(29_999);
      await assert.rejects(write(), Paused);
      clock.advance(1);
      await write();
    }
});

test('PostHog S3 retry: whatever the network does, every event arrives, and twice only where the answer was lost', async (t) => {
  const { kept, lines, port } = await receiver(t, () => {});
  const proxy = await faultProxy(t, { target: { port } });
  await proxy.refuse();
  const target = await open(t, proxy.port, { httpSinkTimeoutMs: 300 });
  const lane = new TestLane(events(600));
  const first = deliver(target, lane, { batch: 100, to: 100 });
  await sleep(100);
  await proxy.heal();
  assert.ok((await first).verdicts.length > 0);

  void proxy.cutAfter('toTarget', 5000);
  await deliver(target, lane, { batch: 100, from: 100, to: 200 });
  assert.equal(proxy.cuts, 1);

  void proxy.cutAfter('toClient', 20);
  await deliver(target, lane, { batch: 100, from: 200, to: 300 });
  assert.equal(proxy.cuts, 2);

  for (const [from, fault] of [
    [300, () => proxy.silence()],
    [400, () => proxy.freeze()],
  ] as const) {
    fault();
    const begin = performance.now();
    await assert.rejects(target.write(lane.batch(from, from + 100), Promise.resolve()), /no answer within 300 ms/);
    assert.ok(performance.now() - begin < 10_000);
    proxy.cutNow();
    await proxy.heal();
    await deliver(target, lane, { batch: 100, from, to: from + 100 });
  }
  await deliver(target, lane, { batch: 100, from: 500 });

  const counts = new Map<string, number>();
  for (const line of lines()) counts.set(line, (counts.get(line) ?? 0) + 1);
  assert.deepEqual([...counts.keys()].sort(), lane.events.map(({ line }) => line).sort());
  const twice = lane.events.flatMap(({ line }, n) => (counts.get(line)! > 1 ? [n] : []));
  assert.ok(
    twice.every((n) => n >= 200 && n < 500),
    `only where an answer was lost: ${twice}`,
  );
  const keys = kept.map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys).size, 6, 'a repeated request has the key of the first');
});

test('a large or endless answer is not read to its end', async (t) => {
  const { port } = await receiver(t, async (_, response) => {
    response.statusCode = 400;
    for (let n = 0; n < 10_000 && !response.destroyed; n += 1) {
      response.write(`no ${'x'.repeat(1000)}`);
      if (n % 100 === 0) await sleep(1);
    }
  });
  const target = await open(t, port);
  const error = await target.write(new TestLane(events(1)).batch(0, 1), Promise.resolve()).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof HttpRefusal);
  assert.ok(
    error.message.startsWith(`the receiver 127.0.0.1:${port} did not answer 2xx: status=400, answer=no xxx`) &&
      error.message.length < 400,
  );
});

test('an answer that comes slowly is given up at the deadline', async (t) => {
  const { port } = await receiver(t, async (_, response) => {
    for (let n = 0; n < 1000 && !response.destroyed; n += 1) {
      response.write('.');
      await sleep(20);
    }
  });
  const target = await open(t, port, { httpSinkTimeoutMs: 150 });
  const begin = performance.now();
  await assert.rejects(target.write(new TestLane(events(1)).batch(0, 1), Promise.resolve()));
  assert.ok(performance.now() - begin < 10_000);
});

test('requests run side by side over as many connections as allowed, and are used again', async (t) => {
  let open_ = 0;
  let most = 0;
  const ports = new Set<number | undefined>();
  const { lines, port } = await receiver(t, async (_, response) => {
    ports.add(response.socket?.remotePort);
    open_ += 1;
    most = Math.max(most, open_);
    await sleep(20);
    open_ -= 1;
  });
  const target = await open(t, port, { httpSinkConnections: 4 });
  await deliver(target, new TestLane(events(1000)), { batch: 50 });
  assert.equal(most, 4);
  assert.ok(ports.size <= 4, `connections=${ports.size}`);
  assert.equal(new Set(lines()).size, 1000);
});

// Goal: whoever reads /readyz or the log learns where the receiver is, and nothing that opens it. Method: a receiver that
// answers with the whole request line and its headers, as frameworks do; errors of sockets and names; all kinds of secrets.
test('every reason names host and port, and none shows what the URL or the options keep secret', async (t) => {
  let status = 404;
  const { port } = await receiver(t, ({ headers }, response) => {
    response.statusCode = status;
    response.end(`Cannot POST /hooks/T0AB-path-token?token=q-secret&short=1 ${JSON.stringify(headers)}`);
  });
  const options = (at: string) => ({
    httpSinkUrl: `http://user-name:pass%2Fword@${at}/hooks/T0AB-path-token?token=q-secret&short=1`,
    httpSinkAuthorization: 'Bearer bearer-secret',
    httpSinkSecret: 'signing-secret',
  });
  const reasonOf = async (at: string) => {
    const target = await open(t, port, { ...options(at), httpSinkTimeoutMs: 300 });
    const batch = new TestLane(events(1)).batch(0, 1);
    return target.write(batch, Promise.resolve()).then(
      () => '',
      (reason: Error) => reason.message,
    );
  };
  const { port: closed } = await faultProxy(t, { target: { port } }).then(async (proxy) => {
    await proxy.refuse();
    return proxy;
  });
  const silent = await faultProxy(t, { target: { port } });
  silent.silence();
  const found = [
    await reasonOf(`127.0.0.1:${port}`),
    await reasonOf(`127.0.0.1:${closed}`),
    await reasonOf(silent.address),
  ];
  status = 401;
  found.push(await reasonOf(`localhost:${port}`), await reasonOf(`no-such-host.invalid:81`));
  const places = [
    `127.0.0.1:${port}`,
    `127.0.0.1:${closed}`,
    silent.address,
    `localhost:${port}`,
    'no-such-host.invalid:81',
  ];
  for (const [i, reason] of found.entries()) {
    assert.ok(reason.includes(places[i]!), `${places[i]} must stand in: ${reason}`);
    assert.doesNotMatch(reason, /user-name|pass%2Fword|pass\/word|path-token|q-secret|bearer-secret|signing-secret/);
  }
  assert.match(found[0]!, /status=404, answer=Cannot POST \*\*\*/);
  assert.deepEqual(httpSink.places(configOf(port, options('example.org'))), ['example.org:80']);
});

test('an idle sink asks the receiver with OPTIONS and sends no event; 405 means that it is there, 503 and 401 that it takes nothing', async (t) => {
  let status = 503;
  const methods: (string | undefined)[] = [];
  const { port, kept } = await receiver(t, ({ body }, response) => {
    methods.push(response.req.method);
    assert.equal(body.length, 0);
    response.statusCode = status;
  });
  const target = await open(t, port, { httpSinkSecret: 'k' });
  const probe = () =>
    target.probe!().then(
      () => 'there',
      (error: Error) => error.message.replace(/.*status=/, ''),
    );
  assert.equal(await probe(), '503');
  status = 401;
  assert.equal(await probe(), '401');
  status = 405;
  assert.equal(await probe(), 'there');
  status = 204;
  assert.equal(await probe(), 'there');
  assert.deepEqual(new Set(methods), new Set(['OPTIONS']));
  assert.match(String(kept[0]!.headers['ringmain-signature']), /^t=\d+,v1=[0-9a-f]{64}$/);
});
