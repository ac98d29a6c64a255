import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { createSaltsMemory, SaltsBoard } from '../../../src/analytics/intake/salts-board.ts';
import { deleteOldSalts, type OpenLink, SaltsKeeper } from '../../../src/analytics/intake/salts-keeper.ts';
import { VisitorIds } from '../../../src/analytics/intake/visitor-id.ts';
import { ManualClock } from '../../../src/kernel/clock.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { freePort } from '../../http/raw.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const TODAY = 20_000;
const noon = TODAY * DAY + DAY / 2;

let postgres: PostgresServer;
const query = async (sql: string, values?: readonly unknown[]) => {
  const link = await openLink(postgres.dsn);
  return link.query(sql, values).finally(() => link.close());
};
const storedDays = async () =>
  (await query('SELECT day FROM visitor_salts ORDER BY day')).rows.map(({ day }) => (day as number) - TODAY);

beforeAll(async () => {
  const ends: (() => unknown)[] = [];
  const port = await freePort(21310);
  postgres = await startPostgres(
    { onTestFinished: (end) => void ends.push(end) },
    { port, own: true, settings: fastSettings },
  );
  await query('CREATE TABLE visitor_salts (day integer PRIMARY KEY, salt bytea NOT NULL)');
  return async () => {
    for (const end of ends) await end();
  };
});
beforeEach(async () => {
  await query('TRUNCATE visitor_salts');
});

function start(clock: ManualClock, memory = createSaltsMemory()) {
  const lines: string[] = [];
  const write = (_: unknown, sentence: string) => void lines.push(sentence);
  const log = { info: write, warn: write } as never;
  let opened = 0;
  const open: OpenLink = () => {
    opened += 1;
    return openLink(postgres.dsn, { connectTimeoutMs: 2000 });
  };
  const keeper = new SaltsKeeper({ memory, open, log, clock });
  const ids = new VisitorIds(memory, { unshared: { add: () => {} } });
  const board = new SaltsBoard(memory);
  const find = (day: number) => ids.find('a', TODAY + day, '192.0.2.1', 'Firefox', clock.now());
  const days = () => board.read().salts.map(({ day }) => day - TODAY);
  return { keeper, memory, find, days, lines, opened: () => opened };
}

test('two processes that start together agree on the salts of today and of yesterday', async () => {
  const [one, other] = [start(new ManualClock(noon)), start(new ManualClock(noon))];
  await Promise.all([one.keeper.look(), other.keeper.look()]);
  for (const day of [-1, 0]) expect(one.find(day)).toBe(other.find(day));
  expect(one.find(0)).not.toBe(one.find(-1));
  expect(await storedDays()).toEqual([-1, 0]);
  expect(one.keeper.isShared && other.keeper.isShared).toBe(true);
  await one.keeper.look();
  expect(one.opened(), 'nothing is asked while nothing is missing').toBe(1);
});

test("tomorrow's salt is there an hour before midnight, and all change over at midnight without asking", async () => {
  const clock = new ManualClock((TODAY + 1) * DAY - HOUR - 1);
  const [one, other] = [start(clock), start(clock)];
  await Promise.all([one.keeper.look(), other.keeper.look()]);
  expect(one.days()).toEqual([-1, 0]);
  const [today, asked] = [one.find(0), one.opened()];
  clock.advance(1);
  await Promise.all([one.keeper.look(), other.keeper.look()]);
  expect(one.days()).toEqual([-1, 0, 1]);
  expect(one.opened()).toBe(asked + 1);
  const tomorrow = one.find(1);
  expect(other.find(1)).toBe(tomorrow);
  clock.advance(HOUR);
  const looked = one.keeper.look();
  expect(one.days(), 'midnight needs no database').toEqual([0, 1]);
  expect([one.find(0), one.find(1)]).toEqual([today, tomorrow]);
  await looked;
  expect(one.opened(), 'to delete what is too old').toBe(asked + 2);
  await one.keeper.look();
  expect(one.opened()).toBe(asked + 2);
});

// Goal: an id cannot be made again once its salt is 48 hours old, by anybody, with the database and the memory at hand.
// Method: keep an id, move the clock past 48 hours without a processor, whose job deletes as well, and look everywhere.
test('a salt of 48 hours is gone from the board at once, from the table with it, and is never made again', async () => {
  const clock = new ManualClock(noon);
  const { keeper, memory, find, days } = start(clock);
  await keeper.look();
  const id = find(0);
  const { rows } = await query('SELECT salt FROM visitor_salts WHERE day = $1', [TODAY]);
  const salt = rows[0]!['salt'] as Buffer;
  const inMemory = () => Buffer.from(new Uint8Array(memory)).includes(salt);
  clock.set((TODAY + 2) * DAY - 1);
  await keeper.look();
  expect(find(0)).toBe(id);
  expect(inMemory()).toBe(true);
  expect(await storedDays()).toEqual([0, 1, 2]);
  clock.advance(1);
  const looked = keeper.look();
  expect(days(), 'the board does not wait for Postgres').toEqual([1, 2]);
  expect(inMemory()).toBe(false);
  await looked;
  expect(await storedDays()).toEqual([1, 2]);
  expect(find(0)).not.toBe(id);
  const again = start(clock);
  await again.keeper.look();
  expect(again.find(0)).not.toBe(id);
  expect(await storedDays()).toEqual([1, 2]);
});

test('the job deletes the salts of days that ended 24 hours ago', async () => {
  await query('INSERT INTO visitor_salts SELECT d, $2 FROM unnest($1::int[]) AS n (d)', [[0, 1, 2], Buffer.alloc(32)]);
  const link = await openLink(postgres.dsn);
  const clock = new ManualClock(3 * DAY - 1);
  const deleted = [await deleteOldSalts(link, clock.now())];
  clock.advance(1);
  deleted.push(await deleteOldSalts(link, clock.now()));
  await link.close();
  expect([deleted, await storedDays()]).toEqual([[1, 1], [2 - TODAY]]);
});

test('while Postgres is away a process goes on with salts of its own, tries seldom, and proposes them afterwards', async () => {
  await postgres.stop();
  const clock = new ManualClock(noon);
  const { keeper, find, days, lines, opened } = start(clock);
  await keeper.look();
  expect(days()).toEqual([-1, 0]);
  const id = find(0);
  expect(lines.filter((line) => line.includes('cannot be agreed upon'))).toHaveLength(1);
  // The pause doubles: 1, 2, 4, 8, 16, 30, 30 ... seconds.
  for (let second = 0; second < 300; second += 1) {
    clock.advance(1000);
    await keeper.look();
  }
  expect(opened()).toBeGreaterThan(5);
  expect(opened()).toBeLessThanOrEqual(15);
  expect(find(0)).toBe(id);
  await postgres.restart();
  clock.advance(30_000);
  await keeper.look();
  expect(keeper.isShared).toBe(true);
  expect(find(0), 'it was the first: its ids stay').toBe(id);
  expect(await storedDays()).toEqual([-1, 0]);
  expect(lines.at(-1)).toContain('are those of all processes again');
});

test('a process that comes back to salts of others takes them', async () => {
  const first = start(new ManualClock(noon));
  await first.keeper.look();
  await postgres.stop();
  const clock = new ManualClock(noon);
  const second = start(clock);
  await second.keeper.look();
  expect(second.find(0)).not.toBe(first.find(0));
  await postgres.restart();
  clock.advance(1000);
  await second.keeper.look();
  expect(second.find(0)).toBe(first.find(0));
  const restarted = start(clock, second.memory);
  expect(restarted.keeper.isShared, 'a worker that is started again keeps what is on the board').toBe(true);
  expect(restarted.opened()).toBe(0);
});

test('a salt of another length in the table is refused, and named', async () => {
  await query("INSERT INTO visitor_salts VALUES ($1, '\\x00')", [TODAY]);
  const { keeper, lines } = start(new ManualClock(noon));
  await keeper.look();
  expect(keeper.isShared).toBe(false);
  expect(lines).toHaveLength(1);
});

test('run() looks by itself and ends with its signal', async () => {
  const end = new AbortController();
  const { keeper } = start(new ManualClock(noon));
  const run = keeper.run(end.signal);
  await expect.poll(() => keeper.isShared).toBe(true);
  end.abort();
  await Promise.race([run, pause(5000).then(() => Promise.reject(new Error('run() must end')))]);
});
