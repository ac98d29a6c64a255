/**
 * Keys and origins over HTTP: the built service beside `ringmain site`, which works on the same database. What the tool
 * does is in force within two seconds, for reading and for sending.
 */
import { beforeAll, expect, test } from 'vitest';
import { runSite } from '../../../src/analytics/access/site-command.ts';
import service from '../../../src/analytics/analytics.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { toolRun } from '../../service/tool/run.ts';
import { type Running, startAnalytics } from '../running.ts';

const PEPPER = '0123456789abcdef0123456789abcdef';
/** Two seconds, and what a busy machine adds. */
const IN_FORCE = { interval: 50 };
let server: PostgresServer;
let running: Running;

const undo: (() => unknown)[] = [];
const scope = { onTestFinished: (fn: () => unknown) => undo.push(fn) };
beforeAll(async () => {
  server = await startPostgres(scope, { port: 21704, settings: fastSettings, own: true });
  running = await startAnalytics(scope, { port: 21705, env: { DATABASE_URL: server.dsn, KEY_PEPPER: PEPPER } });
  return async () => {
    for (const fn of undo.reverse()) await fn();
  };
});

async function site(...argv: string[]): Promise<string> {
  const { code, said } = await toolRun(() =>
    runSite(service, [...argv, `--pg-dsn=${server.dsn}`, `--key-pepper=${PEPPER}`]),
  );
  expect({ code, said }).toEqual({ code: 0, said });
  return said.trim().split('\n').at(-1)!;
}
const idOf = (key: string): string => key.split('_')[2]!;
const DAY = '2025-11-15';

async function stats(siteId: string, headers: Record<string, string> = {}, more = ''): Promise<Response> {
  return fetch(`${running.url}/stats?site_id=${siteId}&date=${DAY}${more}`, { headers });
}

test('keys and origins are honoured, and refused, within two seconds of the tool', async () => {
  const log = () => running.process.log;
  expect(log()).toContain('no site is registered: everybody may send events and read statistics');
  expect((await stats('shop')).status).toBe(200);

  await site('add', 'shop', '--origin=https://shop.example');
  await expect.poll(async () => (await stats('shop')).status, IN_FORCE).toBe(401);
  const refused = await stats('shop');
  expect(refused.headers.get('www-authenticate')).toBe('Bearer');
  expect(await refused.json()).toMatchObject({ status: 401, code: 'KEY_REQUIRED' });

  const read = await site('key', 'shop', '--scope=read');
  await expect.poll(async () => (await stats('shop', { 'x-api-key': read })).status, IN_FORCE).toBe(200);
  expect((await stats('shop', { authorization: `Bearer ${read}` })).status).toBe(200);
  expect((await stats('shop', { authorization: `bearer  ${read}` })).status).toBe(200);
  expect((await stats('shop', {}, `&key=${read}`)).status).toBe(200);
  const typo = await stats('shop', { 'x-api-key': `${read.slice(0, -1)}-` });
  expect([typo.status, ((await typo.json()) as { code: string }).code]).toEqual([401, 'KEY_INVALID']);
  expect((await stats('other', { 'x-api-key': read })).status).toBe(403);
  expect((await stats('shop', { origin: 'https://shop.example' })).status).toBe(401);
  const check = await fetch(`${running.url}/reconcile?site_id=shop&date=${DAY}`);
  expect(check.status).toBe(401);

  // Postgres away: what was read last stays in force. The answers themselves need it.
  await server.stop();
  await expect.poll(() => log().includes('those that were read last stay in force')).toBe(true);
  expect((await stats('shop')).status).toBe(401);
  expect((await stats('other', { 'x-api-key': read })).status).toBe(403);
  await server.restart();

  await site('revoke', idOf(read));
  await expect.poll(async () => (await stats('shop', { 'x-api-key': read })).status, { interval: 100 }).toBe(401);
  expect(log()).not.toContain(read.split('_')[3]);
});

const post = (body: unknown, headers: Record<string, string> = {}, query = ''): Promise<Response> =>
  fetch(`${running.url}/events${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const seen = (siteId: string) => ({ site_id: siteId, event_type: 'page_view', path: '/' });
const told = async (answer: Promise<Response>): Promise<[number, unknown]> => {
  const got = await answer;
  return [got.status, ((await got.json()) as { code?: string }).code];
};

test('events are taken with a key or from a page of their site, each event by itself', async () => {
  await site('add', 'store', '--origin=https://store.example');
  await site('add', 'free');
  await expect.poll(() => told(post(seen('nobody'))), IN_FORCE).toEqual([403, 'SITE_UNKNOWN']);
  const page = { origin: 'https://store.example' };
  await expect.poll(async () => (await post(seen('store'), page)).status, IN_FORCE).toBe(202);
  await expect.poll(async () => (await post(seen('free'))).status, IN_FORCE).toBe(202);
  expect(await told(post(seen('store')))).toEqual([403, 'SITE_ORIGIN']);
  expect(await told(post(seen('store'), { origin: 'https://evil.example' }))).toEqual([403, 'SITE_ORIGIN']);

  const key = await site('key', 'store', '--scope=ingest');
  await expect.poll(async () => (await post(seen('store'), { 'x-api-key': key })).status, IN_FORCE).toBe(202);
  expect((await post(seen('store'), { authorization: `Bearer ${key}` })).status).toBe(202);
  expect((await post(seen('store'), {}, `?key=${key}`)).status).toBe(202);
  expect((await post(seen('store'), page)).status).toBe(202);
  const missing = await post(seen('store'));
  expect([missing.status, missing.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
  expect(await told(post(seen('free'), { 'x-api-key': key }))).toEqual([403, 'KEY_FORBIDDEN']);
  expect(await told(post(seen('store'), { 'x-api-key': `${key}x` }))).toEqual([401, 'KEY_INVALID']);
  expect((await stats('store', { 'x-api-key': key })).status).toBe(403);

  const mixed = await post([seen('store'), seen('free'), seen('nobody')], page);
  expect(mixed.status).toBe(202);
  expect(await mixed.json()).toEqual({
    message: 'Events accepted',
    accepted: 2,
    rejected: 1,
    errors: [{ index: 2, code: 'SITE_UNKNOWN', message: 'the site must be registered, since others are: site=nobody' }],
  });

  await site('rename', 'store', 'store.example');
  await expect.poll(async () => (await post(seen('store.example'), { 'x-api-key': key })).status, IN_FORCE).toBe(202);
  expect((await post(seen('store'), { 'x-api-key': key })).status).toBe(202);
  await site('revoke', idOf(key));
  await expect.poll(() => told(post(seen('store'), { 'x-api-key': key })), IN_FORCE).toEqual([401, 'KEY_INVALID']);
});

test('pixels and batches of the collector need the same; an image may bear its key in its address', async () => {
  await site('add', 'blog', '--origin=https://blog.example');
  const key = await site('key', 'blog', '--scope=ingest');
  const collect = (headers: Record<string, string>) =>
    fetch(`${running.url}/collect`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ e: 'pageview', url: 'https://blog.example/a', props: { site_id: 'blog' } }),
    });
  await expect.poll(async () => (await collect({ 'x-api-key': key })).status, IN_FORCE).toBe(202);
  expect((await collect({ origin: 'https://blog.example' })).status).toBe(202);
  expect(await told(collect({}))).toEqual([401, 'KEY_REQUIRED']);
  expect(await told(collect({ origin: 'https://evil.example' }))).toEqual([403, 'SITE_ORIGIN']);
  const image = (path: string, referer: string) =>
    fetch(`${running.url}/px.gif?site_id=blog${path}`, { headers: { referer } });
  for (const [path, referer] of [
    [`&e=keyed&key=${key}`, ''],
    ['&e=refered', 'https://blog.example/a?b'],
    ['&e=foreign', 'https://evil.example/'],
    ['&e=bare', ''],
  ] as const) {
    const got = await image(path, referer);
    expect([got.status, got.headers.get('content-type')]).toEqual([200, 'image/gif']);
  }
  const accepted = async () => {
    const text = await (await running.get('/metrics')).text();
    return Number(/ringmain_accepted_events_total\{[^}]*route="px"[^}]*\} (\d+)/.exec(text)?.[1]);
  };
  expect(await accepted()).toBe(2);
});
