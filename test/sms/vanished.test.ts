/**
 * Goal: a worker that stands still in the middle of settling a message keeps its customer from sending for seconds, and
 * settles the message once when it goes on; a command that stands still keeps its customer no longer, and says that it
 * has done nothing; a host that says no good-bye keeps nothing for hours.
 * Method: two processes on one database. The outcome is held up where the customer is locked already; then its process is
 * stopped, and what held it up goes away. Of a host that is gone, what sessions ask of the server is read.
 */
import assert from 'node:assert/strict';
import { beforeAll, expect, test } from 'vitest';
import { audit } from '../../src/sms/money/audit.ts';
import { vanishing } from '../../src/store/postgres/vanishing.ts';
import { main } from '../servers/collector.ts';
import { startHttpOperator } from '../servers/http-operator.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { ServerProcess, temporaryFolder } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';
import { addCustomer, openLink, startDatabase } from './database.ts';
import { startSms } from './running.ts';

const file = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startDatabase(file, 27_120);
});

const wait = { timeout: 60_000, interval: 50 };
const send = (url: string, customer = 'ada'): Promise<Response> =>
  fetch(`${url}/v1/sms/send`, {
    method: 'POST',
    body: JSON.stringify({ customer_id: customer, to: '+989121234567', text: 'hi' }),
  });

test('a worker that is stopped while it settles a message, and a command, let go of the customer; the message is settled once', async (t) => {
  const [link, holder] = await Promise.all([openLink(server.dsn), openLink(server.dsn)]);
  t.onTestFinished(async () => void (await Promise.all([link.close(), holder.close()])));
  for (const id of ['ada', 'bob']) await addCustomer(link, id, { balance: 10 });
  const answer = Promise.withResolvers<void>();
  const operator = await startHttpOperator(t, { before: answer.promise });
  const env = {
    ACCESS: 'open',
    OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url }]),
  };
  const stops = await startSms(t, { port: 27_121, dsn: server.dsn, env });
  expect((await send(stops.url)).status).toBe(200);
  await expect.poll(() => operator.taken.length, wait).toBe(1);

  // Between the lock of the customer and the end of its transaction both meet a row that is held.
  await holder.query('BEGIN; SELECT FROM sms_queue FOR UPDATE; LOCK TABLE balance_credits');
  answer.resolve();
  const words = ['sms', 'customer', 'credit', 'bob', '5', '--key=k'];
  const { folder } = temporaryFolder('ringmain-sms-command-');
  const command = new ServerProcess(process.execPath, [main, ...words], { env: { PG_DSN: server.dsn } }, folder);
  t.onTestFinished(() => command.end('SIGKILL'));
  const sessions = async () => {
    const { rows } = await link.query<{ state: string; waits: string | null }>(
      `SELECT state, wait_event_type AS waits FROM pg_stat_activity
         WHERE application_name IN ('ringmain-sms-outcomes', 'ringmain sms customer')`,
    );
    return rows;
  };
  const waits = expect.objectContaining({ waits: 'Lock' });
  await expect.poll(sessions, wait).toEqual([waits, waits]);
  stops.process.signal('SIGSTOP');
  command.signal('SIGSTOP');
  const goes = await startSms(t, { port: 27_122, dsn: server.dsn, env });
  await holder.query('ROLLBACK');
  const idle = expect.objectContaining({ state: 'idle in transaction' });
  await expect.poll(sessions, wait).toEqual([idle, idle]);

  const first = await send(goes.url);
  assert.equal(first.status, 503, 'its row is locked');
  expect(await first.json()).toMatchObject({ code: 'CUSTOMER_BUSY', status: 503 });
  for (const customer of ['ada', 'bob'])
    await expect.poll(async () => (await send(goes.url, customer)).status, { ...wait, interval: 500 }).toBe(200);
  command.signal('SIGCONT');
  assert.equal(await command.exited, '75', command.log);
  assert.match(command.log, /database/);
  const states = async () =>
    (await link.query("SELECT status, money FROM sms_logs WHERE customer_id = 'ada' ORDER BY message_id")).rows.slice(
      0,
      2,
    );
  stops.process.signal('SIGCONT');
  const sent = { status: 'sent', money: 'captured' };
  await expect.poll(states, wait).toEqual([sent, sent]);
  expect(operator.twice).toEqual([]);
  expect((await audit(link)).differences).toEqual([]);
});

test('sessions ask the server to look for a silent host within half a minute', async (t) => {
  const link = await openLink(server.dsn, { settings: vanishing(1234) });
  t.onTestFinished(() => link.close());
  // Of a connection by TCP the server says what the kernel has been told.
  for (const [name, value] of Object.entries(vanishing(1234))) {
    const { rows } = await link.query<{ setting: string }>('SELECT setting FROM pg_settings WHERE name = $1', [name]);
    assert.equal(rows[0]!.setting, String(value), name);
  }
  const { tcp_keepalives_idle: idle, tcp_keepalives_interval: pause, tcp_keepalives_count: asks } = vanishing(1234);
  assert.ok(idle + pause * asks <= 30);
});
