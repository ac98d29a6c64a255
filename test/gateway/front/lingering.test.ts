/**
 * Goal: a client that sends all of its request before it reads gets the answer that was given meanwhile, also when its
 * connection must close behind it.
 * Method: send more than the buffers of both sockets hold, without reading; then read what is there.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { onTestFinished, test } from 'vitest';
import type { Guard } from '../../../src/gateway/front/guard.ts';
import { httpErrors } from '../../../src/http/errors.ts';
import type { Route } from '../../../src/http/router.ts';
import { freePort, RawConnection, sendThenRead } from '../../http/raw.ts';
import { startRig } from './rig.ts';

const port = await freePort(24130);
const MiB = 1 << 20;

/** POST /upload takes 1 MiB, of a form's part or of a whole body; POST /json takes MAX_BODY_BYTES. */
const routes = (guard: Guard): Route[] => [
  {
    name: 'upload',
    path: '/upload',
    takesBody: true,
    cors: guard.cors,
    on: {
      POST: guard.route({ route: 'upload', scope: 'upload', takesBody: true }, (exchange, req) => {
        const sink = { chunk: () => true, end: () => exchange.json(200, '{}'), failed: () => undefined };
        exchange.receive(req, Number(req.getQuery() || MiB), sink);
      }),
    },
  },
  {
    name: 'sign',
    path: '/json',
    takesBody: true,
    cors: guard.cors,
    on: {
      POST: guard.route({ route: 'sign', scope: 'upload', takesBody: true }, async (exchange, req) => {
        await exchange.jsonBody(req);
        exchange.json(200, '{}');
      }),
    },
  },
  {
    name: 'uploads',
    path: '/none',
    cors: guard.cors,
    streams: true,
    on: {
      GET: guard.route({ route: 'uploads', scope: 'read' }, (exchange) => {
        if (exchange.query === 'refused') exchange.problem(httpErrors.NOT_FOUND, { path: '/none' });
        else if (exchange.query === 'json') exchange.json(200, '{"code":"json"}');
        else {
          const writer = exchange.stream(200, [], exchange.query === 'length' ? 17 : undefined);
          writer.write(Buffer.from('{"code":'));
          writer.drained(() => {
            writer.write(Buffer.from('"stream"}'));
            writer.end();
          });
        }
      }),
      HEAD: guard.route({ route: 'uploads', scope: 'read' }, (exchange) => exchange.json(200, '{}')),
      POST: guard.route({ route: 'unknown', scope: 'upload' }, (exchange) =>
        exchange.problem(httpErrors.NOT_FOUND, { path: '/none' }),
      ),
      DELETE: guard.route({ route: 'uploads', scope: 'upload' }, async (exchange) => {
        await turn();
        if (exchange.query === 'refused') throw httpErrors.NOT_FOUND({ path: '/none' });
        exchange.json(200, '{"code":"gone"}');
      }),
    },
  },
];

type Sent = Partial<Parameters<typeof sendThenRead>[1]>;

const said = (answer: Awaited<ReturnType<typeof sendThenRead>>) =>
  answer === undefined ? 'lost' : [answer.status, (answer.json() as { code: string }).code, answer.closed];

const key = 'X-API-Key: good';
test.each<[string, Sent, unknown]>([
  ['a chunked body that grows too large', { headers: [key], mib: 24, chunked: true }, [413, 'BODY_TOO_LARGE', true]],
  ['a body that is announced too large', { headers: [key], mib: 24 }, [413, 'BODY_TOO_LARGE', true]],
  ['one whose client asks to close', { headers: [key, 'Connection: close'], mib: 6 }, [413, 'BODY_TOO_LARGE', true]],
  ['one that the connection outlives', { headers: [key], mib: 6 }, [413, 'BODY_TOO_LARGE', false]],
  ['a chunked body without a key', { mib: 24, chunked: true }, [401, 'KEY_REQUIRED', true]],
  ['JSON that is announced too large', { target: '/json', headers: [key], mib: 24 }, [413, 'BODY_TOO_LARGE', true]],
  [
    'JSON that grows too large',
    { target: '/json', headers: [key], mib: 24, chunked: true },
    [413, 'BODY_TOO_LARGE', true],
  ],
])('%s is refused, and its client reads why', async (_what, sent, expected) => {
  const rig = startRig(port, { routes });
  const headers = ['Origin: https://a.example', ...(sent.headers ?? [])];
  const answer = await sendThenRead(port, { target: '/upload', mib: 6, ...sent, headers });
  assert.deepEqual(said(answer), expected);
  assert.equal(answer?.headers['access-control-allow-origin'], '*');
  assert.match(answer?.headers['x-request-id'] ?? '', /^[\da-f]{16}-/);
  assert.match(answer?.headers['date'] ?? '', / GMT$/);
  const [record] = rig.records();
  assert.deepEqual([record?.['status'], record?.['out']], [answer?.status, answer?.body.length]);
  // What the route was given, and never what was announced.
  const given = sent.chunked === true && sent.headers?.[0] === key && sent.target === undefined;
  assert.equal((record?.['in'] as number) > MiB, given);
  assert.deepEqual(rig.faults, []);
});

const closes = [key, 'Connection: close'];
test.each<[string, Sent, unknown]>([
  ['a POST', { method: 'POST', headers: closes }, [404, 'NOT_FOUND', true]],
  ['a POST without a key', { method: 'POST', headers: ['Connection: close'] }, [401, 'KEY_REQUIRED', true]],
  ['a POST that the connection outlives', { method: 'POST', headers: [key] }, [404, 'NOT_FOUND', false]],
  ['a method that nobody takes', { method: 'PUT', headers: closes }, [405, 'METHOD_NOT_ALLOWED', true]],
  [
    'a refusal that comes later',
    { method: 'DELETE', target: '/none?refused', headers: closes },
    [404, 'NOT_FOUND', true],
  ],
  ['an answer that comes later', { method: 'DELETE', headers: closes }, [200, 'gone', true]],
  ['a GET', { method: 'GET', target: '/none?json', headers: closes }, [200, 'json', true]],
  ['a GET that the connection outlives', { method: 'GET', target: '/none?json', headers: [key] }, [200, 'json', false]],
  ['a refused GET', { method: 'GET', target: '/none?refused', headers: closes }, [404, 'NOT_FOUND', true]],
  ['a body in pieces', { method: 'GET', target: '/none?length', headers: closes }, [200, 'stream', true]],
])('on a route that takes no body its client reads the answer to one: %s', async (_what, sent, expected) => {
  const rig = startRig(port, { routes });
  assert.deepEqual(said(await sendThenRead(port, { target: '/none', mib: 6, ...sent })), expected);
  assert.deepEqual(rig.faults, []);
});

test('the answer to a HEAD with a body has none, and waits for the end of the request', async () => {
  startRig(port, { routes });
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  connection.send(`HEAD /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${2 * MiB}\r\n\r\n`);
  connection.send(Buffer.alloc(2 * MiB));
  await connection.closed();
  assert.match(connection.rest, /^HTTP\/1\.1 401 /);
  assert.match(connection.rest, /\r\n\r\n$/);
});

test('what follows a refused chunked body is not read as a request', async () => {
  const rig = startRig(port, { routes });
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  connection.send(
    'POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n' +
      'POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n',
  );
  await connection.closed();
  assert.equal(rig.records().length, 1);
});

test('a client that never ends its request is closed when the time of a request is over', async () => {
  startRig(port, { routes, env: { SERVER_READ_TIMEOUT: '300ms' } });
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  connection.send(`POST /upload HTTP/1.1\r\nHost: a\r\n${key}\r\nTransfer-Encoding: chunked\r\n\r\n200001\r\n`);
  connection.send(Buffer.alloc(2 * MiB + 1));
  assert.equal((await connection.answer())?.status, 413);
  await connection.closed(5000);
});
