/** Groups against a real Postgres: one transaction accepts many messages, and no unit is spent twice. */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Verdict } from '../../../src/sms/accept/decide.ts';
import { judgeGroup } from '../../../src/sms/accept/group.ts';
import { dropOldKeys } from '../../../src/sms/accept/old-keys.ts';
import { audit } from '../../../src/sms/money/audit.ts';
import { readOutbox } from '../../../src/sms/topics.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { addCustomer, emptyTables, openLink, startDatabase } from '../database.ts';
import { acceptGroup, pipelined, rulesOf, wantedOf } from './accepting.ts';

const undo: (() => unknown)[] = [];
let server: PostgresServer;
let link: PostgresLink;

beforeAll(async () => {
  server = await startDatabase({ onTestFinished: (fn) => void undo.push(fn) }, 26_510);
  link = await openLink(server.dsn);
});
afterAll(async () => {
  await link.close();
  for (const fn of undo.reverse()) await fn();
});
beforeEach(() => emptyTables(link));

const kinds = (verdicts: readonly Verdict[]): readonly string[] =>
  verdicts.map((verdict) => (verdict.kind === 'refused' ? verdict.problem.code : verdict.kind));
const customerOf = async (id: string) => {
  const { rows } = await link.query(
    'SELECT balance::int, reserved::int, waiting::int FROM customers WHERE customer_id = $1',
    [id],
  );
  return rows[0];
};
const inOrder = async () => assert.deepEqual((await audit(link)).differences, []);

test('a group writes messages, ledger, outbox and customer in one transaction, and says what is left', async (t) => {
  await addCustomer(link, 'ada', { balance: 10 });
  await addCustomer(link, 'bob', { balance: 3, lane: 'express', cost: 2 });
  const session = await pipelined(t, server.dsn);
  const { verdicts } = await acceptGroup(
    session,
    [
      wantedOf('bob', { text: 'سلام', sender: 'Shop', callback_url: 'https://example.com/cb' }),
      wantedOf('ada', { text: 'a\tb\nc' }),
      wantedOf('nobody'),
      wantedOf('ada', { type: 'express' }),
    ],
    rulesOf(),
  );
  expect(kinds(verdicts)).toEqual(['accepted', 'accepted', 'CUSTOMER_UNKNOWN', 'accepted']);
  expect(verdicts[0]).toMatchObject({ segments: 1, cost: 2, balance: 1 });
  expect(verdicts[3]).toMatchObject({ cost: 1, balance: 8 });
  expect(await customerOf('ada')).toEqual({ balance: 8, reserved: 2, waiting: 2 });
  expect(await customerOf('bob')).toEqual({ balance: 1, reserved: 2, waiting: 1 });
  const { rows } = await link.query('SELECT * FROM sms_logs ORDER BY message_id');
  expect(rows[0]).toMatchObject({
    customer_id: 'bob',
    sender: 'Shop',
    body: 'سلام',
    lane: 'express',
    status: 'accepted',
    money: 'reserved',
    callback_url: 'https://example.com/cb',
  });
  expect(rows[1]).toMatchObject({ body: 'a\tb\nc', callback_url: null, lane: 'normal' });
  const { rows: outbox } = await link.query<{ topic: string; express: boolean; records: string }>(
    'SELECT * FROM sms_outbox ORDER BY id',
  );
  expect(
    outbox.map(({ topic, express, records }) => [topic, express, readOutbox(records).map(({ key }) => key)]),
  ).toEqual([
    ['sms.express', true, ['bob', 'ada']],
    ['sms.delivery', false, ['ada']],
    ['sms.accepted', false, ['bob', 'ada', 'ada']],
  ]);
  const sent = JSON.parse(readOutbox(outbox[1]!.records)[0]!.json);
  expect(sent).toMatchObject({ to: '+989121234567', text: 'a\tb\nc', type: 'normal', cost: 1 });
  assert.equal(sent.valid_until - sent.at, 3_600_000);
  await inOrder();
});

test('what no operator carries is refused by itself and costs nothing; a key that came before is answered as then', async (t) => {
  await addCustomer(link, 'ada', { balance: 10 });
  const session = await pipelined(t, server.dsn);
  const abroad = wantedOf('ada', { to: '+442071234567', idempotency_key: 'k' });
  await acceptGroup(session, [abroad], rulesOf());
  const rules = rulesOf({ carries: (to) => to.startsWith('+98') });
  const group = [wantedOf('ada', { to: '+442071234568' }), wantedOf('ada'), abroad];
  const { verdicts } = await acceptGroup(session, group, rules);
  expect(kinds(verdicts)).toEqual(['NUMBER_NOT_CARRIED', 'accepted', 'replayed']);
  expect(verdicts[0]).toMatchObject({ problem: { status: 422, to: '+442071234568' } });
  expect(kinds((await judgeGroup(link, group, rules)).verdicts)[0]).toBe('NUMBER_NOT_CARRIED');
  expect(await customerOf('ada')).toEqual({ balance: 8, reserved: 2, waiting: 2 });
  await inOrder();
});

test('a message that is too dear does not keep cheaper ones behind it from spending the rest', async (t) => {
  await addCustomer(link, 'ada', { balance: 5 });
  await link.query("INSERT INTO customer_prices VALUES ('ada', '1', 4)");
  const session = await pipelined(t, server.dsn);
  const abroad = wantedOf('ada', { to: '+12025550123' });
  const { verdicts } = await acceptGroup(session, [abroad, abroad, wantedOf('ada'), wantedOf('ada')], rulesOf());
  expect(kinds(verdicts)).toEqual(['accepted', 'BALANCE_TOO_LOW', 'accepted', 'BALANCE_TOO_LOW']);
  expect(verdicts[1]).toMatchObject({ problem: { status: 402, cost: 4, balance: 1 } });
  expect(await customerOf('ada')).toEqual({ balance: 0, reserved: 5, waiting: 2 });
  await inOrder();
});

test('four sessions spend a balance to the last unit, and never one more', async (t) => {
  const balance = 997;
  await addCustomer(link, 'whale', { balance });
  await addCustomer(link, 'ant', { balance: 50 });
  const sessions = await Promise.all(Array.from({ length: 4 }, () => pipelined(t, server.dsn)));
  const counts = await Promise.all(
    sessions.map(async (session, s) => {
      const rules = rulesOf();
      let accepted = 0;
      for (let round = 0; round < 30; round++) {
        // Customers in every order: locks are taken in order of id all the same.
        const group = Array.from({ length: 12 }, (_, i) => wantedOf((i + s + round) % 5 === 0 ? 'ant' : 'whale'));
        const { verdicts } = await acceptGroup(session, group, rules);
        for (const { kind } of verdicts) accepted += kind === 'accepted' ? 1 : 0;
      }
      return accepted;
    }),
  );
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    balance + 50,
  );
  expect(await customerOf('whale')).toEqual({ balance: 0, reserved: balance, waiting: balance });
  const { rows } = await link.query('SELECT count(*)::int AS n FROM sms_logs');
  assert.equal(rows[0]!['n'], balance + 50);
  await inOrder();
});

test('a key that comes a hundred times at once makes one message, and the others get its answer', async (t) => {
  await addCustomer(link, 'ada', { balance: 1000 });
  const sessions = await Promise.all(Array.from({ length: 5 }, () => pipelined(t, server.dsn)));
  const verdicts = (
    await Promise.all(
      sessions.map(async (session) => {
        const mine: Verdict[] = [];
        for (let i = 0; i < 20; i++) {
          const { verdicts: found } = await acceptGroup(
            session,
            [wantedOf('ada', { idempotency_key: 'k1' })],
            rulesOf(),
          );
          mine.push(...found);
        }
        return mine;
      }),
    )
  ).flat();
  const accepted = verdicts.filter(({ kind }) => kind === 'accepted');
  assert.equal(accepted.length, 1);
  const [first] = accepted;
  for (const verdict of verdicts) {
    if (verdict === first) continue;
    expect(verdict).toEqual({ ...withoutLane(first!), kind: 'replayed' });
  }
  assert.equal(verdicts.length, 100);
  expect(await customerOf('ada')).toEqual({ balance: 999, reserved: 1, waiting: 1 });
  await inOrder();
});
const withoutLane = (verdict: Verdict): object => {
  const { lane, ...rest } = verdict as Extract<Verdict, { kind: 'accepted' }>;
  assert.ok(lane);
  return rest;
};

test('a key with another message is refused; keys of two customers are two; a refusal keeps no key', async (t) => {
  await addCustomer(link, 'ada', { balance: 5 });
  await addCustomer(link, 'bob', { balance: 1 });
  const session = await pipelined(t, server.dsn);
  const keyed = (customer: string, text = 'hello') => wantedOf(customer, { idempotency_key: 'k', text });
  const first = await acceptGroup(session, [keyed('ada'), keyed('bob')], rulesOf());
  expect(kinds(first.verdicts)).toEqual(['accepted', 'accepted']);
  const second = await acceptGroup(session, [keyed('ada', 'other'), keyed('bob')], rulesOf());
  expect(kinds(second.verdicts)).toEqual(['IDEMPOTENCY_MISMATCH', 'replayed']);
  expect(second.verdicts[0]).toMatchObject({ problem: { status: 422 } });
  const poor = wantedOf('bob', { idempotency_key: 'later' });
  expect(kinds((await acceptGroup(session, [poor], rulesOf())).verdicts)).toEqual(['BALANCE_TOO_LOW']);
  await link.query("UPDATE customers SET balance = 1 WHERE customer_id = 'bob'");
  await link.query(
    "INSERT INTO balance_txn (customer_id, kind, debit, credit, amount) VALUES ('bob', 'credit', 'external', 'available', 1)",
  );
  expect(kinds((await acceptGroup(session, [poor], rulesOf())).verdicts)).toEqual(['accepted']);
  await inOrder();
});

test('a customer who is not active, and one whose backlog is full, is refused; the others are not', async (t) => {
  await addCustomer(link, 'ada', { balance: 5 });
  await addCustomer(link, 'off', { balance: 5 });
  await link.query("UPDATE customers SET active = false WHERE customer_id = 'off'");
  const session = await pipelined(t, server.dsn);
  const group = [wantedOf('off'), wantedOf('ada'), wantedOf('ada'), wantedOf('ada')];
  const { verdicts } = await acceptGroup(session, group, rulesOf({ backlogLimit: 2 }));
  expect(kinds(verdicts)).toEqual(['CUSTOMER_INACTIVE', 'accepted', 'accepted', 'BACKLOG_FULL']);
  expect(verdicts[3]).toMatchObject({ problem: { status: 429, limit: 2, waiting: 2, retryAfterS: 1 } });
  await inOrder();
});

test('a customer whose row is held keeps nobody else from sending, and is served when it is free', async (t) => {
  for (const id of ['ada', 'bob', 'held']) await addCustomer(link, id, { balance: 50 });
  const holder = await openLink(server.dsn);
  t.onTestFinished(() => holder.close());
  await holder.query("BEGIN; SELECT FROM customers WHERE customer_id = 'held' FOR UPDATE");
  const session = await pipelined(t, server.dsn);
  const locked = new Set<string>();
  const group = [wantedOf('ada'), wantedOf('held'), wantedOf('nobody'), wantedOf('bob')];
  const accept = async () => kinds((await acceptGroup(session, group, rulesOf(), locked)).verdicts);
  expect(await accept()).toEqual(['accepted', 'CUSTOMER_BUSY', 'CUSTOMER_UNKNOWN', 'accepted']);
  expect([...locked]).toEqual(['held']);
  // Nobody waits for it again.
  const waiting = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  let done = false;
  const again = accept().finally(() => (done = true));
  while (!done) assert.equal((await link.query(waiting)).rows[0]!['n'], 0);
  expect(await again).toEqual(['accepted', 'CUSTOMER_BUSY', 'CUSTOMER_UNKNOWN', 'accepted']);
  await holder.query('ROLLBACK');
  expect(await accept()).toEqual(['accepted', 'accepted', 'CUSTOMER_UNKNOWN', 'accepted']);
  assert.equal(locked.size, 0);
  await inOrder();
});

test('of a list of thousands of prices the longest prefix counts, and no more is read than the numbers need', async (t) => {
  await addCustomer(link, 'ada', { balance: 1_000_000, cost: 7 });
  await addCustomer(link, 'bob', { balance: 1_000_000 });
  await link.query(
    `INSERT INTO customer_prices SELECT 'ada', (100000 + i)::text, 1000 + i FROM generate_series(1, 10000) i
       UNION ALL SELECT 'ada', '98', 20 UNION ALL SELECT 'ada', '98912', 30 UNION ALL SELECT 'ada', '989121234567', 40`,
  );
  const session = await pipelined(t, server.dsn);
  const numbers = ['+989121234567', '+989121234568', '+989351234567', '+12025550123', '+989121234568'];
  const group = [...numbers.map((to) => wantedOf('ada', { to })), wantedOf('bob')];
  const { verdicts } = await acceptGroup(session, group, rulesOf());
  expect(verdicts.map((verdict) => (verdict as { cost?: number }).cost)).toEqual([40, 30, 20, 7, 30, 1]);
  await inOrder();
});

test('a session that dies before the commit leaves nothing; one that dies in it says that nobody knows', async (t) => {
  await addCustomer(link, 'ada', { balance: 5 });
  const holder = await pipelined(t, server.dsn);
  await holder.query('BEGIN');
  await holder.query("SELECT FROM customers WHERE customer_id = 'ada' FOR UPDATE");
  const session = await pipelined(t, server.dsn);
  const waits = acceptGroup(session, [wantedOf('ada')], rulesOf());
  const kill = (wait: string) =>
    expect
      .poll(async () => {
        const { rowCount } = await link.query(
          'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = $1 AND pid <> pg_backend_pid()',
          [wait],
        );
        return rowCount;
      })
      .toBe(1);
  const [died] = await Promise.all([waits.catch((error: unknown) => error), kill('Lock')]);
  assert.notEqual((died as { code?: string }).code, 'ACCEPT_UNKNOWN');
  await holder.query('ROLLBACK');
  expect(await customerOf('ada')).toEqual({ balance: 5, reserved: 0, waiting: 0 });

  // The outbox is locked: the transaction stands right before its commit.
  await holder.query('BEGIN');
  await holder.query('LOCK TABLE sms_outbox IN EXCLUSIVE MODE');
  const other = await pipelined(t, server.dsn);
  const [unknown] = await Promise.all([
    acceptGroup(other, [wantedOf('ada')], rulesOf()).catch((error: unknown) => error),
    kill('Lock'),
  ]);
  assert.equal((unknown as { code?: string }).code, 'ACCEPT_UNKNOWN');
  await holder.query('ROLLBACK');
  await inOrder();
});

test('a day that gets its partition while its messages are on their way is no refusal', async (t) => {
  await addCustomer(link, 'ada', { balance: 5 });
  const other = await openLink(server.dsn);
  t.onTestFinished(() => other.close());
  const session = await pipelined(t, server.dsn);
  await other.query('BEGIN');
  await other.query('LOCK TABLE sms_logs_default IN ACCESS EXCLUSIVE MODE');
  const group = acceptGroup(session, [wantedOf('ada')], rulesOf());
  const waits = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  await expect.poll(async () => (await link.query(waits)).rows[0]!['n']).toBe(1);
  await other.query(`CREATE TABLE sms_logs_day (LIKE sms_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`);
  await other.query(
    "ALTER TABLE sms_logs ATTACH PARTITION sms_logs_day FOR VALUES FROM ('2000-01-01') TO ('2100-01-01')",
  );
  await other.query('COMMIT');
  t.onTestFinished(async () => void (await link.query('DROP TABLE IF EXISTS sms_logs_day')));
  expect(kinds((await group).verdicts)).toEqual(['accepted']);
  const { rows } = await link.query('SELECT count(*)::int AS n FROM sms_logs_day');
  assert.equal(rows[0]!['n'], 1);
  await inOrder();
});

test('old keys are deleted in pages, and those that are not old stay', async () => {
  await link.query(
    `INSERT INTO idempotency_keys SELECT 'ada', 'k' || i, '\\x00', 'm', 1, 1, 1, now() - make_interval(hours => i)
     FROM generate_series(1, 40) i`,
  );
  const ended = new AbortController();
  const once = {
    query: async (...query: Parameters<PostgresLink['query']>) => {
      ended.abort();
      return await link.query(...query);
    },
  } as unknown as PostgresLink;
  assert.equal(await dropOldKeys(once, 24, ended.signal, 5), 5);
  // A page is found without a look at the others: it is the begin of the index.
  const { rows: oldest } = await link.query(
    "SELECT max(now() - created_at) < '36 hours' AS gone FROM idempotency_keys",
  );
  assert.deepEqual(oldest, [{ gone: true }]);
  assert.equal(await dropOldKeys(link, 24, undefined, 5), 12);
  const { rows } = await link.query('SELECT count(*)::int AS n FROM idempotency_keys');
  assert.equal(rows[0]!['n'], 23);
});
