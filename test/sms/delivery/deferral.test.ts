import { expect, test } from 'vitest';
import { Deferral } from '../../../src/sms/delivery/deferral.ts';

const SECOND = 1000;

/** Asks as often as it may within a second; how many may go, and how long the last of them stays away. */
function second(deferral: Deferral, wanted: number, nowMs: number): readonly [number, number | undefined] {
  let [went, ms] = [0, undefined as number | undefined];
  for (let i = 0; i < wanted; i += 1) {
    const found = deferral.take(3_600_000, nowMs + i / wanted);
    if (found === undefined) break;
    went += 1;
    ms = found;
  }
  return [went, ms];
}

test('a bounded number goes in a second; while more want to, each stays away for longer, up to the most', () => {
  const deferral = new Deferral(60_000);
  const stays = [5000, 10_000, 20_000, 40_000, 60_000, 60_000];
  for (const [i, ms] of stays.entries()) expect(second(deferral, 100_000, i * SECOND)).toEqual([5000, ms]);
  // As many as may go: the pause is right.
  expect(second(deferral, 4000, 6 * SECOND)).toEqual([4000, 60_000]);
  expect(second(deferral, 100, 7 * SECOND)).toEqual([100, 60_000]);
  const less = [30_000, 15_000, 7500, 5000, 5000];
  for (const [i, ms] of less.entries()) expect(second(deferral, 100, (8 + i) * SECOND)).toEqual([100, ms]);
});

test('nobody stays away for longer than it has to wait', () => {
  expect(new Deferral(60_000).take(1200, 0)).toBe(1200);
});
