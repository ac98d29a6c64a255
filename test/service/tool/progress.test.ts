import { expect, test } from 'vitest';
import { progressLine } from '../../../src/service/tool/progress.ts';

test('a progress line tells share, amount, events and rate, as far as they are known', () => {
  const half = { done: 1.5 * 2 ** 30, total: 3 * 2 ** 30, events: 1_234_567, unit: 'bytes', ms: 60_000 } as const;
  expect(progressLine('verify', half)).toBe('verify  50 %  1.5 GiB of 3.0 GiB  1,234,567 events  25.6 MiB/s');
  expect(progressLine('verify', { ...half, ms: 400 })).toBe('verify  50 %  1.5 GiB of 3.0 GiB  1,234,567 events');
  expect(progressLine('drain', { done: 999, total: 1000, unit: 'events', ms: 2000 })).toBe(
    'drain  99 %  999 events of 1,000 events  500 events/s',
  );
  expect(progressLine('replay', { done: 12, total: 0, unit: 'events', ms: 0 })).toBe('replay  12 events');
  expect(progressLine('migrate', { done: 61.9, total: 0, unit: 'seconds', ms: 61_900 })).toBe('migrate  61 s');
});

test('what comes in the meantime never shows as more than everything', () => {
  expect(progressLine('drain', { done: 12, total: 10, unit: 'events', ms: 0 })).toMatch(/^drain {2}100 %/);
});
