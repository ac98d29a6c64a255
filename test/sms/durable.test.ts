/**
 * Goal: where a database does not wait for its disk by default, what others rely on is durable all the same: messages and
 * money that were answered with 200, attempts of which an operator was called, receipts that it does not send again.
 * Method: synchronous_commit=off, with a server that writes nothing by itself for ten seconds; kill -9 behind each answer
 * takes back what was not on the disk.
 */
import assert from 'node:assert/strict';
import { expect, type TestContext, test } from 'vitest';
import { audit } from '../../src/sms/money/audit.ts';
import { startHttpOperator } from '../servers/http-operator.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { addCustomer, migrateSms, openLink } from './database.ts';
import { ADMIN_KEY, runTool, startSms } from './running.ts';

const lazy = { ...fastSettings, synchronous_commit: 'off', wal_writer_delay: '10s', checkpoint_timeout: '1h' };
const wait = { timeout: 60_000, interval: 50 };

async function started(t: TestContext, port: number): Promise<PostgresServer> {
  const server = await startPostgres(t, { port, settings: lazy, own: true });
  await migrateSms(server.dsn);
  const link = await openLink(server.dsn);
  await addCustomer(link, 'ada', { balance: 10 });
  // Whatever stands here is on the disk.
  await link.query('CHECKPOINT');
  await link.close();
  return server;
}

async function crash(server: PostgresServer): Promise<void> {
  await server.kill9();
  await server.restart();
}

async function asked<T extends object>(server: PostgresServer, sql: string): Promise<readonly T[]> {
  const link = await openLink(server.dsn);
  try {
    return (await link.query<T & Record<string, unknown>>(sql)).rows;
  } finally {
    await link.close();
  }
}

test('a message whose attempt was recorded is never sent twice, and its receipt stays, though the database has crashed', async (t) => {
  const server = await started(t, 27_110);
  const url = 'http://127.0.0.1:27111';
  const operator = await startHttpOperator(t, { token: 'token-of-mci-for-tests', receipts: { url, name: 'mci' } });
  // The operator takes the message; its answer comes when the database is gone.
  const crashed = Promise.withResolvers<void>();
  operator.judge = () => {
    server.kill9().then(crashed.resolve, crashed.reject);
    return 'cut';
  };
  const mci = { name: 'mci', driver: 'http', url: operator.url, token: operator.token, timeout_ms: 1000 };
  const env = { ACCESS: 'open', CALL_TIMEOUT_MS: '1s', RETRY_MS: '50ms', OPERATORS: JSON.stringify([mci]) };
  await startSms(t, { port: 27_111, dsn: server.dsn, env });
  const answer = await fetch(`${url}/v1/sms/send`, {
    method: 'POST',
    body: JSON.stringify({ customer_id: 'ada', to: '+989121234567', text: 'hi' }),
  });
  expect(answer.status).toBe(200);
  const { message_id: id } = (await answer.json()) as { message_id: string };
  await crashed.promise;
  await server.restart();
  const message = async () => {
    const [row] = await asked<{ status: string; money: string }>(server, 'SELECT status, money FROM sms_logs');
    return row;
  };
  await expect.poll(message, wait).toEqual({ status: 'sent', money: 'captured' });
  assert.deepEqual(operator.twice, []);

  await expect.poll(() => operator.receipt(id, 'delivered').catch(() => 0), wait).toBe(200);
  await crash(server);
  expect(await message()).toEqual({ status: 'delivered', money: 'captured' });
});

test('credits that were answered, by the API and by a command, are there behind a crash', async (t) => {
  const server = await started(t, 27_115);
  const sms = await startSms(t, { port: 27_116, dsn: server.dsn });
  const answer = await fetch(`${sms.url}/v1/customers/ada/credit`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ amount: 20, idempotency_key: 'invoice-1' }),
  });
  expect(answer.status).toBe(200);
  await crash(server);
  const balances = () => asked<{ balance: string }>(server, 'SELECT balance FROM customers');
  expect(await balances()).toEqual([{ balance: '30' }]);
  expect(await runTool(server.dsn, 'customer', 'credit', 'ada', '30', '--key=invoice-2')).toMatchObject({ code: 0 });
  await crash(server);
  expect(await balances()).toEqual([{ balance: '60' }]);
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  expect((await audit(link)).differences).toEqual([]);
});
