/** Goal: old months of the log go, young ones stay, and what lay astray is moved. Method: a real Postgres. */
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { dropOldLogs, logMonths } from '../../../src/gateway/logs/partitions.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { monthNow, monthsOf, monthText } from '../../../src/store/postgres/month-partitions.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, startDatabase } from '../database.ts';

const scope = fileScope();
const { signal } = new AbortController();
let link: PostgresLink;
let dsn = '';

beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, 24_160));
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(async () => {
  await emptyTables(link);
  await logMonths.make(link);
});

const put = (at: string) =>
  link.query(
    `INSERT INTO request_logs (request_id, method, request_path, response_status, outcome, response_time_ms,
       request_size_bytes, response_size_bytes, created_at) VALUES ('x', 'GET', '/', 200, 'ok', 1, 0, 0, ${at})`,
  );
const count = async (table: string): Promise<number> =>
  (await link.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]!.n;

test('rows of a month without a partition are moved into one, and ids go on in the whole table', async () => {
  await put("now() - interval '200 days'");
  await put('now()');
  expect((await logMonths.state(link)).strays.request_logs).toBe(1);
  await logMonths.make(link);
  expect(await logMonths.state(link)).toEqual({ missing: [], strays: { request_logs: 0 } });
  await put('now()');
  const { rows } = await link.query<{ ids: number }>('SELECT count(DISTINCT id)::int AS ids FROM request_logs');
  expect(rows[0]).toEqual({ ids: 3 });
});

test('months that ended long enough ago are dropped, and rows of the default partition deleted', async () => {
  const { month } = await monthNow(link);
  for (const back of [1, 2, 5]) await logMonths.makePeriod(link, month - back);
  await put("now() - interval '5 months'");
  await put("'1999-01-01'");
  await put('now()');
  expect(await count('request_logs_default')).toBe(1);
  const { months, rows } = await dropOldLogs(link, 90, signal);
  expect(months).toContain(`request_logs_${monthText(month - 5)}`);
  expect(rows).toBe(1);
  expect(await count('request_logs')).toBe(1);
  expect(await monthsOf(link, 'request_logs')).toContain(month - 2);
  expect(await dropOldLogs(link, 90, signal)).toEqual({ months: [], rows: 0 });
});

test('a month that somebody holds keeps no other month, and no row of the default partition', async () => {
  const { month } = await monthNow(link);
  for (const back of [5, 6]) await logMonths.makePeriod(link, month - back);
  await put("'1999-01-01'");
  const holder = await openLink(dsn);
  onTestFinished(() => holder.close());
  await holder.query(`BEGIN; SELECT FROM request_logs_${monthText(month - 6)}`);
  await expect(dropOldLogs(link, 90, signal)).rejects.toThrow('lock timeout');
  expect((await monthsOf(link, 'request_logs')).filter((at) => at < month - 3)).toEqual([month - 6]);
  expect(await count('request_logs_default')).toBe(0);
});
