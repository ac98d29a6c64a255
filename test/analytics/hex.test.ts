import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { hexOf } from '../../src/analytics/hex.ts';

test('the digits of a UUID without its dashes', () => {
  for (let n = 0; n < 1000; n += 1) {
    const uuid = randomUUID();
    expect(hexOf(uuid)).toBe(uuid.replaceAll('-', ''));
  }
});
