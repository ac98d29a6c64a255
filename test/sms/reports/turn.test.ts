/**
 * Goal: of several processes that report from one ClickHouse server one computes the sums; when it dies, or loses its
 * session, another goes on, and while Postgres is away somebody still does.
 * Method: a real Postgres whose sessions are ended; the built service twice over one chdb, one of them killed.
 */
import { beforeAll, expect, test } from 'vitest';
import { byMinute } from '../../../src/sms/reports/queries.ts';
import { DAY_MS, MINUTE_MS } from '../../../src/sms/reports/range.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import { Turn } from '../../../src/sms/reports/turn.ts';
import { startTestChdb } from '../../servers/chdb.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, startDatabase } from '../database.ts';
import { type RunningSms, startSms } from '../running.ts';
import { accepted, insert } from './records.ts';

const file = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startDatabase(file, 26_630);
});

test('one of two has the turn; it moves with the session, and stays where it is while Postgres is away', async (t) => {
  let away = false;
  const open = () => (away ? Promise.reject(new Error('away')) : openLink(server.dsn));
  const [a, b, other] = [new Turn(open, 'x/sms'), new Turn(open, 'x/sms'), new Turn(open, 'y/sms')];
  for (const turn of [a, b, other]) t.onTestFinished(() => turn.close());
  const both = async () => [await a.mine(), await b.mine()];
  expect(await both()).toEqual([true, false]);
  expect(await both()).toEqual([true, false]);
  expect(await other.mine(), 'another server').toBe(true);

  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  const endAll = async () => {
    await link.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
    // The sockets of the sessions learn of it a moment later.
    await expect
      .poll(async () => (await link.query("SELECT FROM pg_locks WHERE locktype = 'advisory'")).rowCount)
      .toBe(0);
  };
  away = true;
  await endAll();
  expect(await both(), 'as it was').toEqual([true, false]);
  away = false;
  await expect.poll(async () => [await b.mine(), await a.mine()]).toEqual([true, false]);
});

test('of two processes one computes; when it is killed, the other does', async (t) => {
  const chdb = await startTestChdb(t, 26_620);
  await migrateReports(chdb.client, undefined);
  const env = { REPORTS: 'on', REPORTS_EVERY_MS: '100ms', CLICKHOUSE_URL: chdb.url, REPORTS_RAW_DAYS: '36500' };
  const start = (port: number) => startSms(t, { port, dsn: server.dsn, env });
  const running = [await start(26_610), await start(26_614)];
  const figure = async ({ url }: RunningSms, name: string): Promise<number> => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const turns = () => Promise.all(running.map((one) => figure(one, 'ringmain_sms_rollup_turn')));
  const computed = () => Promise.all(running.map((one) => figure(one, 'ringmain_sms_rollup_minutes_total')));
  await expect.poll(turns).toSatisfy(([a, b]: number[]) => a! + b! === 1);
  const holder = (await turns()).indexOf(1);

  const minute = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
  const range = { from: minute - DAY_MS, to: minute + DAY_MS };
  const counted = async () => (await byMinute(chdb.client, range, 'ada')).reduce((sum, row) => sum + row.accepted, 0);
  await insert(chdb.url, [accepted(1, minute - 5 * MINUTE_MS)]);
  await expect.poll(counted).toBe(1);
  expect((await computed())[1 - holder], 'the other has left it to the one').toBe(0);

  await running[holder]!.process.end('SIGKILL');
  running.splice(holder, 1);
  await insert(chdb.url, [accepted(2, minute - 6 * MINUTE_MS)]);
  await expect.poll(counted).toBe(2);
  // The gauge says so at the end of the pass.
  await expect.poll(turns).toEqual([1]);
});
