/**
 * Goal: however many ask for days whose raw events have to be read, one is read at a time, seldom, and what was read
 * is not lost when a later count fails. Method: counts that the test holds, a clock that it moves.
 */
import { expect, test } from 'vitest';
import { type DayCount, DayCounts, type DayNumbers } from '../../../src/analytics/query/day-counts.ts';
import { ManualClock } from '../../../src/kernel/clock.ts';

/** A day with so many views with a path, and others without one. */
function dayOf(views: number, path: string, others = 0): DayCount {
  const numbers = { total_views: views + others, unique_users: views, top_paths: [{ path, views }] };
  return { views, numbers };
}

interface Held {
  readonly day: string;
  end(counted: DayCount | undefined): void;
  fail(error: Error): void;
}

function counting() {
  const clock = new ManualClock();
  const counts = new DayCounts(clock);
  const held: Held[] = [];
  return {
    clock,
    /** Counts that have begun, in their order. */
    held,
    /** Asks for a day of which the sums have so many views with a path. */
    ask: (day: string, views: number, others = 0): Promise<DayNumbers | undefined> =>
      counts.of(day, dayOf(views, '/sums', others), () => {
        const { promise, resolve: end, reject: fail } = Promise.withResolvers<DayCount | undefined>();
        held.push({ day, end, fail });
        return promise;
      }),
  };
}
/** Everything that has to happen without anybody from outside has happened. */
const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One whose day `d` was counted now, with 10 views. */
async function counted() {
  const all = counting();
  const asked = all.ask('d', 10);
  await quiet();
  all.held[0]!.end(dayOf(10, '/raw'));
  expect(await asked).toEqual(dayOf(10, '/raw').numbers);
  return all;
}

test('all who ask for a day share one count, also those who see other views of it', async () => {
  const { ask, held } = counting();
  const asked = [ask('d', 10), ask('d', 10), ask('d', 11)];
  await quiet();
  asked.push(ask('d', 12));
  await quiet();
  expect(held).toHaveLength(1);
  held[0]!.end(dayOf(11, '/raw'));
  expect(await Promise.all(asked)).toEqual(asked.map(() => dayOf(11, '/raw').numbers));
});

test('one day is counted at a time; three wait, and beyond that it cannot be said', async () => {
  const { ask, held } = counting();
  const asked = ['a', 'b', 'c', 'd'].map((day) => ask(day, 10));
  await quiet();
  expect(await ask('e', 10)).toBeUndefined();
  for (let i = 0; i < asked.length; i += 1) {
    expect(held.map(({ day }) => day)).toEqual(['a', 'b', 'c', 'd'].slice(0, i + 1));
    // What fails is told to whoever asked, and holds up nobody.
    if (i === 1) held[i]!.fail(new Error('the database is away'));
    else held[i]!.end(dayOf(10, `/${i}`));
    if (i === 1) await expect(asked[i]).rejects.toThrow('the database is away');
    else expect(await asked[i]).toEqual(dayOf(10, `/${i}`).numbers);
    await quiet();
  }
  // It was not counted, and nothing is wrong with it.
  const late = ask('e', 10);
  await quiet();
  expect(held.at(-1)!.day).toBe('e');
  held.at(-1)!.end(dayOf(10, '/e'));
  expect(await late).toEqual(dayOf(10, '/e').numbers);
});

test('a day that gets views is counted anew after ten seconds; one that stands still never', async () => {
  const { ask, held, clock } = await counted();
  clock.advance(9_999);
  expect(await ask('d', 11)).toEqual(dayOf(10, '/raw').numbers);
  clock.advance(3_600_000);
  expect(await ask('d', 10)).toEqual(dayOf(10, '/raw').numbers);
  expect(held).toHaveLength(1);
  clock.advance(10_000);
  const anew = ask('d', 11);
  await quiet();
  expect(held).toHaveLength(2);
  held[1]!.end(dayOf(11, '/new'));
  expect(await anew).toEqual(dayOf(11, '/new').numbers);
});

test('numbers that events without a path move are those of now, and do not go back with the next view', async () => {
  const { ask } = await counted();
  const moved = { ...dayOf(10, '/raw', 5).numbers };
  expect(await ask('d', 10, 5)).toEqual(moved);
  expect(await ask('d', 11, 5)).toEqual(moved);
});

test('while a day is counted, the last answer of each stands in', async () => {
  const { ask, held, clock } = await counted();
  clock.advance(10_000);
  const anew = ask('d', 11);
  const waits = ask('e', 5);
  await quiet();
  expect(await ask('d', 12)).toEqual(dayOf(10, '/raw').numbers);
  held[1]!.end(dayOf(11, '/new'));
  expect(await anew).toEqual(dayOf(11, '/new').numbers);
  await quiet();
  clock.advance(20_000);
  expect(await ask('d', 13)).toEqual(dayOf(11, '/new').numbers);
  expect(held.map(({ day }) => day)).toEqual(['d', 'd', 'e']);
  held[2]!.end(dayOf(5, '/e'));
  expect(await waits).toEqual(dayOf(5, '/e').numbers);
});

test('a count that fails leaves the last answer until it is a minute old, and is tried again after half of one', async () => {
  const { ask, held, clock } = await counted();
  const last = dayOf(10, '/raw').numbers;
  const fails = async (): Promise<DayNumbers | undefined> => {
    const asked = ask('d', 11);
    await quiet();
    held.at(-1)!.end(undefined);
    return asked;
  };
  clock.advance(10_000);
  expect(await fails()).toEqual(last);
  clock.advance(29_999);
  expect(await ask('d', 11)).toEqual(last);
  expect(held).toHaveLength(2);
  clock.advance(1);
  expect(await fails()).toEqual(last);
  expect(held).toHaveLength(3);
  clock.advance(19_999);
  expect(await ask('d', 11)).toEqual(last);
  clock.advance(1);
  expect(await ask('d', 11)).toBeUndefined();
  // No view has come since after all.
  expect(await ask('d', 10)).toEqual(last);
  clock.advance(10_000);
  const again = ask('d', 11);
  await quiet();
  expect(held).toHaveLength(4);
  held[3]!.end(dayOf(11, '/new'));
  expect(await again).toEqual(dayOf(11, '/new').numbers);
});

test('a day that could never be counted says so for half a minute without another try', async () => {
  const { ask, held, clock } = counting();
  const asked = ask('d', 10);
  await quiet();
  held[0]!.end(undefined);
  expect(await asked).toBeUndefined();
  clock.advance(29_999);
  expect(await ask('d', 10)).toBeUndefined();
  expect(held).toHaveLength(1);
  clock.advance(1);
  void ask('d', 10);
  await quiet();
  expect(held).toHaveLength(2);
});

test('two hundred days are remembered; the one that was asked for least recently goes first', async () => {
  const { ask, held } = counting();
  const known = async (day: string): Promise<boolean> => {
    const before = held.length;
    const asked = ask(day, 10);
    await quiet();
    const read = held.length > before;
    if (read) held.at(-1)!.end(dayOf(10, '/raw'));
    await asked;
    return !read;
  };
  for (let i = 0; i < 200; i += 1) expect(await known(`${i}`)).toBe(false);
  expect(await known('0')).toBe(true);
  expect(await known('new')).toBe(false);
  expect(await known('0')).toBe(true);
  expect(await known('1')).toBe(false);
});
