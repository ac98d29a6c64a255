/** Money against a real Postgres: settlements, credits and the audit. */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { UlidMaker, ulidMs } from '../../../src/sms/message/ulid.ts';
import { audit } from '../../../src/sms/money/audit.ts';
import { credit } from '../../../src/sms/money/ledger.ts';
import { type Outcome, settle } from '../../../src/sms/money/settle.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { inTransaction } from '../../../src/store/postgres/in-transaction.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { addCustomer, emptyTables, openLink, startDatabase } from '../database.ts';

const undo: (() => unknown)[] = [];
let server: PostgresServer;
let link: PostgresLink;

beforeAll(async () => {
  server = await startDatabase({ onTestFinished: (fn) => void undo.push(fn) }, 26_515);
  link = await openLink(server.dsn);
});
afterAll(async () => {
  await link.close();
  for (const fn of undo.reverse()) await fn();
});
beforeEach(() => emptyTables(link));

const ids = new UlidMaker();

/** Reserved messages of a customer, as accepting leaves them. */
async function reserve(customer: string, costs: readonly number[]): Promise<string[]> {
  const made: string[] = [];
  for (const cost of costs) {
    const id = ids.make(Date.now());
    made.push(id);
    await link.query(
      `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, valid_until)
       VALUES ($1, $2, $3, '+989121234567', 'x', 1, $4, now())`,
      [new Date(ulidMs(id)!), id, customer, cost],
    );
    await link.query(
      `INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
       VALUES ($1, 'reserve', 'available', 'reserved', $2, $3)`,
      [customer, cost, id],
    );
    await link.query(
      'UPDATE customers SET balance = balance - $2, reserved = reserved + $2, waiting = waiting + 1 WHERE customer_id = $1',
      [customer, cost],
    );
  }
  return made;
}

const customers = async () =>
  (await link.query('SELECT customer_id, balance::int, reserved::int, waiting::int FROM customers ORDER BY 1')).rows;
const differences = async () => (await audit(link)).differences;
const settled = (session: PostgresLink, outcomes: readonly Outcome[]) =>
  inTransaction(session, () => settle(session, outcomes));

test('captures go to revenue, refunds back to the balance, and each counts the backlog down', async () => {
  await addCustomer(link, 'ada', { balance: 100 });
  await addCustomer(link, 'bob', { balance: 100 });
  const [a, b, c] = await reserve('ada', [5, 7, 11]);
  const [d] = await reserve('bob', [13]);
  const changed = await settled(link, [
    { messageId: a!, money: 'captured' },
    { messageId: d!, money: 'captured' },
    { messageId: b!, money: 'refunded' },
  ]);
  expect(changed.map(({ messageId, ...rest }) => rest).sort((x, y) => x.cost - y.cost)).toEqual([
    { customerId: 'ada', cost: 5, money: 'captured' },
    { customerId: 'ada', cost: 7, money: 'refunded' },
    { customerId: 'bob', cost: 13, money: 'captured' },
  ]);
  expect(await customers()).toEqual([
    { customer_id: 'ada', balance: 84, reserved: 11, waiting: 1 },
    { customer_id: 'bob', balance: 87, reserved: 0, waiting: 0 },
  ]);
  expect(await differences()).toEqual([]);
  // What is settled stays so, whatever comes later.
  expect(
    await settled(link, [
      { messageId: a!, money: 'refunded' },
      { messageId: c!, money: 'captured' },
      { messageId: ids.make(Date.now()), money: 'captured' },
    ]),
  ).toEqual([{ messageId: c, customerId: 'ada', cost: 11, money: 'captured' }]);
  expect(await differences()).toEqual([]);
  const { rows } = await link.query(
    'SELECT kind, debit, credit, amount::int FROM balance_txn WHERE message_id = $1 ORDER BY id',
    [b],
  );
  expect(rows).toEqual([
    { kind: 'reserve', debit: 'available', credit: 'reserved', amount: 7 },
    { kind: 'refund', debit: 'reserved', credit: 'available', amount: 7 },
  ]);
});

test('sessions that settle the same messages in other orders neither stop each other nor settle one twice', async (t) => {
  await addCustomer(link, 'ada', { balance: 1000 });
  await addCustomer(link, 'bob', { balance: 1000 });
  const all = [
    ...(await reserve(
      'ada',
      Array.from({ length: 60 }, () => 2),
    )),
    ...(await reserve(
      'bob',
      Array.from({ length: 60 }, () => 3),
    )),
  ];
  const sessions = await Promise.all(Array.from({ length: 4 }, () => openLink(server.dsn)));
  t.onTestFinished(async () => void (await Promise.all(sessions.map((session) => session.close()))));
  const counts = await Promise.all(
    sessions.map(async (session, s) => {
      let count = 0;
      for (let round = 0; round < 6; round++) {
        const part = all.filter((_, i) => i % 6 === (round + s) % 6);
        if (s % 2 === 1) part.reverse();
        const money = s < 2 ? 'captured' : 'refunded';
        count += (
          await settled(
            session,
            part.map((messageId) => ({ messageId, money })),
          )
        ).length;
      }
      return count;
    }),
  );
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    all.length,
  );
  expect((await customers()).map(({ reserved, waiting }) => [reserved, waiting])).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(await differences()).toEqual([]);
});

test('a settlement that is rolled back has changed nothing; one call must not name a message twice', async () => {
  await addCustomer(link, 'ada', { balance: 9 });
  const [a] = await reserve('ada', [4]);
  await link.query('BEGIN');
  await settle(link, [{ messageId: a!, money: 'captured' }]);
  await link.query('ROLLBACK');
  expect(await customers()).toEqual([{ customer_id: 'ada', balance: 5, reserved: 4, waiting: 1 }]);
  const twice = { messageId: a!, money: 'captured' } as const;
  await assert.rejects(settle(link, [twice, twice]), TypeError);
  await assert.rejects(settle(link, [{ messageId: 'x', money: 'captured' }]), TypeError);
  expect(await settle(link, [])).toEqual([]);
});

test('a credit counts once for its key, also when it comes many times at once', async (t) => {
  await addCustomer(link, 'ada');
  const sessions = await Promise.all(Array.from({ length: 4 }, () => openLink(server.dsn)));
  t.onTestFinished(async () => void (await Promise.all(sessions.map((session) => session.close()))));
  const credited = await Promise.all(
    sessions.map((session) => inTransaction(session, () => credit(session, 'ada', 500, 'order-1'))),
  );
  expect(credited.filter(({ replayed }) => !replayed)).toEqual([{ balance: 500, replayed: false }]);
  for (const { balance } of credited) assert.equal(balance, 500);
  const code = (key: string, amount: number, id = 'ada') =>
    inTransaction(link, () => credit(link, id, amount, key)).then(
      () => 'ok',
      (error: { code?: string }) => error.code ?? String(error),
    );
  assert.equal(await code('order-1', 501), 'IDEMPOTENCY_MISMATCH');
  assert.equal(await code('order-2', 1, 'nobody'), 'CUSTOMER_UNKNOWN');
  assert.equal(await code('order-2', Number.MAX_SAFE_INTEGER), 'AMOUNT_TOO_LARGE');
  assert.equal(await code('order-2', Number.MAX_SAFE_INTEGER - 500), 'ok');
  await assert.rejects(credit(link, 'ada', 1.5, 'order-3'), TypeError);
  await assert.rejects(credit(link, 'ada', 0, 'order-3'), TypeError);
  expect(await differences()).toEqual([]);
});

test('the audit names the customer, the check and the difference; carries count like what they stand for', async () => {
  await addCustomer(link, 'ada', { balance: 100 });
  await addCustomer(link, 'bob', { balance: 50 });
  await reserve('ada', [5, 7]);
  expect(await audit(link)).toEqual({ customers: 2, transfers: 4, differences: [] });
  await link.query(`DELETE FROM balance_txn; INSERT INTO balance_carries VALUES
    ('ada', 'external', -100), ('ada', 'available', 88), ('ada', 'reserved', 12), ('bob', 'available', 50)`);
  expect(await audit(link)).toEqual({ customers: 2, transfers: 0, differences: [] });
  await link.query("UPDATE customers SET balance = balance + 1, waiting = 3 WHERE customer_id = 'ada'");
  await link.query("DELETE FROM customers WHERE customer_id = 'bob'");
  expect(await differences()).toEqual([
    { customer: 'ada', check: 'available', stored: '89', proven: '88', difference: '1' },
    { customer: 'ada', check: 'waiting', stored: '3', proven: '2', difference: '1' },
    { customer: 'bob', check: 'available', stored: '0', proven: '50', difference: '-50' },
  ]);
});
