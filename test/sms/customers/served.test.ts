/**
 * Customers and keys as administrators and customers meet them: two built processes with one Postgres, changed over HTTP
 * and by the command line, without a restart.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import type { MadeKey } from '../../../src/sms/customers/views.ts';
import { main } from '../../servers/collector.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, startDatabase } from '../database.ts';
import { ADMIN_KEY, PEPPER, type RunningSms, startSms } from '../running.ts';

const scope = fileScope();
let server: PostgresServer;
/** The first has two acceptors, which learn of keys apart. */
let processes: readonly [RunningSms, RunningSms];
beforeAll(async () => {
  server = await startDatabase(scope, 26_200);
  processes = await Promise.all([
    startSms(scope, { port: 26_201, dsn: server.dsn, env: { ACCEPTORS: '2' } }),
    startSms(scope, { port: 26_202, dsn: server.dsn }),
  ]);
});

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Headers;
}

/** A connection of its own for each request: they go to all acceptors. */
async function ask(
  method: string,
  path: string,
  body?: unknown,
  key: string = ADMIN_KEY,
  at: RunningSms = processes[0],
): Promise<Answer> {
  const answer = await fetch(`${at.url}${path}`, {
    method,
    headers: { ...(key === '' ? {} : { authorization: `Bearer ${key}` }), connection: 'close' },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? {} : JSON.parse(text), headers: answer.headers };
}
const made = async (id: string, wishes: object = {}): Promise<string> => {
  expect((await ask('POST', '/v1/customers', { customer_id: id, ...wishes })).status).toBe(201);
  return ((await ask('POST', `/v1/customers/${id}/keys`, { name: 'first' })).body as unknown as MadeKey).key;
};
const message = (id: string) => ({ customer_id: id, to: '+989121234567', text: 'hello' });
const send = (id: string, key: string, at?: RunningSms) => ask('POST', '/v1/sms/send', message(id), key, at);

const run = promisify(execFile);
/** `ringmain sms ...` in a process of its own. */
async function ringmain(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env['PATH'] ?? '', PG_DSN: server.dsn, KEY_PEPPER: PEPPER };
  try {
    const { stdout, stderr } = await run(process.execPath, [main, 'sms', ...words], { cwd: processes[0].folder, env });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}
async function rows<R>(sql: string): Promise<readonly R[]> {
  const link = await openLink(server.dsn);
  try {
    return (await link.query<never>(sql)).rows as readonly R[];
  } finally {
    await link.close();
  }
}

test('a customer and its key are good at once, in every acceptor of the process that made them', async () => {
  for (let i = 0; i < 5; i += 1) {
    const key = await made(`new-${i}`, { balance: 100 });
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(`new-${i}`, key)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
  }
});

test('they are good in another process within a second, and a revoked key is refused there likewise', async () => {
  const key = await made('elsewhere', { balance: 100 });
  await expect.poll(async () => (await send('elsewhere', key, processes[1])).status, { timeout: 5000 }).toBe(200);
  const id = key.split('_')[2]!;
  expect((await ask('DELETE', `/v1/keys/${id}`)).status).toBe(204);
  // The thread that answered knows at once, the others within a second.
  const everywhere = () => Promise.all(processes.map(async (one) => (await send('elsewhere', key, one)).body['code']));
  await expect.poll(everywhere, { timeout: 5000, interval: 20 }).toEqual(['KEY_INVALID', 'KEY_INVALID']);
});

test('a rotated key has two secrets for the overlap, in every process; with none the old one ends', async () => {
  const old = await made('rotated', { balance: 1000 });
  const id = old.split('_')[2]!;
  const rotate = async (overlap_s: number) =>
    (await ask('POST', `/v1/keys/${id}/rotate`, { overlap_s })).body as unknown as MadeKey;
  const everywhere = (key: string) =>
    Promise.all(processes.map(async (one) => (await send('rotated', key, one)).body['code'] ?? 'sent'));
  const second = await rotate(600);
  expect(second.key).not.toBe(old);
  expect(second.key.split('_')[2]).toBe(id);
  expect(Date.parse(second.previous_until!) - Date.now()).toBeGreaterThan(500_000);
  await expect.poll(() => everywhere(second.key), { timeout: 5000 }).toEqual(['sent', 'sent']);
  expect(await everywhere(old)).toEqual(['sent', 'sent']);

  // Of three secrets the last two are good.
  const run = await ringmain('key', 'rotate', second.key, '--overlap=600');
  expect(run.code, run.stderr).toBe(0);
  const third = run.stdout.trim();
  const good = async (...keys: string[]) => (await Promise.all(keys.map(everywhere))).flat();
  await expect.poll(() => good(old)).toEqual(['KEY_INVALID', 'KEY_INVALID']);
  expect(await good(second.key, third)).toEqual(Array(4).fill('sent'));
  expect((await ringmain('key', 'list', 'rotated')).stdout).toMatch(/valid, the old secret until \d{4}-/);

  const fourth = await rotate(0);
  expect(fourth.previous_until).toBe(null);
  await expect.poll(() => good(second.key, third)).toEqual(Array(4).fill('KEY_INVALID'));
  await expect.poll(() => good(fourth.key), { timeout: 5000 }).toEqual(['sent', 'sent']);

  // An overlap ends by itself: nothing changes in the database at its end.
  const fifth = await rotate(1);
  await expect.poll(() => good(fourth.key)).toEqual(['KEY_INVALID', 'KEY_INVALID']);
  expect(await good(fifth.key)).toEqual(['sent', 'sent']);

  expect(await ask('POST', `/v1/keys/${id}/rotate`, { overlap_s: 30 * 86_400 + 1 })).toMatchObject({ status: 400 });
  expect(await ask('POST', '/v1/keys/000000000000/rotate', { overlap_s: 0 })).toMatchObject({ status: 404 });
  await ask('DELETE', `/v1/keys/${id}`);
  expect(await ask('POST', `/v1/keys/${id}/rotate`, { overlap_s: 0 })).toMatchObject({ status: 409 });
  expect(await ringmain('key', 'rotate', id)).toMatchObject({ code: 1, stderr: expect.stringMatching(/revoked/) });
});

test("a key acts for its own customer: another's is 403, another's message is 404", async () => {
  const [ada, bob] = [await made('ada', { balance: 10 }), await made('bob', { balance: 10 })];
  const sent = await send('ada', ada);
  expect(sent.status).toBe(200);
  const id = String(sent.body['message_id']);
  expect(await ask('GET', `/v1/sms/${id}`, undefined, ada)).toMatchObject({ status: 200 });
  expect(await ask('GET', `/v1/sms/${id}`, undefined, bob)).toMatchObject({ status: 404 });
  expect(await ask('GET', `/v1/sms/${id}`)).toMatchObject({ status: 200 });
  expect(await send('ada', bob)).toMatchObject({ status: 403, body: { code: 'KEY_FORBIDDEN' } });
  expect(await ask('GET', '/v1/sms?customer_id=ada', undefined, bob)).toMatchObject({ status: 403 });
  expect(await ask('GET', '/v1/customers/ada/balance', undefined, bob)).toMatchObject({ status: 403 });
  expect(await ask('GET', '/v1/customers/nobody/balance', undefined, bob)).toMatchObject({ status: 403 });
  const mixed = { messages: [message('bob'), message('ada')] };
  const { body } = await ask('POST', '/v1/sms/batch', mixed, bob);
  expect(body['results']).toMatchObject([{ status: 'accepted' }, { problem: { status: 403, code: 'KEY_FORBIDDEN' } }]);
});

test('administration is for ADMIN_KEY alone', async () => {
  const key = await made('nobody');
  const asked: readonly (readonly [string, string, unknown?])[] = [
    ['GET', '/v1/customers'],
    ['POST', '/v1/customers', { customer_id: 'mallory' }],
    ['GET', '/v1/customers/nobody'],
    ['PATCH', '/v1/customers/nobody', { rate_per_s: 1 }],
    ['POST', '/v1/customers/nobody/credit', { amount: 1, idempotency_key: 'k' }],
    ['POST', '/v1/customers/nobody/callback-secret'],
    ['GET', '/v1/customers/nobody/keys'],
    ['POST', '/v1/customers/nobody/keys', {}],
    ['DELETE', '/v1/keys/000000000000'],
    ['POST', '/v1/keys/000000000000/rotate', { overlap_s: 0 }],
    ['GET', '/v1/audit'],
  ];
  for (const [method, path, body] of asked) {
    expect(await ask(method, path, body, ''), path).toMatchObject({ status: 401, body: { code: 'KEY_REQUIRED' } });
    expect(await ask(method, path, body, 'x'.repeat(39)), path).toMatchObject({ status: 401 });
    expect(await ask(method, path, body, key), path).toMatchObject({ status: 403, body: { code: 'KEY_FORBIDDEN' } });
  }
});

test('amounts are whole numbers: everything else is refused with what was found', async () => {
  await made('exact', { balance: 5 });
  const wrong: readonly (readonly [json: string, found: string])[] = [
    ['1.5', '1.5'],
    ['1.0000000000000001', '1.0000000000000001'],
    ['-1', '-1'],
    ['0', '0'],
    ['1e3', '1e3'],
    ['9007199254740993', '9007199254740993'],
    ['"10"', '10'],
    ['null', 'null'],
  ];
  for (const [json, found] of wrong) {
    const answer = await ask(
      'POST',
      '/v1/customers/exact/credit',
      `{"amount": ${json}, "idempotency_key": "${found}"}`,
    );
    expect(answer, json).toMatchObject({ status: 400, body: { code: 'INPUT_REFUSED' } });
    expect(answer.body['detail'], json).toMatch(/^amount must /);
    expect(answer.body['detail'], json).toContain(`found=${found}`);
  }
  expect(await ask('POST', '/v1/customers', '{"customer_id": "half", "balance": 0.5}')).toMatchObject({ status: 400 });
  const most = { amount: Number.MAX_SAFE_INTEGER, idempotency_key: 'most' };
  expect(await ask('POST', '/v1/customers/exact/credit', most)).toMatchObject({
    status: 422,
    body: { code: 'AMOUNT_TOO_LARGE' },
  });
  expect(await ask('GET', '/v1/customers/exact/balance')).toMatchObject({ body: { balance: 5, reserved: 0 } });
});

test('credit is added once for each key, also by many at once, and every amount is in the ledger', async () => {
  await made('rich', { balance: 7 });
  const credit = (amount: number, key: string) =>
    ask('POST', '/v1/customers/rich/credit', { amount, idempotency_key: key });
  const answers = await Promise.all(Array.from({ length: 10 }, () => credit(100, 'invoice-1')));
  expect(answers.every(({ status, body }) => status === 200 && body['balance'] === 107)).toBe(true);
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9);
  expect(await credit(101, 'invoice-1')).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_MISMATCH' } });
  expect(await credit(1, 'invoice-2')).toMatchObject({ body: { balance: 108 } });
  const ledger = await rows<{ sum: string; kinds: string[] }>(
    `SELECT sum(amount), array_agg(DISTINCT kind) AS kinds FROM balance_txn WHERE customer_id = 'rich'`,
  );
  expect(ledger).toEqual([{ sum: '108', kinds: ['credit'] }]);
  expect(await ringmain('audit')).toMatchObject({ code: 0 });
});

test('a credit that was wrong is taken back once for its key, never below zero, and the statement shows it all', async () => {
  const key = await made('wrong', { balance: 7 });
  const move = (what: string, amount: number, key: string) =>
    ask('POST', `/v1/customers/wrong/${what}`, { amount, idempotency_key: key });
  await move('credit', 500, 'invoice');
  expect(await move('debit', 508, 'back')).toMatchObject({ status: 422, body: { code: 'DEBIT_TOO_LARGE' } });
  const answers = await Promise.all(Array.from({ length: 5 }, () => move('debit', 450, 'back')));
  expect(answers.every(({ status, body }) => status === 200 && body['balance'] === 57)).toBe(true);
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(4);
  // A key stands for one of them: a credit is no debit.
  for (const [what, amount, key] of [
    ['debit', 500, 'invoice'],
    ['credit', 450, 'back'],
    ['debit', 451, 'back'],
  ] as const)
    expect(await move(what, amount, key)).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_MISMATCH' } });
  expect((await send('wrong', key)).status).toBe(200);
  const own = (path: string) => ask('GET', `/v1/customers/${path}`, undefined, key);
  const first = await own('wrong/transactions?limit=2');
  expect(first.body['transactions']).toMatchObject([
    { kind: 'reserve', amount: 1, balance_change: -1, message_id: expect.stringMatching(/^[0-9A-Z]{26}$/) },
    { kind: 'debit', amount: 450, balance_change: -450, message_id: null },
  ]);
  const second = await own(`wrong/transactions?limit=2&cursor=${first.body['next_cursor']}`);
  expect(second.body).toMatchObject({
    transactions: [
      { kind: 'credit', balance_change: 500 },
      { kind: 'credit', balance_change: 7 },
    ],
    next_cursor: null,
  });
  expect(await own('rich/transactions')).toMatchObject({ status: 403 });
  const audited = (await ask('GET', '/v1/audit?limit=1000')).body['items'] as { action: string; subject: string }[];
  expect(audited.filter(({ action }) => action === 'customer_debited')).toMatchObject([{ subject: 'customer:wrong' }]);
  expect(await ringmain('audit')).toMatchObject({ code: 0 });
});

test('a customer is changed and listed; what it has stays where nothing is said', async () => {
  await made('plain', { name: 'Plain', rate_per_s: 5, lane: 'express', cost_per_sms: 2 });
  const prices = [
    { prefix: '+98912', cost: 3 },
    { prefix: '+98935', cost: 4 },
  ];
  const { body } = await ask('PATCH', '/v1/customers/plain', { prices, rate_per_s: null });
  expect(body).toMatchObject({ name: 'Plain', rate_per_s: null, lane: 'express', cost_per_sms: 2, prices });
  expect(await ask('PATCH', '/v1/customers/plain', { prices: [prices[0], prices[0]] })).toMatchObject({ status: 400 });
  expect(await ask('POST', '/v1/customers', { customer_id: 'plain' })).toMatchObject({ status: 409 });
  expect(await ask('PATCH', '/v1/customers/absent', { name: 'x' })).toMatchObject({ status: 404 });
  expect(await ask('PATCH', '/v1/customers/plain', { balance: 5 })).toMatchObject({ status: 400 });
  const page = await ask('GET', '/v1/customers?limit=1&after=pl');
  expect(page.body).toMatchObject({ items: [{ customer_id: 'plain' }], next: 'plain' });
});

test('keys of a customer that is not active are refused everywhere, until it is again', async () => {
  const key = await made('paused', { balance: 10_000 });
  const everywhere = () =>
    Promise.all(processes.map(async (one) => (await send('paused', key, one)).body['code'] ?? 'sent'));
  await expect.poll(everywhere).toEqual(['sent', 'sent']);
  await ask('PATCH', '/v1/customers/paused', { active: false });
  await expect.poll(everywhere).toEqual(['CUSTOMER_INACTIVE', 'CUSTOMER_INACTIVE']);
  const balance = async () => (await ask('GET', '/v1/customers/paused/balance', undefined, key)).status;
  await expect.poll(balance, { timeout: 5000 }).toBe(403);
  await ask('PATCH', '/v1/customers/paused', { active: true });
  await expect.poll(everywhere).toEqual(['sent', 'sent']);
});

test('a secret of callbacks is there from the start, shown once, and kept as it signs', async () => {
  const kept = async (id: string): Promise<string> =>
    (
      await rows<{ secret: Buffer }>(`SELECT callback_secret AS secret FROM customers WHERE customer_id = '${id}'`)
    )[0]!.secret.toString();
  const added = await ask('POST', '/v1/customers', { customer_id: 'signed' });
  const first = added.body['callback_secret'] as string;
  expect(await kept('signed')).toBe(first);
  const { body } = await ask('POST', '/v1/customers/signed/callback-secret');
  for (const secret of [first, body['callback_secret']]) expect(secret).toMatch(/^whsec_[\w-]{43}$/);
  expect(await kept('signed')).toBe(body['callback_secret']);
  expect(body['callback_secret']).not.toBe(first);
  const seen = ['/v1/customers/signed', '/v1/customers?search=signed'].map(
    async (path) => (await ask('GET', path)).body,
  );
  expect(JSON.stringify(await Promise.all(seen))).not.toContain('whsec_');
  // By whatever way the row comes in.
  for (const id of ['by-sql', 'by-sql-too'])
    await rows(`INSERT INTO customers (customer_id) VALUES ('${id}') RETURNING 1`);
  const [one, two] = [await kept('by-sql'), await kept('by-sql-too')];
  for (const secret of [one, two]) expect(secret).toMatch(/^whsec_[\w-]{43}$/);
  expect(one).not.toBe(two);
});

test('what administrators did stands in the audit log, with address and without anything secret', async () => {
  const key = await made('watched', { balance: 3 });
  await ask('POST', '/v1/customers/watched/callback-secret');
  const { items } = (await ask('GET', '/v1/audit?limit=3')).body as { items: Record<string, unknown>[] };
  expect(items.map(({ action }) => action)).toEqual(['callback_secret_rotated', 'key_added', 'customer_added']);
  expect(items[2]).toMatchObject({
    actor: 'admin',
    subject: 'customer:watched',
    client_ip: '127.0.0.1',
    details: { balance: 3 },
  });
  const all = JSON.stringify((await ask('GET', '/v1/audit?limit=1000')).body);
  expect(all).not.toContain(key.split('_')[3]!);
  expect(all).not.toContain('whsec_');
  const stored = JSON.stringify(await rows(`SELECT * FROM api_keys`));
  expect(stored).not.toContain(key.split('_')[3]!);
});

test('the command line does the same without asking a server', async () => {
  const added = await ringmain('customer', 'add', 'shop', '--balance=50', '--prices=+98912:3', '--json');
  expect(added.code, added.stderr).toBe(0);
  expect(JSON.parse(added.stdout)).toMatchObject({ balance: 50, prices: [{ prefix: '+98912', cost: 3 }] });
  expect(JSON.parse(added.stdout)['callback_secret']).toMatch(/^whsec_/);
  const key = (await ringmain('key', 'add', 'shop')).stdout.trim();
  await expect.poll(async () => (await send('shop', key)).body['cost']).toBe(3);
  expect(await ringmain('customer', 'credit', 'shop', '25', '--key=a')).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/balance 72/),
  });
  expect(await ringmain('customer', 'credit', 'shop', '25', '--key=a')).toMatchObject({
    stderr: expect.stringMatching(/nothing is added/),
  });
  expect(await ringmain('customer', 'credit', 'shop', '2.5', '--key=b')).toMatchObject({
    code: 64,
    stderr: expect.stringMatching(/found=2.5/),
  });
  expect(await ringmain('customer', 'debit', 'shop', '73', '--key=c')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/amount=73, balance=72/),
  });
  expect(await ringmain('customer', 'debit', 'shop', '5', '--key=c')).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/5 taken, balance 67/),
  });
  const { stdout, stderr } = await ringmain('customer', 'statement', 'shop', '--limit=2');
  const lines = stdout.trim().split('\n').slice(1);
  expect(lines.map((line) => line.split(/ {2,}/).slice(2, 5))).toEqual([
    ['debit', '5', '-5'],
    ['credit', '25', '+25'],
  ]);
  const [, before] = /--before=(\d+)/.exec(stderr) ?? [];
  const rest = JSON.parse((await ringmain('customer', 'statement', 'shop', `--before=${before}`, '--json')).stdout);
  // The message was accepted, and nobody sends it here.
  expect(rest.map(({ kind, balance_change }: Record<string, unknown>) => [kind, balance_change])).toEqual([
    ['reserve', -3],
    ['credit', 50],
  ]);
  expect(await ringmain('customer', 'statement', 'shop', '--before=x')).toMatchObject({ code: 64 });
  expect(await ringmain('customer', 'statement', 'nowhere')).toMatchObject({ code: 1 });
  expect(await ringmain('customer', 'change', 'shop', '--rate=9')).toMatchObject({
    stderr: expect.stringMatching(/9\/s/),
  });
  expect(await ringmain('customer', 'change', 'nowhere', '--rate=9')).toMatchObject({ code: 1 });
  expect((await ringmain('customer', 'list', 'shop')).stdout).toMatch(/^shop +yes +67 +3/m);
  expect((await ringmain('key', 'list', 'shop')).stdout).toMatch(/valid/);
  expect(await ringmain('key', 'revoke', key)).toMatchObject({ code: 0 });
  await expect.poll(async () => (await send('shop', key)).status).toBe(401);
  expect((await ringmain('customer', 'audit', '--limit=1')).stdout).toMatch(/cli .* key_revoked/);
});

test('every answer bears the id of its request, the one that came or a new one', async () => {
  const key = await made('identified', { balance: 5 });
  const idOf = async (given: string, method: string, path: string, body?: object) => {
    const answer = await fetch(`${processes[0].url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        connection: 'close',
        ...(given === '' ? {} : { 'x-request-id': given }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    await answer.text();
    return [answer.status, answer.headers.get('x-request-id')];
  };
  const fresh = expect.stringMatching(/^[0-9a-f]{16}-[0-9a-z]{9}$/);
  const balance = '/v1/customers/identified/balance';
  expect(await idOf('from/the:client-7', 'GET', balance)).toEqual([200, 'from/the:client-7']);
  expect(await idOf('', 'GET', balance)).toEqual([200, fresh]);
  expect(await idOf('no id', 'GET', balance)).toEqual([200, fresh]);
  expect(await idOf('a', 'POST', '/v1/sms/send', message('identified'))).toEqual([200, 'a']);
  expect(await idOf('b', 'POST', '/v1/sms/send', message('shop'))).toEqual([403, 'b']);
  expect(await idOf('c', 'GET', '/v1/sms/01JZZZZZZZZZZZZZZZZZZZZZZZ')).toEqual([404, 'c']);
  expect(await idOf('d', 'DELETE', balance)).toEqual([405, 'd']);
  expect(await idOf('e', 'GET', '/openapi.json')).toEqual([200, 'e']);
});
