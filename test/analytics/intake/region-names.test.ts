/** Goal: each name of a region is told once, what cannot be stored is told again, and nothing grows beyond its bound. */
import { expect, test } from 'vitest';
import { type NamesQuestion, RegionNames } from '../../../src/analytics/intake/region-names.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('names are told once, changed ones again, and those that were not stored later', async () => {
  const told: NamesQuestion['names'][] = [];
  let fails = false;
  const names = new RegionNames(async (question) => {
    told.push(question.names);
    if (fails) throw new Error('away');
  });
  names.look(0);
  expect(told).toEqual([]);
  names.learn('DE', 'BE', 'Land Berlin');
  names.learn('DE', 'BE', 'Land Berlin');
  names.learn('DE', undefined, 'nowhere');
  names.learn('DE', 'BY', undefined);
  names.learn('DE', "B'; --", 'Bavaria');
  names.look(0);
  await settled();
  names.look(1);
  expect(told).toEqual([[['DE-BE', 'Land Berlin']]]);
  fails = true;
  names.learn('DE', 'BE', 'Berlin\0');
  names.look(2);
  await settled();
  names.look(3);
  expect(told).toHaveLength(2);
  fails = false;
  names.look(60_000);
  await settled();
  expect(told.slice(1)).toEqual([[['DE-BE', 'Berlin\ufffd']], [['DE-BE', 'Berlin\ufffd']]]);
});

test('a database that makes names up fills no memory', async () => {
  let told = 0;
  const names = new RegionNames(async (question) => {
    told += question.names.length;
  });
  for (let i = 0; i < 30_000; i++) names.learn('XX', `R${i}`, 'x'.repeat(5000));
  for (let ms = 0; ms < 100; ms++) {
    names.look(ms);
    await settled();
  }
  expect(told).toBe(10_000);
});
