/**
 * Goal: days are there before they are needed, and leave the database without a row or a unit of money lost, whenever the
 * process dies. Method: a real Postgres with the schema of the service, clocks that are set, a job that is cut off at each
 * of its steps.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { byIndex } from '../../../src/sms/by-index.ts';
import { resend } from '../../../src/sms/delivery/resend.ts';
import { UlidMaker, ulidMs } from '../../../src/sms/message/ulid.ts';
import { audit } from '../../../src/sms/money/audit.ts';
import { settle } from '../../../src/sms/money/settle.ts';
import { archiveDay, dropDay, openArchives, place } from '../../../src/sms/partitions/archive.ts';
import { carryDay } from '../../../src/sms/partitions/carry.ts';
import { closeDay } from '../../../src/sms/partitions/close.ts';
import { type DailyTable, smsDaysBy } from '../../../src/sms/partitions/days.ts';
import { endDay } from '../../../src/sms/partitions/ended.ts';
import { proveDays } from '../../../src/sms/partitions/prove.ts';
import { type Retired, retire } from '../../../src/sms/partitions/retire.ts';
import { dayPeriod } from '../../../src/store/postgres/day-partitions.ts';
import { inTransaction } from '../../../src/store/postgres/in-transaction.ts';
import { DAY_MS, periodsOf } from '../../../src/store/postgres/time-partitions.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { migrateSms, openLink, type PostgresLink } from '../database.ts';

const scope = fileScope();
const TODAY = Date.UTC(2026, 10, 29, 12);
const retention = { sms_logs: 7, balance_txn: 10 };
let server: PostgresServer;
let link: PostgresLink;
let folder = '';
let nowMs = TODAY;
const days = smsDaysBy(async () => nowMs);
const { signal } = new AbortController();

beforeAll(async () => {
  server = await startPostgres(scope, { port: 24_900, settings: fastSettings, own: true });
  link = await openLink(server.dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(async () => {
  await link.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  await migrateSms(server.dsn);
  nowMs = TODAY;
  folder = mkdtempSync(join(tmpdir(), 'ringmain-archive-'));
  return () => rmSync(folder, { recursive: true, force: true });
});

const run = (on = link): Promise<Retired> => retire(on, days, { retention, folder }, signal);
const one = async <R extends Record<string, unknown>>(sql: string): Promise<R> => (await link.query<R>(sql)).rows[0]!;
const count = async (table: string): Promise<number> =>
  (await one<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).n;
const dayOf = (back: number): number => dayPeriod.at(TODAY) - back;
const at = (back: number): Date => new Date(dayPeriod.begin(dayOf(back)) + DAY_MS / 2);

let messages = 0;
async function putMessage(back: number, status = 'delivered', money = 'captured'): Promise<string> {
  messages += 1;
  const id = `M${String(messages).padStart(25, '0')}`;
  await link.query(
    `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, status, money, valid_until)
     VALUES ($1, $2, 'ada', '+989121234567', 'سلام "x" \n', 1, 5, $3, $4, $1)`,
    [at(back), id, status, money],
  );
  return id;
}

type Transfer = readonly [customer: string, kind: string, debit: string, credit: string, amount: bigint | number];
async function transfer(back: number, ...rows: readonly Transfer[]): Promise<void> {
  for (const [customer, kind, debit, credit, amount] of rows)
    await link.query(
      `INSERT INTO balance_txn (created_at, customer_id, kind, debit, credit, amount) VALUES ($1, $2, $3, $4, $5, $6)`,
      [at(back), customer, kind, debit, credit, String(amount)],
    );
}

const audited = () => audit(link, days);
const carries = async (): Promise<readonly string[]> =>
  (
    await link.query<{ line: string }>(
      "SELECT customer_id || ' ' || account || ' ' || amount AS line FROM balance_carries ORDER BY 1",
    )
  ).rows.map(({ line }) => line);

/** Sum of each account of each customer: of rows of days that were not carried, and of what was carried. */
async function sums(): Promise<readonly string[]> {
  const { rows } = await link.query<{ line: string }>(
    `WITH open AS (SELECT * FROM balance_txn t WHERE NOT EXISTS (SELECT FROM sms_days d WHERE d.parent = 'balance_txn'
         AND over_at IS NOT NULL AND 'balance_txn_' || to_char(d.day, 'YYYYMMDD') = t.tableoid::regclass::text))
     SELECT customer_id || ' ' || account || ' ' || sum(amount) AS line
     FROM (SELECT customer_id, credit AS account, amount FROM open
           UNION ALL SELECT customer_id, debit, -amount FROM open
           UNION ALL SELECT * FROM balance_carries) AS sides
     GROUP BY customer_id, account HAVING sum(amount) <> 0 ORDER BY 1`,
  );
  return rows.map(({ line }) => line);
}

async function fillLedger(): Promise<void> {
  await transfer(
    30,
    ['ada', 'credit', 'external', 'available', 100],
    ['bob', 'credit', 'external', 'available', 2n ** 52n],
  );
  await transfer(30, ['ada', 'reserve', 'available', 'reserved', 30], ['ada', 'capture', 'reserved', 'revenue', 10]);
  await transfer(29, ['ada', 'refund', 'reserved', 'available', 5], ['bob', 'reserve', 'available', 'reserved', 7]);
  // Spent before it came, by the times of the transactions.
  await transfer(28, ['eve', 'reserve', 'available', 'reserved', 9]);
  await transfer(2, ['eve', 'credit', 'external', 'available', 9], ['bob', 'capture', 'reserved', 'revenue', 7]);
}

/** Customers whose rows say what the ledger and the messages come to. */
async function fillCustomers(): Promise<void> {
  await link.query(
    `INSERT INTO customers (customer_id, balance, reserved, waiting)
     SELECT customer_id, sum(CASE 'available' WHEN credit THEN amount WHEN debit THEN -amount ELSE 0 END),
       sum(CASE 'reserved' WHEN credit THEN amount WHEN debit THEN -amount ELSE 0 END), 1
     FROM balance_txn GROUP BY customer_id`,
  );
  for (const [customer, cost] of [
    ['ada', 15],
    ['bob', 0],
    ['eve', 9],
  ] as const) {
    const id = await putMessage(30, 'accepted', 'reserved');
    await link.query('UPDATE sms_logs SET customer_id = $2, cost = $3 WHERE message_id = $1', [id, customer, cost]);
  }
}

const names = (table: DailyTable): Promise<readonly number[]> => periodsOf(link, dayPeriod, table);

test('this day and seven more are made, in both tables, and again on the next day', async () => {
  expect((await days.state(link)).missing).toHaveLength(4);
  await days.make(link);
  const week = Array.from({ length: 8 }, (_, i) => dayOf(0) + i);
  expect(await names('sms_logs')).toEqual(week);
  expect(await names('balance_txn')).toEqual(week);
  expect((await days.state(link)).missing).toEqual([]);
  nowMs += 7 * DAY_MS;
  expect((await days.state(link)).missing).toEqual(['sms_logs_20261207', 'balance_txn_20261207']);
  await days.make(link);
  expect((await names('sms_logs')).at(-1)).toBe(dayOf(0) + 14);
});

test('rows of the default partition are moved to their days, which keep room for updates', async () => {
  await putMessage(0);
  await putMessage(3);
  await fillLedger();
  const before = await sums();
  expect((await days.state(link)).strays).toEqual({ sms_logs: 2, balance_txn: 9 });
  await days.make(link);
  expect((await days.state(link)).strays).toEqual({ sms_logs: 0, balance_txn: 0 });
  expect([await count('sms_logs_default'), await count('sms_logs'), await sums()]).toEqual([0, 2, before]);
  const { options } = await one<{ options: string[] }>(
    "SELECT reloptions AS options FROM pg_class WHERE relname = 'sms_logs_20261126'",
  );
  expect(options).toEqual(['fillfactor=70']);
});

test('days past their retention are archived and dropped; younger ones and those with a message under way stay', async () => {
  for (const back of [8, 8, 9, 20, 7, 0]) await putMessage(back);
  await putMessage(9, 'sending', 'reserved');
  await days.make(link);
  const { held, archived, dropped } = await run();
  expect(held).toEqual(['sms_logs_20261120']);
  expect(archived.map(({ rows }) => rows)).toEqual([1, 2]);
  expect(dropped).toHaveLength(2);
  expect(await count('sms_logs')).toBe(4);
  expect(await names('sms_logs')).toEqual([9, 7, 0, -1, -2, -3, -4, -5, -6, -7].map(dayOf));
  expect(await run()).toEqual({ closed: [], held, archived: [], dropped: [] });
  await link.query("UPDATE sms_logs SET status = 'failed', money = 'refunded' WHERE status = 'sending'");
  expect((await run()).archived.map(({ rows }) => rows)).toEqual([2]);
});

test('an archive says what the table said, to the microsecond and the last unit', async () => {
  const id = await putMessage(9);
  await link.query("UPDATE sms_logs SET created_at = '2026-11-20T01:02:03.123457Z', cost = 9223372036854775807");
  await days.make(link);
  const { rows: before } = await link.query('SELECT * FROM sms_logs');
  await run();
  const [name] = readdirSync(folder);
  expect(name).toMatch(/^sms_logs_20261120_closed_\d+\.parquet$/);
  const parsers = { timestampFromMicroseconds: (micros: bigint) => micros };
  const rows = await parquetReadObjects({
    file: await asyncBufferFromFile(join(folder, name!)),
    parsers: parsers as never,
  });
  expect(rows).toHaveLength(1);
  expect(Object.keys(rows[0]!)).toEqual(Object.keys(before[0]!));
  expect(rows[0]).toMatchObject({
    message_id: id,
    body: 'سلام "x" \n',
    cost: 9223372036854775807n,
    created_at: BigInt(Date.UTC(2026, 10, 20, 1, 2, 3)) * 1000n + 123_457n,
    operator: null,
    segments: 1,
  });
  const { row_count, host, dropped_at } = await one('SELECT * FROM sms_archives');
  expect([row_count, typeof host, dropped_at]).toEqual(['1', 'string', expect.any(Date)]);
});

test('balances can be proved after days of the ledger have gone, one by one and all at once', async () => {
  await fillLedger();
  await fillCustomers();
  const before = await sums();
  await days.make(link);
  expect(await audited()).toMatchObject({ transfers: 9, differences: [] });
  expect(before).toContain('bob available 4503599627370489');
  nowMs = dayPeriod.begin(dayOf(30)) + 11 * DAY_MS;
  expect((await run()).closed).toEqual([{ relation: expect.stringMatching(/^balance_txn_20261030_closed_/) }]);
  expect(await sums()).toEqual(before);
  nowMs = TODAY;
  expect((await run()).closed).toHaveLength(2);
  expect(await sums()).toEqual(before);
  expect(await audited()).toMatchObject({ customers: 3, transfers: 2, differences: [] });
  await transfer(0, ['ada', 'refund', 'reserved', 'available', 1]);
  expect((await audited()).differences).not.toEqual([]);
  expect(await names('balance_txn')).toEqual([2, 0, -1, -2, -3, -4, -5, -6, -7].map(dayOf));
  expect(await carries()).toContain('eve available -9');
});

test('a day that is over is carried once, and its rows are not read again by the audit; those of this day are', async () => {
  await fillLedger();
  await fillCustomers();
  const before = await sums();
  await days.make(link);
  const { carried } = await proveDays(link, days, signal);
  expect(carried.map(({ partition, rows, sums }) => [partition, rows, sums])).toEqual([
    ['balance_txn_20261030', 4, 6],
    ['balance_txn_20261031', 2, 4],
    ['balance_txn_20261101', 1, 2],
    ['balance_txn_20261127', 2, 4],
  ]);
  expect(await sums()).toEqual(before);
  expect((await proveDays(link, days, signal)).carried).toEqual([]);
  expect(await audited()).toMatchObject({ customers: 3, transfers: 9, differences: [] });
  // Past the triggers: nobody would notice but who reads the rows.
  await link.query(`SET session_replication_role = replica; DELETE FROM balance_txn; RESET session_replication_role`);
  expect((await audited()).differences).toEqual([]);
  await transfer(0, ['ada', 'credit', 'external', 'available', 1]);
  expect((await audited()).differences).toMatchObject([{ customer: 'ada', check: 'available', difference: '-1' }]);
});

test('a transfer that comes late, into a day that was carried, counts at once; so does one that is changed', async () => {
  await fillLedger();
  await fillCustomers();
  await days.make(link);
  // Its transaction began before midnight, and ends while the day is carried.
  const late = await openLink(server.dsn);
  await late.query('BEGIN');
  await late.query('SELECT 1 FROM customers');
  const [holder, carrier] = await Promise.all([openLink(server.dsn), openLink(server.dsn)]);
  await holder.query('BEGIN; LOCK TABLE sms_days IN ACCESS EXCLUSIVE MODE');
  const carrying = carryDay(carrier, days, dayOf(29), signal);
  await expect
    .poll(() => count("pg_locks WHERE relation = 'balance_txn_20261031'::regclass AND mode = 'ShareRowExclusiveLock'"))
    .toBe(1);
  const coming = late.query(
    `INSERT INTO balance_txn (created_at, customer_id, kind, debit, credit, amount)
     VALUES ($1, 'ada', 'credit', 'external', 'available', 3)`,
    [at(29)],
  );
  await expect.poll(() => count('pg_locks WHERE NOT granted')).toBe(2);
  await holder.query('COMMIT');
  expect(await carrying).toMatchObject({ rows: 2 });
  await coming;
  await late.query("COMMIT; UPDATE customers SET balance = balance + 3 WHERE customer_id = 'ada'");
  expect((await audited()).differences).toEqual([]);
  await link.query(`UPDATE balance_txn SET amount = 4 WHERE customer_id = 'ada' AND amount = 3`);
  expect((await audited()).differences).toMatchObject([{ customer: 'ada', check: 'available', difference: '-1' }]);
  await Promise.all([late, holder, carrier].map((one) => one.close()));
});

test('messages of days that are over are read again only of customers that seem to differ', async () => {
  await fillLedger();
  await fillCustomers();
  await putMessage(4);
  await days.make(link);
  expect((await proveDays(link, days, signal)).ended).toEqual(['sms_logs_20261125']);
  expect((await audited()).differences).toEqual([]);
  // By a clock that is wrong: reserved, in a day that is over.
  const id = await putMessage(4, 'accepted', 'reserved');
  await link.query("UPDATE customers SET reserved = reserved + 5, waiting = waiting + 1 WHERE customer_id = 'ada'");
  await transfer(0, ['ada', 'credit', 'external', 'reserved', 5]);
  expect((await audited()).differences).toEqual([]);
  await link.query("UPDATE sms_logs SET money = 'refunded' WHERE message_id = $1", [id]);
  expect((await audited()).differences).toMatchObject([
    { customer: 'ada', check: 'messages', stored: '20', proven: '15' },
    { customer: 'ada', check: 'waiting', stored: '2', proven: '1' },
  ]);
});

test('a row that comes late, into a day that has gone, is proved with the others and goes like them', async () => {
  await fillLedger();
  await days.make(link);
  await run();
  await transfer(29, ['ada', 'credit', 'external', 'available', 1]);
  const before = await sums();
  await days.make(link);
  expect((await run()).closed).toHaveLength(1);
  expect(await sums()).toEqual(before);
  expect(readdirSync(folder).filter((name) => name.startsWith('balance_txn_20261031'))).toHaveLength(2);
});

test('while writers hold a day it is not closed, and nothing has changed; then it is', async () => {
  await fillLedger();
  await days.make(link);
  const writer = await openLink(server.dsn);
  await writer.query('BEGIN');
  await writer.query("UPDATE balance_txn SET amount = amount + 1 WHERE customer_id = 'eve' AND kind = 'reserve'");
  await expect(closeDay(link, days, 'balance_txn', dayOf(28), signal)).rejects.toMatchObject({ code: '55P03' });
  expect(await count('sms_archives')).toBe(0);
  await writer.query('COMMIT');
  await writer.close();
  const before = await sums();
  expect(before).toContain('eve reserved 10');
  await run();
  expect(await sums()).toEqual(before);
});

test('somebody who reads the whole table for long holds up neither sends nor, when it has ended, the closing', async () => {
  await fillLedger();
  await days.make(link);
  const [reader, sender] = await Promise.all([openLink(server.dsn), openLink(server.dsn)]);
  await reader.query('BEGIN; SELECT count(*) FROM balance_txn');
  const closing = closeDay(link, days, 'balance_txn', dayOf(30), signal);
  const begun = performance.now();
  let longest = 0;
  while (performance.now() - begun < 1500) {
    const sent = performance.now();
    await sender.query(
      `INSERT INTO balance_txn (created_at, customer_id, kind, debit, credit, amount)
       VALUES ($1, 'ada', 'credit', 'external', 'available', 1)`,
      [at(0)],
    );
    longest = Math.max(longest, performance.now() - sent);
  }
  await reader.query('COMMIT');
  expect(await closing).toMatchObject({ relation: expect.any(String) });
  expect(longest).toBeLessThan(1000);
  await Promise.all([reader.close(), sender.close()]);
});

/** A message of a customer of its own, whose money is reserved. */
async function reserve(customer: string, back = 0): Promise<string> {
  const id = new UlidMaker().make(at(back).getTime());
  await link.query('INSERT INTO customers (customer_id, reserved, waiting) VALUES ($1, 5, 1)', [customer]);
  await link.query(
    `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, valid_until)
     VALUES ($1, $2, $3, '+989121234567', 'x', 1, 5, $1)`,
    [new Date(ulidMs(id)!), id, customer],
  );
  return id;
}

test('while a day of messages is closed, outcomes of other messages are settled; then it is closed', async () => {
  await putMessage(20);
  const ids = [await reserve('ada'), await reserve('bob'), await reserve('eve')];
  await days.make(link);
  const settings = { ...byIndex, lock_timeout: '1000' };
  const [slow, worker] = [await openLink(server.dsn, { settings }), await openLink(server.dsn, { settings })];
  const closer = await openLink(server.dsn);
  const capture = (on: PostgresLink, at: number) => settle(on, [{ messageId: ids[at]!, money: 'captured' }]);
  await slow.query('BEGIN');
  await capture(slow, 0);
  const closing = closeDay(closer, days, 'sms_logs', dayOf(20), signal);
  const waits = () => count("pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'");
  // The closing gives up soon: whoever waits behind it gets on although the slow session has not ended.
  for (const at of [1, 2]) {
    await expect.poll(waits, { interval: 5 }).toBe(1);
    expect(await inTransaction(worker, () => capture(worker, at))).toHaveLength(1);
  }
  await slow.query('COMMIT');
  expect(await closing).toMatchObject({ relation: expect.stringMatching(/^sms_logs_20261109_closed_/) });
  expect(await count("sms_logs WHERE money = 'captured'")).toBe(3);
  await Promise.all([slow, worker, closer].map((one) => one.close()));
});

test('a day with a message that is sent again is not over, and stays; also when that happens during the look', async () => {
  const id = await reserve('ada', 20);
  await days.make(link);
  const fail = async () => {
    await link.query("UPDATE sms_logs SET status = 'failed', money = 'refunded'");
    await link.query('UPDATE customers SET balance = 5, reserved = 0, waiting = 0');
    await link.query("INSERT INTO sms_dead_letters VALUES ($1, 'ada', 'failed', NULL, 1, 'refused')", [id]);
  };
  const again = async () => expect((await resend(link, [id], TODAY)).get(id)).toBe('resent');
  await fail();
  expect((await proveDays(link, days, signal)).ended).toEqual(['sms_logs_20261109']);
  await again();
  expect(await closeDay(link, days, 'sms_logs', dayOf(20), signal)).toBeUndefined();
  await fail();
  await link.query('DELETE FROM sms_queue');
  const looker = await openLink(server.dsn);
  const looking = before(/SET over_at/, looker, again);
  expect(await endDay(looking, days, dayOf(20), signal)).toBeUndefined();
  await fail();
  await link.query('DELETE FROM sms_queue');
  // After the look, in front of the closing.
  const closing = before(/DELETE FROM sms_days .* over_at IS NOT NULL/, looker, again);
  expect(await closeDay(closing, days, 'sms_logs', dayOf(20), signal)).toBeUndefined();
  await looker.close();
});

/** Does something in front of the statement that fits. */
const before = (pattern: RegExp, on: PostgresLink, act: () => Promise<unknown>): PostgresLink =>
  new Proxy(on, {
    get(target, name) {
      if (name !== 'query') return Reflect.get(target, name, target);
      return async (sql: string, values?: readonly unknown[]) => {
        if (pattern.test(sql)) await act();
        return target.query(sql, values);
      };
    },
  });

/** The session dies in front of the statement that fits. */
const dyingBefore = (pattern: RegExp, on: PostgresLink): PostgresLink =>
  before(pattern, on, () => Promise.reject(new Error('killed')));

test.each([
  ['the sums are carried', /INSERT INTO balance_carries/],
  ['the day is marked', /INSERT INTO sms_days/],
  ['the day is detached', /DETACH PARTITION/],
  ['the detaching is committed', /^COMMIT$/],
  ['the first row is read', /SELECT .* AS c0/],
  ['the archive is recorded', /state = 'archived',/],
  ['the table is dropped', /^DROP TABLE/],
])('a run that dies before %s is taken up where it ended', async (_, pattern) => {
  await fillLedger();
  const before = await sums();
  await days.make(link);
  const victim = await openLink(server.dsn);
  await expect(run(dyingBefore(pattern, victim))).rejects.toThrow('killed');
  await victim.close();
  expect(await sums()).toEqual(before);
  await run();
  expect(await sums()).toEqual(before);
  expect(readdirSync(folder)).toHaveLength(3);
  const { rows } = await link.query("SELECT FROM sms_archives WHERE state = 'dropped'");
  expect(rows).toHaveLength(3);
  expect(await count(`pg_class WHERE relname LIKE '%closed%' AND relkind = 'r'`)).toBe(0);
});

test('a file that does not say what the table says keeps the table', async () => {
  await fillLedger();
  await days.make(link);
  await closeDay(link, days, 'balance_txn', dayOf(30), signal);
  const [archive] = await openArchives(link);
  // Another file has the name; then the disk has lost the end of it.
  const file = join(folder, `${archive!.relation}.parquet`);
  await archiveDay(link, archive!, folder, signal);
  await link.query("UPDATE sms_archives SET state = 'detached', file = NULL, row_count = NULL, sha256 = NULL");
  await link.query(`UPDATE ${archive!.relation} SET amount = amount + 1 WHERE customer_id = 'ada'`);
  await expect(archiveDay(link, archive!, folder, signal)).rejects.toMatchObject({ code: 'ARCHIVE_DIFFERS' });
  truncateSync(file, 100);
  await expect(archiveDay(link, archive!, folder, signal)).rejects.toThrow();
  await dropDay(link, archive!);
  expect(await count(archive!.relation)).toBe(4);
  expect(readdirSync(folder)).toEqual([`${archive!.relation}.parquet`]);
  rmSync(file);
  await run();
  expect(existsSync(file)).toBe(true);
});

test('what a killed process had written goes with the next run; a folder without hard links is good enough', async () => {
  await putMessage(20);
  await days.make(link);
  await closeDay(link, days, 'sms_logs', dayOf(20), signal);
  const [archive] = await openArchives(link);
  writeFileSync(join(folder, `.${archive!.relation}.parquet.123`), 'half');
  writeFileSync(join(folder, '.other.parquet.123'), 'of somebody else');
  await run();
  expect(readdirSync(folder).sort()).toEqual(['.other.parquet.123', `${archive!.relation}.parquet`]);
  const none = () => Promise.reject(Object.assign(new Error('no links'), { code: 'ENOTSUP' }));
  const [draft, file] = [join(folder, 'draft'), join(folder, 'file')];
  writeFileSync(draft, 'first');
  expect(await place(draft, file, none)).toBe(true);
  writeFileSync(draft, 'second');
  expect(await place(draft, file, none)).toBe(false);
  expect(readFileSync(file, 'utf8')).toBe('first');
  await expect(place(join(folder, 'gone'), join(folder, 'new'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('an archive of more rows than a batch has them all', async () => {
  await link.query(
    `INSERT INTO balance_txn (created_at, customer_id, kind, debit, credit, amount)
     SELECT $1, 'c' || n % 1000, 'credit', 'external', 'available', n FROM generate_series(1, 50001) AS n`,
    [at(20)],
  );
  await days.make(link);
  expect((await run()).archived).toMatchObject([{ rows: 50_001 }]);
});

test('a folder that cannot be written to leaves the day detached, and the next run archives it', async () => {
  await putMessage(20);
  await days.make(link);
  const good = folder;
  writeFileSync(join(good, 'file'), '');
  folder = join(good, 'file', 'below');
  await expect(run()).rejects.toMatchObject({ code: 'ENOTDIR' });
  folder = good;
  expect((await run()).dropped).toHaveLength(1);
});

test('a signal ends the run between two steps', async () => {
  await putMessage(20);
  await days.make(link);
  const abort = new AbortController();
  abort.abort(new Error('drained'));
  await expect(retire(link, days, { retention, folder }, abort.signal)).rejects.toThrow('drained');
  expect(await count('sms_archives')).toBe(0);
});

test('rows of default partitions are looked for by an index, with a long history in them', async () => {
  await link.query(
    `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, valid_until)
       SELECT to_timestamp(i), 'M' || i, 'ada', '+989121234567', 'x', 1, 1, now() FROM generate_series(1, 30000) i;
     INSERT INTO balance_txn (created_at, customer_id, kind, debit, credit, amount)
       SELECT to_timestamp(i), 'ada', 'credit', 'external', 'available', 1 FROM generate_series(1, 30000) i;
     ANALYZE sms_logs_default, balance_txn_default`,
  );
  const plans: string[] = [];
  const query = async (sql: string, values?: readonly unknown[]) => {
    if (sql.includes('_default WHERE')) {
      const { rows } = await link.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, values);
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    return await link.query(sql, values);
  };
  const session = { query } as unknown as PostgresLink;
  expect((await days.state(session)).strays).toEqual({ sms_logs: 0, balance_txn: 0 });
  await days.make(session);
  expect(plans).toHaveLength(4);
  for (const plan of plans) expect(plan).not.toContain('Seq Scan');
});
