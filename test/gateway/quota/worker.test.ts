/** Goal: looking for what others have used costs the database little, and never stands still for long. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { pauseAfter } from '../../../src/gateway/quota/worker.ts';

test('a look that reads much is followed by a pause in proportion, and one that had to wait by a bounded one', () => {
  assert.equal(pauseAfter(0, 2), 300);
  assert.equal(pauseAfter(1999, 9000), 300);
  assert.equal(pauseAfter(2000, 2), 300);
  assert.equal(pauseAfter(5000, 100), 2000);
  assert.equal(pauseAfter(5000, 9000), 5000);
});
