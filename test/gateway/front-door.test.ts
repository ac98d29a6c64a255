/**
 * What a built gateway promises and no other test asks it over HTTP: limits of a key, who may look at a signed URL, users
 * who leave, and ADMIN_KEY, given and left out. A picture that is nobody's upload is 403: it has passed keys, limits and
 * quotas then, and needs no backend.
 */
import assert from 'node:assert/strict';
import { beforeAll, expect, test } from 'vitest';
import type { MadeKey } from '../../src/gateway/database/admin/contract.ts';
import { fileScope } from '../servers/scope.ts';
import { startDatabase } from './database.ts';
import { ADMIN_KEY, type RunningGateway, startGateway } from './running.ts';

const [POSTGRES_PORT, PORT, OTHER_PORT] = [24_620, 24_621, 24_622];
const PICTURE = '/w:9/plain/local:///ab/cd.jpg';
const scope = fileScope();
const administrator = { authorization: `Bearer ${ADMIN_KEY}` };
let dsn: string;
let gateway: RunningGateway;

beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, POSTGRES_PORT));
  gateway = await startGateway(scope, { port: PORT, dsn, env: { ACCEPTORS: '2', IP_REQUESTS_PER_MINUTE: '1000' } });
});

async function administer<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { ...administrator, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

async function newUser(username: string): Promise<number> {
  const { id } = await administer<{ id: number }>('POST', '/api/v1/users', {
    username,
    email: `${username}@example.com`,
  });
  return id;
}

/** A key that both acceptors know. */
async function newKey(user: number, wanted: object = {}): Promise<MadeKey> {
  const made = await administer<MadeKey>('POST', `/api/v1/users/${user}/keys`, { name: 'test', ...wanted });
  // What is asked for usage takes nothing from a quota.
  await expect
    .poll(() => codesEverywhere('/api/v1/usage', { 'x-api-key': made.key }), { interval: 20 })
    .not.toContain('KEY_INVALID');
  return made;
}

async function ask(path: string, headers: Readonly<Record<string, string>> = {}, at = gateway.url) {
  const answer = await fetch(`${at}${path}`, { headers });
  const { code, limit, which } = (await answer.json()) as Readonly<Record<string, string | undefined>>;
  return { status: answer.status, code, limit, which, headers: answer.headers };
}
/** Answers of both acceptors: each connection may be at another one. */
async function codesEverywhere(path: string, headers: Readonly<Record<string, string>> = {}) {
  const codes: (string | undefined)[] = [];
  for (let i = 0; i < 8; i += 1) codes.push((await ask(path, { ...headers, connection: 'close' })).code);
  return codes;
}
const answeredEverywhere = (code: string, path: string, headers?: Readonly<Record<string, string>>) =>
  expect.poll(() => codesEverywhere(path, headers), { interval: 20 }).toEqual(Array.from({ length: 8 }, () => code));

test('a key is limited below its user, and another key of the user is not', async () => {
  const user = await newUser('limited');
  const [narrow, wide] = [await newKey(user), await newKey(user)];
  await administer('PATCH', `/api/v1/keys/${narrow.id}`, { limits: { requests_per_hour: 3 } });
  await answeredEverywhere('RATE_LIMITED', PICTURE, { 'x-api-key': narrow.key });
  const refused = await ask(PICTURE, { 'x-api-key': narrow.key });
  expect([refused.status, refused.code, refused.limit]).toEqual([429, 'RATE_LIMITED', 'key-hour']);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(refused.headers.get('ratelimit-policy')).toBe('"key-hour";q=3;w=3600, "user-minute";q=1000;w=60');
  expect((await ask(PICTURE, { 'x-api-key': wide.key })).code).toBe('SOURCE_FORBIDDEN');
});

test('networks of key and user do not bind who looks at a signed URL; limits and quotas do', async () => {
  const user = await newUser('signs');
  await administer('PUT', `/api/v1/users/${user}/networks`, ['192.0.2.0/24', '127.0.0.0/8']);
  const { id, key } = await newKey(user, { scopes: ['read', 'upload'], networks: ['127.0.0.0/8'] });
  const signing = await fetch(`${gateway.url}/api/v1/sign`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ path: PICTURE, expires_s: 600 }),
  });
  // The picture is not the caller's own, and may be one day.
  expect(signing.status).toBe(200);
  const { url } = (await signing.json()) as { url: string };
  await administer('PATCH', `/api/v1/keys/${id}`, { networks: ['192.0.2.0/24'] });
  await administer('PUT', `/api/v1/users/${user}/networks`, ['192.0.2.0/24']);
  await answeredEverywhere('NETWORK_FORBIDDEN', PICTURE, { 'x-api-key': key });
  expect((await ask(url)).code).toBe('SOURCE_FORBIDDEN');
  const posted = await fetch(`${gateway.url}${url}`, { method: 'POST' });
  expect(await posted.json()).toMatchObject({
    status: 401,
    code: 'SIGNATURE_INVALID',
    detail: expect.stringContaining('by GET or HEAD'),
  });

  const { requests } = await administer<{ requests: number }>('GET', `/api/v1/usage?user_id=${user}`);
  await administer('PUT', `/api/v1/users/${user}/quota`, { monthly_requests: requests + 2 });
  await answeredEverywhere('QUOTA_EXCEEDED', url);
  expect(await ask(url)).toMatchObject({ status: 429, which: 'requests' });
  await administer('PUT', `/api/v1/users/${user}/quota`, {});
  await administer('PUT', `/api/v1/users/${user}/limits`, { requests_per_hour: 1 });
  await expect.poll(async () => (await ask(url)).limit, { interval: 20 }).toBe('user-hour');
});

test('a user with requests in the log is deleted: its keys end, its log and its usage stay', async () => {
  const user = await newUser('leaves');
  const { key } = await newKey(user);
  expect((await ask(PICTURE, { 'x-api-key': key })).code).toBe('SOURCE_FORBIDDEN');
  interface Logs {
    readonly items: readonly { readonly request_path: string; readonly response_status: number }[];
  }
  const logged = async () =>
    (await administer<Logs>('GET', `/api/v1/logs?user_id=${user}&path=/w`)).items.map(
      ({ request_path, response_status }) => [request_path, response_status],
    );
  await expect.poll(logged).toEqual([[PICTURE, 403]]);
  await administer('DELETE', `/api/v1/users/${user}`);
  // No further request for the picture: one that an acceptor still lets through would be logged as well.
  await answeredEverywhere('KEY_INVALID', '/api/v1/usage', { 'x-api-key': key });
  expect(await logged()).toEqual([[PICTURE, 403]]);
  expect(await administer('GET', `/api/v1/usage?user_id=${user}`)).toMatchObject({ requests: 1 });
});

test('ADMIN_KEY where a key of a user is asked for is told so, also on a path that does not exist', async () => {
  for (const path of [PICTURE, '/api/v1/upload', '/api/v1/nothing']) {
    const answer = await ask(path, administrator);
    expect([path, answer.status, answer.code]).toEqual([path, 403, 'KEY_FORBIDDEN']);
  }
  const wrong = await ask('/api/v1/upload', { authorization: `Bearer ${ADMIN_KEY}x` });
  expect([wrong.status, wrong.code]).toEqual([401, 'KEY_INVALID']);
});

test('without ADMIN_KEY the routes of administrators are off, for keys with the scope admin as well, and the start says so', async (t) => {
  const user = await newUser('admin');
  const { key } = await newKey(user, { scopes: ['admin'] });
  expect(await administer('GET', '/api/v1/users?search=admin')).toMatchObject({ items: [{ id: user }] });
  const env = { ADMIN_KEY: '', LOG_LEVEL: 'info' };
  const other = await startGateway(t, { port: OTHER_PORT, dsn, env });
  expect(other.process.log).toMatch(/ADMIN_KEY is not set/);
  for (const headers of [administrator, { 'x-api-key': key }]) {
    const answer = await ask('/api/v1/users', headers, other.url);
    expect([answer.status, answer.code]).toEqual([401, 'KEY_REQUIRED']);
  }
});
