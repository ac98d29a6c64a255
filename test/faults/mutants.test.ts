/** Goal: every order and check that a promise rests on is proven by some test. Method: break it, and see that test go red (mutants/). */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { allMutants, broken, quickMutants, tryMutants } from './mutants/run.ts';

const mutants = process.env['LONG'] ? allMutants : quickMutants;

test('the source still has the place of every mutant', () => {
  const lost = allMutants.filter((mutant) => broken(mutant) === undefined).map(({ name, file }) => `${file}: ${name}`);
  assert.deepEqual(lost, []);
});

test('every mutant of the engine, the sinks and the HTTP side is killed by its tests', async () => {
  assert.deepEqual(await tryMutants(mutants), []);
});
