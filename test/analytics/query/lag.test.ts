/** Goal: what a process tells of its lag covers all that may be on its way, and ends. Method: the figures, call by call. */
import { expect, test } from 'vitest';
import { RecentLag } from '../../../src/analytics/query/lag-teller.ts';
import { booksOf, type Pipe } from '../../../src/analytics/query/reconcile.ts';

test('what came counts for three calls more, and then nothing is left', () => {
  const recent = new RecentLag();
  const tell = (passed: number, lag: number) => recent.of({ name: 'topic', passed, lag, oldestMs: 0 }, 0).lag;
  expect([tell(100, 0), tell(100, 7), tell(107, 0), tell(107, 0), tell(107, 0), tell(107, 0)]).toEqual([
    0, 14, 7, 7, 0, 0,
  ]);
  // A cursor that went back owes again what it had passed.
  expect(tell(50, 57)).toBe(57);
});

test('nothing of what is told is older than its time; of a journal that has not been read yet, nobody knows', () => {
  const recent = new RecentLag();
  const since = (lag: number, oldestMs: number, nowMs: number) =>
    recent.of({ name: 'topic', passed: 0, lag, oldestMs }, nowMs).sinceMs;
  expect(since(5, 0, 100_000)).toBeUndefined();
  expect(since(5, 7000, 101_000)).toBe(7000);
  // It has not said yet what it goes on with.
  expect(since(4, 0, 102_000)).toBe(7000);
  expect(since(0, 0, 103_000)).toBe(99_000);
  expect(since(3, 0, 104_000)).toBe(99_000);
  expect(since(3, 104_500, 105_000)).toBe(101_000);
});

test('an hour has no more pending than is open, the newest hours first, and the sum no more than the pipe holds', () => {
  const row = (hour: number, accepted: number, stored: number) => ({
    hour,
    accepted,
    stored,
    duplicates: 0,
    rejected: 0,
  });
  const rows = [row(1, 10, 4), row(2, 10, 7), row(3, 5, 8)];
  const held = (pipes: ReadonlyMap<number, Pipe>) =>
    booksOf(rows, pipes)
      .map((hour) => [hour.pending, hour.accepted])
      .slice(1, 4);
  const pending = (events: number, uncounted: number) =>
    held(new Map([1, 2, 3].map((hour) => [hour, { events, uncounted }])));
  expect(pending(0, 0)).toEqual([
    [0, 10],
    [0, 10],
    [0, 5],
  ]);
  expect(pending(4, 0)).toEqual([
    [1, 10],
    [3, 10],
    [0, 5],
  ]);
  expect(pending(1000, 0)).toEqual([
    [6, 10],
    [3, 10],
    [0, 5],
  ]);
  // Stored before it was counted as accepted: the log of what was accepted holds it.
  expect(pending(0, 2)).toEqual([
    [0, 10],
    [0, 10],
    [0, 7],
  ]);
  expect(pending(0, 99)).toEqual([
    [0, 10],
    [0, 10],
    [0, 8],
  ]);
  // What the pipe holds is of the newer hours: the older one has lost its events.
  const [none, full] = [
    { events: 0, uncounted: 0 },
    { events: 1000, uncounted: 99 },
  ];
  expect(
    held(
      new Map([
        [1, none],
        [2, full],
        [3, full],
      ]),
    ),
  ).toEqual([
    [0, 10],
    [3, 10],
    [0, 8],
  ]);
  // Four are older than the end of hour 1: no more than four are pending in it.
  expect(
    held(
      new Map([
        [1, { events: 4, uncounted: 0 }],
        [2, full],
        [3, none],
      ]),
    ),
  ).toEqual([
    [0, 10],
    [0, 10],
    [0, 5],
  ]);
  expect(
    held(
      new Map([
        [1, { events: 4, uncounted: 0 }],
        [2, full],
        [3, full],
      ]),
    ),
  ).toEqual([
    [4, 10],
    [3, 10],
    [0, 8],
  ]);
});
