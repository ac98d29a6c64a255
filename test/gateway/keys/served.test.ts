/**
 * Keys as clients meet them: two built gateways with one Postgres, changed by the command line, without a restart.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import type { MadeKey } from '../../../src/gateway/database/admin/contract.ts';
import { signingKeyOf, signTarget } from '../../../src/gateway/keys/signing.ts';
import { main, temporary } from '../../servers/collector.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { PEPPER, startDatabase } from '../database.ts';
import { type RunningGateway, startGateway } from '../running.ts';

const scope = fileScope();
let server: PostgresServer;
let gateways: readonly RunningGateway[];
let files: string;
/** No limit is met here. */
const many = { IP_REQUESTS_PER_MINUTE: '1000000', USER_REQUESTS_PER_MINUTE: '1000000' };
beforeAll(async () => {
  server = await startDatabase(scope, 24004);
  gateways = await Promise.all([
    startGateway(scope, { port: 24005, dsn: server.dsn, env: { ...many, TRUST_PROXY: '127.0.0.1' } }),
    startGateway(scope, { port: 24006, dsn: server.dsn, env: many }),
  ]);
  files = gateways[0]!.folder;
  await ringmain('user', 'add', 'ada', 'ada@example.com');
});

const run = promisify(execFile);
/** `ringmain gateway ...` in a process of its own. */
async function ringmain(...words: string[]): Promise<string> {
  const env = { PATH: process.env['PATH'] ?? '', DB_DSN: server.dsn, KEY_PEPPER: PEPPER };
  return (await run(process.execPath, [main, 'gateway', ...words], { cwd: files, env })).stdout;
}
const newKey = async (...flags: string[]): Promise<MadeKey> =>
  JSON.parse(await ringmain('key', 'add', 'ada', '--json', ...flags)) as MadeKey;

const PICTURE = '/w:9/plain/local:///ab/cd.jpg';
/** Asks one of the gateways for a signed path: the status, and the code of a problem. */
async function ask(gateway: RunningGateway, key: string, headers: Readonly<Record<string, string>> = {}) {
  const answer = await fetch(`${gateway.url}/api/v1/sign`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ path: PICTURE, expires_s: 3600 }),
  });
  const { code, url } = (await answer.json()) as { readonly code?: string; readonly url?: string };
  return { status: answer.status, code, url };
}
const everywhere = (key: string): Promise<(string | number)[]> =>
  Promise.all(gateways.map(async (gateway) => (await ask(gateway, key)).code ?? 200));

test('a key works in every process as soon as it is made, and is refused within a second of being revoked', async () => {
  const { id, key } = await newKey();
  await expect.poll(() => everywhere(key), { interval: 20 }).toEqual([200, 200]);
  // The tool itself takes longer to start and to end than the change to arrive: the clock is that of the database.
  const revoked = ringmain('key', 'revoke', id);
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: server.dsn });
  await client.connect();
  let since = 0;
  await expect
    .poll(
      async () => {
        const { rows } = await client.query('SELECT FROM api_keys WHERE id = $1 AND is_active', [id]);
        since = performance.now();
        return rows.length;
      },
      { timeout: 20_000, interval: 5 },
    )
    .toBe(0);
  await expect.poll(() => everywhere(key), { interval: 10 }).toEqual(['KEY_INVALID', 'KEY_INVALID']);
  expect(performance.now() - since).toBeLessThan(1000);
  await revoked;
  await client.end();
});

test('during the overlap of a rotation both keys work, then the new one alone', async () => {
  const { id, key } = await newKey();
  await expect.poll(() => everywhere(key)).toEqual([200, 200]);
  const renewed = JSON.parse(await ringmain('key', 'rotate', id, '--overlap=2', '--json')) as MadeKey;
  expect(renewed.id).toBe(id);
  await expect.poll(() => everywhere(renewed.key), { interval: 20 }).toEqual([200, 200]);
  expect(await everywhere(key)).toEqual([200, 200]);
  await expect.poll(() => everywhere(key)).toEqual(['KEY_INVALID', 'KEY_INVALID']);
  expect(await everywhere(renewed.key)).toEqual([200, 200]);
});

test('a path is signed by the key that asks, as the command line and the examples do it', async () => {
  const { id, key, signing_key } = await newKey();
  await expect.poll(() => everywhere(key)).toEqual([200, 200]);
  expect(signing_key).toBe(signingKeyOf(PEPPER, id, 1));
  const { url } = await ask(gateways[0]!, key);
  const exp = Number(/exp=(\d+)/.exec(url!)?.[1]);
  expect(Math.abs(exp - Date.now() / 1000 - 3600)).toBeLessThan(30);
  expect(url).toBe(signTarget(signing_key, id, PICTURE, exp));
  // A signature is no key for what is not a picture.
  const signed = signTarget(signing_key, id, '/api/v1/sign', exp);
  const answer = await fetch(`${gateways[0]!.url}${signed}`, { method: 'POST', body: '{}' });
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([401, 'SIGNATURE_INVALID']);
  for (const [body, reason] of [
    ['[]', /the body must be an object/],
    ['{"expires_s": 5}', /path must be given/],
    ['{"path": "/a b", "expires_s": 5}', /must begin with \/ and be printable ASCII/],
    ['{"path": "/a?sig=1", "expires_s": 5}', /must not be signed already/],
    ['{"path": "/a", "expires_s": 0}', /expires_s must be at least 1: found=0/],
    [`{"path": "${PICTURE}", "expires_s": 604801}`, /expires_s must be at most 604800: found=604801/],
    ...['//evil/x', '//evil.com/plain/local:///a.jpg', '/metrics', '/admin/', '/api/v1/upload', '/openapi.json'].map(
      (path) =>
        [JSON.stringify({ path, expires_s: 5 }), /path must be that of a picture, like \/rs:fit:300:200/] as const,
    ),
    ['{"path": "/w:9/plain/https://evil/a.jpg", "expires_s": 5}', /of a picture.*begin with one of ALLOWED_SOURCES/],
  ] as const) {
    const headers = { 'x-api-key': key, 'content-type': 'application/json' };
    const refused = await fetch(`${gateways[0]!.url}/api/v1/sign`, { method: 'POST', headers, body });
    expect([refused.status, await refused.json()]).toEqual([
      400,
      expect.objectContaining({ code: 'INPUT_REFUSED', detail: expect.stringMatching(reason) }),
    ]);
  }
});

test('scopes, networks and the state of the user are in force without a restart', async () => {
  const [reader, bound] = [await newKey('--scopes=read'), await newKey('--networks=192.0.2.0/24')];
  await expect.poll(() => everywhere(reader.key)).toEqual(['SCOPE_MISSING', 'SCOPE_MISSING']);
  await expect.poll(() => everywhere(bound.key)).toEqual(['NETWORK_FORBIDDEN', 'NETWORK_FORBIDDEN']);
  const [proxied] = gateways as [RunningGateway];
  expect(await ask(proxied, bound.key, { 'x-forwarded-for': '192.0.2.7' })).toMatchObject({ status: 200 });
  expect(await ask(proxied, bound.key, { 'x-forwarded-for': '192.0.3.7' })).toMatchObject({ status: 403 });
  // What it signs would be refused.
  const uploader = await newKey('--scopes=upload');
  await expect.poll(() => everywhere(uploader.key)).toEqual(['SCOPE_MISSING', 'SCOPE_MISSING']);
  const free = await newKey();
  await expect.poll(() => everywhere(free.key)).toEqual([200, 200]);
  await ringmain('networks', 'ada', '10.0.0.0/8,2001:db8::/32');
  await expect.poll(() => everywhere(free.key)).toEqual(['NETWORK_FORBIDDEN', 'NETWORK_FORBIDDEN']);
  expect(await ask(proxied, free.key, { 'x-forwarded-for': '2001:db8::7' })).toMatchObject({ status: 200 });
  await ringmain('networks', 'ada', 'none');
  await ringmain('user', 'change', 'ada', '--active=no');
  await expect.poll(() => everywhere(free.key)).toEqual(['USER_INACTIVE', 'USER_INACTIVE']);
  await ringmain('user', 'change', 'ada', '--active=yes');
  await expect.poll(() => everywhere(free.key)).toEqual([200, 200]);
});

test('while Postgres is away what is known stays; a key that is revoked while it comes back is refused', async () => {
  const { id, key } = await newKey();
  await expect.poll(() => everywhere(key)).toEqual([200, 200]);
  await server.kill9();
  const logs = `${gateways[0]!.url}/api/v1/logs`;
  const administrator = { authorization: 'Bearer admin-key-for-tests-admin-key-for-tests' };
  const status = async () => (await fetch(logs, { headers: administrator })).status;
  await expect.poll(status).toBe(503);
  expect(await everywhere(key)).toEqual([200, 200]);
  await server.restart();
  // The tool says 75 where it should be run again: a server that has just been killed may refuse for a moment.
  const revoke = () =>
    ringmain('key', 'revoke', id).catch((error: { readonly code: number }) => {
      if (error.code !== 75) throw error;
    });
  await expect.poll(async () => (await revoke()) !== undefined).toBe(true);
  await expect.poll(() => everywhere(key)).toEqual(['KEY_INVALID', 'KEY_INVALID']);
  await expect.poll(status).toBe(200);
});

test('another pepper, or none, is refused at the start by one line', async (t) => {
  await newKey();
  for (const [pepper, said] of [
    [
      'another-pepper-of-thirty-two-or-more',
      /KEY_PEPPER must be the one that the keys in the database were made under/,
    ],
    ['', /KEY_PEPPER \(or KEY_PEPPER_FILE\) must be set/],
  ] as const) {
    const env = {
      PATH: process.env['PATH'] ?? '',
      DB_DSN: server.dsn,
      KEY_PEPPER: pepper,
      SERVER_ADDR: '127.0.0.1:24007',
    };
    const refused = run(process.execPath, [main, 'gateway'], { cwd: temporary(t), env });
    await expect(refused).rejects.toMatchObject({ code: 78, stderr: expect.stringMatching(said) });
  }
});
