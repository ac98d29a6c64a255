/**
 * Goal: every message ends once: handed over and paid for, refunded, or unknown; none is sent twice; turns are fair, and
 * express is before everybody.
 * Method: a real Postgres with the schema, messages as accepting leaves them, operators in this process that can do what
 * operators do; afterwards the books are audited.
 */
import { afterAll, expect, test } from 'vitest';
import { creditCustomer } from '../../../src/sms/customers/customers.ts';
import { type Outcome, settleOutcomes } from '../../../src/sms/delivery/outcomes.ts';
import { recordReceipts } from '../../../src/sms/delivery/receipts.ts';
import { failedOf, resend } from '../../../src/sms/delivery/resend.ts';
import { findStranded } from '../../../src/sms/delivery/stranded.ts';
import { expressMissKey } from '../../../src/sms/money/ledger.ts';
import { dropOldOperatorIds } from '../../../src/sms/operators/old-ids.ts';
import { type Driver, OperatorLane } from '../../../src/sms/operators/operator-lane.ts';
import { parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { OperatorRouting } from '../../../src/sms/operators/routing.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { auditedTables } from '../audited-tables.ts';
import { addCustomer, openLink } from '../database.ts';
import { accept, delay, enqueue, FakeOperator, FakeRouting, queueRows, startDelivery, statesOf } from './fixture.ts';

let server: PostgresServer;
let link: PostgresLink;
auditedTables(22_910, (...started) => {
  [server, link] = started;
});
// Another one after a test that kills the server.
afterAll(() => link.close());

const wait = { interval: 20 };
const silent = { ended: () => undefined, failed: () => undefined, answered: () => undefined };
const driverOf = (operator: FakeOperator): Driver => ({
  ...{ name: operator.name, receiptsBear: operator.receiptsBear, state: () => 'up' },
  ...{ send: (message) => operator.send(message), close: async () => undefined },
});
const rowOf = async (id: string) =>
  (await link.query('SELECT *, cost::int, attempts::int FROM sms_logs WHERE message_id = $1', [id])).rows[0]!;
const balanceOf = async (id: string) =>
  (
    await link.query<{ balance: number; reserved: number; waiting: number }>(
      'SELECT balance::int, reserved::int, waiting::int FROM customers WHERE customer_id = $1',
      [id],
    )
  ).rows[0]!;

test('a message is sent once, paid for at hand-over, and told to sms.status', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('sent');
  expect(operator.sent).toEqual([expect.objectContaining({ messageId: id, customerId: 'a', text: 'text' })]);
  expect(await rowOf(id!)).toMatchObject({ money: 'captured', operator: 'mci', operator_id: `op-${id}`, attempts: 1 });
  expect(await balanceOf('a')).toEqual({ balance: 9, reserved: 0, waiting: 0 });
  expect(await queueRows(link)).toBe(0);
  const { rows } = await link.query<{ records: string }>(`SELECT records FROM sms_outbox WHERE topic = 'sms.status'`);
  const [key, json] = rows[0]!.records.split('\t');
  expect(key).toBe('a');
  expect(JSON.parse(json!)).toMatchObject({ message_id: id, status: 'sent', operator: 'mci', attempts: 1, cost: 1 });
});

test('states are told to the address of the message, in their order, and ids of operators are kept', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const callback = 'https://example.com/done';
  const [good, bad] = await accept(link, [{ customer: 'a', count: 2, callback }]);
  const operator = new FakeOperator('smpp');
  operator.receiptsBear = 'operator_id';
  operator.answer = ({ messageId }) =>
    messageId === good ? { kind: 'taken', id: '7f' } : { kind: 'rejected', reason: 'barred\0\ud800' };
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 1, failed: 1 });
  const receipt = { messageId: null, operatorId: '7f', operator: 'smpp', reason: 'absent', atMs: Date.now() } as const;
  expect(await recordReceipts(link, [{ ...receipt, operatorId: '80', status: 'sent' }])).toEqual(['unknown']);
  expect(await recordReceipts(link, [{ ...receipt, status: 'failed' }])).toEqual(['recorded']);
  const { rows } = await link.query('SELECT message_id, url, status, reason FROM sms_callbacks ORDER BY id');
  expect(rows.filter(({ message_id }) => message_id === good)).toEqual([
    { message_id: good, url: callback, status: 'sent', reason: null },
    { message_id: good, url: callback, status: 'failed', reason: 'absent' },
  ]);
  expect(rows.filter(({ message_id }) => message_id === bad)).toEqual([
    { message_id: bad, url: callback, status: 'failed', reason: 'barred\uFFFD\uFFFD' },
  ]);
  expect(await balanceOf('a'), 'what the operator had is paid for').toEqual({ balance: 9, reserved: 0, waiting: 0 });
});

test('an id that an operator gives once more names the latest message, also within one batch', async () => {
  await addCustomer(link, 'a', { balance: 10 });
  const [first, second, third] = await accept(link, [{ customer: 'a', count: 3 }]);
  const taken = (messageId: string): Outcome => ({
    ...{ messageId, operator: 'smpp', attempt: 0, atMs: Date.now() },
    verdict: { kind: 'sent', operatorId: '1', bears: true },
  });
  const tell = () => {
    const fields = { messageId: null, operatorId: '1', operator: 'smpp', reason: null, atMs: Date.now() } as const;
    return recordReceipts(link, [{ ...fields, status: 'delivered' }]);
  };
  await settleOutcomes(link, [taken(first!)], { unknown: 'refund' });
  await settleOutcomes(link, [taken(second!), taken(third!)], { unknown: 'refund' });
  expect(await tell()).toEqual(['recorded']);
  const states = await Promise.all([first, second, third].map(async (id) => (await rowOf(id!)).status));
  expect(states).toEqual(['sent', 'sent', 'delivered']);
});

test('ids of operators are deleted when no receipt can bear them any more', async () => {
  await link.query(
    `INSERT INTO sms_operator_ids SELECT 'smpp', i, 'm', now() - make_interval(days => i) FROM generate_series(0, 20) i`,
  );
  expect(await dropOldOperatorIds(link)).toBe(13);
  const { rows } = await link.query('SELECT max(operator_id::int) AS days FROM sms_operator_ids');
  expect(rows).toEqual([{ days: 7 }]);
});

test('an answer that comes after CALL_TIMEOUT_MS still proves that the operator has the message', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  let answer: () => void = () => undefined;
  operator.answer = () => new Promise((resolve) => (answer = () => resolve({ kind: 'taken', id: 'slow' })));
  startDelivery(t, server.dsn, new FakeRouting(operator), { CALL_TIMEOUT_MS: '100ms' });
  await expect.poll(async () => (await link.query('SELECT FROM sms_queue WHERE held_ms > 0')).rowCount, wait).toBe(1);
  answer();
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('sent');
  expect(await rowOf(id!)).toMatchObject({ operator_id: 'slow', money: 'captured', attempts: 1 });
  expect(await queueRows(link)).toBe(0);
});

test('what the operator refuses for good is refunded, once, and is a dead letter with the reason', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () => ({ kind: 'rejected', reason: 'no such number' });
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('failed');
  expect(await balanceOf('a')).toEqual({ balance: 10, reserved: 0, waiting: 0 });
  expect(operator.sent).toHaveLength(1);
  const { rows } = await link.query('SELECT message_id, status, reason, attempts::int FROM sms_dead_letters');
  expect(rows).toEqual([{ message_id: id, status: 'failed', reason: 'no such number', attempts: 1 }]);
});

test('later goes to the other operator at once, and after a pause to both again', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const [mci, irancell] = [new FakeOperator('mci'), new FakeOperator('irancell')];
  mci.answer = () => ({ kind: 'later', reason: 'busy' });
  irancell.answer = () => (irancell.sent.length < 2 ? { kind: 'later', reason: 'busy' } : { kind: 'taken', id: 'op' });
  startDelivery(t, server.dsn, new FakeRouting(mci, irancell));
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('sent');
  expect([mci.sent.length, irancell.sent.length]).toEqual([2, 2]);
  expect(await rowOf(id!)).toMatchObject({ attempts: 4, operator: 'irancell', money: 'captured' });
});

test('after MAX_RETRIES a message has failed and is refunded; who is throttled waits without using any up', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  operator.query = async () => ({ kind: 'never' });
  // Of ten tries, seven are for the operator's sake, one was cut off and never taken, two may be the message's fault.
  operator.answer = () => {
    const at = operator.sent.length;
    if (at === 3) return { kind: 'unknown', reason: 'cut' };
    return { kind: 'later', reason: 'busy', afterMs: 5, ...(at < 9 ? { away: true } : {}) };
  };
  const options = { MAX_RETRIES: '2', RETRY_MS: '10ms', RETRY_MAX_MS: '10ms', CALL_TIMEOUT_MS: '100ms' };
  startDelivery(t, server.dsn, new FakeRouting(operator), options);
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('failed');
  expect(operator.sent).toHaveLength(10);
  expect(await rowOf(id!)).toMatchObject({ money: 'refunded', reason: 'MAX_RETRIES: busy' });
});

test('an operator that is away holds up no message of another, however many of its own stand before it', async (t) => {
  await addCustomer(link, 'a', { balance: 10_000 });
  const [mci, irancell] = [new FakeOperator('mci'), new FakeOperator('irancell')];
  const away = { ...driverOf(mci), state: () => 'away' as const };
  const lanes = parseOperators([
    { name: 'mci', driver: 'smpp', url: 'smpp://127.0.0.1:1', system_id: 'a', prefixes: ['+9891'] },
    { name: 'irancell', driver: 'http', url: 'http://127.0.0.1:1/', prefixes: ['+9890'] },
  ]).map(
    (given) =>
      new OperatorLane(given, given.name === 'mci' ? away : driverOf(irancell), { events: silent, expressShare: 0 }),
  );
  await accept(link, [
    { customer: 'a', count: 3000, to: '+989121234567' },
    { customer: 'a', count: 50, to: '+989012345678' },
  ]);
  startDelivery(t, server.dsn, new OperatorRouting(lanes));
  await expect.poll(() => irancell.sent.length, wait).toBe(50);
  expect(await statesOf(link)).toMatchObject({ accepted: 3000 });
  expect(mci.sent).toEqual([]);
});

test('a message whose validity is over is not sent, and refunded', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1, ageMs: 10_000, validMs: 5000 }]);
  const operator = new FakeOperator('mci');
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('failed');
  expect(operator.sent).toHaveLength(0);
  expect(await rowOf(id!)).toMatchObject({ money: 'refunded', reason: 'expired', attempts: 0 });
});

test('a record that comes again is weeded out: while it waits, while it is sent, and when it has ended', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const wish = { customer: 'a', count: 1 };
  const [id] = await accept(link, [wish]);
  await enqueue(link, [{ id: id!, wish }]);
  const operator = new FakeOperator('mci');
  const answers: (() => void)[] = [];
  operator.answer = () => new Promise((resolve) => answers.push(() => resolve({ kind: 'taken', id: '' })));
  const { told } = startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => operator.sent.length, wait).toBe(1);
  await enqueue(link, [{ id: id!, wish }]);
  answers[0]!();
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('sent');
  await enqueue(link, [{ id: id!, wish }]);
  await expect.poll(() => told.gone, wait).toBe(1);
  expect(operator.sent).toHaveLength(1);
  expect(await queueRows(link)).toBe(0);
});

test('unknown is held, never sent again, and ends by its receipt', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () => ({ kind: 'unknown', reason: 'no answer' });
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(async () => (await link.query('SELECT 1 FROM sms_queue WHERE held_ms > 0')).rowCount, wait).toBe(1);
  await delay(600);
  expect(operator.sent).toHaveLength(1);
  expect(await rowOf(id!)).toMatchObject({ status: 'sending', money: 'reserved' });
  const receipt = { messageId: id!, operatorId: 'x', operator: 'mci', reason: null, atMs: Date.now() } as const;
  expect(await recordReceipts(link, [{ ...receipt, status: 'delivered' }])).toEqual(['recorded']);
  expect(await rowOf(id!)).toMatchObject({ status: 'delivered', money: 'captured', operator_id: 'x' });
  expect(await queueRows(link)).toBe(0);
});

test('unknown is asked about: taken is paid for, never taken goes again', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [taken, never] = await accept(link, [{ customer: 'a', count: 2 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () =>
    operator.sent.length <= 2 ? { kind: 'unknown', reason: 'cut' } : { kind: 'taken', id: 'second' };
  operator.query = async (id) => (id === taken ? { kind: 'taken', id: 'first' } : { kind: 'never' });
  startDelivery(t, server.dsn, new FakeRouting(operator), { CALL_TIMEOUT_MS: '300ms' });
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 2 });
  expect(await rowOf(taken!)).toMatchObject({ attempts: 1, operator_id: 'first' });
  expect(await rowOf(never!)).toMatchObject({ attempts: 2, operator_id: 'second' });
  expect([operator.counts.get(taken!), operator.counts.get(never!)]).toEqual([1, 2]);
});

test.each(['refund', 'capture'] as const)('after UNKNOWN_HOLD_S nobody knows: UNKNOWN=%s', async (unknown) => {
  const t = fileScopeOfTest();
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () => ({ kind: 'unknown', reason: 'no answer' });
  startDelivery(t, server.dsn, new FakeRouting(operator), { UNKNOWN: unknown, UNKNOWN_HOLD_S: '1' });
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('unknown');
  expect((await balanceOf('a')).balance).toBe(unknown === 'refund' ? 10 : 9);
  // A receipt that comes after all moves the state on, and no money.
  const receipt = { messageId: id!, operatorId: null, operator: 'mci', reason: null, atMs: Date.now() } as const;
  await recordReceipts(link, [{ ...receipt, status: 'delivered' }]);
  expect((await rowOf(id!)).status).toBe('delivered');
  expect((await balanceOf('a')).balance).toBe(unknown === 'refund' ? 10 : 9);
  expect(operator.sent).toHaveLength(1);
  await t.end();
});

test('receipts only go forward: doubled, early, late and foreign ones do no harm', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const operator = new FakeOperator('mci');
  const receipt = { messageId: id!, operatorId: 'r', operator: 'mci', reason: null, atMs: Date.now() } as const;
  expect(await recordReceipts(link, [{ ...receipt, status: 'delivered' }]), 'nobody was called').toEqual(['unknown']);
  // The receipt is here before the answer to the call.
  const early = await openLink(server.dsn);
  operator.answer = async ({ messageId }) => {
    await recordReceipts(early, [
      { ...receipt, messageId, status: 'delivered' },
      { ...receipt, messageId, status: 'sent' },
      { ...receipt, messageId, status: 'failed', reason: 'too late' },
    ]);
    return { kind: 'taken', id: 'r' };
  };
  const { stop } = startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('delivered');
  await stop();
  await early.close();
  const all = ['sent', 'failed', 'delivered'] as const;
  expect(
    await recordReceipts(
      link,
      all.map((status) => ({ ...receipt, status })),
    ),
  ).toEqual(Array(3).fill('recorded'));
  expect(await recordReceipts(link, [{ ...receipt, operator: 'other', status: 'failed' }])).toEqual(['unknown']);
  expect(await recordReceipts(link, [{ ...receipt, messageId: 'nonsense', status: 'sent' }])).toEqual(['unknown']);
  expect(await rowOf(id!)).toMatchObject({ status: 'delivered', money: 'captured', reason: null });
  expect(await balanceOf('a')).toEqual({ balance: 9, reserved: 0, waiting: 0 });
  // Reports hear of both states, though the second came first.
  const { rows } = await link.query<{ records: string }>(`SELECT records FROM sms_outbox WHERE topic = 'sms.status'`);
  const states = rows.flatMap(({ records }) => records.split('\n').map((line) => JSON.parse(line.split('\t')[1]!)));
  expect(states.map(({ status, cost }) => [status, cost])).toEqual([
    ['sent', 1],
    ['delivered', 1],
  ]);
});

test('an attempt of a dead worker is held, and what was never taken goes again by the word of the operator', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  await link.query(`UPDATE sms_logs SET status = 'sending', attempts = 1, operator = 'mci'`);
  const operator = new FakeOperator('mci');
  operator.query = async () => ({ kind: 'never' });
  const { told } = startDelivery(t, server.dsn, new FakeRouting(operator), { CALL_TIMEOUT_MS: '300ms' });
  await expect.poll(() => told.held, wait).toBe(1);
  expect(operator.sent).toHaveLength(0);
  await expect.poll(async () => (await rowOf(id!)).status, wait).toBe('sent');
  expect(operator.sent).toHaveLength(1);
  expect(await rowOf(id!)).toMatchObject({ attempts: 2 });
});

test('a late express message is credited once, where EXPRESS_MISS says so', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const [late] = await accept(link, [
    { customer: 'a', count: 1, lane: 'express', ageMs: 120_000 },
    { customer: 'a', count: 1, lane: 'express' },
    { customer: 'a', count: 1, ageMs: 120_000 },
  ]);
  // Whatever keys people choose, those of the service stay free.
  const people = async (key: string) =>
    creditCustomer(link, { name: 'test' }, 'a', { amount: 5, idempotency_key: key });
  await expect(people(expressMissKey(late!))).rejects.toMatchObject({ code: 'INPUT_REFUSED' });
  for (const key of [`express-miss:${late}`, expressMissKey(late!).replaceAll(' ', '-')]) await people(key);
  const options = { EXPRESS_MISS: 'credit', EXPRESS_DEADLINE_MS: '60s' };
  const { told } = startDelivery(t, server.dsn, new FakeRouting(new FakeOperator('mci')), options);
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 3 });
  expect(told.late).toBe(1);
  expect(await balanceOf('a')).toEqual({ balance: 18, reserved: 0, waiting: 0 });
});

test('a rate shapes: exactly so many per second, and everything goes in the end', async (t) => {
  await addCustomer(link, 'shaped', { balance: 1000 });
  await addCustomer(link, 'free', { balance: 1000 });
  await link.query(`UPDATE customers SET rate_per_s = 50 WHERE customer_id = 'shaped'`);
  await accept(link, [
    { customer: 'shaped', count: 100 },
    { customer: 'free', count: 200 },
  ]);
  const operator = new FakeOperator('mci');
  const times: number[] = [];
  operator.answer = ({ customerId }) => {
    if (customerId === 'shaped') times.push(performance.now());
    return { kind: 'taken', id: '' };
  };
  const begin = performance.now();
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 300 });
  // 50 a second and a burst of 200 ms: where the machine stutters they come together, but none before its time.
  for (const [at, time] of times.entries()) expect(at).toBeLessThanOrEqual(10 + (50 * (time - begin)) / 1000);
});

test('Postgres dies while messages are sent: none twice, none lost, no coin', async (t) => {
  const own = await openLink(server.dsn);
  t.onTestFinished(() => own.close());
  await addCustomer(own, 'a', { balance: 5000 });
  await accept(own, [{ customer: 'a', count: 2000 }]);
  const operator = new FakeOperator('mci');
  operator.answer = async () => {
    await delay(20);
    return { kind: 'taken', id: '' };
  };
  operator.query = async (id) => (operator.counts.has(id) ? { kind: 'taken', id: '' } : { kind: 'never' });
  startDelivery(t, server.dsn, new FakeRouting(operator), { NUM_WORKERS: '20', CALL_TIMEOUT_MS: '1s' });
  for (const sent of [200, 600]) {
    await expect.poll(() => operator.sent.length, wait).toBeGreaterThan(sent);
    await server.kill9();
    await delay(300);
    await server.restart();
  }
  link = await openLink(server.dsn);
  await expect.poll(() => statesOf(link), { interval: 50 }).toEqual({ sent: 2000 });
  expect(Math.max(...operator.counts.values())).toBe(1);
  expect(await balanceOf('a')).toEqual({ balance: 3000, reserved: 0, waiting: 0 });
});

test('a thousand customers with unequal backlogs get the same within 5 %', async (t) => {
  await link.query(
    `INSERT INTO customers (customer_id, balance) SELECT 'c' || n, 100000 FROM generate_series(0, 999) n`,
  );
  await link.query(`INSERT INTO balance_txn (customer_id, kind, debit, credit, amount)
    SELECT customer_id, 'credit', 'external', 'available', balance FROM customers`);
  const wishes = Array.from({ length: 1000 }, (_, n) => ({ customer: `c${n}`, count: n % 100 === 0 ? 500 : 30 }));
  await accept(link, wishes);
  const operator = new FakeOperator('mci');
  const { stop } = startDelivery(t, server.dsn, new FakeRouting(operator), { QUEUE_SIZE: '20000' });
  // In the middle of it: the small ones have not ended.
  await expect.poll(() => operator.sent.length, { interval: 2 }).toBeGreaterThan(20_000);
  const counts = new Map<string, number>();
  for (const { customerId } of operator.sent.slice(0, 20_000))
    counts.set(customerId, (counts.get(customerId) ?? 0) + 1);
  await stop();
  expect(counts.size).toBe(1000);
  expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(19);
  expect(Math.max(...counts.values())).toBeLessThanOrEqual(21);
});

test('express is not held up by a flood: it has its part of every window', async (t) => {
  await addCustomer(link, 'flood', { balance: 1_000_000 });
  await addCustomer(link, 'bank', { balance: 1_000_000, lane: 'express' });
  for (let n = 0; n < 4; n += 1) await accept(link, [{ customer: 'flood', count: 5000 }]);
  const operator = new FakeOperator('mci');
  // What the flood has, is held for longer than express may take.
  operator.answer = async ({ lane }) => {
    await delay(lane === 'express' ? 10 : 1500);
    return { kind: 'taken', id: '' };
  };
  startDelivery(t, server.dsn, new FakeRouting(operator), { NUM_WORKERS: '200' });
  await expect.poll(() => operator.sent.length, wait).toBe(150);
  for (let n = 0; n < 50; n += 1) {
    await accept(link, [{ customer: 'bank', count: 1, lane: 'express' }]);
    await delay(20);
  }
  await expect
    .poll(
      async () => (await link.query(`SELECT FROM sms_logs WHERE lane = 'express' AND status = 'sent'`)).rowCount,
      wait,
    )
    .toBe(50);
  const { rows } = await link.query<{ ms: number }>(
    `SELECT (extract(epoch FROM sent_at - created_at) * 1000)::float AS ms FROM sms_logs WHERE lane = 'express' ORDER BY 1`,
  );
  expect(rows[48]!.ms).toBeLessThan(1000);
  const normal = () => operator.sent.filter(({ lane }) => lane === 'normal').length;
  await expect.poll(normal, { ...wait, message: 'the flood goes on meanwhile' }).toBeGreaterThan(150);
  expect((await statesOf(link))['accepted'], 'the flood is still there').toBeGreaterThan(1000);
});

test('customers are looked for soon after a look that had to wait for a lock', async (t) => {
  for (const id of ['a', 'b']) await addCustomer(link, id, { balance: 10 });
  const operator = new FakeOperator('mci');
  const { delivery } = startDelivery(t, server.dsn, new FakeRouting(operator));
  await accept(link, [{ customer: 'a', count: 1 }]);
  await expect.poll(() => operator.sent.length, wait).toBe(1);
  // Until the queue holds nobody, a feeder may wait for the lock where it reads messages instead.
  await expect.poll(() => delivery.figures.customers.normal, wait).toBe(0);
  const looking = () => link.query("SELECT FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%found%'");
  await expect.poll(async () => (await looking()).rowCount, wait).toBe(2);
  const locking = await openLink(server.dsn);
  t.onTestFinished(() => locking.close());
  await locking.query('BEGIN; LOCK TABLE sms_queue IN ACCESS EXCLUSIVE MODE');
  // Both feeders stand before the lock, and longer than a tenth of what is waited for below.
  const kept = () =>
    link.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'relation' AND query LIKE '%found%'
      AND clock_timestamp() - query_start > interval '4 s'`);
  await expect.poll(async () => (await kept()).rowCount, wait).toBe(2);
  await locking.query('COMMIT');
  await accept(link, [{ customer: 'b', count: 1 }]);
  await expect.poll(() => operator.sent.length, { interval: 20 }).toBe(2);
});

test('dead letters are sent again by command: reserved anew, as far as the balance goes', async (t) => {
  await addCustomer(link, 'a', { balance: 3 });
  const ids = await accept(link, [{ customer: 'a', count: 3 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () => ({ kind: 'rejected', reason: 'closed' });
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => statesOf(link), wait).toEqual({ failed: 3 });
  expect(await failedOf(link, 'a', '', 10)).toEqual(ids);
  operator.answer = () => ({ kind: 'taken', id: 'again' });
  expect([...(await resend(link, [ids[0]!, 'nonsense'], Date.now())).values()]).toEqual(['resent', 'not_dead']);
  await expect.poll(() => statesOf(link), wait).toEqual({ failed: 2, sent: 1 });
  expect(await rowOf(ids[0]!)).toMatchObject({ money: 'captured', attempts: 2, operator_id: 'again', reason: null });
  expect((await resend(link, [ids[0]!], Date.now())).get(ids[0]!), 'it was sent').toBe('not_dead');
  // Of two, the balance covers one: neither in one go, one of them one by one.
  await link.query(`UPDATE customers SET balance = balance - 1`);
  await link.query(
    `INSERT INTO balance_txn (customer_id, kind, debit, credit, amount) VALUES ('a', 'credit', 'available', 'external', 1)`,
  );
  expect([...(await resend(link, ids.slice(1), Date.now())).values()]).toEqual(['too_poor', 'too_poor']);
  expect((await resend(link, [ids[1]!], Date.now())).get(ids[1]!)).toBe('resent');
  expect((await resend(link, [ids[2]!], Date.now())).get(ids[2]!)).toBe('too_poor');
  await expect.poll(() => statesOf(link), wait).toEqual({ failed: 1, sent: 2 });
  expect(await balanceOf('a')).toEqual({ balance: 0, reserved: 0, waiting: 0 });
});

test('a message that reached no queue is found, once, and not before its time', async (t) => {
  await addCustomer(link, 'a', { balance: 10 });
  const lost = { customer: 'a', count: 1, queued: false };
  const [old] = await accept(link, [{ ...lost, ageMs: 700_000 }]);
  await accept(link, [lost, { customer: 'a', count: 1, ageMs: 800_000 }]);
  const signal = new AbortController().signal;
  const run = () => findStranded(link, { nowMs: Date.now(), afterS: 600 }, signal);
  expect(await run()).toBe(1);
  expect(await run()).toBe(0);
  const operator = new FakeOperator('mci');
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => operator.counts.get(old!), wait).toBe(1);
  await expect.poll(() => statesOf(link), wait).toEqual({ accepted: 1, sent: 2 });
});

/** A scope that a test ends itself, where the test has no context of its own. */
function fileScopeOfTest() {
  const ends: (() => unknown)[] = [];
  return {
    onTestFinished: (end: () => unknown) => void ends.push(end),
    end: async () => {
      for (const end of ends.splice(0)) await end();
    },
  };
}
