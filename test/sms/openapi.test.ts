/**
 * Goal: the document of the SMS gateway is a true one. Method: it is checked as a document; then a running gateway is
 * asked by it: every documented operation answers with a documented status and a body of its schema, and no other route
 * answers.
 */
import { beforeAll, expect, test } from 'vitest';
import { openApiText } from '../../src/sms/openapi/document.ts';
import { smsRouteNames } from '../../src/sms/route-names.ts';
import { fileScope } from '../servers/scope.ts';
import { type Asking, HeldDocument } from '../service/openapi.ts';
import { startDatabase } from './database.ts';
import { ADMIN_KEY, type RunningSms, startSms } from './running.ts';

const held = new HeldDocument(openApiText(), ['Idempotent-Replayed']);
const { document, operations } = held;

/** The role reporting answers them (test/sms/reports). */
const ofReports = (path: string): boolean => /^\/v1\/(reports|export)/.test(path);

const scope = fileScope();
let sms: RunningSms;
let key = '';
let keyId = '';
/** Of a customer that is not active. */
let idleKey = '';
let messageId = '';
const TOKEN = 'token-of-the-operator-in-this-test';
const OPERATORS = JSON.stringify([{ name: 'mci', driver: 'http', url: 'http://127.0.0.1:9/', token: TOKEN }]);
beforeAll(async () => {
  const { dsn } = await startDatabase(scope, 26_210);
  sms = await startSms(scope, { port: 26_211, dsn, env: { OPERATORS } });
  await send('POST', '/v1/customers', { customer_id: 'ada', balance: 1000 });
  const made = (await (await send('POST', '/v1/customers/ada/keys', {})).json()) as Record<string, string>;
  [key, keyId] = [made['key']!, made['id']!];
  await send('POST', '/v1/customers', { customer_id: 'idle' });
  const idle = (await (await send('POST', '/v1/customers/idle/keys', {})).json()) as Record<string, string>;
  idleKey = idle['key']!;
  await send('PATCH', '/v1/customers/idle', { active: false });
  const sent = await send('POST', '/v1/sms/send', message);
  messageId = ((await sent.json()) as Record<string, string>)['message_id']!;
});

const message = { customer_id: 'ada', to: '+989121234567', text: 'hello' };

function send(method: string, path: string, body?: unknown, credential: string = ADMIN_KEY): Promise<Response> {
  return fetch(`${sms.url}${path}`, {
    method,
    headers: credential === '' ? {} : { authorization: `Bearer ${credential}` },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
}

test('it is a document of OpenAPI 3.1: schemas, references, names', () => held.check(100));

/** Requests for each operation, in the order of their asking, by the status that they are answered with. */
const requests: Readonly<Record<string, readonly Asking[]>> = {
  sendMessage: [
    [200, '/v1/sms/send', { ...message, idempotency_key: 'one' }, 'KEY'],
    [200, '/v1/sms/send', { ...message, idempotency_key: 'one' }, 'KEY'],
    [200, '/v1/sms/send?dry_run=true', message, 'KEY'],
    [400, '/v1/sms/send', { ...message, to: '0912' }, 'KEY'],
    [400, '/v1/sms/send', 'no json', 'KEY'],
    [401, '/v1/sms/send', message, ''],
    [403, '/v1/sms/send', { ...message, customer_id: 'bob' }, 'KEY'],
    [404, '/v1/sms/send', { ...message, customer_id: 'bob' }],
    [422, '/v1/sms/send', { ...message, text: 'other', idempotency_key: 'one' }, 'KEY'],
  ],
  sendBatch: [
    [200, '/v1/sms/batch', { messages: [message, { ...message, to: '1' }] }, 'KEY'],
    [400, '/v1/sms/batch', { messages: [] }, 'KEY'],
    [401, '/v1/sms/batch', { messages: [message] }, ''],
    [403, '/v1/sms/batch', { messages: [message] }, 'IDLE'],
  ],
  getMessage: [
    [200, '/v1/sms/MESSAGE', undefined, 'KEY'],
    [404, '/v1/sms/01ARZ3NDEKTSV4RRFFQ69G5FAV', undefined, 'KEY'],
  ],
  listMessages: [
    [200, '/v1/sms?limit=1', undefined, 'KEY'],
    [400, '/v1/sms?limit=0', undefined, 'KEY'],
    [403, '/v1/sms?customer_id=bob', undefined, 'KEY'],
    [404, '/v1/sms?customer_id=bob'],
  ],
  getBalance: [
    [200, '/v1/customers/ada/balance', undefined, 'KEY'],
    [403, '/v1/customers/bob/balance', undefined, 'KEY'],
    [404, '/v1/customers/bob/balance'],
  ],
  listTransactions: [
    [200, '/v1/customers/ada/transactions?limit=1', undefined, 'KEY'],
    [200, '/v1/customers/ada/transactions?cursor=1', undefined, 'KEY'],
    [400, '/v1/customers/ada/transactions?cursor=x', undefined, 'KEY'],
    [401, '/v1/customers/ada/transactions', undefined, ''],
    [403, '/v1/customers/bob/transactions', undefined, 'KEY'],
    [404, '/v1/customers/bob/transactions'],
  ],
  listCustomers: [
    [200, '/v1/customers?limit=1&search=ad'],
    [400, '/v1/customers?limit=x'],
    [403, '/v1/customers', undefined, 'KEY'],
  ],
  addCustomer: [
    [201, '/v1/customers', { customer_id: 'eve', prices: [{ prefix: '+98912', cost: 2 }] }],
    [409, '/v1/customers', { customer_id: 'eve' }],
    [400, '/v1/customers', { customer_id: 'no spaces' }],
    [400, '/v1/customers', 'no json'],
  ],
  getCustomer: [
    [200, '/v1/customers/eve'],
    [404, '/v1/customers/nobody'],
  ],
  changeCustomer: [
    [200, '/v1/customers/eve', { rate_per_s: 10, lane: 'express' }],
    [400, '/v1/customers/eve', {}],
    [404, '/v1/customers/nobody', { name: 'x' }],
  ],
  creditCustomer: [
    [200, '/v1/customers/eve/credit', { amount: 5, idempotency_key: 'a' }],
    [200, '/v1/customers/eve/credit', { amount: 5, idempotency_key: 'a' }],
    [400, '/v1/customers/eve/credit', { amount: 0.5, idempotency_key: 'b' }],
    [404, '/v1/customers/nobody/credit', { amount: 5, idempotency_key: 'a' }],
    [422, '/v1/customers/eve/credit', { amount: 6, idempotency_key: 'a' }],
  ],
  debitCustomer: [
    [200, '/v1/customers/eve/debit', { amount: 2, idempotency_key: 'd' }],
    [200, '/v1/customers/eve/debit', { amount: 2, idempotency_key: 'd' }],
    [400, '/v1/customers/eve/debit', { amount: 0, idempotency_key: 'e' }],
    [403, '/v1/customers/eve/debit', { amount: 2, idempotency_key: 'd' }, 'KEY'],
    [404, '/v1/customers/nobody/debit', { amount: 2, idempotency_key: 'd' }],
    [422, '/v1/customers/eve/debit', { amount: 4, idempotency_key: 'e' }],
    [422, '/v1/customers/eve/debit', { amount: 5, idempotency_key: 'a' }],
  ],
  rotateCallbackSecret: [
    [200, '/v1/customers/eve/callback-secret'],
    [404, '/v1/customers/nobody/callback-secret'],
  ],
  addKey: [
    [201, '/v1/customers/eve/keys', { name: 'x', expires_at: '2999-01-01T00:00:00Z' }],
    [400, '/v1/customers/eve/keys', { expires_at: 'soon' }],
    [404, '/v1/customers/nobody/keys', {}],
  ],
  listKeys: [
    [200, '/v1/customers/ada/keys'],
    [404, '/v1/customers/nobody/keys'],
  ],
  rotateKey: [
    [200, '/v1/keys/KEYID/rotate', { overlap_s: 60 }],
    [400, '/v1/keys/KEYID/rotate', {}],
    [404, '/v1/keys/000000000000/rotate', { overlap_s: 60 }],
  ],
  revokeKey: [
    [204, '/v1/keys/KEYID'],
    [404, '/v1/keys/000000000000'],
  ],
  listAudit: [
    [200, '/v1/audit?limit=2'],
    [400, '/v1/audit?before=0'],
  ],
  takeReceipts: [
    [200, '/v1/receipts/mci', [{ message_id: '01ARZ3NDEKTSV4RRFFQ69G5FAV', status: 'delivered' }], TOKEN],
    [400, '/v1/receipts/mci', { message_id: 'x' }, TOKEN],
    [401, '/v1/receipts/mci', {}],
  ],
  getOpenApi: [[200, '/openapi.json']],
  health: [[200, '/healthz']],
  healthHead: [[200, '/healthz']],
  readiness: [[200, '/readyz']],
  readinessHead: [[200, '/readyz']],
  healthToo: [[200, '/health']],
  healthTooHead: [[200, '/health']],
  readinessToo: [[200, '/ready']],
  readinessTooHead: [[200, '/ready']],
  metrics: [[200, '/metrics']],
  metricsHead: [[200, '/metrics']],
};

test.each(Object.entries(requests))('%s answers with what is documented', (name, asked) =>
  held.checkAnswers(name, asked, (method, path, body, credential) =>
    send(
      method,
      path.replace('KEYID', keyId).replace('MESSAGE', messageId),
      body,
      credential === 'KEY' ? key : credential === 'IDLE' ? idleKey : credential,
    ),
  ),
);

test(
  'who may do nothing and asks for it wrongly is refused, and the process lives',
  () => held.checkWrongAndRefused(sms.url, ({ path }) => !ofReports(path)),
  60_000,
);

test('the document is served as it is', async () => {
  expect(await (await send('GET', '/openapi.json', undefined, '')).json()).toEqual(document);
});

test('the routes of the process are those of the document', async () => {
  await held.checkMethods(
    (method, path) => send(method, path.replaceAll(/\{\w+\}/g, '1')),
    Object.keys(document.paths).filter((path) => !ofReports(path)),
  );
  for (const { operationId, path } of operations)
    if (!ofReports(path)) expect(requests, `${operationId} must be asked above`).toHaveProperty(operationId);
  for (const path of ['/v1', '/v1/sms/send/', '/v1/keys', '/api/v1/users'])
    expect((await send('GET', path)).status, path).toBe(404);
  const metrics = await (await send('GET', '/metrics')).text();
  for (const name of smsRouteNames) expect(metrics).toContain(`route="${name}"`);
});

test('a refusal says in one line what must hold and what was found', async () => {
  const detail = async (method: string, path: string, body?: unknown) =>
    ((await (await send(method, path, body)).json()) as { detail: string }).detail;
  expect(await detail('POST', '/v1/customers', {})).toBe('customer_id must be given');
  expect(await detail('POST', '/v1/customers', { customer_id: 'x', credit: 1 })).toMatch(/found=credit$/);
  expect(await detail('POST', '/v1/customers', { customer_id: 'x', balance: -1 })).toBe(
    'balance must be at least 0: found=-1',
  );
  expect(await detail('GET', '/v1/customers?limit=5&limit=6')).toBe('limit must be given once');
});
