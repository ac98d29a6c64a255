import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { ageRule, instantIn, instantOf, oldestAgeMs, settledMs } from '../../../src/analytics/processor/clock.ts';
import { propertyOf, seed } from '../../events/seed.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
const now = Date.parse('2026-11-21T08:00:00.000Z');

test('a timestamp is an RFC 3339 time from year 1 on, in a string as in bytes', () => {
  for (const [text, iso] of [
    ['2025-11-15T05:00:00Z', '2025-11-15T05:00:00.000Z'],
    ['2025-11-15t05:00:00.1239999999999999999999999999999999999999999999999999999999999z', '2025-11-15T05:00:00.123Z'],
    ['2025-11-15T00:30:00+05:45', '2025-11-14T18:45:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
  ] as const) {
    assert.equal(new Date(instantOf(text)).toISOString(), iso);
    assert.equal(instantIn(Buffer.from(` ${text} `), 1, text.length + 1), Date.parse(iso));
  }
  for (const text of [
    ...['', '2025-11-15', '2025-11-15 05:00:00Z', '2025-11-15T05:00:00', '1764000000', ' 2025-11-15T05:00:00Z'],
    ...['2025-02-29T00:00:00Z', '0000-12-31T23:59:59Z', '2025-11-15T24:00:00Z', '2025-11-15T05:00:00Z\0'],
    // Digits of other scripts, and characters whose low byte is a digit.
    ...['２０２５-11-15T05:00:00Z', '\u0132025-11-15T05:00:00Z', '202\u0135-11-15T05:00:00Z'],
  ]) {
    assert.ok(Number.isNaN(instantOf(text)), text);
  }
});

test('ahead of receipt by more than five minutes it is receipt, older than the limit it is none', () => {
  assert.equal(settledMs(now + 5 * MINUTE, now, Infinity), now + 5 * MINUTE);
  assert.equal(settledMs(now + 5 * MINUTE + 1, now, Infinity), now);
  assert.equal(settledMs(instantOf('0001-01-01T00:00:00Z'), now, Infinity), instantOf('0001-01-01T00:00:00Z'));
  assert.equal(settledMs(now - DAY, now, DAY), now - DAY);
  assert.ok(Number.isNaN(settledMs(now - DAY - 1, now, DAY)));
});

test('of MAX_EVENT_AGE and the retention the stricter one counts, and the answer names it', () => {
  assert.equal(oldestAgeMs(undefined, undefined), Infinity);
  assert.equal(oldestAgeMs(DAY, 30), DAY);
  assert.equal(oldestAgeMs(60 * DAY, 30), 30 * DAY);
  assert.equal(oldestAgeMs(undefined, 30), 30 * DAY);
  assert.equal(ageRule(30 * DAY), 'at most 30 days old');
  assert.equal(ageRule(90 * MINUTE), 'at most 90 minutes old');
  // Rounded to days, it would refuse what it says it takes.
  assert.equal(ageRule(36 * 60 * MINUTE), 'at most 36 hours old');
  assert.equal(ageRule(90_000), 'at most 90 seconds old');
  assert.equal(ageRule(90_500), 'at most 90500 ms old');
});

test(`what Date writes is read as the same instant (seed ${seed})`, () => {
  const instant = fc.date({
    min: new Date('0001-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  });
  fc.assert(
    fc.property(instant, (date) => {
      assert.equal(instantOf(date.toISOString()), date.getTime());
    }),
    propertyOf(2000),
  );
});
