/** The order of the checks, and what every answer carries. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'vitest';
import type { Exchange } from '../../../src/gateway/front/exchange.ts';
import type { Guard } from '../../../src/gateway/front/guard.ts';
import type { Limiter } from '../../../src/gateway/limits/limiter.ts';
import type { Route } from '../../../src/http/router.ts';
import { type Answer, freePort, request } from '../../http/raw.ts';
import { ADMIN_KEY, CountingLimiter, key, startRig, user } from './rig.ts';

const port = await freePort(24100);

const hello = (guard: Guard, answer = (exchange: Exchange) => exchange.json(200, '{"ok":true}')): readonly Route[] => [
  {
    name: 'image',
    path: '/*',
    cors: guard.cors,
    on: {
      GET: guard.route({ route: 'image', scope: 'read', signed: true }, answer),
      HEAD: guard.route({ route: 'image', scope: 'read', signed: true }, answer),
    },
  },
  {
    name: 'users',
    path: '/api/v1/users',
    cors: guard.cors,
    on: { GET: guard.route({ route: 'users', scope: 'administrator' }, answer) },
  },
  {
    name: 'upload',
    path: '/api/v1/upload',
    takesBody: true,
    cors: guard.cors,
    on: {
      POST: guard.route({ route: 'upload', scope: 'upload', takesBody: true }, async (exchange, req) => {
        exchange.json(200, JSON.stringify(await exchange.jsonBody(req)));
      }),
    },
  },
];

const withKey = (text = 'good') => ({ headers: [`X-API-Key: ${text}`] });
const codeOf = (answer: Answer) => (answer.json() as { code: string }).code;

test('the N-th wrong or missing key is 401 and the next one 429, and a right key passes meanwhile', async () => {
  const rig = startRig(port, { addressLimit: 3, routes: hello });
  assert.equal(codeOf(await request(port, '/a')), 'KEY_REQUIRED');
  assert.equal(codeOf(await request(port, '/a', withKey('wrong'))), 'KEY_INVALID');
  const third = await request(port, '/a');
  assert.equal(third.status, 401);
  assert.equal(third.headers['ratelimit'], '"ip";r=0;t=60');
  const fourth = await request(port, '/a?b=1', { headers: ['X-Request-Id: mine-1'] });
  assert.equal(fourth.status, 429);
  assert.equal(codeOf(fourth), 'RATE_LIMITED');
  assert.equal(fourth.headers['retry-after'], '2');
  assert.equal(fourth.headers['x-request-id'], 'mine-1');
  assert.equal((fourth.json() as { limit: string }).limit, 'ip');
  assert.equal((await request(port, '/a', withKey())).status, 200);
  const records = rig.records();
  assert.deepEqual(
    records.map(({ status, outcome }) => `${status} ${outcome}`),
    ['401 no_key', '401 bad_key', '401 no_key', '429 limited', '200 ok'],
  );
  assert.deepEqual(
    { path: records[3]!['path'], id: records[3]!['id'], month: records[3]!['month'], user: records[3]!['user'] },
    { path: '/a?b=1', id: 'mine-1', month: null, user: null },
  );
  assert.equal(records[0]!['path'], '/a');
  assert.equal(records[4]!['user'], 7);
  assert.equal(records[4]!['out'], 11);
  assert.equal(rig.count('ringmain_gateway_requests_total', { route: 'image', outcome: 'no_key' }), 2);
});

test('the signature of a signed URL does not stand in the log', async () => {
  const rig = startRig(port, { routes: hello });
  await request(port, '/a?x=1&kid=9fK2mQx07TbA&exp=1&sig=abc-_d', withKey());
  assert.equal(rig.records()[0]!['path'], '/a?x=1&kid=9fK2mQx07TbA&exp=1&sig=...');
});

test('every answer has the headers of limits, a request id and those of CORS', async () => {
  startRig(port, { routes: hello });
  const headers = ['Origin: https://page.example'];
  const asked = [
    await request(port, '/a', { headers }),
    await request(port, '/a', { headers: [...headers, 'X-API-Key: good', 'X-Request-Id: not valid'] }),
    await request(port, '/api/v1/users', { headers: [...headers, 'X-API-Key: good'] }),
    await request(port, '/api/v1/users', { headers: [...headers, `Authorization: Bearer ${ADMIN_KEY}`] }),
    await request(port, '/a', { method: 'HEAD', headers: [...headers, 'X-API-Key: good'] }),
  ];
  assert.deepEqual(
    asked.map(({ status }) => status),
    [401, 200, 403, 200, 200],
  );
  // A 401 says how to authenticate (RFC 9110, 11.6.1).
  assert.deepEqual(
    asked.map(({ headers }) => headers['www-authenticate']),
    ['Bearer', undefined, undefined, undefined, undefined],
  );
  for (const { headers } of asked) {
    assert.match(headers['ratelimit'] ?? '', /^"(ip|user)";r=\d+;t=60$/);
    assert.match(headers['ratelimit-policy'] ?? '', /^"(ip|user)";q=\d+;w=60$/);
    assert.match(headers['x-ratelimit-limit'] ?? '', /^\d+$/);
    assert.match(headers['x-ratelimit-remaining'] ?? '', /^\d+$/);
    assert.ok(Math.abs(Number(headers['x-ratelimit-reset']) - Date.now() / 1000 - 60) < 10);
    assert.match(headers['x-request-id'] ?? '', /^[\da-f]{16}-[\da-z]{9}$/);
    assert.equal(headers['access-control-allow-origin'], '*');
    assert.match(
      headers['access-control-expose-headers'] ?? '',
      /Content-Range, .*RateLimit, .*X-Cache, .*X-Request-Id/,
    );
  }
});

test('what the router answers for a path by itself has a request id, too', async () => {
  startRig(port, { routes: hello });
  const headers = ['Origin: https://page.example', 'X-Request-Id: mine'];
  const asked = [
    await request(port, '/api/v1/users', { method: 'DELETE', headers }),
    await request(port, '/api/v1/users', { method: 'OPTIONS', headers }),
    await request(port, '/api/v1/users', { headers: [...headers, 'Transfer-Encoding: xchunked'] }),
    await request(port, '/api/v1/users', { method: 'DELETE', headers: [...headers, 'Transfer-Encoding: xchunked'] }),
    await request(port, '/api/v1/users', { method: 'DELETE' }),
  ];
  assert.deepEqual(
    asked.map(({ status }) => status),
    [405, 204, 400, 400, 405],
  );
  for (const { headers } of asked.slice(0, -1)) assert.equal(headers['x-request-id'], 'mine');
  assert.match(asked.at(-1)!.headers['x-request-id'] ?? '', /^[\da-f]{16}-[\da-z]{9}$/);
});

test('rights come before limits, and limits before the quota', async () => {
  const refusal = { which: 'bytes' as const, limit: 10, used: 11, resetAtMs: Date.now() + 60_000 };
  const rig = startRig(port, {
    keyLimit: 1,
    identities: {
      idle: { user: { ...user, active: false }, key, signed: false },
      reader: { user, key: { ...key, scopes: ['read'] }, signed: false },
      far: { user: { ...user, networks: ['203.0.113.9'] }, key, signed: false },
      good: { user, key, signed: false },
    },
    quotas: { reserve: () => refusal, settle: () => undefined, cancel: () => undefined },
    routes: hello,
  });
  const upload = (text: string) => request(port, '/api/v1/upload', { ...withKey(text), method: 'POST', body: '{}' });
  assert.equal(codeOf(await upload('idle')), 'USER_INACTIVE');
  assert.equal(codeOf(await upload('reader')), 'SCOPE_MISSING');
  assert.equal(codeOf(await upload('far')), 'NETWORK_FORBIDDEN');
  const spent = await upload('good');
  assert.equal(codeOf(spent), 'QUOTA_EXCEEDED');
  assert.ok(Number(spent.headers['retry-after']) > 50);
  assert.equal(codeOf(await upload('good')), 'RATE_LIMITED');
  assert.deepEqual(
    rig.records().map(({ outcome }) => outcome),
    ['inactive_user', 'scope', 'network', 'quota', 'limited'],
  );
});

test('what is refused by 403 counts against the address, and is 429 after as many', async () => {
  const rig = startRig(port, {
    addressLimit: 4,
    keyLimit: 1,
    env: { CORS_ORIGINS: 'https://page.example' },
    identities: {
      idle: { user: { ...user, active: false }, key, signed: false },
      far: { user: { ...user, networks: ['203.0.113.9'] }, key, signed: false },
      good: { user, key, signed: false },
    },
    routes: hello,
  });
  const foreign = () => request(port, '/a', { headers: ['Origin: https://evil.example'] });
  const asked = [
    await foreign(),
    await request(port, '/a', withKey('idle')),
    await request(port, '/a', withKey('far')),
    await request(port, '/api/v1/users', withKey()),
    await foreign(),
    await request(port, '/a', withKey('idle')),
    // The user whose key it was has lost nothing.
    await request(port, '/a', withKey()),
  ];
  assert.deepEqual(
    asked.map((answer) => (answer.status === 200 ? 'OK' : codeOf(answer))),
    [
      ...['ORIGIN_FORBIDDEN', 'USER_INACTIVE', 'NETWORK_FORBIDDEN', 'SCOPE_MISSING'],
      ...['RATE_LIMITED', 'RATE_LIMITED', 'OK'],
    ],
  );
  for (const { headers } of asked) assert.match(headers['ratelimit'] ?? '', /^"(ip|user)";r=\d+;t=60$/);
  rig.lane.refuses = 'journal_full';
  const none = await request(port, '/a', withKey());
  assert.deepEqual([codeOf(none), none.headers['ratelimit']], ['NO_ROOM', '"ip";r=0;t=60']);
});

test('a key with the scope admin administers within its rights and limits, unless there is no ADMIN_KEY', async () => {
  const asked = (exchange: Exchange) =>
    exchange.json(200, JSON.stringify([exchange.administrator, exchange.key?.id ?? null]));
  const admin = { ...key, scopes: ['admin'] as const };
  const identities = {
    admin: { user, key: admin, signed: false },
    idle: { user: { ...user, active: false }, key: admin, signed: false },
  };
  const refusal = { which: 'bytes' as const, limit: 10, used: 11, resetAtMs: Date.now() + 60_000 };
  startRig(port, {
    keyLimit: 1,
    identities,
    // No quota counts administration.
    quotas: { reserve: () => refusal, settle: () => undefined, cancel: () => undefined },
    routes: (guard) => hello(guard, asked),
  });
  assert.equal(codeOf(await request(port, '/api/v1/users', withKey('idle'))), 'USER_INACTIVE');
  assert.equal(codeOf(await request(port, '/a', withKey('admin'))), 'SCOPE_MISSING');
  assert.deepEqual((await request(port, '/api/v1/users', withKey('admin'))).json(), [true, key.id]);
  assert.equal(codeOf(await request(port, '/api/v1/users', withKey('admin'))), 'RATE_LIMITED');
  const byAdmin = { headers: [`Authorization: Bearer ${ADMIN_KEY}`] };
  assert.deepEqual((await request(port, '/api/v1/users', byAdmin)).json(), [true, null]);
});

test('without room for its record a request is refused before it is served', async () => {
  let served = 0;
  const rig = startRig(port, {
    routes: (guard) =>
      hello(guard, (exchange) => {
        served += 1;
        exchange.json(200, '{}');
      }),
  });
  rig.lane.refuses = 'journal_full';
  const refused = await request(port, '/a', withKey());
  assert.equal(refused.status, 503);
  assert.equal(codeOf(refused), 'NO_ROOM');
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal(served, 0);
  rig.lane.refuses = undefined;
  // The record of the refusal has waited; requests pass again when it is written.
  while ((await request(port, '/a', withKey())).status === 503) await delay(20);
  assert.equal(served, 1);
  assert.deepEqual(
    rig
      .records()
      .map(({ status }) => status)
      .filter((status) => status === 200),
    [200],
  );
});

test('limits that are asked for elsewhere decide later: the request and its body are kept', async () => {
  const counting = new CountingLimiter();
  const limiter: Limiter = {
    take: async (windows) => {
      await delay(5);
      return counting.take(windows);
    },
    look: (windows) => counting.look(windows),
    close: () => undefined,
  };
  const rig = startRig(port, { keyLimit: 1, limiter, routes: hello });
  const upload = () => request(port, '/api/v1/upload', { ...withKey(), method: 'POST', body: '{"name":"a"}' });
  const taken = await upload();
  assert.deepEqual(taken.json(), { name: 'a' });
  assert.equal(taken.headers['connection'], undefined, 'a body that was read whole leaves the connection usable');
  assert.equal((await upload()).status, 429);
  assert.equal((await request(port, '/a')).status, 401);
  assert.deepEqual(rig.faults, []);
  assert.equal(rig.records()[0]!['in'], 12);
});

test('a handler that fails costs one 500, counts for no quota and leaves the connection usable', async () => {
  const settled: string[] = [];
  const rig = startRig(port, {
    quotas: {
      reserve: ({ id }) => ({ userId: id, month: 1 }),
      settle: (_, bytes) => void settled.push(`settle ${bytes}`),
      cancel: () => void settled.push('cancel'),
    },
    routes: (guard) =>
      hello(guard, (exchange) => {
        if (exchange.target === '/later') return Promise.reject(new Error('broken')) as never;
        if (exchange.target === '/now') throw new Error('broken');
        exchange.json(200, '{}');
      }),
  });
  assert.equal((await request(port, '/now', withKey())).status, 500);
  assert.equal((await request(port, '/later', withKey())).status, 500);
  assert.equal((await request(port, '/', withKey())).status, 200);
  assert.deepEqual(settled, ['cancel', 'cancel', 'settle 2']);
  assert.equal(rig.faults.length, 2);
  assert.deepEqual(
    rig.records().map(({ status, month }) => [status, month]),
    [
      [500, null],
      [500, null],
      [200, 1],
    ],
  );
});
