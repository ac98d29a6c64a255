/** Sending over HTTP, by the built service and a real Postgres. */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { audit } from '../../../src/sms/money/audit.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { addCustomer, emptyTables, openLink, startDatabase } from '../database.ts';
import { type RunningSms, startSms } from '../running.ts';

const undo: (() => unknown)[] = [];
const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
let server: PostgresServer;
let link: PostgresLink;
let sms: RunningSms;

beforeAll(async () => {
  server = await startDatabase(scope, 26_520);
  link = await openLink(server.dsn);
  sms = await startSms(scope, { port: 26_521, dsn: server.dsn, env: { ACCESS: 'open', BACKLOG_LIMIT: '50' } });
  // Days of two tables are made at start, and lock their default partition: a test must not empty it meanwhile.
  const made =
    "SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent IN ('sms_logs'::regclass, 'balance_txn'::regclass)";
  await sms.process.until(async () => Number((await link.query(made)).rows[0]!['n']) >= 2 * 9, 180_000);
});
afterAll(async () => {
  await link.close();
  for (const fn of undo.reverse()) await fn();
});
beforeEach(() => emptyTables(link));

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service says.
  readonly body: any;
}
async function ask(path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const response = await fetch(`${sms.url}${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers,
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
const to = '+989121234567';
const send = (more: object = {}, headers?: Readonly<Record<string, string>>) =>
  ask('/v1/sms/send', { customer_id: 'ada', to, text: 'hello', ...more }, headers);
const inOrder = async () => assert.deepEqual((await audit(link)).differences, []);

test('a message is accepted, found by its id, listed, and taken from the balance', async () => {
  await addCustomer(link, 'ada', { balance: 3 });
  const { status, body } = await send({ sender: 'Shop', type: 'express' });
  assert.equal(status, 200);
  expect(body).toEqual({ message_id: body.message_id, status: 'accepted', segments: 1, cost: 1, balance: 2 });
  const found = await ask(`/v1/sms/${body.message_id}`);
  assert.equal(found.status, 200);
  expect(found.body).toMatchObject({ customer_id: 'ada', to, text: 'hello', sender: 'Shop', type: 'express', cost: 1 });
  expect(found.body.history[0].status).toBe('accepted');
  const second = (await send()).body.message_id;
  const page = await ask('/v1/sms?customer_id=ada&limit=1');
  expect(page.body.messages.map((one: { message_id: string }) => one.message_id)).toEqual([second]);
  const next = await ask(`/v1/sms?customer_id=ada&limit=1&cursor=${page.body.next_cursor}`);
  expect(next.body.messages[0].message_id).toBe(body.message_id);
  expect(next.body.next_cursor).toBe(null);
  expect((await ask('/v1/customers/ada/balance')).body).toMatchObject({ customer_id: 'ada', balance: 1 });
  await inOrder();
});

test('refusals have their status and say what must hold', async () => {
  await addCustomer(link, 'ada', { balance: 1 });
  assert.equal((await send()).status, 200);
  const poor = await send({ idempotency_key: 'k' });
  assert.equal(poor.status, 402);
  expect(poor.body).toMatchObject({ code: 'BALANCE_TOO_LOW', cost: 1, balance: 0 });
  expect((await send({ customer_id: 'nobody' })).body).toMatchObject({ status: 404, code: 'CUSTOMER_UNKNOWN' });
  expect((await ask('/v1/sms/01ARZ3NDEKTSV4RRFFQ69G5FAV')).body.code).toBe('MESSAGE_UNKNOWN');
  expect((await ask('/v1/sms/x')).body.code).toBe('MESSAGE_UNKNOWN');
  for (const nobody of ['nobody', '%00', 'x'.repeat(65)])
    for (const path of [`/v1/customers/${nobody}/balance`, `/v1/sms?customer_id=${nobody}`])
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
  const texts: readonly (readonly [object, RegExp])[] = [
    [{ to: '0912' }, /to must be a phone number in E.164/],
    [{ text: '' }, /text must have at least one character/],
    [{ text: 'x'.repeat(1601) }, /text must have at most 1600/],
    [{ text: 'a\0b' }, /U\+0000/],
    [{ text: '\ud800' }, /surrogate/],
    [{ sender: 'a name that is long' }, /sender must be/],
    [{ type: 'bulk' }, /type must be normal or express/],
    [{ validity_s: 0 }, /validity_s must be/],
    [{ callback_url: 'ftp://x' }, /callback_url must be/],
    [{ idempotency_key: 'with space' }, /idempotency key must be/],
    [{ customer_id: 'a b' }, /customer_id must be/],
    [{ priority: 1 }, /a member of a message must be one of .*found=priority/],
  ];
  for (const [more, detail] of texts) {
    const { status, body } = await send(more);
    assert.equal(status, 400, JSON.stringify(more));
    assert.match(body.detail, detail);
  }
  assert.equal((await ask('/v1/sms/send', '{')).status, 400);
  assert.equal((await ask('/v1/sms/send', '[]')).status, 400);
  assert.match((await ask('/v1/sms?customer_id=ada&limit=0')).body.detail, /limit must be/);
  assert.match((await ask('/v1/sms?limit=1')).body.detail, /customer_id must be given/);
  assert.match((await ask('/v1/sms?customer_id=ada&cursor=x')).body.detail, /next_cursor/);
  await inOrder();
});

test('a key is answered the same again, with Idempotent-Replayed; refusals are not kept', async () => {
  await addCustomer(link, 'ada', { balance: 2 });
  const key = { 'Idempotency-Key': 'order-7' };
  const first = await send({}, key);
  assert.equal(first.headers.get('idempotent-replayed'), null);
  const again = await send({ idempotency_key: 'order-7' });
  assert.equal(again.status, 200);
  assert.equal(again.headers.get('idempotent-replayed'), 'true');
  assert.deepEqual(again.body, first.body);
  const other = await send({ text: 'other' }, key);
  assert.equal(other.status, 422);
  expect(other.body.code).toBe('IDEMPOTENCY_MISMATCH');
  assert.equal((await send({ idempotency_key: 'x' }, key)).status, 400);
  assert.equal((await ask('/v1/customers/ada/balance')).body.balance, 1);
  await inOrder();
});

test('a key that comes a hundred times at once makes one message', async () => {
  await addCustomer(link, 'ada', { balance: 100 });
  const answers = await Promise.all(Array.from({ length: 100 }, () => send({ idempotency_key: 'storm' })));
  const made = new Set(answers.filter(({ status }) => status === 200).map(({ body }) => body.message_id));
  assert.equal(made.size, 1);
  for (const { status } of answers) assert.ok(status === 200 || status === 409, String(status));
  const { rows } = await link.query('SELECT count(*)::int AS n FROM sms_logs');
  assert.equal(rows[0]!['n'], 1);
  await inOrder();
});

test('a key is 409 while its request waits, and a replay afterwards', async () => {
  await addCustomer(link, 'ada', { balance: 5 });
  await link.query('BEGIN');
  await link.query("SELECT FROM customers WHERE customer_id = 'ada' FOR UPDATE");
  const first = send({ idempotency_key: 'slow' });
  await expect.poll(async () => (await send({ idempotency_key: 'slow' })).status).toBe(409);
  await link.query('COMMIT');
  assert.equal((await first).status, 200);
  const again = await send({ idempotency_key: 'slow' });
  assert.equal(again.headers.get('idempotent-replayed'), 'true');
  assert.equal(again.body.message_id, (await first).body.message_id);
});

test('a batch is accepted as far as the balance goes, each with its own result, in order', async () => {
  await addCustomer(link, 'ada', { balance: 3 });
  await addCustomer(link, 'bob', { balance: 9, cost: 4 });
  const one = (more: object = {}) => ({ customer_id: 'ada', to, text: 'x', ...more });
  const messages = [
    one({ idempotency_key: 'a' }),
    one({ to: '123' }),
    one({ customer_id: 'bob' }),
    one({ idempotency_key: 'a' }),
    one({ customer_id: 'nobody' }),
    one(),
    one(),
    one(),
    one({ customer_id: 'bob' }),
    one({ customer_id: 'bob' }),
  ];
  const { status, body } = await ask('/v1/sms/batch', { messages });
  assert.equal(status, 200);
  const codes = (results: readonly { problem?: { code: string }; balance?: number }[]) =>
    results.map(({ problem, balance }) => problem?.code ?? balance);
  expect(codes(body.results)).toEqual([
    2,
    'INPUT_REFUSED',
    5,
    'IDEMPOTENCY_IN_FLIGHT',
    'CUSTOMER_UNKNOWN',
    1,
    0,
    'BALANCE_TOO_LOW',
    1,
    'BALANCE_TOO_LOW',
  ]);
  const again = await ask('/v1/sms/batch', { messages: messages.slice(0, 1) });
  expect(again.body.results).toEqual([{ ...body.results[0], replayed: true }]);
  assert.equal((await ask('/v1/sms/batch', { messages: [] })).status, 400);
  assert.equal((await ask('/v1/sms/batch', { messages: Array(1001).fill(one()) })).status, 400);
  assert.equal((await ask('/v1/sms/batch', { messages }, { 'Idempotency-Key': 'k' })).status, 400);
  await inOrder();
});

test('a batch of 1,000 messages as long as they may be is taken, each letter escaped', async () => {
  // BACKLOG_LIMIT is 50 here.
  for (let i = 0; i < 25; i += 1) await addCustomer(link, `c${i}`, { balance: 1000 });
  const text = '\\u0627'.repeat(1600);
  const messages = Array.from({ length: 1000 }, (_, i) => `{"customer_id":"c${i % 25}","to":"${to}","text":"${text}"}`);
  const { status, body } = await ask('/v1/sms/batch', `{"messages":[${messages.join()}]}`);
  assert.equal(status, 200);
  assert.equal(body.results.filter((result: { status?: string }) => result.status === 'accepted').length, 1000);
  await inOrder();
});

test('dry_run prices and judges, and accepts nothing', async () => {
  await addCustomer(link, 'ada', { balance: 1, cost: 1 });
  const dry = (more: object) => ask('/v1/sms/send?dry_run=true', { customer_id: 'ada', to, text: 'x', ...more });
  expect((await dry({ text: 'س'.repeat(71) })).body).toEqual({ status: 'dry_run', segments: 2, cost: 1, balance: 0 });
  assert.equal((await dry({ customer_id: 'nobody' })).status, 404);
  const batch = await ask('/v1/sms/batch?dry_run=true', {
    messages: [1, 2].map(() => ({ customer_id: 'ada', to, text: 'x' })),
  });
  expect(batch.body.results[0].status).toBe('dry_run');
  expect(batch.body.results[1].problem.code).toBe('BALANCE_TOO_LOW');
  assert.equal((await ask('/v1/sms/send?dry_run=1', {})).status, 400);
  assert.equal((await ask('/v1/sms/send?dryrun=true', {})).status, 400);
  const { rows } = await link.query('SELECT (SELECT count(*) FROM sms_logs)::int AS n, balance::int FROM customers');
  expect(rows).toEqual([{ n: 0, balance: 1 }]);
});

test('past the backlog sends are 429 with Retry-After, and only then', async () => {
  await addCustomer(link, 'ada', { balance: 100 });
  await link.query('UPDATE customers SET waiting = 49');
  assert.equal((await send()).status, 200);
  const full = await send();
  assert.equal(full.status, 429);
  assert.equal(full.headers.get('retry-after'), '1');
  expect(full.body).toMatchObject({ code: 'BACKLOG_FULL', limit: 50 });
});

test('while the database is away sends are 503, and accepted again when it is back', async () => {
  await addCustomer(link, 'ada', { balance: 100 });
  assert.equal((await send()).status, 200);
  await link.close();
  await server.kill9();
  const away = await send();
  assert.equal(away.status, 503);
  assert.equal(away.headers.get('retry-after'), '1');
  assert.equal((await ask('/v1/customers/ada/balance')).status, 503);
  await server.restart();
  link = await openLink(server.dsn);
  await expect.poll(async () => (await send()).status).toBe(200);
  await inOrder();
});
