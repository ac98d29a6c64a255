/**
 * Goal: the document of the gateway is a true one. Method: it is checked as a document (every schema is one of JSON
 * Schema 2020-12, every reference leads somewhere, names are unique); then a running gateway is asked by it: every
 * documented operation answers with a documented status and a body of its schema, and no other route answers.
 */
import { beforeAll, expect, test } from 'vitest';
import { openApiText } from '../../../src/gateway/admin/openapi/document.ts';
import { gatewayRouteNames } from '../../../src/gateway/route-names.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Asking, HeldDocument } from '../../service/openapi.ts';
import { startDatabase } from '../database.ts';
import { ADMIN_KEY, type RunningGateway, startGateway } from '../running.ts';

const held = new HeldDocument(openApiText());
const { document, operations } = held;

const scope = fileScope();
let gateway: RunningGateway;
/** A user with a key, made before the requests below. */
let key = '';
let keyId = '';
beforeAll(async () => {
  const { dsn } = await startDatabase(scope, 24_600);
  gateway = await startGateway(scope, { port: 24_601, dsn, env: { IP_REQUESTS_PER_MINUTE: '1000' } });
  await send('POST', '/api/v1/users', { username: 'ada', email: 'ada@example.com' });
  await send('POST', '/api/v1/users', { username: 'bob', email: 'bob@example.com' });
  const made = (await (await send('POST', '/api/v1/users/1/keys', { name: 'first' })).json()) as Record<string, string>;
  [key, keyId] = [made['key']!, made['id']!];
});

function send(method: string, path: string, body?: unknown, credential: string = ADMIN_KEY): Promise<Response> {
  return fetch(`${gateway.url}${path}`, {
    method,
    redirect: 'manual',
    headers: {
      ...(credential === '' ? {} : { authorization: `Bearer ${credential}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined
      ? {}
      : { body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body) }),
  });
}

test('it is a document of OpenAPI 3.1: schemas, references, names', () => held.check(100));

/** A picture of one pixel. */
const PNG = new Uint8Array(
  Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  ),
);
/** Id of what was uploaded. */
let uploadId = '';
const NOBODYS = '00000000-0000-4000-8000-000000000000';

const BACKEND = 'http://127.0.0.1:9';
/** Requests for each operation, in the order of their asking, by the status that they are answered with. */
const requests: Readonly<Record<string, readonly Asking[]>> = {
  listUsers: [
    [200, '/api/v1/users'],
    [200, '/api/v1/users?limit=1&search=ada'],
    [400, '/api/v1/users?limit=0'],
    [401, '/api/v1/users', undefined, 'not-the-key'],
  ],
  addUser: [
    [201, '/api/v1/users', { username: 'eve', email: 'eve@example.com' }],
    [409, '/api/v1/users', { username: 'ada', email: 'ada2@example.com' }],
    [400, '/api/v1/users', { username: 'zoe' }],
    [400, '/api/v1/users', 'no json'],
  ],
  getUser: [
    [200, '/api/v1/users/1'],
    [404, '/api/v1/users/99'],
    [400, '/api/v1/users/ada'],
  ],
  changeUser: [
    [200, '/api/v1/users/2', { is_active: false }],
    [409, '/api/v1/users/2', { email: 'ada@example.com' }],
    [400, '/api/v1/users/2', {}],
    [404, '/api/v1/users/99', { is_active: false }],
  ],
  addBackend: [
    [201, '/api/v1/backends', { url: BACKEND, weight: 2 }],
    [409, '/api/v1/backends', { url: BACKEND }],
    [400, '/api/v1/backends', { url: `${BACKEND}/path` }],
  ],
  listBackends: [[200, '/api/v1/backends']],
  changeBackend: [
    [200, '/api/v1/backends/1', { draining: true }],
    [400, '/api/v1/backends/1', { weight: -1 }],
    [404, '/api/v1/backends/99', { weight: 1 }],
  ],
  removeBackend: [
    [204, '/api/v1/backends/1'],
    [404, '/api/v1/backends/1'],
  ],
  getUserLimits: [[200, '/api/v1/users/1/limits']],
  setUserLimits: [
    [200, '/api/v1/users/1/limits', { requests_per_minute: 600, requests_per_hour: 9000, burst: 50 }],
    [400, '/api/v1/users/1/limits', { requests_per_minute: 0 }],
    [404, '/api/v1/users/99/limits', { requests_per_minute: 600 }],
  ],
  getUserQuota: [[200, '/api/v1/users/1/quota']],
  setUserQuota: [
    [200, '/api/v1/users/1/quota', { monthly_requests: 1_000_000, monthly_bytes: null }],
    [400, '/api/v1/users/1/quota', { monthly_requests: '5' }],
  ],
  getUserNetworks: [[200, '/api/v1/users/2/networks']],
  setUserNetworks: [
    [200, '/api/v1/users/2/networks', ['10.0.0.0/8', '2001:db8::/32']],
    [400, '/api/v1/users/2/networks', ['10.0.0.0/99']],
    [400, '/api/v1/users/2/networks', { networks: [] }],
  ],
  listKeys: [
    [200, '/api/v1/users/1/keys'],
    [404, '/api/v1/users/99/keys'],
  ],
  addKey: [
    [201, '/api/v1/users/1/keys', { name: 'second', scopes: ['read'], expires_at: '2999-01-01T00:00:00Z' }],
    [400, '/api/v1/users/1/keys', { name: 'x', scopes: ['write'] }],
    [404, '/api/v1/users/99/keys', { name: 'x' }],
  ],
  changeKey: [
    [200, '/api/v1/keys/KEY', { name: 'renamed', limits: { requests_per_minute: 500 } }],
    [400, '/api/v1/keys/KEY', {}],
    [400, '/api/v1/keys/KEY', { expires_at: '2020-01-01T00:00:00Z' }],
    [404, '/api/v1/keys/000000000000', { name: 'x' }],
  ],
  rotateKey: [
    [200, '/api/v1/keys/KEY/rotate', { overlap_s: 60 }],
    [400, '/api/v1/keys/KEY/rotate', { overlap_s: -1 }],
    [404, '/api/v1/keys/000000000000/rotate', { overlap_s: 60 }],
  ],
  listAudit: [
    [200, '/api/v1/audit?limit=2'],
    [200, '/api/v1/audit?before=3'],
  ],
  listLogs: [
    [200, '/api/v1/logs?status=2xx&limit=5'],
    [400, '/api/v1/logs?status=999'],
  ],
  getUsage: [
    [200, '/api/v1/usage?user_id=1'],
    [200, '/api/v1/usage?user_id=1&month=2026-01'],
    [400, '/api/v1/usage?user_id=1&month=2026-13'],
  ],
  upload: [
    [200, '/api/v1/upload', PNG, 'KEY'],
    [415, '/api/v1/upload', 'no picture, but as long as the head of one', 'KEY'],
    [401, '/api/v1/upload', PNG, ''],
  ],
  listUploads: [
    [200, '/api/v1/upload?limit=1', undefined, 'KEY'],
    [400, '/api/v1/upload?limit=0', undefined, 'KEY'],
  ],
  getUpload: [
    [200, '/api/v1/upload/UPLOAD', undefined, 'KEY'],
    [404, `/api/v1/upload/${NOBODYS}`, undefined, 'KEY'],
    [400, '/api/v1/upload/1', undefined, 'KEY'],
  ],
  removeUpload: [
    [204, '/api/v1/upload/UPLOAD', undefined, 'KEY'],
    [404, '/api/v1/upload/UPLOAD', undefined, 'KEY'],
  ],
  purge: [
    [202, '/api/v1/purge', { prefix: 'local:///ab/' }],
    [400, '/api/v1/purge', {}],
    [403, '/api/v1/purge', { path: 'local:///ab/cd.jpg' }, 'KEY'],
  ],
  sign: [
    [200, '/api/v1/sign', { path: '/rs:fit:1:1/plain/local:///ab/cd.jpg', expires_s: 60 }, 'KEY'],
    [400, '/api/v1/sign', { path: 'x', expires_s: 60 }, 'KEY'],
    [401, '/api/v1/sign', { path: '/x', expires_s: 60 }, ''],
  ],
  adminPage: [[308, '/admin']],
  adminPageHead: [[308, '/admin']],
  revokeKey: [
    [204, '/api/v1/keys/KEY'],
    [404, '/api/v1/keys/000000000000'],
  ],
  removeUser: [
    [204, '/api/v1/users/2'],
    [404, '/api/v1/users/2'],
  ],
  getOpenApi: [[200, '/openapi.json']],
  health: [[200, '/healthz']],
  healthHead: [[200, '/healthz']],
  readiness: [[200, '/readyz']],
  readinessHead: [[200, '/readyz']],
  healthToo: [[200, '/health']],
  healthTooHead: [[200, '/health']],
  readinessToo: [[200, '/ready']],
  readinessTooHead: [[200, '/ready']],
  metrics: [[200, '/metrics']],
  metricsHead: [[200, '/metrics']],
};

test.each(Object.entries(requests))('%s answers with what is documented', (name, asked) =>
  held.checkAnswers(
    name,
    asked,
    (method, path, body, credential) =>
      send(
        method,
        path.replace('KEY', keyId).replace('UPLOAD', uploadId),
        body,
        credential === 'KEY' ? key : credential,
      ),
    (status, body) => {
      if (name === 'upload' && status === 200) uploadId = (JSON.parse(body) as { id: string }).id;
    },
  ),
);

test(
  'who may do nothing and asks for it wrongly is refused, and the process lives',
  () => held.checkWrongAndRefused(gateway.url),
  60_000,
);

test('the document is served as it is', async () => {
  expect(await (await send('GET', '/openapi.json', undefined, '')).json()).toEqual(document);
});

test('a refusal says in one line what must hold and what was found', async () => {
  const detail = async (method: string, path: string, body?: unknown) =>
    ((await (await send(method, path, body)).json()) as { detail: string }).detail;
  expect(await detail('POST', '/api/v1/users', { username: 'zoe' })).toBe('email must be given');
  expect(await detail('POST', '/api/v1/users', { username: 'zoe', email: 'z@e', admin: true })).toBe(
    'a member must be one of username, email in the body: found=admin',
  );
  expect(await detail('PUT', '/api/v1/users/1/limits', { burst: 'x' })).toBe(
    'burst must be a whole number or null: found=x',
  );
  expect(await detail('POST', '/api/v1/users/1/keys', { scopes: ['write'] })).toBe(
    'scopes.0 must be one of read, upload, admin: found=write',
  );
  expect(await detail('POST', '/api/v1/users/1/keys', { expires_at: 'soon' })).toBe(
    'expires_at must be a time like 2027-01-31T00:00:00Z: found=soon',
  );
  expect(await detail('GET', '/api/v1/users?limit=5&limit=6')).toBe('limit must be given once');
  expect(await detail('GET', '/api/v1/users/1?x=1')).toBe('a member must be one of id in the query: found=x');
});

test('every change has its row in the audit log, with actor and address, and no secret stands in one', async () => {
  const text = await (await send('GET', '/api/v1/audit?limit=1000')).text();
  const { items } = JSON.parse(text) as { items: readonly Record<string, string>[] };
  const actions = new Set(items.map(({ action }) => action));
  for (const action of [
    ...['user_added', 'user_changed', 'user_removed', 'limits_set', 'quota_set', 'networks_set'],
    ...['key_added', 'key_changed', 'key_rotated', 'key_revoked'],
  ])
    expect(actions).toContain(action);
  expect(new Set(items.map(({ actor, client_ip }) => `${actor} ${client_ip}`))).toEqual(new Set(['admin 127.0.0.1']));
  expect(text).not.toContain(key.split('_')[3]);
});

test('a key that is made here works, and none of it is said again', async () => {
  const list = await (await send('GET', '/api/v1/users/1/keys')).text();
  expect(list).not.toContain(key);
  expect(list).not.toContain('signing_key');
  const made = (await (await send('POST', '/api/v1/users/1/keys', { name: 'third' })).json()) as { key: string };
  const status = async (credential: string) => (await send('POST', '/api/v1/nothing', undefined, credential)).status;
  // Known to the acceptor within a second: who has a key may hear that there is nothing.
  await expect.poll(() => status(made.key)).toBe(404);
  expect(await status(`${made.key}x`)).toBe(401);
  // One with the scope admin administers, under its own name.
  expect((await send('GET', '/api/v1/users', undefined, made.key)).status).toBe(403);
  const admin = (await (
    await send('POST', '/api/v1/users/1/keys', { name: 'fourth', scopes: ['admin'] })
  ).json()) as Record<string, string>;
  const other = { username: 'kim', email: 'kim@example.com' };
  await expect.poll(async () => (await send('POST', '/api/v1/users', other, admin['key'])).status).toBe(201);
  const { items } = (await (await send('GET', '/api/v1/audit?limit=1', undefined, admin['key'])).json()) as {
    items: readonly Record<string, string>[];
  };
  expect(items).toMatchObject([{ action: 'user_added', actor: `key:${admin['id']}` }]);
  expect((await send('GET', '/api/v1/usage?user_id=3', undefined, admin['key'])).status).toBe(200);
  expect((await send('POST', '/api/v1/purge', { prefix: 'local:///ab/' }, admin['key'])).status).toBe(202);
  expect((await send('POST', '/api/v1/purge', { prefix: 'local:///ab/' }, made.key)).status).toBe(403);
});

test('the routes of the process are those of the document', async () => {
  const paths = Object.keys(document.paths).filter((path) => path !== '/{path}');
  await held.checkMethods((method, path) => send(method, path.replaceAll(/\{\w+\}/g, '1')), paths);
  for (const { path, operationId } of operations)
    if (path !== '/{path}') expect(requests, `${operationId} must be asked above`).toHaveProperty(operationId);
  const metrics = await (await send('GET', '/metrics')).text();
  for (const name of gatewayRouteNames) expect(metrics).toContain(`route="${name}"`);
});
