/** Goal: bytes that are valid for a moment only make the same array as bytes that stay. */
import { expect, test } from 'vitest';
import { byteaArray, byteaArrayOf } from '../../../src/store/postgres/binary-array.ts';

test.each([
  ['none', []],
  ['small', [0, 1, 255, 256]],
  ['larger than there is room for', [3000, 1, 0, 9000, 2]],
])('%s', (_, lengths) => {
  const scratch = Buffer.alloc(10_000);
  const written = byteaArrayOf(lengths, (length) => scratch.fill(length & 255).subarray(0, length));
  expect(written).toEqual(byteaArray(lengths, (length) => Buffer.alloc(length, length & 255)));
});
