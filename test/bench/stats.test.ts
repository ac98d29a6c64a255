import assert from 'node:assert/strict';
import { test } from 'vitest';
import { random } from '../../native-bench/rig/request.ts';
import { judge, median, medianInterval, pairedRatios, percentile, spread } from '../../native-bench/rig/stats.ts';

test('median, spread and percentile are those of the definition', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.deepEqual(spread([5, 1, 3]), { median: 3, min: 1, max: 5, count: 3 });
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(hundred, 0.5), 50);
  assert.equal(percentile(hundred, 0.99), 99);
  assert.equal(percentile(hundred, 1), 100);
});

test('the interval of a median is the one of the binomial table, and absent when there are too few rounds', () => {
  // n = 6: the extremes hold the median with 1 - 2/64; n = 12: third and tenth value with 1 - 2 * 79/4096.
  assert.deepEqual(medianInterval([6, 5, 4, 3, 2, 1], 0.95), { low: 1, high: 6, confidence: 1 - 2 / 64 });
  const twelve = Array.from({ length: 12 }, (_, i) => i + 1);
  assert.deepEqual(medianInterval(twelve, 0.95), { low: 3, high: 10, confidence: 1 - (2 * 79) / 4096 });
  assert.equal(medianInterval([1, 2, 3, 4, 5], 0.95), undefined, 'five rounds cannot give 95 %');
});

test('ratios are taken within a round, so drift of the machine cancels', () => {
  const drifting = [10, 12, 15, 20];
  const ratios = pairedRatios(
    drifting.map((value) => value * 0.9),
    drifting,
  );
  for (const ratio of ratios) assert.ok(Math.abs(ratio - 0.9) < 1e-12);
});

/** Ratios of two measurements with skewed noise, as a shared machine makes it: mostly 1 %, sometimes 30 % more. */
function noisyRatios(next: () => number, count: number, effect: number): number[] {
  const noise = (): number => 1 + 0.01 * (next() + next() - 1) + (next() < 0.1 ? 0.3 * next() : 0);
  return Array.from({ length: count }, () => (effect * noise()) / noise());
}

test('the verdict finds a difference of 5 % and does not invent one where there is none', () => {
  const next = random(7);
  const trials = 2000;
  let invented = 0;
  let found = 0;
  for (let i = 0; i < trials; i++) {
    if (judge(noisyRatios(next, 20, 1)).verdict !== 'same') invented += 1;
    if (judge(noisyRatios(next, 20, 1.05)).verdict === 'slower') found += 1;
  }
  assert.ok(invented / trials <= 0.01, `invented a difference in ${invented} of ${trials}`);
  assert.ok(found / trials > 0.9, `found the difference in ${found} of ${trials}`);
  assert.equal(judge(noisyRatios(next, 20, 0.9)).verdict, 'faster');
});

test('with too few pairs no verdict is given, however clear they look', () => {
  assert.equal(judge([2, 2, 2, 2]).verdict, 'same');
  assert.equal(judge([2, 2, 2, 2]).interval, undefined);
});
