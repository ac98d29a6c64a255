/**
 * Goal: with Redis limits are exact over gateways, and without it each gateway goes on by itself, at once and no further
 * than its own limit. Method: a real Redis that is killed and frozen; limiters in this process, each as if on a host of
 * its own, and two real gateways.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { gatewayConfig } from '../../../src/gateway/config.ts';
import { addKey } from '../../../src/gateway/database/admin/keys.ts';
import { setLimits } from '../../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../../src/gateway/database/admin/users.ts';
import type { Window } from '../../../src/gateway/limits/limiter.ts';
import { createLimits, LocalLimiter } from '../../../src/gateway/limits/local.ts';
import { limitMetrics } from '../../../src/gateway/limits/metrics.ts';
import { RedisLimiter } from '../../../src/gateway/limits/redis.ts';
import { redisOptions } from '../../../src/gateway/limits/redis-options.ts';
import { loadConfig } from '../../../src/kernel/config.ts';
import { attachBoard, createBoard } from '../../../src/kernel/metrics.ts';
import { authority } from '../../servers/certificates.ts';
import type { TestScope } from '../../servers/process.ts';
import { type RedisServer, startRedis, startRedisCluster } from '../../servers/redis.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, PEPPER, startDatabase } from '../database.ts';
import { startGateway } from '../running.ts';

const REDIS_PORT = 24_220;
const scope = fileScope();
let server: RedisServer;
beforeAll(async () => {
  server = await startRedis(scope, { port: REDIS_PORT, settings: { requirepass: 'secret' } });
});

const env = { REDIS_ADDR: `127.0.0.1:${REDIS_PORT}`, REDIS_PASSWORD: 'secret' };
const options = redisOptions(loadConfig([gatewayConfig], { env }).values.gateway)!;

beforeEach(async () => {
  const client = new Redis({ ...options, enableOfflineQueue: true });
  await client.flushdb();
  client.disconnect();
});

/** As if on a host of its own. */
async function host(t: TestScope, timeoutMs = 1000, of = options, prefix = 'ringmain') {
  const shared = createLimits(1024);
  const meters = attachBoard(limitMetrics, createBoard([limitMetrics], 1), 0);
  const decisions = meters.ringmain_gateway_limit_decisions_total;
  const told: (string | undefined)[] = [];
  const limiter = new RedisLimiter({
    redis: new Redis(of),
    local: new LocalLimiter(shared),
    prefix,
    timeoutMs,
    awayShared: shared.redisAway,
    away: meters.ringmain_gateway_redis_away.at(),
    byRedis: decisions.at({ by: 'redis' }),
    known: decisions.at({ by: 'known' }),
    byProcess: decisions.at({ by: 'process' }),
    told: (reason) => told.push(reason),
  });
  t.onTestFinished(() => limiter.close());
  await limiter.connect();
  return { limiter, told, decidedBy: (by: 'redis' | 'known' | 'process') => decisions.at({ by }).value };
}

const window = (subject: string, limit: number, burst = limit, windowS = 100_000): Window => ({
  policy: subject,
  subject,
  limit,
  windowS,
  burst,
});

test('two hosts let pass exactly what all windows allow, and take from all of them or none', async (t) => {
  const hosts = [await host(t), await host(t)];
  const user = window('user:1', 300);
  const keys = [
    [window('key:a', 120), user],
    [window('key:b', 5000), user],
  ];
  const takes = Array.from({ length: 2000 }, async (_, i) => {
    const verdict = await hosts[i % 2]!.limiter.take(keys[Math.floor(i / 2) % 2]!);
    return { key: Math.floor(i / 2) % 2, verdict: verdict! };
  });
  const done = await Promise.all(takes);
  const passed = done.filter(({ verdict }) => verdict.allowed);
  assert.equal(passed.length, 300);
  assert.equal(passed.filter(({ key }) => key === 0).length, 120);
  assert.equal(hosts[0]!.decidedBy('redis') + hosts[1]!.decidedBy('redis'), 2000);
  // Each host knows what all have taken: it refuses without asking, and could go on alone.
  for (const { limiter, decidedBy } of hosts) {
    const known = limiter.take([user]);
    assert.ok(known !== undefined && !(known instanceof Promise) && !known.allowed);
    assert.equal(decidedBy('known'), 1);
  }
});

test('users of two installations are told apart by the prefix', async (t) => {
  const user = window('user:1', 10);
  const taken = async (prefix: string) => {
    const { limiter } = await host(t, 1000, options, prefix);
    return (await limiter.take([window('key:a', 5), user]))!.remaining;
  };
  // Users are numbered from 1 on in every database.
  assert.deepEqual([await taken('live'), await taken('test'), await taken('live')], [4, 4, 3]);
  const client = new Redis(options);
  await client.connect();
  const keys = (await client.keys('live:*')).sort();
  client.disconnect();
  assert.deepEqual(keys, ['live:limit:{user:1}:key:a:100000', 'live:limit:{user:1}:user:1:100000']);
});

test('a cluster of one node decides: the keys of a decision lie in one slot', async (t) => {
  const [node] = await startRedisCluster(t, [24_224]);
  const of = { host: '127.0.0.1', port: node!.port, lazyConnect: true };
  const hosts = [await host(t, 1000, of), await host(t, 1000, of)];
  const decisions = Array.from({ length: 90 }, (_, i) => {
    // Keys of three users, whose slots are three.
    const windows = [window(`key:${i % 2}-${i % 3}`, 8), window(`user:${i % 3}`, 10)];
    return hosts[i % 2]!.limiter.take(windows);
  });
  const passed = (await Promise.all(decisions)).filter((verdict) => verdict!.allowed);
  assert.equal(passed.length, 30);
  assert.deepEqual(
    hosts.map(({ told, decidedBy }) => [told, decidedBy('process')]),
    [
      [[], 0],
      [[], 0],
    ],
  );
});

test('one node of a cluster of two is as good as away: each process decides, and it is said once', async (t) => {
  const [node] = await startRedisCluster(t, [24_225, 24_226]);
  const { limiter, told, decidedBy } = await host(t, 1000, { host: '127.0.0.1', port: node!.port, lazyConnect: true });
  // Some of these users have their slots at the other node.
  const passed = async () => {
    const verdicts = await Promise.all(
      Array.from({ length: 60 }, (_, i) => limiter.take([window(`user:${i % 20}`, 2)])),
    );
    return verdicts.filter((verdict) => verdict!.allowed).length;
  };
  assert.equal(await passed(), 40);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^MOVED \d+ /);
  // The next second would be time to ask again.
  await delay(1500);
  assert.equal(await passed(), 0);
  assert.equal(told.length, 1);
  assert.ok(decidedBy('process') >= 60);
});

test('a verdict says what remains and when, and one more passes after an interval', async (t) => {
  const { limiter } = await host(t);
  const windows = [window('user:2', 10, 3, 1)];
  const first = (await limiter.take(windows))!;
  assert.deepEqual([first.allowed, first.remaining, first.retryAfterMs], [true, 2, 0]);
  assert.ok(first.resetMs > 90 && first.resetMs <= 100.1, `${first.resetMs}`);
  await limiter.take(windows);
  await limiter.take(windows);
  const refused = (await limiter.take(windows))!;
  assert.equal(refused.allowed, false);
  assert.ok(refused.retryAfterMs > 0 && refused.retryAfterMs <= 100);
  await expect.poll(async () => (await limiter.take(windows))!.allowed, { interval: 5 }).toBe(true);
  const client = new Redis(options);
  await client.connect();
  // What is forgiven is gone from Redis.
  await expect.poll(() => client.dbsize()).toBe(0);
  client.disconnect();
});

test('scripts that somebody removes come back, and no decision is lost', async (t) => {
  const { limiter, decidedBy } = await host(t);
  await limiter.take([window('user:3', 10)]);
  const client = new Redis(options);
  await client.connect();
  await client.script('FLUSH');
  client.disconnect();
  assert.equal((await limiter.take([window('user:3', 10)]))!.remaining, 8);
  await expect.poll(async () => (await limiter.take([window('user:4', 100)])) && decidedBy('redis')).toBeGreaterThan(1);
});

test('frozen and killed Redis: decided here within the time-out, by what Redis said last; back by itself', async (t) => {
  const { limiter, told, decidedBy } = await host(t, 100);
  const windows = [window('user:5', 20)];
  for (let i = 0; i < 15; i += 1) assert.equal((await limiter.take(windows))!.allowed, true);
  server.freeze();
  const begin = performance.now();
  const during = await Promise.all(Array.from({ length: 10 }, async () => (await limiter.take(windows))!.allowed));
  const ms = performance.now() - begin;
  server.thaw();
  assert.ok(ms < 1000, `${ms} ms`);
  assert.equal(during.filter(Boolean).length, 5);
  assert.equal(decidedBy('process'), 10);
  await expect.poll(() => told.at(-1)).toBe(undefined);
  await server.kill9();
  await expect.poll(() => told.length).toBe(3);
  const alone = limiter.take(windows);
  assert.ok(!(alone instanceof Promise), 'nobody waits for a Redis that is known to be away');
  await server.restart();
  await expect.poll(() => told.length).toBe(4);
  const before = decidedBy('redis');
  await limiter.take([window('user:6', 20)]);
  assert.equal(decidedBy('redis'), before + 1);
});

test('two gateways are exact together, and stay ready and bounded when Redis is killed under load', async (t) => {
  const database = await startDatabase(t, 24_221);
  const link = await openLink(database.dsn);
  t.onTestFinished(() => link.close());
  const actor = { name: 'test' };
  const make = async (name: string) => {
    const { id } = await addUser(link, actor, { username: name, email: `${name}@example.com` });
    await setLimits(link, actor, id, { requests_per_minute: null, requests_per_hour: 200, burst: null });
    return (await addKey(link, actor, PEPPER, id, {})).key;
  };
  const [ada, eve] = [await make('ada'), await make('eve')];
  const ports = [24_222, 24_223];
  const gateways = await Promise.all(
    ports.map((port) =>
      startGateway(t, { port, dsn: database.dsn, env: { ...env, ACCEPTORS: '2', REDIS_TIMEOUT_MS: '1s' } }),
    ),
  );
  const ask = async (key: string, i: number) =>
    (await fetch(`http://127.0.0.1:${ports[i % 2]}/x`, { method: 'PUT', headers: { 'x-api-key': key } })).status;
  const statuses = (key: string, count: number) => Promise.all(Array.from({ length: count }, (_, i) => ask(key, i)));
  const passed = (all: readonly number[]) => all.filter((status) => status === 405).length;
  // One more every 18 s.
  const begin = performance.now();
  const together = passed(await statuses(ada, 500));
  const more = Math.floor((performance.now() - begin) / 18_000);
  assert.ok(together >= 200 && together <= 200 + more, `passed ${together}`);

  let killed: Promise<void> | undefined;
  const all: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    if (round === 2) killed = server.kill9();
    all.push(...(await statuses(eve, 50)));
    for (const { url } of gateways) assert.equal((await fetch(`${url}/readyz`)).status, 200);
  }
  await killed;
  assert.deepEqual([...new Set(all)].sort(), [405, 429]);
  assert.ok(passed(all) >= 200 && passed(all) <= 400, `passed ${passed(all)}`);
  // Without Redis nobody starts anew.
  assert.ok(passed(await statuses(ada, 50)) <= 2);
  for (const { process } of gateways) assert.equal(process.log.split('Redis is away').length, 2);
  await server.restart();
  for (const { process } of gateways) await expect.poll(() => process.log.split('Redis answers again').length).toBe(2);
});

// A gateway by TLS, and one in clear text that shares its limits.
test('Redis by TLS: limits are shared when its certificate is one of REDIS_TLS_CA, and nothing is sent when it is not', async (t) => {
  const ca = await authority(t);
  const { certificateFile, keyFile } = await ca.issue('redis');
  const TLS_PORT = REDIS_PORT + 6;
  await startRedis(t, {
    port: REDIS_PORT + 5,
    settings: {
      'tls-port': TLS_PORT,
      'tls-cert-file': certificateFile,
      'tls-key-file': keyFile,
      'tls-ca-cert-file': ca.caFile,
      'tls-auth-clients': 'no',
    },
  });
  const optionsOf = (more: Readonly<Record<string, string>>) =>
    redisOptions(
      loadConfig([gatewayConfig], { env: { REDIS_ADDR: `127.0.0.1:${TLS_PORT}`, ...more } }).values.gateway,
    )!;
  const byTls = [
    optionsOf({ REDIS_TLS_CA: ca.caFile }),
    optionsOf({ REDIS_TLS_CA: ca.caFile, REDIS_ADDR: `localhost:${TLS_PORT}` }),
  ];
  const plain = optionsOf({ REDIS_ADDR: `127.0.0.1:${REDIS_PORT + 5}` });
  let left = 10;
  for (const each of [...byTls, plain]) {
    const { limiter, decidedBy } = await host(t, 1000, each);
    assert.equal((await limiter.take([window('user:tls', 10)]))!.remaining, --left);
    assert.equal(decidedBy('redis'), 1);
  }
  // The authority is unknown; the name is another one.
  const stranger = await authority(t, 'somebody else');
  for (const each of [optionsOf({ REDIS_TLS: 'true' }), optionsOf({ REDIS_TLS_CA: stranger.caFile })]) {
    const { limiter, told, decidedBy } = await host(t, 1000, each);
    assert.equal((await limiter.take([window('user:tls', 10)]))!.allowed, true);
    assert.deepEqual([decidedBy('redis'), decidedBy('process')], [0, 1]);
    assert.match(told[0]!, /self-signed certificate|unable to (get|verify)|certificate signature/);
  }
});
