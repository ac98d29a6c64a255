/**
 * Goal: what operators say later is recorded when they are told so, by HTTP and by SMPP, and customers are told in turn.
 * Method: the built service as one process, a real Postgres, an HTTP operator, an SMSC of npm `smpp`, a receiver of callbacks.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { audit } from '../../../src/sms/money/audit.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { type HttpOperator, startHttpOperator } from '../../servers/http-operator.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import type { TestScope } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Smsc, startSmsc } from '../../servers/smsc.ts';
import { addCustomer, emptyTables, openLink, startDatabase } from '../database.ts';
import { type RunningSms, type SmsWishes, startSms } from '../running.ts';

const scope = fileScope();
const TOKEN = '0123456789abcdef';
const SECRET = 'whsec_0123456789';
let server: PostgresServer;
let link: PostgresLink;
let http: HttpOperator;
let smsc: Smsc;
let hexSmsc: Smsc;
let sms: RunningSms;
let wishes: SmsWishes;

beforeAll(async () => {
  server = await startDatabase(scope, 26_420);
  link = await openLink(server.dsn);
  scope.onTestFinished(() => link.close());
  http = await startHttpOperator(scope, { token: TOKEN });
  smsc = await startSmsc(scope);
  hexSmsc = await startSmsc(scope);
  hexSmsc.idOf = (number) => String(3_735_928_558 + number);
  hexSmsc.receiptIdOf = (id) => `00${Number(id).toString(16).toUpperCase()}`;
  const operators = [
    { name: 'irancell', driver: 'http', url: http.url, prefixes: ['+9890'], token: TOKEN, timeout_ms: 3000 },
    { name: 'mci', driver: 'smpp', url: smsc.url, prefixes: ['+9891'], system_id: 'ringmain', timeout_ms: 10_000 },
    {
      name: 'rightel',
      driver: 'smpp',
      url: hexSmsc.url,
      prefixes: ['+9892'],
      system_id: 'ringmain',
      receipt_id: 'hex',
    },
  ];
  wishes = {
    port: 26_421,
    dsn: server.dsn,
    env: { ACCESS: 'open', OPERATORS: JSON.stringify(operators), CALLBACK_ALLOW_PRIVATE: 'true' },
  };
  sms = await startSms(scope, wishes);
  http.receipts = { url: sms.url, name: 'irancell' };
});
beforeEach(async () => {
  await emptyTables(link);
  await addCustomer(link, 'ada', { balance: 100 });
  await link.query("UPDATE customers SET callback_secret = $1 WHERE customer_id = 'ada'", [Buffer.from(SECRET)]);
});
afterEach(async () => assert.deepEqual((await audit(link)).differences, []));

async function send(to: string, more: object = {}): Promise<string> {
  const body = JSON.stringify({ customer_id: 'ada', to, text: 'hello', ...more });
  const response = await fetch(`${sms.url}/v1/sms/send`, { method: 'POST', body });
  assert.equal(response.status, 200, await response.clone().text());
  return ((await response.json()) as { message_id: string }).message_id;
}

async function tell(operator: string, token: string | undefined, body: unknown): Promise<[number, unknown]> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const url = `${sms.url}/v1/receipts/${operator}`;
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return [response.status, await response.json()];
}

const statusOf = async (id: string) =>
  (await link.query<{ status: string }>('SELECT status FROM sms_logs WHERE message_id = $1', [id])).rows[0]?.status;

interface Told {
  readonly message_id: string;
  readonly status: string;
  readonly operator: string | null;
}

/** A receiver of callbacks; those with a wrong signature are an error. */
async function receiver(t: TestScope, judge: (told: Told) => number = () => 204) {
  const told: Told[] = [];
  const wrong: string[] = [];
  const listener = createServer(async (request, response) => {
    let body = '';
    for await (const part of request as AsyncIterable<Buffer>) body += part.toString();
    const [, seconds, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers['ringmain-signature'])) ?? [];
    if (mac !== createHmac('sha256', SECRET).update(`${seconds}.${body}`).digest('hex')) wrong.push(body);
    const one = JSON.parse(body) as Told;
    const status = judge(one);
    if (status < 300) told.push(one);
    response.writeHead(status).end();
  });
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  t.onTestFinished(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return { told, wrong, url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}/hook` };
}

test('a receipt over HTTP is answered when it is recorded, and what is unknown is named', async () => {
  const id = await send('+989012345678');
  await expect.poll(() => statusOf(id)).toBe('sent');
  const stranger = '01JZZZZZZZZZZZZZZZZZZZZZZZ';
  const list = [
    { message_id: id, id: `op-${id}`, status: 'delivered', at: new Date().toISOString() },
    { message_id: stranger, status: 'delivered' },
    { message_id: id, status: 'delivered' },
    { message_id: id, status: 'sent' },
  ];
  assert.deepEqual(await tell('irancell', TOKEN, list), [200, { recorded: 3, unknown: [stranger] }]);
  assert.equal(await statusOf(id), 'delivered');
  assert.equal(await http.receipt(id, 'failed', 3), 200);
  assert.equal(await statusOf(id), 'delivered', 'states only go forward');
  const metrics = await (await fetch(`${sms.url}/metrics`)).text();
  assert.match(metrics, /ringmain_sms_receipts_total\{operator="irancell",result="unknown"\} 1/);
  assert.match(metrics, /ringmain_sms_operator_calls_total\{operator="irancell",outcome="taken"\} 1/);
  assert.match(metrics, /ringmain_sms_operator_up\{operator="mci"\} 1/);
});

test('a number that no operator carries is refused at once and costs nothing, until a worker tells that it carries it', async () => {
  const ask = async (path: string, body: object) => {
    const response = await fetch(`${sms.url}/v1/sms/${path}`, { method: 'POST', body: JSON.stringify(body) });
    return (await response.json()) as { code?: string; status: unknown; to?: string; results?: { problem?: object }[] };
  };
  const abroad = { customer_id: 'ada', to: '+442071234567', text: 'hello' };
  const refused = { code: 'NUMBER_NOT_CARRIED', status: 422, to: abroad.to };
  for (const path of ['send', 'send?dry_run=true']) expect(await ask(path, abroad)).toMatchObject(refused);
  for (const [path, balance] of [
    ['batch', 99],
    ['batch?dry_run=true', 98],
  ] as const)
    expect(await ask(path, { messages: [{ ...abroad, to: '+989012345678' }, abroad] })).toMatchObject({
      results: [{ balance }, { problem: refused }],
    });
  const metrics = async () => (await fetch(`${sms.url}/metrics`)).text();
  await expect.poll(metrics).toMatch(/sms_refused_total\{reason="not_carried"\} 2/);
  await link.query(`INSERT INTO sms_operator_states (process, operator, up, breaker, in_flight, prefixes)
    VALUES (gen_random_uuid(), 'other', true, 'closed', 0, '{+44}')`);
  await expect.poll(async () => (await ask('send', abroad)).status).toBe('accepted');
  // The worker of this process carries it not, and gives the money back, as it does where an api cannot know.
  await expect.poll(async () => (await link.query("SELECT FROM sms_logs WHERE money = 'refunded'")).rowCount).toBe(1);
  await expect.poll(async () => (await link.query('SELECT FROM customers WHERE balance = 99')).rowCount).toBe(1);
});

test('a receipt needs the token of its operator, also where everybody may send', async () => {
  const id = await send('+989012345678');
  const receipt = { message_id: id, status: 'failed' };
  await expect.poll(() => statusOf(id)).toBe('sent');
  for (const [operator, token, status] of [
    ['irancell', undefined, 401],
    ['irancell', 'fedcba9876543210', 401],
    ['nobody', TOKEN, 401],
    ['mci', TOKEN, 401],
    ['mci', '', 401],
  ] as const)
    assert.equal((await tell(operator, token, receipt))[0], status);
  assert.equal((await tell('irancell', TOKEN, { status: 'failed' }))[0], 400);
  assert.equal((await fetch(`${sms.url}/v1/receipts/irancell`)).status, 405);
  assert.equal(await statusOf(id), 'sent');
});

test('a receipt over SMPP is recorded by the id of the SMSC, early, late and doubled', async () => {
  const id = await send('+989112345678');
  await expect.poll(() => statusOf(id)).toBe('sent');
  const smscId = smsc.taken.at(-1)!.id;
  assert.equal(await smsc.receipt(smscId, 'DELIVRD'), 0);
  assert.equal(await statusOf(id), 'delivered');
  assert.equal(await smsc.receipt(smscId, 'UNDELIV'), 0);
  assert.equal(await statusOf(id), 'delivered');
  // Receipts that come with the answer, twice each, before anybody has written down what was sent.
  smsc.receipts = 2;
  const many = await Promise.all(Array.from({ length: 20 }, () => send('+989112345678', { text: 'x'.repeat(200) })));
  const states = async () =>
    (
      await link.query<{ status: string; count: number }>(
        'SELECT status, count(*)::int FROM sms_logs WHERE message_id = ANY ($1) GROUP BY status',
        [many],
      )
    ).rows;
  await expect.poll(states).toEqual([{ status: 'delivered', count: many.length }]);
  smsc.receipts = 0;
  assert.ok(smsc.receiptAnswers.every((status) => status === 0));
});

test('a message that timed out is settled by its receipt', async () => {
  http.behaviour = 'silent';
  const id = await send('+989012345678');
  await expect.poll(() => http.counts.get(id)).toBe(1);
  await expect
    .poll(async () => (await tell('irancell', TOKEN, { message_id: id, status: 'delivered' }))[1])
    .toEqual({
      recorded: 1,
      unknown: [],
    });
  http.behaviour = 'take';
  await expect.poll(() => statusOf(id)).toBe('delivered');
  assert.equal(http.counts.get(id), 1);
});

test('a customer is told each state in its order, signed, and again until it answers', async (t) => {
  const refused = new Set<string>();
  const { told, wrong, url } = await receiver(t, ({ message_id, status }) => {
    const key = `${message_id} ${status}`;
    if (refused.has(key)) return 204;
    refused.add(key);
    return 500;
  });
  const id = await send('+989012345678', { callback_url: url });
  await expect.poll(() => statusOf(id)).toBe('sent');
  assert.equal(await http.receipt(id, 'delivered', 2), 200);
  await expect.poll(() => told.length).toBe(2);
  assert.deepEqual(
    told.map(({ message_id, status, operator }) => [message_id, status, operator]),
    [
      [id, 'sent', 'irancell'],
      [id, 'delivered', 'irancell'],
    ],
  );
  assert.deepEqual(wrong, []);
  await expect.poll(async () => (await link.query('SELECT FROM sms_callbacks')).rowCount).toBe(0);
});

test('a refusal is told, too: refunded, with its reason', async (t) => {
  const { told, url } = await receiver(t);
  http.behaviour = 'refuse';
  const id = await send('+989012345678', { callback_url: url });
  await expect.poll(() => statusOf(id)).toBe('failed');
  http.behaviour = 'take';
  await expect.poll(() => told.length).toBe(1);
  assert.deepEqual([told[0]!.message_id, told[0]!.status], [id, 'failed']);
  const { rows } = await link.query('SELECT balance::int, reserved::int FROM customers');
  assert.deepEqual(rows, [{ balance: 100, reserved: 0 }]);
});

test('a receipt whose id is the hexadecimal of the answered one is recorded for its message', async () => {
  const id = await send('+989212345678');
  await expect.poll(() => statusOf(id)).toBe('sent');
  assert.equal(await hexSmsc.receipt(hexSmsc.taken.at(-1)!.id, 'DELIVRD'), 0);
  await expect.poll(() => statusOf(id)).toBe('delivered');
});

// Goal: a worker that dies between submit_sm and its answer leaves a message that its receipt finds over the next bind.
// Method: kill -9 while the SMSC has the message and is silent; the receipt has an id that nobody was told.
test('a message whose answer died with its worker ends by its receipt: sent once, charged once', async () => {
  const [sent, binds] = [smsc.taken.length, smsc.binds];
  smsc.behaviour = 'silent';
  smsc.givesReference = true;
  const id = await send('+989121110000');
  await expect.poll(() => smsc.taken.length).toBe(sent + 1);
  await sms.process.end('SIGKILL');
  smsc.behaviour = 'take';
  sms = await startSms(scope, { ...wishes, folder: sms.folder });
  await expect.poll(() => [smsc.bound, smsc.binds]).toEqual([1, binds + 1]);
  const operatorId = smsc.taken[sent]!.id;
  const stranger = { source_addr: '989121110001' };
  assert.equal(await smsc.receipt(operatorId, 'DELIVRD', stranger), 0x64, 'the reference alone names nothing');
  // As an SMSC does: again until it is taken.
  await expect.poll(() => smsc.receipt(operatorId, 'ENROUTE')).toBe(0);
  assert.equal(await statusOf(id), 'sent');
  smsc.givesReference = false;
  assert.equal(await smsc.receipt(operatorId, 'DELIVRD'), 0);
  assert.equal(await smsc.receipt(operatorId, 'DELIVRD'), 0, 'doubled');
  const { rows } = await link.query('SELECT status, money, attempts::int, operator_id FROM sms_logs');
  assert.deepEqual(rows, [{ status: 'delivered', money: 'captured', attempts: 1, operator_id: operatorId }]);
  assert.deepEqual((await link.query('SELECT balance::int, reserved::int FROM customers')).rows, [
    { balance: 99, reserved: 0 },
  ]);
  assert.equal((await link.query('SELECT FROM sms_queue')).rowCount, 0);
  assert.equal(smsc.taken.length, sent + 1);
});
