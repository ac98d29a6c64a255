import assert from 'node:assert/strict';
import { test } from 'vitest';
import { costOf } from '../../../src/sms/message/price.ts';

const tariff = {
  base: 5,
  prefixes: new Map([
    ['98', 7],
    ['98912', 9],
    ['1', 0],
  ]),
};

test.each([
  ['+989121234567', 9],
  ['+989351234567', 7],
  ['+12025550123', 0],
  ['+442071838750', 5],
] as const)('the longest prefix that has a price wins: %s', (to, cost) => {
  assert.equal(costOf(tariff, to, 3, 'message'), cost);
  assert.equal(costOf(tariff, to, 3, 'segment'), 3 * cost);
});

test('without prices by prefix the base holds', () => {
  assert.equal(costOf({ base: 2, prefixes: undefined }, '+989121234567', 2, 'segment'), 4);
});
