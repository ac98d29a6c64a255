/** Ids: a number per id, whatever its bits; in order as the server sorts them. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { ALL, OTHER } from '../../../src/analytics/dimensions.ts';
import { Ids, NONE, OTHER_NUMBER } from '../../../src/analytics/rollup/ids.ts';
import { int8Array, int8ArrayOfHalves, int8ArrayOfNumbers } from '../../../src/store/postgres/binary-array.ts';

const half = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, 1, -1));
const idOf = (ids: Ids, number: number): bigint =>
  (BigInt(ids.high(number)) << 32n) | BigInt.asUintN(32, BigInt(ids.low(number)));

describe('ids', () => {
  test('the same id has the same number, another id has another, and a number gives its id back', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(half, half), { maxLength: 300 }), (pairs) => {
        const ids = new Ids();
        const numbers = new Map<bigint, number>([
          [ALL, NONE],
          [OTHER, OTHER_NUMBER],
        ]);
        for (const [high, low] of [...pairs, ...pairs]) {
          const id = (BigInt(high) << 32n) | BigInt.asUintN(32, BigInt(low));
          const number = ids.of(high, low);
          assert.equal(numbers.get(id) ?? number, number);
          numbers.set(id, number);
          assert.equal(idOf(ids, number), id);
        }
        assert.equal(ids.size, numbers.size);
        assert.equal(new Set(numbers.values()).size, numbers.size);
        const sorted = [...numbers.keys()].sort((a, b) => (a < b ? -1 : 1));
        assert.deepEqual(
          Array.from(ids.ordered(), (number) => idOf(ids, number)),
          sorted,
        );
      }),
    );
  });

  test('it grows, and ids that differ in few bits are told apart', () => {
    const ids = new Ids();
    const numbers = Array.from({ length: 20_000 }, (_, n) => ids.of(n, n));
    assert.equal(new Set(numbers).size, 20_000);
    for (const [n, number] of numbers.entries()) assert.deepEqual([ids.high(number), ids.low(number)], [n, n]);
    assert.deepEqual(
      numbers.map((_, n) => ids.of(n, n)),
      numbers,
    );
  });

  test('arrays of halves and of numbers are those of bigints', () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeInteger()), (numbers) => {
        const wanted = int8Array(numbers, BigInt);
        assert.deepEqual(
          int8ArrayOfNumbers(numbers, (n) => n),
          wanted,
        );
        assert.deepEqual(
          int8ArrayOfHalves(
            numbers,
            (n) => Number(BigInt(n) >> 32n),
            (n) => Number(BigInt.asIntN(32, BigInt(n))),
          ),
          wanted,
        );
      }),
    );
  });
});
