/**
 * Goal: money never drifts under kill -9, and no 200 is forgotten.
 * Method: kill the service and the database in turn under load, start them again, send what had no answer with the same
 * keys; then compare the table with the answers, and the balances with the ledger.
 */
import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { audit } from '../../../src/sms/money/audit.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { startSms } from '../running.ts';

const KILLS = 6;
const CLIENTS = 24;
const MESSAGES = 900;

test('every 200 is in the table once, what had no answer is accepted once, and nothing drifts', async (t) => {
  const server = await startDatabase(t, 26_530);
  const before = await openLink(server.dsn);
  const customers = ['whale', 'a', 'b', 'c'];
  for (const id of customers) await addCustomer(before, id, { balance: 100_000 });
  await before.close();
  const start = () => startSms(t, { port: 26_531, dsn: server.dsn, env: { ACCESS: 'open' } });
  let sms = await start();

  /** The id that each key was answered with. */
  const answered = new Map<string, string>();
  let unanswered = 0;
  let next = 0;
  const client = async (): Promise<void> => {
    for (let i = next++; i < MESSAGES; i = next++) {
      const customer_id = customers[i % 3 === 0 ? 0 : i % customers.length]!;
      const body = JSON.stringify({ customer_id, to: '+989121234567', text: `n ${i}`, idempotency_key: `k${i}` });
      for (;;) {
        const url = `${sms.url}/v1/sms/send`;
        const response = await fetch(url, { method: 'POST', body }).catch(() => undefined);
        const said = (await response?.json().catch(() => undefined)) as { message_id: string } | undefined;
        if (response?.status === 200 && said !== undefined) {
          answered.set(`k${i}`, said.message_id);
          break;
        }
        unanswered += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const load = Promise.all(Array.from({ length: CLIENTS }, client));
  for (let kill = 1; kill <= KILLS; kill++) {
    // While requests are under way, whatever the speed of this machine.
    await expect.poll(() => answered.size).toBeGreaterThan((kill * MESSAGES) / (KILLS + 2));
    if (kill % 2 === 0) {
      await sms.process.end('SIGKILL');
      sms = await start();
    } else {
      await server.kill9();
      await server.restart();
    }
  }
  await load;
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  assert.ok(unanswered > 0, 'the kills must have hit requests');

  const { rows } = await link.query<{ key: string; message_id: string }>(
    'SELECT substr(body, 3) AS key, message_id FROM sms_logs',
  );
  assert.equal(rows.length, MESSAGES);
  expect(Object.fromEntries(rows.map(({ key, message_id }) => [`k${key}`, message_id]))).toEqual(
    Object.fromEntries(answered),
  );
  assert.deepEqual((await audit(link)).differences, []);
});
