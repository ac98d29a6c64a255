/**
 * Goal: HTTP_READ_TIMEOUT and HTTP_WRITE_TIMEOUT bound every route, those of receipts and reports too. Method: the built
 * service with a ClickHouse that takes questions and never answers, tables of Postgres that are locked, bodies that
 * never end.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { beforeAll, expect, test, vi } from 'vitest';
import { fileScope } from '../servers/scope.ts';
import { addCustomer, openLink, type PostgresLink, startDatabase } from './database.ts';
import { ADMIN_KEY, startSms } from './running.ts';

const PORT = 26_241;
const TOKEN = 'token-of-the-operator-in-this-test';
const MESSAGE = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const scope = fileScope();
let link: PostgresLink;

beforeAll(async () => {
  const { dsn } = await startDatabase(scope, 26_240);
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
  await addCustomer(link, 'ada', { balance: 100 });
  const clickhouse = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(clickhouse, 'listening');
  scope.onTestFinished(() => {
    clickhouse.closeAllConnections();
    clickhouse.close();
  });
  await startSms(scope, {
    port: PORT,
    dsn,
    wait: false,
    env: {
      HTTP_READ_TIMEOUT: '300ms',
      HTTP_WRITE_TIMEOUT: '700ms',
      OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: 'http://127.0.0.1:9/', token: TOKEN }]),
      REPORTS: 'on',
      CLICKHOUSE_URL: `http://127.0.0.1:${(clickhouse.address() as AddressInfo).port}/sms`,
    },
  });
  // Ready it is not, as long as ClickHouse takes nothing.
  const serves = async (port: number) => expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  await vi.waitFor(() => Promise.all([serves(PORT), serves(PORT + 5000)]), 60_000);
});

const late = { status: 503, code: 'ANSWER_TIMEOUT', detail: expect.stringContaining('700') };

test.each(['minute', 'day', 'operators', 'top', 'balances', 'export'])(
  'a report of ClickHouse that does not answer ends after HTTP_WRITE_TIMEOUT: %s',
  async (name) => {
    const range = 'from=2026-11-28T00:00:00Z&to=2026-11-29T00:00:00Z';
    const query = { balances: '', export: `?format=csv&${range}` }[name] ?? `?${range}`;
    const path = name === 'export' ? '/v1/export' : `/v1/reports/${name}`;
    const answer = await fetch(`http://127.0.0.1:${PORT + 5000}${path}${query}`, {
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject(late);
  },
);

const receipts = async (): Promise<unknown> => {
  const answer = await fetch(`http://127.0.0.1:${PORT}/v1/receipts/mci`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ message_id: MESSAGE, status: 'delivered' }),
  });
  return answer.json();
};

test('receipts that the database does not take in time end after HTTP_WRITE_TIMEOUT, and may be sent again', async () => {
  await link.query('BEGIN');
  await link.query('LOCK TABLE sms_logs IN ACCESS EXCLUSIVE MODE');
  expect(await receipts()).toMatchObject(late);
  await link.query('ROLLBACK');
  await expect.poll(receipts).toEqual({ recorded: 0, unknown: [MESSAGE] });
});

test.each([
  ['/v1/receipts/mci', TOKEN],
  ['/v1/sms/send', ADMIN_KEY],
  ['/v1/customers', ADMIN_KEY],
])('a body that does not come ends after HTTP_READ_TIMEOUT: %s', async (path, key) => {
  const socket = connect(PORT, '127.0.0.1');
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\nContent-Length: 1000\r\n\r\n{`,
  );
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  expect(answer).toMatch(/"code":"BODY_TIMEOUT"/);
  expect(answer).toContain('300');
});
