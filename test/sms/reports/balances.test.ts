/** Whose balance ends first: the order of the list, and what is left at the pace of a customer. */
import { expect, test } from 'vitest';
import { leftOf, lowestFirst } from '../../../src/sms/reports/balances.ts';
import type { LowBalance } from '../../../src/sms/reports/contract.ts';
import { DAY_MS } from '../../../src/sms/reports/range.ts';

const row = (customer_id: string, days_left: number | null, cost_per_day: number): LowBalance => ({
  ...{ customer_id, name: '', balance: 1, reserved: 0, waiting: 0, cost_per_day, days_left },
});

test('the lowest balance is the first, and equals have one order, whatever order they come in', () => {
  const ordered = [row('x', 0, 9), row('a', 0, 5), row('b', 0, 5), row('c', 0.5, 1), row('d', 2, 7), row('e', null, 0)];
  const turned = ordered.map((_, at) => [...ordered.slice(at), ...ordered.slice(0, at)]);
  for (const rows of [ordered, [...ordered].reverse(), ...turned]) expect(lowestFirst(rows, 10)).toEqual(ordered);
  expect(lowestFirst([...ordered].reverse(), 3)).toEqual(ordered.slice(0, 3));
});

test('who spends has a pace since yesterday began; who has stopped, one of the week', () => {
  const now = 20_000 * DAY_MS + DAY_MS / 2;
  const balances = ['spends', 'stopped'].map((customer_id) => ({
    ...{ customer_id, name: '', balance: 30, reserved: 0, waiting: 0 },
  }));
  const spent = [
    { customer_id: 'spends', spent: 500, lately: 45 },
    { customer_id: 'stopped', spent: 75, lately: 0 },
  ];
  expect(leftOf(spent, balances, now).map(({ cost_per_day, days_left }) => [cost_per_day, days_left])).toEqual([
    [30, 1],
    [10, 3],
  ]);
});
