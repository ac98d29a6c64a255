import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import {
  entryOf,
  estimate,
  mergeSketches,
  SKETCH_STANDARD_ERROR,
  type Sketch,
  withEntries,
} from '../../../src/analytics/rollup/sketch.ts';
import { hexOf } from './events.ts';

const entries = (from: number, to: number, salt = '') =>
  Array.from({ length: to - from }, (_, index) => entryOf(hexOf(`${salt}${from + index}`)));

describe('sketches', () => {
  test('nobody is 0, and few are counted all but exactly', () => {
    assert.equal(estimate(undefined), 0);
    for (const count of [1, 2, 10, 100, 384]) {
      assert.ok(Math.abs(estimate(withEntries(undefined, entries(0, count))) - count) <= 1, `${count}`);
    }
  });

  // Goal: the error is what the answer states, for every size.
  // Method: 30 sketches of each size; the root of their mean square error is compared with the standard error.
  test('the error of dense sketches is the stated one, from 400 to 60,000', () => {
    for (const count of [400, 1500, 5000, 12_000, 60_000]) {
      const rounds = count > 50_000 ? 8 : 30;
      let squares = 0;
      let sum = 0;
      for (let round = 0; round < rounds; round += 1) {
        const random = entriesAtRandom(count, round);
        const relative = estimate(withEntries(undefined, random)) / count - 1;
        squares += relative ** 2;
        sum += relative;
      }
      const error = Math.sqrt(squares / rounds);
      assert.ok(error < 1.6 * SKETCH_STANDARD_ERROR, `${count}: ${error}`);
      // No bias: the mean of many lies much nearer.
      assert.ok(Math.abs(sum / rounds) < (4 * SKETCH_STANDARD_ERROR) / Math.sqrt(rounds), `${count}: ${sum / rounds}`);
    }
  });

  test('order, batches and repetition change nothing; what is known already gives the same sketch back', () => {
    for (const count of [5, 300, 390, 2000]) {
      const all = entries(0, count);
      const once = withEntries(undefined, all);
      let parts: Sketch | undefined;
      for (const entry of all.toReversed()) parts = withEntries(parts, [entry, entry]);
      assert.deepEqual(Buffer.from(parts!), Buffer.from(once), `${count}`);
      assert.equal(withEntries(once, all.slice(0, 3)), once);
    }
  });

  test('merged sketches are the sketch of everybody, sparse or dense', () => {
    for (const [a, b] of [
      [10, 20],
      [300, 300],
      [10, 3000],
      [3000, 10],
      [3000, 4000],
    ] as const) {
      const [left, right] = [entries(0, a, 'x'), entries(0, b, 'y')];
      const merged = mergeSketches([withEntries(undefined, left), withEntries(undefined, right)]);
      assert.deepEqual(Buffer.from(merged!), Buffer.from(withEntries(undefined, [...left, ...right])));
    }
    assert.equal(mergeSketches([]), undefined);
  });

  test('a dense sketch fits into its row', () => {
    assert.equal(withEntries(undefined, entries(0, 1000)).length, 1537);
  });

  test('the rank is the place of the first 1 after the first 25 bits', () => {
    const visitor = (bits: string) =>
      BigInt(`0b${bits.padEnd(128, '0')}`)
        .toString(16)
        .padStart(32, '0');
    assert.equal(entryOf(visitor(`${'1'.repeat(25)}1`)) & 63, 1);
    assert.equal(entryOf(visitor(`${'0'.repeat(31)}1`)), 7);
    assert.equal(entryOf(visitor(`${'0'.repeat(32)}1`)), 8);
    assert.equal(entryOf(visitor(`${'0'.repeat(63)}1`)), 39);
    assert.equal(entryOf(visitor('0')), 40);
    assert.equal(entryOf(visitor(`${'0'.repeat(24)}1`)), 64 + 40);
  });
});

/** Entries of visitors whose bits come from a generator that is quicker than a hash (xorshift128, Marsaglia 2003). */
function entriesAtRandom(count: number, seed: number): number[] {
  const words = new Uint32Array(4);
  for (let word = 0; word < 4; word += 1)
    words[word] = Number.parseInt(hexOf(`${seed}`).slice(word * 8, word * 8 + 8), 16);
  const next = () => {
    const t = words[3]! ^ (words[3]! << 11);
    words[3] = words[2]!;
    words[2] = words[1]!;
    words[1] = words[0]!;
    words[0] = words[0]! ^ (words[0]! >>> 19) ^ t ^ (t >>> 8);
    return words[0]!.toString(16).padStart(8, '0');
  };
  return Array.from({ length: count }, () => entryOf(next() + next()));
}
