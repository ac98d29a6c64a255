/**
 * Goal: no message and no unit of money is lost or doubled when the whole gateway, or its database, is killed.
 * Method: one process with all roles under load, an HTTP operator of random temper as the oracle of what was sent, kill -9
 * at random moments; then all books are compared.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startHttpOperator } from '../servers/http-operator.ts';
import { startPostgres } from '../servers/postgres.ts';
import { addCustomer, migrateSms, openLink } from '../sms/database.ts';
import { type RunningSms, startSms } from '../sms/running.ts';
import { Clients, compareBooks, impatient, randomBy, temper, untilEnded } from './sms-rig.ts';

const KILLS = 4;
/** Of every other message: shorter than a kill and the start behind it. */
const VALIDITY_S = 1;
const CLIENTS = 8;

test('kill -9 of the process and of Postgres under load: each message ends once, money does not drift', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  console.info(`SEED=${seed}`);
  const random = randomBy(seed);
  // fsync on, as in an installation: a kill of Postgres must not lose a commit.
  const postgres = await startPostgres(t, { port: 24_960, own: true });
  await migrateSms(postgres.dsn);
  const link = await openLink(postgres.dsn);
  const customers = ['whale', 'a', 'b', 'c', 'd'];
  for (const id of customers) await addCustomer(link, id, { balance: 1_000_000 });
  await link.close();
  const operator = await startHttpOperator(t, { judge: temper(random), delayMs: 5 });
  const OPERATORS = JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url, timeout_ms: 1000 }]);
  const env = { ...impatient, OPERATORS };
  let sms: RunningSms = await startSms(t, { port: 24_961, dsn: postgres.dsn, env });
  const { folder, url } = sms;

  const clients = new Clients(() => url, customers, seed, VALIDITY_S);
  clients.start(CLIENTS, 10);
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const before = clients.answered.size;
    await expect.poll(() => clients.answered.size, { timeout: 60_000 }).toBeGreaterThan(before + 100);
    await sleep(random() * 1000);
    if (random() < 0.7) {
      await sms.process.end('SIGKILL');
      sms = await startSms(t, { port: 24_961, dsn: postgres.dsn, env, folder });
    } else {
      await postgres.kill9();
      await postgres.restart();
    }
  }
  await clients.stop();
  operator.judge = undefined;
  await untilEnded(postgres.dsn);
  const after = await openLink(postgres.dsn);
  t.onTestFinished(() => after.close());
  const books = await compareBooks(after, [operator], clients.answered);
  assert.ok(books.sent > 100 && books.failed > 0, JSON.stringify(books));
  assert.ok(
    clients.answers.some(({ status }) => status === 0 || status === 503),
    'the kills must have hit requests',
  );
});

// Jasmin 0.11.1, tried by us: balance 98.99, 50 paid sends, 98.49, kill -9, restart: 98.99. The charges were gone, the queue
// kept its messages; and it refused to start at first, for its lock file was still there.
test('Jasmin gives money back on a crash: here 50 paid sends are charged after kill -9, and sent once', async (t) => {
  const postgres = await startPostgres(t, { port: 24_962, own: true });
  await migrateSms(postgres.dsn);
  const link = await openLink(postgres.dsn);
  t.onTestFinished(() => link.close());
  await addCustomer(link, 'jasmin', { balance: 9899 });
  const operator = await startHttpOperator(t, { delayMs: 20 });
  const OPERATORS = JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url }]);
  const wishes = { port: 24_963, dsn: postgres.dsn, env: { ...impatient, OPERATORS } };
  const sms = await startSms(t, wishes);
  const balance = async () => {
    const answer = await fetch(`${sms.url}/v1/customers/jasmin/balance`);
    return ((await answer.json()) as { balance: number }).balance;
  };
  const clients = new Clients(() => sms.url, ['jasmin'], 1);
  for (let n = 0; n < 50; n += 1) await clients.send(n);
  expect(await balance()).toBe(9849);
  await sms.process.end('SIGKILL');
  await startSms(t, { ...wishes, folder: sms.folder });
  expect(await balance()).toBe(9849);
  await untilEnded(postgres.dsn);
  expect(await balance()).toBe(9849);
  expect(await compareBooks(link, [operator], clients.answered)).toEqual({ sent: 50, failed: 0, unknown: 0 });
});
