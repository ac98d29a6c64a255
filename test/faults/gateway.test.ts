/**
 * Goal: what the gateway promises about keys, limits and usage holds whatever dies. Method: the built process with
 * several acceptors, a real Postgres, clients that never rest; both killed with SIGKILL at random moments. SEED repeats
 * the choices of a run, LONG=1 makes more rounds.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { addKey, revokeKey } from '../../src/gateway/database/admin/keys.ts';
import { setLimits } from '../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../src/gateway/database/admin/users.ts';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { randomFrom } from '../analytics/rollup/events.ts';
import { emptyTables, openLink, PEPPER, startDatabase } from '../gateway/database.ts';
import { type RunningGateway, startGateway } from '../gateway/running.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import { fileScope } from '../servers/scope.ts';

const POSTGRES_PORT = 24_720;
const PORT = 24_721;
const ROUNDS = process.env['LONG'] ? Number(process.env['ROUNDS'] ?? 20) : 2;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const MANY = 1_000_000;

const scope = fileScope();
const actor = { name: 'test' };
let server: PostgresServer;
beforeAll(async () => {
  server = await startDatabase(scope, POSTGRES_PORT);
});
beforeEach(() => withLink(emptyTables));

/** A session for one errand: the server dies between two. */
async function withLink<T>(use: (link: PostgresLink) => Promise<T>): Promise<T> {
  const link = await openLink(server.dsn);
  try {
    return await use(link);
  } finally {
    await link.close();
  }
}

interface Holder {
  readonly userId: number;
  readonly keyId: string;
  readonly key: string;
}

async function holder(name: string, limits: Parameters<typeof setLimits>[3]): Promise<Holder> {
  return withLink(async (link) => {
    const { id } = await addUser(link, actor, { username: name, email: `${name}@example.com` });
    await setLimits(link, actor, id, limits);
    const made = await addKey(link, actor, PEPPER, id, {});
    return { userId: id, keyId: made.id, key: made.key };
  });
}

interface Answer {
  /** 0: the connection broke. */
  readonly status: number;
  readonly bytes: number;
}

/** One request, over the connections of an agent. Its answer is a refusal of the route: limits and usage count it. */
function ask(agent: Agent, key: string, port = PORT): Promise<Answer> {
  return new Promise((resolve) => {
    const sent = request({ agent, port, path: '/nothing', method: 'DELETE', headers: { 'x-api-key': key } });
    const broken = () => resolve({ status: 0, bytes: 0 });
    sent.once('error', broken).once('response', (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.once('end', () => resolve({ status: answer.statusCode!, bytes })).once('error', broken);
      answer.once('close', broken);
    });
    sent.end();
  });
}

const PASSED = 405;

// What may pass in a time t is burst + floor(t / interval): GCRA in memory that all acceptors share.
test('at 4 acceptors exactly what the limit allows passes, and the next request is refused', async (t) => {
  const LIMIT = 2000;
  const INTERVAL_S = 3600 / LIMIT;
  const CLIENTS = 64;
  const ada = await holder('ada', { requests_per_hour: LIMIT, requests_per_minute: null, burst: null });
  await startGateway(t, { port: PORT, dsn: server.dsn, env: { ACCEPTORS: '4', USER_REQUESTS_PER_MINUTE: `${MANY}` } });
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  t.onTestFinished(() => agent.destroy());
  const counts = new Map<number, number>();
  const begin = performance.now();
  let left = 3 * LIMIT;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (left-- > 0) {
        const { status } = await ask(agent, ada.key);
        counts.set(status, (counts.get(status) ?? 0) + 1);
      }
    }),
  );
  const seconds = (performance.now() - begin) / 1000;
  const passed = counts.get(PASSED) ?? 0;
  assert.deepEqual([...counts.keys()].sort(), [PASSED, 429]);
  assert.ok(passed >= LIMIT && passed <= LIMIT + Math.floor(seconds / INTERVAL_S), `passed=${passed}, s=${seconds}`);
});

test('gateway and Postgres are killed under load: usage is what clients received, and keys do what they should', async (t) => {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const CLIENTS = 16;
  const free = { requests_per_minute: MANY, requests_per_hour: null, burst: null };
  const [ada, eve] = [await holder('ada', free), await holder('eve', free)];
  await withLink((link) => revokeKey(link, actor, eve.keyId));
  const env = { ACCEPTORS: '2', PG_FLUSH_MS: '50ms', IP_REQUESTS_PER_MINUTE: `${MANY}` };
  let gateway: RunningGateway = await startGateway(t, { port: PORT, dsn: server.dsn, env });
  const agent = new Agent({ keepAlive: true, maxSockets: 2 * CLIENTS });
  t.onTestFinished(() => agent.destroy());

  const received = { requests: 0, bytes: 0 };
  let size = 0;
  let broken = 0;
  let ended = false;
  const wrong: string[] = [];
  const good = async () => {
    while (!ended) {
      const { status, bytes } = await ask(agent, ada.key);
      if (status === PASSED) {
        received.requests += 1;
        received.bytes += bytes;
        size = bytes;
      } else if (status === 0) {
        broken += 1;
        await sleep(20);
      } else wrong.push(`a key that works got ${status}`);
    }
  };
  const revoked = async () => {
    while (!ended) {
      const { status } = await ask(agent, eve.key);
      if (status !== 401 && status !== 0) wrong.push(`a revoked key got ${status}`);
      await sleep(5);
    }
  };
  const clients = Promise.all([...Array.from({ length: CLIENTS }, good), revoked(), revoked()]);

  const killGateway = async () => {
    await gateway.process.end('SIGKILL');
    gateway = await startGateway(t, { port: PORT, dsn: server.dsn, folder: gateway.folder, env });
  };
  const killPostgres = async () => {
    await server.kill9();
    await sleep(200 + random() * 800);
    await server.restart();
  };
  for (let round = 0; round < ROUNDS; round += 1)
    for (const fault of random() < 0.5 ? [killGateway, killPostgres] : [killPostgres, killGateway]) {
      await sleep(200 + random() * 500);
      await fault();
    }
  await sleep(300);
  ended = true;
  await clients;
  assert.deepEqual(wrong.slice(0, 5), []);
  assert.ok(received.requests > 1000, `received=${received.requests}`);

  const counted = async () => {
    const { rows } = await withLink((link) =>
      link.query<{ requests: string; bytes: string }>(
        'SELECT sum(requests) AS requests, sum(bytes) AS bytes FROM usage_months WHERE user_id = $1',
        [ada.userId],
      ),
    );
    return { requests: Number(rows[0]!.requests), bytes: Number(rows[0]!.bytes) };
  };
  // At each kill, every client has at most one request under way, of which nobody knows.
  const slack = ROUNDS * CLIENTS;
  await expect.poll(async () => (await counted()).requests).toBeGreaterThanOrEqual(received.requests - slack);
  await gateway.end();
  const { requests, bytes } = await counted();
  const said = `counted=${requests}, received=${received.requests}, broken=${broken}`;
  assert.ok(requests >= received.requests - slack && requests <= received.requests + slack, said);
  assert.equal(bytes, requests * size, 'each answer has the same size');
  const { rows } = await withLink((link) =>
    link.query<{ n: number }>('SELECT count(*)::int AS n FROM request_logs WHERE user_id = $1', [ada.userId]),
  );
  assert.equal(rows[0]!.n, requests, 'usage and log change in one transaction');
});

// Two gateways share a limit by Redis. While it is away each has the limit for itself, and nothing is refused for it.
test('Redis is killed: limits of two gateways are one before, at most two while it is away, and /ready stays green', async (t) => {
  const LIMIT = 400;
  const redis = await startRedis(t, { port: PORT + 5 });
  const env = { ACCEPTORS: '2', REDIS_ADDR: redis.address };
  const gateways = await Promise.all([
    startGateway(t, { port: PORT, dsn: server.dsn, env }),
    startGateway(t, { port: PORT + 1, dsn: server.dsn, env }),
  ]);
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  t.onTestFinished(() => agent.destroy());
  /** How many of 3 * LIMIT requests to both pass. */
  const flood = async (name: string): Promise<number> => {
    const { key } = await holder(name, { requests_per_hour: LIMIT, requests_per_minute: null, burst: null });
    let passed = 0;
    // Every acceptor of both knows the key before they are asked in earnest.
    const known = async (port: number): Promise<boolean> => {
      const answers = await Promise.all(Array.from({ length: 12 }, () => ask(agent, key, port)));
      const good = answers.filter(({ status }) => status === PASSED).length;
      passed += good;
      return good === answers.length;
    };
    for (const port of [PORT, PORT + 1]) await expect.poll(() => known(port)).toBe(true);
    let left = 3 * LIMIT;
    await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        while (left-- > 0) {
          const { status } = await ask(agent, key, PORT + (i % 2));
          if (status === PASSED) passed += 1;
          else assert.equal(status, 429, 'what a limit refuses is 429, whatever Redis does');
        }
      }),
    );
    return passed;
  };
  const begin = performance.now();
  const shared = await flood('ada');
  // A token comes back every 9 s.
  const again = Math.floor((performance.now() - begin) / 1000 / (3600 / LIMIT));
  assert.ok(shared >= LIMIT && shared <= LIMIT + again, `shared=${shared}`);
  await redis.kill9();
  const apart = await flood('bob');
  assert.ok(apart >= LIMIT && apart <= 2 * (LIMIT + 2 + again), `apart=${apart}`);
  for (const { url } of gateways) assert.equal((await fetch(`${url}/ready`)).status, 200);
  const metrics = await (await fetch(`${gateways[0]!.url}/metrics`)).text();
  assert.match(metrics, /^ringmain_gateway_redis_away [1-9]/m);
  await redis.restart();
  await expect
    .poll(async () => (await fetch(`${gateways[0]!.url}/metrics`)).text())
    .toMatch(/^ringmain_gateway_redis_away 0/m);
});

test('a key that is revoked is refused within a second, and stays refused when the gateway starts anew', async (t) => {
  const ada = await holder('ada', { requests_per_minute: MANY, requests_per_hour: null, burst: null });
  const env = { ACCEPTORS: '2', IP_REQUESTS_PER_MINUTE: `${MANY}` };
  const first = await startGateway(t, { port: PORT, dsn: server.dsn, env });
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.onTestFinished(() => agent.destroy());
  const statuses = async () =>
    new Set((await Promise.all(Array.from({ length: 8 }, () => ask(agent, ada.key)))).map(({ status }) => status));
  assert.deepEqual(await statuses(), new Set([PASSED]));
  await withLink((link) => revokeKey(link, actor, ada.keyId));
  const begin = performance.now();
  await expect.poll(statuses, { interval: 10 }).toEqual(new Set([401]));
  assert.ok(performance.now() - begin < 1000, `refused after ${performance.now() - begin} ms`);
  await first.process.end('SIGKILL');
  await startGateway(t, { port: PORT, dsn: server.dsn, folder: first.folder, env });
  assert.deepEqual(await statuses(), new Set([401]));
});
