/**
 * Goal: sums are a function of the set of records: whatever comes twice, late, or in another order, each message counts
 * once, in the minute in which it was accepted.
 * Method: a real chdb behind its HTTP interface; records as the output posts them.
 */
import assert from 'node:assert/strict';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { serializerOf } from '../../../src/http/json.ts';
import { LowBalances } from '../../../src/sms/reports/low-balances.ts';
import { byDay, byMinute, byOperator, topCustomers } from '../../../src/sms/reports/queries.ts';
import { DAY_MS, isoOf } from '../../../src/sms/reports/range.ts';
import { Rollup } from '../../../src/sms/reports/rollup.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import { timeReportSchema } from '../../../src/sms/reports/schemas.ts';
import { startTestChdb, type TestChdb } from '../../servers/chdb.ts';
import { fileScope } from '../../servers/scope.ts';
import { accepted, became, DAY, insert, MINUTE } from './records.ts';

const file = fileScope();
let chdb: TestChdb;
const day = { from: DAY, to: DAY + DAY_MS };
const pass = (rollup = new Rollup(chdb.client)) => rollup.pass(AbortSignal.timeout(60_000));
const minutes = (customer?: string) => byMinute(chdb.client, day, customer);

beforeAll(async () => {
  chdb = await startTestChdb(file, 24_850);
  await migrateReports(chdb.client, undefined);
}, 300_000);

beforeEach(async () => {
  for (const table of ['sms_raw', 'sms_minutes', 'sms_days', 'sms_operator_minutes', 'sms_rollups'])
    await chdb.client.command(`TRUNCATE TABLE ${table}`);
});

test('applied once, a second start changes nothing', async () => {
  assert.deepEqual(await migrateReports(chdb.client, undefined), []);
});

test('the same records, again and again, in other batches and another order: each message counts once', async () => {
  const sent = Array.from({ length: 100 }, (_, i) => accepted(i, DAY + i * 1000));
  const told = sent.map((message) => became(message, 'sent', message.at + 250));
  const ends = told
    .slice(0, 60)
    .map((one) => became(accepted(Number(one.message_id.slice(1)), one.accepted_at), 'delivered', one.at + 4000));
  for (const batch of [[...sent, ...told], ends, [...ends].reverse(), [...told.slice(50), ...sent.slice(0, 50)]]) {
    await insert(chdb.url, batch);
    await pass();
  }
  const rows = await minutes('ada');
  assert.deepEqual(rows, [
    { time: isoOf(DAY), accepted: 60, sent: 60, delivered: 60, failed: 0, unknown: 0, cost: 180 },
    { time: isoOf(DAY + MINUTE), accepted: 40, sent: 40, delivered: 0, failed: 0, unknown: 0, cost: 120 },
  ]);
  assert.deepEqual(await minutes(), rows);
  const whole = [{ time: isoOf(DAY), accepted: 100, sent: 100, delivered: 60, failed: 0, unknown: 0, cost: 300 }];
  assert.deepEqual(await byDay(chdb.client, day, 'ada'), whole);
  assert.deepEqual(await byDay(chdb.client, day, undefined), whole);
  const [operator] = await byOperator(chdb.client, day);
  expect(operator).toMatchObject({ operator: 'mci', type: 'normal', accepted: 100, sent: 100, delivery_rate: 0.6 });
  expect(operator).toMatchObject({ to_operator_ms: { p50: 250, p99: 250 }, to_handset_ms: { p50: 4000 } });
  await chdb.client.command('OPTIMIZE TABLE sms_raw FINAL');
  assert.equal((await chdb.client.rows<{ n: number }>('SELECT count() AS n FROM sms_raw'))[0]!.n, 260);
});

test('a state that comes two days later changes the minute of acceptance, and only its figures', async () => {
  const message = accepted(1, DAY + 5 * MINUTE);
  await insert(chdb.url, [message, accepted(2, DAY + 5 * MINUTE, { customer_id: 'bob' })]);
  await pass();
  expect((await minutes('ada'))[0]).toMatchObject({ accepted: 1, sent: 0, cost: 3 });
  await insert(chdb.url, [
    became(message, 'sent', DAY + 2 * DAY_MS),
    became(message, 'delivered', DAY + 2 * DAY_MS + 5),
  ]);
  await pass();
  assert.deepEqual(await minutes('ada'), [
    { time: isoOf(DAY + 5 * MINUTE), accepted: 1, sent: 1, delivered: 1, failed: 0, unknown: 0, cost: 3 },
  ]);
  assert.deepEqual((await minutes())[0], {
    time: isoOf(DAY + 5 * MINUTE),
    ...{ accepted: 2, sent: 1, delivered: 1, failed: 0, unknown: 0, cost: 6 },
  });
  assert.deepEqual(await byDay(chdb.client, { from: DAY + DAY_MS, to: DAY + 3 * DAY_MS }, undefined), []);
});

test('a state before its acceptance, as another partition may bring it, is the same message', async () => {
  const message = accepted(1, DAY);
  await insert(chdb.url, [became(message, 'delivered', DAY + 900)]);
  await pass();
  expect((await minutes('ada'))[0]).toMatchObject({ accepted: 1, sent: 1, delivered: 1, cost: 3 });
  await insert(chdb.url, [message]);
  await pass();
  expect((await minutes('ada'))[0]).toMatchObject({ accepted: 1, sent: 1, delivered: 1, cost: 3 });
});

test('money: refunded is no cost, captured stays one, unknown is what its last state says', async () => {
  const [refused, undelivered, kept, refunded] = [1, 2, 3, 4].map((id) => accepted(id, DAY));
  await insert(chdb.url, [refused, undelivered, kept, refunded] as object[]);
  await insert(chdb.url, [
    became(refused!, 'failed', DAY + 10, { reason: 'rejected' }),
    became(undelivered!, 'sent', DAY + 10),
    became(undelivered!, 'failed', DAY + 20),
    became(kept!, 'unknown', DAY + 10),
    became(refunded!, 'unknown', DAY + 10, { cost: 0 }),
  ]);
  await pass();
  assert.deepEqual(await minutes('ada'), [
    { time: isoOf(DAY), accepted: 4, sent: 1, delivered: 0, failed: 2, unknown: 2, cost: 6 },
  ]);
});

test('sums of money are exact beyond what a double holds, and beyond 64 bits, down to the text of the answer', async () => {
  const most = 2n ** 64n - 1n;
  const odd = 2n ** 53n + 1n;
  const seconds = DAY / 1000;
  for (const [operator, cost] of [
    ['mci', most],
    ['irancell', odd],
  ] as const)
    await chdb.client.command(
      `INSERT INTO sms_operator_minutes (minute, operator, type, accepted, cost, version)
        VALUES (toDateTime(${seconds}, 'UTC'), '${operator}', 'normal', 1, ${cost}, 1)`,
    );
  await chdb.client.command(`INSERT INTO sms_minutes (customer_id, minute, accepted, cost, version)
    VALUES ('ada', toDateTime(${seconds}, 'UTC'), 1, ${odd}, 1)`);
  await chdb.client.command(`INSERT INTO sms_days (day, customer_id, accepted, cost, version)
    VALUES (toDate(toDateTime(${seconds}, 'UTC')), 'ada', 1, ${odd}, 1)`);
  const costs = (rows: readonly { readonly cost: unknown }[]) => rows.map(({ cost }) => cost);
  assert.deepEqual(costs(await minutes()), [most + odd]);
  assert.deepEqual(costs(await byDay(chdb.client, day, undefined)), [most + odd]);
  assert.deepEqual(costs(await byOperator(chdb.client, day)), [odd, most]);
  assert.deepEqual(costs(await topCustomers(chdb.client, day, 5)), [odd]);
  assert.deepEqual(costs(await byDay(chdb.client, day, 'ada')), [odd]);
  const body = serializerOf(timeReportSchema)({ rows: await minutes('ada') });
  expect(body).toContain(`"cost":${odd}}`);
});

test('a message that is sent again is what it became since, whatever comes again or in another order', async () => {
  const [taken, waits, kept] = [1, 2, 3].map((id) => accepted(id, DAY));
  const records = [
    ...[taken!, became(taken!, 'failed', DAY + 10, { reason: 'rejected', cost: 0 })],
    became(taken!, 'accepted', DAY + 5000, { operator: null, resends: 1 }),
    became(taken!, 'failed', DAY + 5100, { attempts: 2, resends: 1, cost: 0 }),
    became(taken!, 'accepted', DAY + 6000, { operator: null, attempts: 2, resends: 2 }),
    became(taken!, 'sent', DAY + 6200, { operator: 'irancell', attempts: 3, resends: 2 }),
    ...[waits!, became(waits!, 'unknown', DAY + 10, { cost: 0 })],
    became(waits!, 'accepted', DAY + 5000, { operator: null, resends: 1 }),
    ...[kept!, became(kept!, 'unknown', DAY + 10)],
    became(kept!, 'accepted', DAY + 5000, { operator: null, resends: 1 }),
    became(kept!, 'failed', DAY + 5100, { attempts: 2, resends: 1, cost: 0 }),
  ];
  const whole = [{ time: isoOf(DAY), accepted: 3, sent: 1, delivered: 0, failed: 1, unknown: 0, cost: 6 }];
  for (const batch of [records, [...records].reverse(), records.filter((_, i) => i % 2 === 1)]) {
    await insert(chdb.url, batch);
    await chdb.client.command('OPTIMIZE TABLE sms_raw FINAL');
    await pass();
    assert.deepEqual(await minutes('ada'), whole);
  }
  const operators = await byOperator(chdb.client, day);
  assert.deepEqual(
    operators.map(({ operator, to_operator_ms: { p50 } }) => [operator, p50]),
    [
      ['', null],
      ['irancell', 200],
      ['mci', null],
    ],
    'time counts from when it was last sent again',
  );
});

test('an unknown message that was sent after all is sent; refunded money stays so', async () => {
  const [captured, refunded, undelivered] = [1, 2, 3].map((id) => accepted(id, DAY));
  await insert(chdb.url, [
    ...[captured!, became(captured!, 'unknown', DAY + 10), became(captured!, 'sent', DAY + 20)],
    ...[refunded!, became(refunded!, 'unknown', DAY + 10, { cost: 0 })],
    ...(['sent', 'delivered'] as const).map((status) => became(refunded!, status, DAY + 20, { cost: 0 })),
    ...[undelivered!, became(undelivered!, 'unknown', DAY + 10, { cost: 0 })],
    ...(['sent', 'failed'] as const).map((status) => became(undelivered!, status, DAY + 20, { cost: 0 })),
  ]);
  await pass();
  assert.deepEqual(await minutes('ada'), [
    { time: isoOf(DAY), accepted: 3, sent: 3, delivered: 1, failed: 1, unknown: 0, cost: 3 },
  ]);
});

test('a message that another operator takes over leaves the sums of the first', async () => {
  const message = accepted(1, DAY);
  await insert(chdb.url, [message, became(message, 'unknown', DAY + 10, { operator: 'irancell' })]);
  await pass();
  assert.deepEqual(
    (await byOperator(chdb.client, day)).map(({ operator }) => operator),
    ['irancell'],
  );
  await insert(chdb.url, [became(message, 'delivered', DAY + 20, { operator: 'mci' })]);
  await pass();
  const rows = await byOperator(chdb.client, day);
  assert.deepEqual(
    rows.map(({ operator, accepted: count }) => [operator, count]),
    [['mci', 1]],
  );
  expect((await minutes())[0]).toMatchObject({ accepted: 1, delivered: 1, unknown: 0 });
});

test('borders: the first ms of a minute is inside, the first of the next is not', async () => {
  await insert(chdb.url, [
    accepted(1, DAY + MINUTE - 1),
    accepted(2, DAY + MINUTE),
    accepted(3, DAY + 2 * MINUTE - 1),
    accepted(4, DAY + 2 * MINUTE),
    accepted(5, DAY + DAY_MS - 1),
    accepted(6, DAY + DAY_MS),
  ]);
  await pass();
  const one = await byMinute(chdb.client, { from: DAY + MINUTE, to: DAY + 2 * MINUTE }, 'ada');
  assert.deepEqual(
    one.map(({ time, accepted: count }) => [time, count]),
    [[isoOf(DAY + MINUTE), 2]],
  );
  const days = await byDay(chdb.client, { from: DAY, to: DAY + 2 * DAY_MS }, 'ada');
  assert.deepEqual(
    days.map(({ time, accepted: count }) => [time, count]),
    [
      [isoOf(DAY), 5],
      [isoOf(DAY + DAY_MS), 1],
    ],
  );
});

test('the busiest customers of a day come first', async () => {
  const many = Array.from({ length: 9 }, (_, i) => accepted(i, DAY, { customer_id: `c${i % 3}`, cost: 1 }));
  await insert(chdb.url, [...many, accepted(10, DAY, { customer_id: 'c2', cost: 7 })]);
  await pass();
  const rows = await topCustomers(chdb.client, day, 2);
  assert.deepEqual(
    rows.map(({ customer_id, accepted: count, cost }) => [customer_id, count, cost]),
    [
      ['c2', 4, 10],
      ['c0', 3, 3],
    ],
  );
});

test('a minute is computed again only when it has another record', async () => {
  const rollup = new Rollup(chdb.client);
  const [first, second] = [accepted(1, DAY), accepted(2, DAY + MINUTE)];
  await insert(chdb.url, [first, second]);
  assert.equal(await pass(rollup), 2);
  // The second pass begins to compare: what came in the last half minute is computed once more.
  await pass(rollup);
  assert.equal(await pass(rollup), 0);
  await insert(chdb.url, [became(first, 'sent', DAY + 5)]);
  assert.equal(await pass(rollup), 1);
  assert.equal(await pass(rollup), 0);
  expect((await minutes('ada')).map(({ sent }) => sent)).toEqual([1, 0]);
});

test('balances that end first are found among all who spent, also one that has stopped with nothing left', async () => {
  const now = Date.now();
  const today = now - (now % DAY_MS);
  const spend = (day: number, customers: string, cost: number, count = 1) =>
    chdb.client.command(
      `INSERT INTO sms_days (day, customer_id, accepted, cost, version)
      SELECT toDate(toDateTime(${day / 1000}, 'UTC')), ${customers}, 1, ${cost}, 1 FROM numbers(${count})`,
    );
  // More than a page of Postgres holds, each of whom spends a lot and has enough.
  await spend(today, `concat('rich', toString(number))`, 1000, 6000);
  await spend(today - DAY_MS, `'soon'`, 48);
  await spend(today - 3 * DAY_MS, `'stopped'`, 80);
  await spend(today - 3 * DAY_MS, `'empty'`, 5);
  await spend(today - 3 * DAY_MS, `'inactive'`, 5);
  await spend(today - 8 * DAY_MS, `'forgotten'`, 5);
  const has: Readonly<Record<string, number>> = { soon: 1, stopped: 20, empty: 0, forgotten: 0 };
  let questions = 0;
  const balancesOf = async (customers: readonly string[]) => {
    questions += 1;
    return customers
      .filter((id) => id !== 'inactive')
      .map((id) => ({ customer_id: id, name: '', balance: has[id] ?? 1e9, reserved: 0, waiting: 0 }));
  };
  const low = new LowBalances(chdb.client, balancesOf, 60_000);
  const [{ rows, hour, day: within }, again] = await Promise.all([low.lowest(), low.lowest()]);
  assert.deepEqual(
    rows.slice(0, 3).map(({ customer_id }) => customer_id),
    ['empty', 'soon', 'stopped'],
  );
  assert.equal(rows.length, 1000);
  expect(rows[0]).toMatchObject({ balance: 0, days_left: 0 });
  // 80 in seven days and what has gone of today.
  expect([10, 11]).toContain(rows[2]!.cost_per_day);
  // Alerts are for those who would go on: it spends 24 to 48 a day.
  assert.deepEqual([hour, within], [rows[1]!.days_left! < 1 / 24 ? 1 : 0, 1]);
  assert.equal(again.rows, rows);
  assert.equal(questions, 2);
});
