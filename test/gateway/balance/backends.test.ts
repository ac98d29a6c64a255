/**
 * Goal: administrators add, see, change and remove backends of a running gateway; a dead one is out within the checks
 * that BACKEND_CHECK_INTERVAL allows it, and comes back.
 * Method: the built process on two acceptors with a real Postgres; backends of node:http that a test makes sick.
 */
import { beforeAll, expect, test } from 'vitest';
import { fileScope } from '../../servers/scope.ts';
import { openLink, startDatabase } from '../database.ts';
import { standIn } from '../proxy/stand-in.ts';
import { ADMIN_KEY, startGateway } from '../running.ts';

const POSTGRES_PORT = 24_330;
const PORT = 24_331;
const INTERVAL_MS = 200;
const scope = fileScope();
let dsn: string;
let url: string;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, POSTGRES_PORT));
  ({ url } = await startGateway(scope, {
    port: PORT,
    dsn,
    env: {
      ACCEPTORS: '2',
      BACKEND_CHECK_INTERVAL: `${INTERVAL_MS}ms`,
      BACKEND_CHECK_TIMEOUT: '100ms',
      BACKEND_SLOW_START_MS: '100',
    },
  }));
});

interface Shown {
  readonly id: number;
  readonly url: string;
  readonly state: string;
  readonly reason: string | null;
}

async function ask<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
  const answer = await fetch(`${url}/api/v1/backends${path}`, {
    method,
    headers: { Authorization: `Bearer ${ADMIN_KEY}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
}
const list = async () => (await ask<{ items: readonly Shown[] }>('GET', '')).body.items;
const stateOf = async (id: number) => {
  const { state, reason } = (await list()).find((one) => one.id === id)!;
  return reason === null ? state : `${state}: ${reason}`;
};

test('a backend is added, checked, drained, weighted and removed while the gateway runs', async (t) => {
  const good = await standIn(t, PORT + 1, (_req, res) => res.end());
  const added = await ask<Shown>('POST', '', { url: `${good.url}/`, weight: 3 });
  expect(added.status).toBe(201);
  const { id } = added.body;
  expect(added.body).toMatchObject({ url: good.url, weight: 3, draining: false, reason: null, breaker: 'closed' });
  await expect.poll(() => stateOf(id)).toBe('up');

  expect((await ask('PATCH', `/${id}`, { draining: true })).body).toMatchObject({ state: 'draining', weight: 3 });
  await expect.poll(() => stateOf(id)).toBe('draining');
  expect((await ask('PATCH', `/${id}`, { draining: false, weight: 5 })).body).toMatchObject({ state: 'up', weight: 5 });
  expect((await ask('POST', '', { url: good.url })).status).toBe(409);
  expect((await ask('POST', '', { url: 'file:///etc/passwd' })).status).toBe(400);
  expect((await ask('PATCH', `/${id}`, { weight: -1 })).status).toBe(400);
  expect((await ask('DELETE', `/${id}`)).status).toBe(204);
  expect((await ask('PATCH', `/${id}`, { weight: 1 })).status).toBe(404);
  expect(await list()).toEqual([]);
});

test('a sick backend is out after three checks and back after two; the table says it to people', async (t) => {
  let sick: 'well' | 'error' | 'silent' = 'well';
  const backend = await standIn(t, PORT + 2, (_req, res) => res.end(), {
    health(res) {
      if (sick === 'well') res.end('ok');
      else if (sick === 'error') res.writeHead(500).end();
    },
  });
  const { id } = (await ask<Shown>('POST', '', { url: backend.url })).body;
  const dead = (await ask<Shown>('POST', '', { url: 'http://127.0.0.1:24398' })).body.id;
  // One that never worked is out with the first check.
  await expect.poll(() => stateOf(dead)).toBe('down: its checks cannot reach it');
  await expect.poll(() => stateOf(id)).toBe('up');

  for (const [how, reason] of [
    ['error', 'its checks are answered with an error'],
    ['silent', 'its checks get no answer in time'],
  ] as const) {
    sick = how;
    const since = performance.now();
    await expect.poll(() => stateOf(id), { interval: 20 }).toBe(`down: ${reason}`);
    // Never after one bad check; with 5 s and 2 s these three intervals and a time-out are 17 s.
    expect(performance.now() - since).toBeGreaterThan(1.5 * INTERVAL_MS);
    sick = 'well';
    await expect.poll(() => stateOf(id), { interval: 20 }).toBe('up');
  }

  const link = await openLink(dsn);
  t.onTestFinished(() => link.close());
  const healthy = async () =>
    (await link.query('SELECT id::int, is_healthy FROM backends WHERE last_health_check IS NOT NULL ORDER BY id')).rows;
  await expect.poll(healthy).toEqual([
    { id, is_healthy: true },
    { id: dead, is_healthy: false },
  ]);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain(`ringmain_gateway_backend_available{backend="${id}"} 1`);
  expect(metrics).toContain(`ringmain_gateway_backend_available{backend="${dead}"} 0`);
});
