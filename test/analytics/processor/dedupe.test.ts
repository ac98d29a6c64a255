/** Goal: an id counts once across weeks and at their change. Method: sessions of a real Postgres in transactions of theirs. */
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { Dedupe, weekAt } from '../../../src/analytics/processor/dedupe.ts';
import { Transaction } from '../../../src/sinks/postgres/transaction.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { migrate, sql, uuid } from './fixture.ts';

const file = fileScope();
let dsn = '';
beforeAll(async () => {
  ({ dsn } = await startPostgres(file, { port: 21815, settings: fastSettings, own: true }));
  await migrate(dsn);
});

async function begin(): Promise<Transaction> {
  const link = await openLink(dsn);
  onTestFinished(() => link.close());
  return new Transaction(link, 'BEGIN', undefined);
}

/** In a transaction of its own: which of the ids were there. */
async function take(ns: readonly number[], week: number, overlaps = false): Promise<number[]> {
  const taken = await receipts(ns, 0, week, overlaps);
  return ns.filter((n) => taken.has(uuid(n)));
}

const claimsOf = (ns: readonly number[], receipt = 0) => new Map(ns.map((n) => [uuid(n), receipt]));

/** The same, with the receipts that stood there. */
async function receipts(ns: readonly number[], receipt: number, week: number, overlaps = false) {
  const transaction = await begin();
  const known = await new Dedupe().take(transaction, claimsOf(ns, receipt), { week, overlaps });
  await transaction.commit();
  return known;
}

test('a week is seven days since 1970, and the first hours of it overlap with the one before', () => {
  const week = 7 * 86_400_000;
  expect(weekAt(2900 * week)).toEqual({ week: 2900, overlaps: true });
  expect(weekAt(2900 * week + 6 * 3_600_000)).toEqual({ week: 2900, overlaps: false });
  expect(weekAt(2900 * week - 1)).toEqual({ week: 2899, overlaps: false });
});

test('ids are found in their own week, in an earlier one and in a later one', async () => {
  expect(await take([1, 2], 2800)).toEqual([]);
  expect(await take([2, 3], 2800)).toEqual([2]);
  expect(await take([1, 4], 2802)).toEqual([1]);
  expect(await take([4, 5], 2801)).toEqual([4]);
  expect(await take([6, 3, 7], 2802, true)).toEqual([3]);
});

test('each id is known by the receipt that came first, in whatever week it stands', async () => {
  await receipts([901, 902], 2 ** 31 - 1, 2840);
  await receipts([903], -(2 ** 31), 2841, true);
  expect(await receipts([901, 903, 904], 5, 2841)).toEqual(
    new Map([
      [uuid(901), new Set([2 ** 31 - 1])],
      [uuid(903), new Set([-(2 ** 31)])],
    ]),
  );
  expect(await receipts([904], 6, 2842, true)).toEqual(new Map([[uuid(904), new Set([5])]]));
});

// Goal: two transactions at the change of the week never both count an id.
// Method: the first has not committed when the second, in the new week, asks. Without the overlap it would not wait.
test.each(['COMMIT', 'ROLLBACK'])('at the change of the week the second waits for the first: %s', async (end) => {
  const base = end === 'COMMIT' ? 2810 : 2820;
  const id = base;
  for (const week of [base, base + 1]) await take([0], week);
  const first = await begin();
  expect(await new Dedupe().take(first, claimsOf([id], -7), { week: base, overlaps: false })).toEqual(new Map());
  let known: readonly number[] | undefined;
  const second = take([id], base + 1, true).then((taken) => {
    known = taken;
  });
  const waits = async () =>
    (await sql<{ n: number }>(dsn, 'SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted'))[0]!.n;
  await expect.poll(waits, { interval: 10 }).toBeGreaterThan(0);
  expect(known).toBeUndefined();
  await first.query(end);
  await second;
  expect(known).toEqual(end === 'COMMIT' ? [id] : []);
  // The receipt of the one that came first stands there, also where it was not yet seen by the statement that waited.
  expect(await receipts([id], 1, base + 1)).toEqual(new Map([[uuid(id), new Set([end === 'COMMIT' ? -7 : 0])]]));
});

test('processors that find a week missing at the same time make it once, and all go on', async () => {
  const all = await Promise.all([1, 2, 3, 4].map((n) => take([n * 100], 2830)));
  expect(all).toEqual([[], [], [], []]);
  expect(await sql(dsn, 'SELECT count(*)::int AS n FROM event_ids_2830')).toEqual([{ n: 4 }]);
});
