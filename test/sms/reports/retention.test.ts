/**
 * Goal: messages past REPORTS_RAW_DAYS leave ClickHouse by whole days, their sums stay as they were whatever comes late,
 * and nobody takes an export that lacks messages for a whole one.
 * Method: a real chdb; messages of today and of long ago. Then the built service over it, asked as a user does.
 */
import assert from 'node:assert/strict';
import { beforeAll, expect, test, vi } from 'vitest';
import { byDay, byMinute, byOperator } from '../../../src/sms/reports/queries.ts';
import { DAY_MS, isoOf, MINUTE_MS } from '../../../src/sms/reports/range.ts';
import { keptSince, Retention } from '../../../src/sms/reports/retention.ts';
import { Rollup } from '../../../src/sms/reports/rollup.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import { startTestChdb, type TestChdb } from '../../servers/chdb.ts';
import { fileScope } from '../../servers/scope.ts';
import { startDatabase } from '../database.ts';
import { ADMIN_KEY, startSms } from '../running.ts';
import { accepted, became, insert } from './records.ts';

const API = 26_591;
const file = fileScope();
let chdb: TestChdb;
/** The begin of today, and of a day so many days ago. */
const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const ago = (days: number): number => today - days * DAY_MS;
const dayOf = (days: number) => ({ from: ago(days), to: ago(days) + DAY_MS });
const name = (days: number): string => isoOf(ago(days)).slice(0, 10).replaceAll('-', '');

beforeAll(async () => {
  chdb = await startTestChdb(file, 24_895);
  await migrateReports(chdb.client, undefined);
}, 300_000);

const messages = async () =>
  (await chdb.client.rows<{ day: string }>('SELECT DISTINCT toYYYYMMDD(minute) AS day FROM sms_raw ORDER BY day')).map(
    ({ day }) => String(day),
  );
const sums = async (days: number) => ({
  minutes: await byMinute(chdb.client, dayOf(days), 'ada'),
  all: await byMinute(chdb.client, dayOf(days), undefined),
  day: await byDay(chdb.client, dayOf(days), 'ada'),
  operators: await byOperator(chdb.client, dayOf(days)),
});

test('whole days go a pass after they were given up; their sums stay, also when a record comes late', async () => {
  const rollup = new Rollup(chdb.client);
  const pass = () => rollup.pass(AbortSignal.timeout(60_000));
  const ofDay = (days: number) => {
    const all = Array.from({ length: 10 }, (_, i) => accepted(days * 100 + i, ago(days) + i * MINUTE_MS));
    return [...all, ...all.slice(2).map((one) => became(one, 'sent', one.at + 100))];
  };
  for (const days of [0, 13, 14, 15, 40]) await insert(chdb.url, ofDay(days));
  await pass();
  const before = await sums(40);
  assert.deepEqual(before.day, [
    { time: isoOf(ago(40)), accepted: 10, sent: 8, delivered: 0, failed: 0, unknown: 0, cost: 30 },
  ]);

  const retention = new Retention(chdb.client, 14);
  assert.equal(await keptSince(chdb.client), 0);
  assert.deepEqual(await retention.pass(), [], 'computations that are under way may still read them');
  assert.equal(await keptSince(chdb.client), ago(14));
  assert.deepEqual(await messages(), [40, 15, 14, 13, 0].map(name));
  assert.deepEqual(await retention.pass(), [40, 15].map(name));
  assert.deepEqual(await messages(), [14, 13, 0].map(name));

  // A state of a message that is gone, and one that never was: no sum of that day may change.
  await insert(chdb.url, [
    became(accepted(4005, ago(40) + 5 * MINUTE_MS), 'delivered', Date.now()),
    accepted(4099, ago(40) + 5 * MINUTE_MS),
  ]);
  await pass();
  assert.deepEqual(await sums(40), before);
  assert.deepEqual(await retention.pass(), [name(40)]);
  await pass();
  await new Rollup(chdb.client).pass(AbortSignal.timeout(60_000));
  assert.deepEqual(await sums(40), before);

  // A longer retention brings nothing back, and does not make what is gone look whole.
  await new Retention(chdb.client, 60).pass();
  assert.equal(await keptSince(chdb.client), ago(14));

  // Of a day that is kept, a late state counts.
  await insert(chdb.url, [became(accepted(1305, ago(13) + 5 * MINUTE_MS), 'delivered', Date.now())]);
  await pass();
  expect((await sums(13)).day).toMatchObject([{ accepted: 10, sent: 8, delivered: 1 }]);
});

test('the service does it by REPORTS_RAW_DAYS, and refuses an export of what is gone', async () => {
  const { dsn } = await startDatabase(file, 26_590);
  await startSms(file, {
    port: API,
    dsn,
    env: { REPORTS: 'on', REPORTS_EVERY_MS: '100ms', REPORTS_RAW_DAYS: '14', CLICKHOUSE_URL: chdb.url },
  });
  await insert(chdb.url, [accepted(2001, ago(20))]);
  const ask = (path: string) =>
    fetch(`http://127.0.0.1:${API + 5000}${path}`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  const lines = async (days: number) => {
    const answer = await ask(`/v1/export?format=jsonl&from=${isoOf(ago(days))}&to=${isoOf(today + DAY_MS)}`);
    return { status: answer.status, text: await answer.text() };
  };
  await vi.waitFor(async () => expect((await lines(14)).status).toBe(200), 60_000);
  expect((await lines(14)).text.trim().split('\n')).toHaveLength(30);
  const refused = await lines(15);
  expect(refused.status).toBe(400);
  expect(refused.text).toContain(`from must not be before ${isoOf(ago(14))}`);
  const report = await ask(`/v1/reports/day?from=${isoOf(ago(41))}&to=${isoOf(ago(39))}`);
  expect(await report.json()).toMatchObject({ rows: [{ accepted: 10, sent: 8 }] });
});
