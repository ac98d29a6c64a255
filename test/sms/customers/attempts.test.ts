/**
 * Goal: whoever has no right key soon hears nothing but 429, at both ports and on every route that asks for one, and
 * nobody else does. Method: the built service with two acceptors at each port, two attempts a minute, addresses by
 * X-Forwarded-For.
 */
import { beforeAll, expect, test, vi } from 'vitest';
import { fileScope } from '../../servers/scope.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { ADMIN_KEY, type RunningSms, startSms } from '../running.ts';

const PORT = 26_231;
const ATTEMPTS = 2;
const TOKEN = 'token-of-the-operator-in-this-test';
const scope = fileScope();
let sms: RunningSms;
let key = '';
let nobody = 0;

beforeAll(async () => {
  const { dsn } = await startDatabase(scope, 26_230);
  const link = await openLink(dsn);
  await addCustomer(link, 'ada', { balance: 100 });
  await link.close();
  sms = await startSms(scope, {
    port: PORT,
    dsn,
    wait: false,
    env: {
      ACCEPTORS: '2',
      IP_REQUESTS_PER_MINUTE: String(ATTEMPTS),
      TRUST_PROXY: 'true',
      OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: 'http://127.0.0.1:9/', token: TOKEN }]),
      // Nobody is there: who asks is known before anything is asked.
      REPORTS: 'on',
      CLICKHOUSE_URL: 'http://127.0.0.1:9',
    },
  });
  const made = async () => {
    const answer = await ask('api', '/v1/customers/ada/keys', '203.0.113.1', ADMIN_KEY, {}).catch(() => undefined);
    if (answer?.status === 201) key = ((await answer.json()) as { key: string }).key;
    expect(key).not.toBe('');
  };
  await vi.waitFor(made, 180_000);
  await vi.waitFor(async () => expect((await ask('reporting', '/healthz', '', '')).status).toBe(200), 60_000);
});

/** A connection of its own for each request: they go to all acceptors. */
const ask = (port: 'api' | 'reporting', path: string, from: string, credential: string, body?: unknown) =>
  fetch(`http://127.0.0.1:${port === 'api' ? PORT : PORT + 5000}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      connection: 'close',
      'x-forwarded-for': from,
      ...(credential === '' ? {} : { authorization: `Bearer ${credential}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
/** An address that has not asked yet. */
function somebody(): string {
  nobody += 1;
  return `198.51.100.${nobody}`;
}
const message = { customer_id: 'ada', to: '+989121234567', text: 'hello' };
const range = 'from=2026-11-28T00:00:00Z&to=2026-11-29T00:00:00Z';

test.each([
  ['a message without a key', 'api', '/v1/sms/send', '', message],
  ['a message with a key that is none', 'api', '/v1/sms/send', 'sms_live_x', message],
  ['a balance with a key of nobody', 'api', '/v1/customers/ada/balance', 'KEY OF NOBODY', undefined],
  ['administration with another ADMIN_KEY', 'api', '/v1/customers', 'x'.repeat(40), undefined],
  ['receipts with another token', 'api', '/v1/receipts/mci', 'x'.repeat(40), []],
  ['receipts of nobody', 'api', '/v1/receipts/none', TOKEN, []],
  ['a report without a key', 'reporting', `/v1/reports/day?${range}`, '', undefined],
  ['an export with a key that is none', 'reporting', `/v1/export?format=csv&${range}`, 'sms_live_x', undefined],
] as const)('%s: %s %s is 401 so often, then 429 with Retry-After', async (_, port, path, shown, body) => {
  const from = somebody();
  // Its checksum is right, so it is looked up.
  const credential = shown === 'KEY OF NOBODY' ? await revokedKey() : shown;
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(port, path, from, credential, body)));
  const statuses = answers.map(({ status }) => status).sort();
  expect(statuses).toEqual([...Array(ATTEMPTS).fill(401), ...Array(8 - ATTEMPTS).fill(429)]);
  const late = answers.find(({ status }) => status === 429)!;
  const wait = Number(late.headers.get('retry-after'));
  expect(wait).toBeGreaterThan(0);
  expect(wait).toBeLessThanOrEqual(60 / ATTEMPTS);
  expect(await late.json()).toMatchObject({ status: 429, code: 'TOO_MANY_ATTEMPTS', retryAfterS: wait });

  // Whoever shares the address and has a key does not notice, nor does anybody elsewhere.
  expect((await ask('api', '/v1/sms/send', from, key, message)).status).toBe(200);
  expect((await ask('api', '/v1/customers', from, ADMIN_KEY)).status).toBe(200);
  expect((await ask(port, path, somebody(), credential, body)).status).toBe(401);
});

async function revokedKey(): Promise<string> {
  const made = (await (await ask('api', '/v1/customers/ada/keys', '203.0.113.1', ADMIN_KEY, {})).json()) as {
    readonly id: string;
    readonly key: string;
  };
  const answer = await fetch(`${sms.url}/v1/keys/${made.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  expect(answer.status).toBe(204);
  // Another acceptor knows of it within a second; until then it would let the key in.
  const refused = async () => {
    const tries = Array.from({ length: 4 }, () => ask('api', '/v1/customers/ada/balance', somebody(), made.key));
    return (await Promise.all(tries)).every(({ status }) => status === 401);
  };
  await expect.poll(refused).toBe(true);
  return made.key;
}
