/** Goal: no two texts of an encoder are the same, and each is the time of receipt as RFC 3339 has it. */
import { expect, test } from 'vitest';
import { Receipts } from '../../../src/analytics/intake/receipts.ts';
import { instantOf } from '../../../src/analytics/processor/clock.ts';

const MS = Date.UTC(2026, 10, 15, 12, 0, 0, 7);

test('the sequence counts on when the time changes, and wraps', () => {
  const receipts = new Receipts(999_998);
  expect([MS, MS, MS + 1, MS + 60_000].map((ms) => receipts.text(ms))).toEqual([
    '2026-11-15T12:00:00.007999999Z',
    '2026-11-15T12:00:00.007000000Z',
    '2026-11-15T12:00:00.008000001Z',
    '2026-11-15T12:01:00.007000002Z',
  ]);
});

test('the clock reads the ms and leaves the sequence', () => {
  const receipts = new Receipts();
  for (const ms of [0, MS, MS + 1]) expect(instantOf(receipts.text(ms))).toBe(ms);
});
