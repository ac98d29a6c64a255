/**
 * Goal: whatever dies, is cut off, or comes late, a message that an operator may have is neither refunded nor sent again
 * before it is known, and nothing that has not ended falls out of the queue.
 * Method: a real Postgres; rows as a dead worker leaves them, outcomes and attempts of workers that own the shard no more.
 */
import { beforeEach, expect, test } from 'vitest';
import { recordAttempts } from '../../../src/sms/delivery/attempts.ts';
import { Courier } from '../../../src/sms/delivery/courier.ts';
import { deadLetters, dropOldDeadLetters } from '../../../src/sms/delivery/dead-letters.ts';
import { FairQueue } from '../../../src/sms/delivery/fair-queue.ts';
import { type Outcome, settleOutcomes } from '../../../src/sms/delivery/outcomes.ts';
import type { Judged } from '../../../src/sms/delivery/promise.ts';
import type { Queued } from '../../../src/sms/delivery/queued.ts';
import { ReceiptDesk } from '../../../src/sms/delivery/receipt-desk.ts';
import { recordReceipts } from '../../../src/sms/delivery/receipts.ts';
import { resend } from '../../../src/sms/delivery/resend.ts';
import { findStranded } from '../../../src/sms/delivery/stranded.ts';
import type { Rules } from '../../../src/sms/delivery/verdict.ts';
import { referenceOf } from '../../../src/sms/message/reference.ts';
import type { Receipt } from '../../../src/sms/operators/contract.ts';
import { readOutbox } from '../../../src/sms/topics.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { auditedTables } from '../audited-tables.ts';
import { addCustomer, openLink } from '../database.ts';
import { accept, enqueue, FakeOperator, FakeRouting, queueRows, startDelivery, statesOf } from './fixture.ts';

let server: PostgresServer;
let link: PostgresLink;
auditedTables(22_945, (...started) => {
  [server, link] = started;
});
beforeEach(() => addCustomer(link, 'a', { balance: 10 }));

const wait = { interval: 20 };
const options = { unknown: 'refund' } as const;
const queued = (messageId: string): Queued => ({
  ...{ messageId, customerId: 'a', shard: 0, lane: 'normal', to: '+98912', segments: 1 },
  ...{ acceptedMs: 0, validMs: 9e12, retries: 0, tried: [] },
});
/** A worker has recorded so many attempts, and has died in the last one. */
const dieIn = (attempt: number) =>
  link.query(`UPDATE sms_logs SET status = 'sending', attempts = $1, operator = 'mci'`, [attempt]);

test('what a dead worker was sending is asked about, though its validity is over: taken is paid, never is refunded', async (t) => {
  const [taken] = await accept(link, [{ customer: 'a', count: 2, ageMs: 10_000, validMs: 5000 }]);
  await dieIn(1);
  const operator = new FakeOperator('mci');
  operator.query = async (id) => (id === taken ? { kind: 'taken', id: 'x' } : { kind: 'never' });
  const { told } = startDelivery(t, server.dsn, new FakeRouting(operator), { CALL_TIMEOUT_MS: '300ms' });
  await expect.poll(() => told.held, wait).toBe(2);
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 1, failed: 1 });
  expect(operator.sent).toEqual([]);
  const { rows } = await link.query('SELECT message_id, money, reason FROM sms_logs ORDER BY money');
  expect(rows).toEqual([
    { message_id: taken, money: 'captured', reason: null },
    expect.objectContaining({ money: 'refunded', reason: 'expired' }),
  ]);
  expect(await queueRows(link)).toBe(0);
});

test('what a dead worker was sending is held, though no operator carries its number any more', async (t) => {
  await accept(link, [{ customer: 'a', count: 1 }]);
  await dieIn(1);
  const routing = new FakeRouting(new FakeOperator('other'));
  routing.reserve = () => ({ kind: 'none', reason: 'no operator has the prefix' });
  const { told } = startDelivery(t, server.dsn, routing, { CALL_TIMEOUT_MS: '300ms', UNKNOWN_HOLD_S: '1' });
  await expect.poll(() => told.held, wait).toBe(1);
  await expect.poll(() => statesOf(link), wait).toEqual({ unknown: 1 });
});

test.each(['failed', 'unknown', 'later'] as const)(
  '%s of an old attempt leaves the newer one as it is',
  async (kind) => {
    const [messageId] = await accept(link, [{ customer: 'a', count: 1 }]);
    await dieIn(2);
    const verdict =
      kind === 'later' ? ({ kind, dueMs: 0, tried: [], retries: 1 } as const) : ({ kind, reason: 'x' } as const);
    const outcome = { messageId: messageId!, operator: undefined, attempt: 1, atMs: Date.now(), verdict };
    expect((await settleOutcomes(link, [outcome], options)).size).toBe(0);
    expect(await statesOf(link)).toEqual({ sending: 1 });
    expect(await queueRows(link)).toBe(1);
    await settleOutcomes(link, [{ ...outcome, attempt: 2 }], options);
    expect(await statesOf(link)).toEqual({ [kind === 'later' ? 'accepted' : kind]: 1 });
    expect(await queueRows(link)).toBe(kind === 'later' ? 1 : 0);
  },
);

test('whose answer to the record was lost knows its own attempt again, and no other', async () => {
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const record = (token: number) =>
    recordAttempts(link, [{ message: queued(id!), operator: 'mci', token }], Date.now(), Date.now() + 60_000);
  expect((await record(1)).go.get(id!)?.number).toBe(1);
  expect((await record(1)).go.get(id!)?.number, 'the same statement once more').toBe(2);
  expect(await record(2), 'somebody else: the attempt that stands may have been called').toMatchObject({ held: 1 });
  expect(await statesOf(link)).toEqual({ sending: 1 });
});

// Goal: who has lost its locks calls nobody, though it may hold new ones by then.
// Method: the locks are lost while the statement that records the attempt runs.
test('an attempt that was taken under locks that are lost is recorded, not called, and comes again', async () => {
  const ids = await accept(link, [{ customer: 'a', count: 2, lane: 'express' }]);
  const operator = new FakeOperator('mci');
  const express = new FairQueue();
  express.add(
    ids.map((id) => ({ ...queued(id), lane: 'express' as const })),
    0,
    0,
  );
  const outcomes: Outcome[] = [];
  const records: string[][] = [];
  const session = {
    close: async () => undefined,
    prepared: async (_name: string, _sql: string, [given]: readonly Buffer[]) => {
      const known = ids.filter((id) => given!.includes(id));
      records.push(known);
      courier.lost();
      return { rows: known.map((message_id) => ({ message_id, what: 'go', attempts: 1, sender: '', body: '' })) };
    },
  };
  const courier = new Courier({
    queues: { express, normal: new FairQueue() },
    routing: new FakeRouting(operator),
    open: async () => session as unknown as PostgresLink,
    rules: {} as Rules,
    ...{ numWorkers: 1, expressShare: 0, callTimeoutMs: 1000, log: { info: () => undefined, warn: () => undefined } },
    holds: () => true,
    settle: (outcome) => void outcomes.push(outcome),
    ...{ unsettled: () => 0, release: () => undefined, attempted: () => undefined, recorded: () => undefined },
    now: () => Date.now(),
  });
  courier.dispatch();
  await expect.poll(() => outcomes.length, wait).toBe(2);
  courier.stop();
  expect(records).toEqual(ids.map((id) => [id]));
  expect(outcomes.map(({ verdict }) => verdict.kind)).toEqual(['later', 'later']);
  expect(operator.sent).toEqual([]);
});

test('an unknown message whose money was captured goes again for that money, and gets it back when it is refused', async (t) => {
  const ids = await accept(link, [{ customer: 'a', count: 2 }]);
  const operator = new FakeOperator('mci');
  operator.answer = () => ({ kind: 'unknown', reason: 'cut' });
  startDelivery(t, server.dsn, new FakeRouting(operator), { UNKNOWN: 'capture', UNKNOWN_HOLD_S: '1' });
  await expect.poll(() => statesOf(link), wait).toEqual({ unknown: 2 });
  operator.answer = ({ messageId }) =>
    messageId === ids[0] ? { kind: 'rejected', reason: 'barred' } : { kind: 'taken', id: 'again' };
  const money = async () =>
    (await link.query('SELECT balance::int, reserved::int, waiting::int FROM customers')).rows[0];
  // It has nothing left to spend: what was captured is enough.
  await link.query('UPDATE customers SET balance = 0');
  await link.query(`INSERT INTO balance_txn (customer_id, kind, debit, credit, amount)
    VALUES ('a', 'credit', 'available', 'external', 8)`);
  expect([...(await resend(link, ids, Date.now())).values()]).toEqual(['resent', 'resent']);
  await expect.poll(() => statesOf(link), wait).toEqual({ failed: 1, sent: 1 });
  expect(await money()).toEqual({ balance: 1, reserved: 0, waiting: 0 });
  const { rows } = await link.query('SELECT message_id, money FROM sms_logs ORDER BY message_id');
  expect(rows.map((row) => row['money'])).toEqual(['refunded', 'captured']);
});

test('reports are told what is paid in each state, and how often the message was sent again', async () => {
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  const nobodyKnows = async (attempt: number) => {
    await dieIn(attempt);
    const verdict = { kind: 'unknown', reason: 'x' } as const;
    await settleOutcomes(link, [{ messageId: id!, verdict, operator: 'mci', attempt, atMs: attempt }], options);
  };
  await nobodyKnows(1);
  expect((await resend(link, [id!], 5)).get(id!)).toBe('resent');
  await nobodyKnows(2);
  const receipt = { messageId: id!, operatorId: null, operator: 'mci', reason: null, atMs: 9 } as const;
  await recordReceipts(link, [{ ...receipt, status: 'delivered' }]);
  const { rows } = await link.query<{ records: string }>('SELECT records FROM sms_outbox ORDER BY id');
  const records = rows.flatMap(({ records: text }) => readOutbox(text).map(({ json }) => JSON.parse(json)));
  expect(records.map(({ status, resends, cost, at }) => [status, resends, cost, at])).toEqual([
    ['unknown', 0, 0, 1],
    ['accepted', 1, 1, 5],
    ['unknown', 1, 0, 2],
    // What was given back stays given back.
    ['sent', 1, 0, 9],
    ['delivered', 1, 0, 9],
  ]);
  expect(new Set(records.map(({ accepted_at }) => accepted_at)), 'all of them of one minute').toHaveLength(1);
});

test('a dead letter whose record came twice is sent again all the same, once', async (t) => {
  const wish = { customer: 'a', count: 1 };
  const [id] = await accept(link, [wish]);
  const verdict = { kind: 'failed', reason: 'x' } as const;
  await settleOutcomes(link, [{ messageId: id!, verdict, operator: undefined, attempt: 0, atMs: Date.now() }], options);
  await enqueue(link, [{ id: id!, wish }]);
  await link.query('UPDATE sms_queue SET valid_ms = 1, due_ms = 1, held_ms = 1, attempts = 3');
  expect((await resend(link, [id!], Date.now())).get(id!)).toBe('resent');
  const operator = new FakeOperator('mci');
  startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 1 });
  expect(operator.sent).toHaveLength(1);
});

test('a dead letter goes when a receipt says that the operator had it, and when its day is gone', async () => {
  const [proven, dead] = await accept(link, [{ customer: 'a', count: 2 }]);
  await dieIn(1);
  const verdict = { kind: 'unknown', reason: 'x' } as const;
  const outcomes = [proven, dead].map((id) => ({ messageId: id!, verdict, operator: 'mci', attempt: 1, atMs: 1 }));
  await settleOutcomes(link, outcomes, options);
  const listed = async () =>
    (await deadLetters(link, { customer: 'a', after: '', limit: 10 })).map(({ message_id }) => message_id);
  expect(await listed()).toEqual([proven, dead].sort());
  const receipt = { messageId: proven!, operatorId: null, operator: 'mci', reason: null, atMs: 1 } as const;
  await recordReceipts(link, [{ ...receipt, status: 'delivered' }]);
  expect(await listed()).toEqual([dead]);
  // As the archive of its day leaves it.
  await link.query(`INSERT INTO sms_dead_letters VALUES ('${'0'.repeat(26)}', 'a', 'failed', NULL, 1, 'x')`);
  expect(await dropOldDeadLetters(link)).toBe(1);
  expect(await listed()).toEqual([dead]);
});

// Goal: a receipt that bears an id which nobody was told finds its message, and never another.
// Method: held rows as a dead worker leaves them; one more with the same number and reference.
test('a receipt finds what is held by reference and number, of its operator alone, and never one of two', async () => {
  const to = '+989121110000';
  const [id, waits] = await accept(link, [
    { customer: 'a', count: 1, to },
    { customer: 'a', count: 1, to: '+989121110001' },
  ]);
  await dieIn(1);
  await link.query('UPDATE sms_queue SET held_ms = 1 WHERE message_id = $1', [id]);
  const tell = async (more: Partial<Receipt>) => {
    const given = {
      messageId: null,
      operatorId: 'x1',
      operator: 'mci',
      status: 'sent',
      reason: null,
      atMs: 1,
    } as const;
    return (await recordReceipts(link, [{ ...given, submitted: { to, reference: referenceOf(id!) }, ...more }]))[0];
  };
  expect(await tell({ submitted: { to: '+989121110001', reference: referenceOf(id!) } })).toBe('unknown');
  expect(await tell({ submitted: { to: '+989121110001', reference: referenceOf(waits!) } }), 'not held').toBe(
    'unknown',
  );
  expect(await tell({ submitted: { to, reference: referenceOf(id!) ^ 1 } })).toBe('unknown');
  expect(await tell({ operator: 'irancell' })).toBe('unknown');
  let twin = '';
  for (let n = 0; twin === ''; n += 1) if (referenceOf(`twin${n}`) === referenceOf(id!)) twin = `twin${n}`;
  await link.query(
    `INSERT INTO sms_queue SELECT $2, customer_id, shard, express, segments, attempts, recipient, tried, accepted_ms,
       valid_ms, due_ms, held_ms FROM sms_queue WHERE message_id = $1`,
    [id, twin],
  );
  expect(await tell({}), 'one of two').toBe('unknown');
  await link.query('DELETE FROM sms_queue WHERE message_id = $1', [twin]);
  expect(await statesOf(link)).toEqual({ sending: 2 });
  expect(await tell({})).toBe('recorded');
  expect(await statesOf(link)).toEqual({ sending: 1, sent: 1 });
  // It has left the queue: its id is known from now on.
  expect(await tell({ status: 'delivered', submitted: { to, reference: 0 } })).toBe('recorded');
  expect(await statesOf(link)).toEqual({ sending: 1, delivered: 1 });
});

// Goal: an express message is judged by the first word that its operator has it, whoever brings the word.
// Method: messages that were accepted minutes ago, of which one is refused, one is proven by a query, one by a receipt.
test('a receipt that the database refuses keeps no other from being recorded', async (t) => {
  const ids = await accept(link, [{ customer: 'a', count: 5 }]);
  await dieIn(1);
  const desk = new ReceiptDesk({
    open: () => openLink(server.dsn),
    express: { deadlineMs: 1000, credit: false },
    told: () => undefined,
  });
  t.onTestFinished(() => desk.close());
  const fields = { operator: 'mci', status: 'delivered', reason: null, atMs: Date.now() } as const;
  const receipts: Receipt[] = ids.map((messageId) => ({ ...fields, messageId, operatorId: null }));
  // Postgres keeps no NUL.
  receipts.splice(2, 0, { ...fields, messageId: null, operatorId: '\0' });
  const results = await Promise.allSettled(receipts.map((receipt) => desk.take(receipt)));
  expect(results.map((result) => (result.status === 'fulfilled' ? result.value : 'refused'))).toEqual([
    ...['recorded', 'recorded', 'refused', 'recorded', 'recorded', 'recorded'],
  ]);
  expect(await statesOf(link)).toEqual({ delivered: 5 });
});

test('late express messages are counted, and credited where they were paid for, whoever proves them', async (t) => {
  const old = { customer: 'a', count: 1, lane: 'express', ageMs: 300_000 } as const;
  const [young, queried, refused, told] = await accept(link, [{ ...old, ageMs: 0 }, old, old, old]);
  const operator = new FakeOperator('mci');
  const promised = { deadlineMs: 60_000, credit: true };
  const desk = await openLink(server.dsn);
  t.onTestFinished(() => desk.close());
  const byReceipt: Judged[] = [];
  operator.answer = async ({ messageId }) => {
    if (messageId === queried) return { kind: 'unknown', reason: 'cut' };
    if (messageId === refused) return { kind: 'rejected', reason: 'barred' };
    const receipt = { messageId, operatorId: 'r', operator: 'mci', reason: null, atMs: Date.now() } as const;
    if (messageId === told)
      await recordReceipts(desk, [{ ...receipt, status: 'delivered' }], promised, (settled) =>
        byReceipt.push(...settled.values()),
      );
    return { kind: 'taken', id: 'x' };
  };
  operator.query = async () => ({ kind: 'taken', id: 'x' });
  const means = { EXPRESS_DEADLINE_MS: '1m', EXPRESS_MISS: 'credit', CALL_TIMEOUT_MS: '100ms' };
  const worker = startDelivery(t, server.dsn, new FakeRouting(operator), means);
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 2, failed: 1, delivered: 1 });
  await expect.poll(() => worker.told.took.length, wait).toBe(2);
  expect(byReceipt).toEqual([expect.objectContaining({ late: true, lane: 'express' })]);
  expect(Math.min(byReceipt[0]!.tookMs!, Math.max(...worker.told.took))).toBeGreaterThan(290_000);
  expect(worker.told.late, 'the refused one, and the one that was asked about').toBe(2);
  const spent = async () =>
    10 - (await link.query<{ n: number }>('SELECT balance::int AS n FROM customers')).rows[0]!.n;
  expect(await spent(), 'of what was sent, only the one in time costs something').toBe(1);
  // Sent again, its time begins anew.
  operator.answer = () => ({ kind: 'taken', id: 'again' });
  expect((await resend(link, [refused!], Date.now())).get(refused!)).toBe('resent');
  await expect.poll(() => worker.told.took.length, wait).toBe(3);
  expect(worker.told.took[2]).toBeLessThan(290_000);
  expect([worker.told.late, await spent(), operator.counts.get(young!)]).toEqual([2, 2, 1]);
});

test('an operator that does not answer holds up no question about the messages of another', async (t) => {
  await addCustomer(link, 'b', { balance: 200 });
  await accept(link, [{ customer: 'b', count: 150 }]);
  const ids = await accept(link, [{ customer: 'a', count: 5 }]);
  await link.query(`UPDATE sms_logs SET status = 'sending', attempts = 1, operator = 'silent'`);
  await link.query(`UPDATE sms_logs SET operator = 'quick' WHERE message_id = ANY ($1)`, [ids]);
  // Those of the silent one are due first.
  await link.query(`UPDATE sms_queue SET held_ms = 1, due_ms = CASE customer_id WHEN 'a' THEN 2 ELSE 1 END`);
  const [silent, quick] = [new FakeOperator('silent'), new FakeOperator('quick')];
  let [running, runningMax] = [0, 0];
  silent.query = (_id, _operatorId, signal) =>
    new Promise((resolve) => {
      running += 1;
      runningMax = Math.max(runningMax, running);
      signal.addEventListener('abort', () => resolve({ kind: 'unanswered', reason: 'cut' }));
    });
  quick.query = async () => ({ kind: 'taken', id: 'x' });
  startDelivery(t, server.dsn, new FakeRouting(silent, quick));
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 5, sending: 150 });
  expect(runningMax).toBe(64);
});

// Goal: a database that hangs does not hold up a worker that is to end.
// Method: the queue is locked, so that every statement on it waits; with the query time-out alone it would take 30 s.
test('a drain ends in its time, though the database hangs', async (t) => {
  const operator = new FakeOperator('mci');
  const { delivery, stop } = startDelivery(t, server.dsn, new FakeRouting(operator));
  await expect.poll(() => delivery.figures.shards, wait).toBe(64);
  const other = await openLink(server.dsn);
  t.onTestFinished(() => other.close());
  await other.query('BEGIN; LOCK TABLE sms_queue');
  const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'test-%'`;
  await expect.poll(async () => (await link.query(waiting)).rowCount, wait).toBe(3);
  await stop();
  expect((await link.query(waiting)).rowCount, 'it ended while they waited').toBe(3);
  await other.query('ROLLBACK');
  await expect.poll(async () => (await link.query(waiting)).rowCount, wait).toBe(0);
});

test('a message that is being sent and has no row in the queue is found, and asked about', async (t) => {
  await accept(link, [{ customer: 'a', count: 1, ageMs: 700_000, queued: false }]);
  await dieIn(1);
  expect(await findStranded(link, { nowMs: Date.now(), afterS: 600 }, new AbortController().signal)).toBe(1);
  const operator = new FakeOperator('mci');
  operator.query = async () => ({ kind: 'taken', id: 'x' });
  startDelivery(t, server.dsn, new FakeRouting(operator), { CALL_TIMEOUT_MS: '300ms' });
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 1 });
  expect(operator.sent).toEqual([]);
});
