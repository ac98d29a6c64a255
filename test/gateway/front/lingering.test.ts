/**
 * Goal: a client that sends all of its request before it reads gets the answer that was given meanwhile, also when its
 * connection must close behind it.
 * Method: send more than the buffers of both sockets hold, without reading; then read what is there.
 */
import assert from 'node:assert/strict';
import { onTestFinished, test } from 'vitest';
import type { Guard } from '../../../src/gateway/front/guard.ts';
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
];

type Sent = Omit<Parameters<typeof sendThenRead>[1], 'target'> & { readonly target?: string };

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
  const answer = await sendThenRead(port, { target: '/upload', ...sent, headers });
  assert.deepEqual(said(answer), expected);
  assert.equal(answer?.headers['access-control-allow-origin'], '*');
  assert.match(answer?.headers['x-request-id'] ?? '', /^[\da-f]{16}-/);
  assert.match(answer?.headers['date'] ?? '', / GMT$/);
  const [record] = rig.records();
  assert.deepEqual([record?.['status'], record?.['out']], [answer?.status, answer?.body.length]);
  assert.deepEqual(rig.faults, []);
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
