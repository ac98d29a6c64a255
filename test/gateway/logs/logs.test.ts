/**
 * Goal: every request of a real gateway stands in request_logs and, where it counts, in usage_months, once: also after
 * kill -9. Method: the built process with a real Postgres, driven over HTTP.
 */
import assert from 'node:assert/strict';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { addKey } from '../../../src/gateway/database/admin/keys.ts';
import { addUser } from '../../../src/gateway/database/admin/users.ts';
import { listLogs } from '../../../src/gateway/logs/answers.ts';
import type { LogsPage, LogsQuestion } from '../../../src/gateway/logs/question.ts';
import type { Scope } from '../../../src/gateway/model.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, PEPPER, startDatabase } from '../database.ts';
import { ADMIN_KEY, startGateway } from '../running.ts';

const POSTGRES_PORT = 24_150;
const PORT = 24_151;
const scope = fileScope();
const actor = { name: 'test' };
let server: PostgresServer;
let link: PostgresLink;

beforeAll(async () => {
  server = await startDatabase(scope, POSTGRES_PORT);
  link = await openLink(server.dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

async function someKey(name: string) {
  const user = await addUser(link, actor, { username: name, email: `${name}@example.com` });
  const made = await addKey(link, actor, PEPPER, user.id, {});
  return { userId: user.id, keyId: made.id, key: made.key };
}
const admin = { authorization: `Bearer ${ADMIN_KEY}` };
const usage = async () => {
  const { rows } = await link.query<{ user_id: string; requests: string; bytes: string }>(
    'SELECT user_id, requests, bytes FROM usage_months ORDER BY user_id',
  );
  return rows.map((row) => ({ user: Number(row.user_id), requests: Number(row.requests), bytes: Number(row.bytes) }));
};
const logged = async () => {
  const { rows } = await link.query<{ n: string }>('SELECT count(*) AS n FROM request_logs');
  return Number(rows[0]!.n);
};

test('requests are logged as they were sent, refused ones too, and found by filters and pages', async (t) => {
  const ada = await someKey('ada');
  const gateway = await startGateway(t, {
    port: PORT,
    dsn: server.dsn,
    env: { IP_REQUESTS_PER_MINUTE: '2', ACCESS_LOG: 'true' },
  });
  const ask = (path: string, init: RequestInit = {}) => fetch(`${gateway.url}${path}`, init);
  const deleted = await ask('/nothing/%C3%A9?a=1&b=%20', {
    method: 'DELETE',
    headers: { 'x-api-key': ada.key, 'x-request-id': 'first' },
  });
  assert.equal(deleted.status, 405);
  const bytes = (await deleted.arrayBuffer()).byteLength;
  const posted = await ask('/api/v1/nothing', {
    method: 'POST',
    headers: { 'x-api-key': ada.key },
    body: 'x'.repeat(10),
  });
  assert.equal(posted.status, 404);
  const more = (await posted.arrayBuffer()).byteLength;
  for (const expected of [401, 401, 429]) assert.equal((await ask('/x', { method: 'PUT' })).status, expected);
  await expect.poll(logged).toBe(5);
  assert.deepEqual(await usage(), [{ user: ada.userId, requests: 2, bytes: bytes + more }]);
  const { rows } = await link.query<{ ago: number }>(
    'SELECT extract(epoch FROM now() - last_used_at)::int AS ago FROM api_keys',
  );
  assert.ok(rows[0]!.ago >= 0 && rows[0]!.ago < 120);

  const page = async (query: string): Promise<LogsPage> => {
    const answer = await ask(`/api/v1/logs?${query}`, { headers: admin });
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()) as LogsPage;
  };
  const paths = async (query: string) => (await page(query)).items.map((entry) => entry.request_path);
  const [first] = (await page('path=/nothing')).items;
  assert.deepEqual(
    { ...first, id: 0, created_at: '', response_time_ms: 0 },
    {
      id: 0,
      created_at: '',
      user_id: ada.userId,
      key_id: ada.keyId,
      backend_id: null,
      request_id: 'first',
      method: 'DELETE',
      request_path: '/nothing/%C3%A9?a=1&b=%20',
      response_status: 405,
      outcome: 'refused',
      response_time_ms: 0,
      request_size_bytes: 0,
      response_size_bytes: bytes,
      client_ip: '127.0.0.1',
    },
  );
  assert.deepEqual(await paths(`user_id=${ada.userId}`), ['/api/v1/nothing', '/nothing/%C3%A9?a=1&b=%20']);
  assert.deepEqual(await paths(`key_id=${ada.keyId}&status=404`), ['/api/v1/nothing']);
  assert.deepEqual(await paths('outcome=limited'), ['/x']);
  assert.deepEqual(await paths('status=4xx&path=/x'), ['/x', '/x', '/x']);
  assert.deepEqual(await paths(`to=${new Date(0).toISOString()}`), []);
  const walked: string[] = [];
  let cursor: string | null = '';
  for (let pages = 0; cursor !== null && pages < 10; pages += 1) {
    const { items, next }: LogsPage = await page(`limit=2&status=4xx${cursor === '' ? '' : `&cursor=${cursor}`}`);
    walked.push(...items.map(({ id }) => String(id)));
    cursor = next;
  }
  assert.equal(walked.length, 5);
  assert.equal(new Set(walked).size, 5);
  for (const query of ['user=1', 'status=99', 'limit=0', 'limit=1&limit=2', 'cursor=x', 'from=yesterday'])
    assert.equal((await ask(`/api/v1/logs?${query}`, { headers: admin })).status, 400, query);
  const denied = await ask('/api/v1/logs', { headers: { 'x-api-key': ada.key } });
  assert.ok(denied.status === 403 || denied.status === 429);
  const aliases = await Promise.all(['/health', '/ready'].map((path) => ask(path)));
  assert.deepEqual(
    aliases.map(({ status }) => status),
    [200, 200],
  );
  const metrics = await (await ask('/metrics')).text();
  assert.match(metrics, /ringmain_gateway_requests_total\{route="unknown",outcome="limited"\} 1\n/);
  assert.match(metrics, /ringmain_gateway_sent_bytes_total\{route="unknown"\} \d{3}/);
  assert.match(metrics, /ringmain_gateway_partitions_missing 0\n/);
  assert.match(gateway.process.log, /"path":"\/x","status":429,"outcome":"limited"/);
  await gateway.end();
});

test('a key that is let in has been used, whatever it asks for and whether a quota counts it; a refused one has not', async (t) => {
  const ada = await someKey('ada');
  const key = (scopes: readonly Scope[]) => addKey(link, actor, PEPPER, ada.userId, { scopes });
  const [asks, administers, refused] = await Promise.all([key(['read']), key(['admin']), key(['upload'])]);
  const gateway = await startGateway(t, { port: PORT, dsn: server.dsn });
  const status = async (path: string, { key: text }: { readonly key: string }) =>
    (await fetch(`${gateway.url}${path}`, { headers: { 'x-api-key': text } })).status;
  assert.equal(await status('/api/v1/usage', asks), 200);
  assert.equal(await status('/api/v1/users', administers), 200);
  assert.equal(await status('/api/v1/usage', refused), 403);
  await expect.poll(logged).toBe(3);
  const { rows } = await link.query<{ id: string }>(
    'SELECT id FROM api_keys WHERE last_used_at IS NOT NULL ORDER BY id',
  );
  assert.deepEqual(rows.map(({ id }) => id).sort(), [asks.id, administers.id].sort());
  assert.deepEqual(await usage(), []);
  await gateway.end();
});

test('a rare status and a rare key are found without a look at all the others', async () => {
  await link.query(
    `INSERT INTO request_logs (key_id, request_id, method, request_path, response_status, outcome, response_time_ms,
       request_size_bytes, response_size_bytes, created_at)
     SELECT CASE n WHEN 3 THEN 'rare' ELSE 'often' END, n, 'GET', '/' || n,
       CASE WHEN n IN (2, 30000) THEN 500 + n % 7 WHEN n = 7 THEN 404 WHEN n % 2 = 0 THEN 429 ELSE 200 END, 'hit',
       1, 0, 0, now() - make_interval(secs => n) FROM generate_series(1, 30000) n`,
  );
  await link.query('ANALYZE request_logs');
  /** The pages, and how many blocks the server has looked at. */
  const listed = async (question: Partial<LogsQuestion>) => {
    let blocks = 0;
    const explained = {
      query: async (sql: string, values: readonly unknown[]) => {
        const { rows } = await link.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
          `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`,
          values,
        );
        const { Plan } = rows[0]!['QUERY PLAN'][0];
        blocks += Plan['Shared Hit Blocks']! + Plan['Shared Read Blocks']!;
        return link.query(sql, values);
      },
    } as unknown as PostgresLink;
    const { items } = await listLogs(explained, { limit: 3, ...question });
    return { found: items.map(({ request_path: path }) => path), few: blocks < 5000 ? 'few' : blocks };
  };
  assert.deepEqual(await listed({ status: [500, 599] }), { found: ['/2', '/30000'], few: 'few' });
  assert.deepEqual(await listed({ status: [404, 404] }), { found: ['/7'], few: 'few' });
  assert.deepEqual(await listed({ status: [400, 499] }), { found: ['/4', '/6', '/7'], few: 'few' });
  assert.deepEqual(await listed({ keyId: 'rare' }), { found: ['/3'], few: 'few' });
  assert.deepEqual(await listed({ status: [200, 299] }), { found: ['/1', '/3', '/5'], few: 'few' });
  // What takes too long ends in the server, and says what to do.
  await link.query('SET statement_timeout = 1');
  const slow = listLogs(link, { limit: 1, path: '/x', outcome: 'never' });
  await expect(slow.finally(() => link.query('RESET statement_timeout'))).rejects.toMatchObject({
    code: 'LOGS_TOO_SLOW',
  });
});

test('after kill -9 the usage is what was answered, within the requests under way', async (t) => {
  const ada = await someKey('ada');
  const rates = { requests_per_minute: 1_000_000, requests_per_hour: null, burst: null };
  await link.query('INSERT INTO rate_limits (user_id, requests_per_minute) VALUES ($1, $2)', [
    ada.userId,
    rates.requests_per_minute,
  ]);
  const first = await startGateway(t, { port: PORT, dsn: server.dsn });
  let answered = 0;
  let bytes = 0;
  const CLIENTS = 8;
  const client = async () => {
    for (;;) {
      const answer = await fetch(`${first.url}/a`, { method: 'DELETE', headers: { 'x-api-key': ada.key } });
      bytes += (await answer.arrayBuffer()).byteLength;
      assert.equal(answer.status, 405);
      answered += 1;
    }
  };
  const clients = Array.from({ length: CLIENTS }, () => client().catch((error: unknown) => error));
  await expect.poll(() => answered).toBeGreaterThan(1000);
  await first.process.end('SIGKILL');
  for (const error of await Promise.all(clients)) assert.ok(!(error instanceof assert.AssertionError), String(error));
  const second = await startGateway(t, { port: PORT, dsn: server.dsn, folder: first.folder });
  const one = bytes / answered;
  // Whoever waited for an answer may have been served, or not.
  await expect.poll(async () => (await usage())[0]?.requests ?? 0).toBeGreaterThanOrEqual(answered - CLIENTS);
  await second.end();
  const [counted] = await usage();
  assert.ok(counted!.requests >= answered - CLIENTS && counted!.requests <= answered + CLIENTS, `${answered}`);
  assert.equal(counted!.bytes, counted!.requests * one);
  assert.equal(await logged(), counted!.requests);
});
