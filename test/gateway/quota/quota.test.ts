/**
 * Goal: limits and quotas let pass what they say to the request, in several acceptors and gateways, and across kill -9.
 * Method: built processes with a real Postgres, asked over HTTP for what no route takes (405): it counts, and needs no
 * backend.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { addKey } from '../../../src/gateway/database/admin/keys.ts';
import { setLimits, setQuota } from '../../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../../src/gateway/database/admin/users.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, PEPPER, startDatabase } from '../database.ts';
import { ADMIN_KEY, startGateway } from '../running.ts';

const PORT = 24_211;
const OTHER_PORT = 24_212;
const HOOK_PORT = 24_213;
const scope = fileScope();
const actor = { name: 'test' };
let server: PostgresServer;
let link: PostgresLink;

beforeAll(async () => {
  server = await startDatabase(scope, 24_210);
  link = await openLink(server.dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

interface Limits {
  readonly requests?: number;
  readonly bytes?: number;
  readonly perMinute?: number;
  readonly perHour?: number;
  readonly burst?: number;
}

async function someone(name: string, { requests, bytes, perMinute = 100_000, perHour, burst }: Limits = {}) {
  const { id } = await addUser(link, actor, { username: name, email: `${name}@example.com` });
  await setLimits(link, actor, id, {
    requests_per_minute: perMinute,
    requests_per_hour: perHour ?? null,
    burst: burst ?? null,
  });
  await setQuota(link, actor, id, { monthly_requests: requests ?? null, monthly_bytes: bytes ?? null });
  return { id, key: (await addKey(link, actor, PEPPER, id, {})).key };
}

/** Asks `count` times at once, each on a connection of its own; the statuses in order. */
async function ask(port: number, key: string, count: number): Promise<Response[]> {
  const one = () => fetch(`http://127.0.0.1:${port}/x`, { method: 'PUT', headers: { 'x-api-key': key } });
  return Promise.all(Array.from({ length: count }, one));
}
const countOf = (answers: readonly Response[], status: number): number =>
  answers.filter((answer) => answer.status === status).length;

const usageOf = async (port: number, id: number): Promise<{ requests: number; bytes: number }> => {
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1/usage?user_id=${id}`, {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()) as { requests: number; bytes: number };
};

test('four acceptors let pass exactly what the limits say, and say what is left', async (t) => {
  const ada = await someone('ada', { perMinute: 300, perHour: 120 });
  const eve = await someone('eve', { perMinute: 600, burst: 40 });
  await startGateway(t, { port: PORT, dsn: server.dsn, env: { ACCEPTORS: '4' } });
  const answers = await ask(PORT, ada.key, 400);
  assert.equal(countOf(answers, 405), 120);
  const refused = answers.find(({ status }) => status === 429)!;
  assert.equal(((await refused.json()) as { limit: string }).limit, 'user-hour');
  const { headers } = refused;
  assert.match(headers.get('ratelimit')!, /^"user-hour";r=0;t=3[56]\d\d$/);
  assert.equal(headers.get('ratelimit-policy'), '"user-minute";q=300;w=60, "user-hour";q=120;w=3600');
  assert.equal(headers.get('x-ratelimit-limit'), '120');
  assert.equal(headers.get('x-ratelimit-remaining'), '0');
  const retry = Number(headers.get('retry-after'));
  assert.ok(retry >= 1 && retry <= 30, `retry after ${retry}`);
  const begin = performance.now();
  const passed = countOf(await ask(PORT, eve.key, 200), 405);
  // One more every 100 ms.
  assert.ok(passed >= 40 && passed <= 40 + Math.floor((performance.now() - begin) / 100), `passed ${passed}`);
});

test('a quota lets pass exactly as many requests, and bytes up to the request that goes beyond', async (t) => {
  const ada = await someone('ada', { requests: 75 });
  const eve = await someone('eve', { bytes: 1000 });
  await startGateway(t, { port: PORT, dsn: server.dsn, env: { ACCEPTORS: '3' } });
  const answers = await ask(PORT, ada.key, 200);
  assert.equal(countOf(answers, 405), 75);
  const refused = (await answers.find(({ status }) => status === 429)!.json()) as { code: string; detail: string };
  assert.equal(refused.code, 'QUOTA_EXCEEDED');
  assert.match(refused.detail, /limit=75, used=75, until \d{4}-\d\d-01T00:00:00.000Z/);
  let bytes = 0;
  for (let next = await ask(PORT, eve.key, 1); next[0]!.status === 405; next = await ask(PORT, eve.key, 1)) {
    assert.ok(bytes < 1000);
    bytes += (await next[0]!.arrayBuffer()).byteLength;
  }
  assert.ok(bytes >= 1000);
  assert.equal((await usageOf(PORT, eve.id)).bytes, bytes);
  // Who has used up the own quota may ask for that, and for nobody else's.
  const usageBy = (id: number, key: string) =>
    fetch(`http://127.0.0.1:${PORT}/api/v1/usage?user_id=${id}`, { headers: { 'x-api-key': key } });
  assert.equal(((await (await usageBy(eve.id, eve.key)).json()) as { bytes: number }).bytes, bytes);
  assert.equal((await usageBy(ada.id, eve.key)).status, 403);
  const usage = await fetch(`http://127.0.0.1:${PORT}/api/v1/usage`, { headers: { 'x-api-key': eve.key } });
  assert.deepEqual(Object.keys((await usage.json()) as object), [
    'user_id',
    'month',
    'requests',
    'bytes',
    'quota',
    'reset_at',
  ]);
  for (const query of ['user_id=0', 'month=2026-13', 'user_id=1&moth=2026-01', '']) {
    const answer = await fetch(`http://127.0.0.1:${PORT}/api/v1/usage?${query}`, {
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    assert.equal(answer.status, 400, query);
  }
});

test('after kill -9 what lies in the journal counts, before the database has it', async (t) => {
  const ada = await someone('ada', { requests: 60 });
  const free = await someone('free');
  const first = await startGateway(t, { port: PORT, dsn: server.dsn });
  assert.equal(countOf(await ask(PORT, ada.key, 20), 405), 20);
  await expect.poll(async () => (await link.query('SELECT FROM usage_months WHERE requests = 20')).rowCount).toBe(1);
  // The load waits for this lock, so the next requests lie in the journal alone.
  const locker = await openLink(server.dsn);
  t.onTestFinished(() => locker.close());
  await locker.query('BEGIN; LOCK TABLE request_logs IN SHARE MODE');
  assert.equal(countOf(await ask(PORT, ada.key, 25), 405), 25);
  // Records are published at the end of their turn. One more answer is of a later turn: the only acceptor has had those.
  assert.equal(countOf(await ask(PORT, free.key, 1), 405), 1);
  await first.process.end('SIGKILL');
  const again = startGateway(t, { port: PORT, dsn: server.dsn, folder: first.folder });
  // Nobody knows yet what ada has used; who has no quota is served.
  const statusOf = async (key: string) => (await ask(PORT, key, 1).catch(() => undefined))?.[0]?.status;
  await expect.poll(() => statusOf(free.key)).toBe(405);
  const unknown = await ask(PORT, ada.key, 1);
  assert.equal(unknown[0]!.status, 503);
  assert.equal(((await unknown[0]!.json()) as { code: string }).code, 'USAGE_UNKNOWN');
  await locker.query('COMMIT');
  await again;
  assert.equal((await usageOf(PORT, ada.id)).requests, 45);
  assert.equal(countOf(await ask(PORT, ada.key, 30), 405), 15);
});

test('two gateways see each other count within a second', async (t) => {
  const ada = await someone('ada', { requests: 50 });
  await startGateway(t, { port: PORT, dsn: server.dsn });
  await startGateway(t, { port: OTHER_PORT, dsn: server.dsn });
  assert.equal(countOf(await ask(PORT, ada.key, 20), 405), 20);
  await delay(1000);
  assert.equal(countOf(await ask(OTHER_PORT, ada.key, 40), 405), 30);
  await delay(1000);
  assert.equal(countOf(await ask(PORT, ada.key, 10), 405), 0);
  const { rows } = await link.query<{ requests: string }>('SELECT requests FROM usage_months');
  assert.equal(rows[0]!.requests, '50');
});

test('a threshold is told once, signed, by whichever gateway sees it, and again when the receiver was away', async (t) => {
  const ada = await someone('ada', { requests: 10 });
  const got: { body: { which: string; month: string; threshold: number; used: number; id: string }; good: boolean }[] =
    [];
  let status = 500;
  const receiver = createServer((req, res) => {
    let text = '';
    req.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    req.on('end', () => {
      const [, seconds, mac] = /^t=(\d+),v1=([\da-f]{64})$/.exec(String(req.headers['ringmain-signature'])) ?? [];
      const good = createHmac('sha256', 'hook-secret').update(`${seconds}.${text}`).digest('hex') === mac;
      got.push({ body: JSON.parse(text) as (typeof got)[number]['body'], good });
      res.writeHead(status).end();
    });
  }).listen(HOOK_PORT, '127.0.0.1');
  t.onTestFinished(() => void receiver.close());
  const env = { QUOTA_WEBHOOK_URL: `http://127.0.0.1:${HOOK_PORT}/hook`, QUOTA_WEBHOOK_SECRET: 'hook-secret' };
  const first = await startGateway(t, { port: PORT, dsn: server.dsn, env });
  await startGateway(t, { port: OTHER_PORT, dsn: server.dsn, env });
  await ask(PORT, ada.key, 7);
  await expect.poll(async () => (await link.query('SELECT FROM usage_months WHERE requests = 7')).rowCount).toBe(1);
  await ask(PORT, ada.key, 1);
  await expect.poll(() => got.length).toBe(1);
  // The message outlasts who has made it.
  await expect
    .poll(async () => (await link.query("SELECT FROM quota_messages WHERE next_at < now() + interval '5 s'")).rowCount)
    .toBe(1);
  await first.process.end('SIGKILL');
  status = 204;
  await expect.poll(() => got.length).toBe(2);
  assert.deepEqual(got[1]!.body.id, got[0]!.body.id);
  assert.equal(countOf(await ask(OTHER_PORT, ada.key, 4), 405), 2);
  await expect.poll(() => got.length).toBe(3);
  assert.deepEqual(
    got.map(({ body: { which, threshold, used }, good }) => ({ which, threshold, used, good })),
    [
      { which: 'requests', threshold: 80, used: 8, good: true },
      { which: 'requests', threshold: 80, used: 8, good: true },
      { which: 'requests', threshold: 100, used: 10, good: true },
    ],
  );
  await expect.poll(async () => (await link.query('SELECT FROM quota_messages')).rowCount).toBe(0);
  const told = () => got.slice(3).map(({ body: { month, threshold, used } }) => ({ month, threshold, used }));
  const { rows } = await link.query<{ month: string; before: string }>(
    `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
       to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 day', 'YYYY-MM') AS before`,
  );
  const { month, before } = rows[0]!;
  // A quota that is raised is told about again, at once when it is not enough, and never twice.
  for (const limit of [20, 12, 11]) await setQuota(link, actor, ada.id, { monthly_requests: limit });
  await expect.poll(told).toEqual([{ month, threshold: 80, used: 10 }]);
  // The last requests of a month are counted when it is over.
  await link.query("UPDATE quotas SET updated_at = now() - interval '40 days'");
  await link.query("INSERT INTO usage_months (user_id, month, requests) VALUES ($1, ($2 || '-01')::date, 9)", [
    ada.id,
    before,
  ]);
  await expect.poll(told).toEqual([
    { month, threshold: 80, used: 10 },
    { month: before, threshold: 80, used: 9 },
  ]);
});
