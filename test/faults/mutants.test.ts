/** Goal: every order and check that a promise rests on is proven by some test. Method: break it, and see that test go red (mutants.ts). */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { mutants, tryMutant } from './mutants.ts';

test('every mutant of the engine and the sinks is killed by its tests', { timeout: 600_000 }, async () => {
  const waiting = [...mutants];
  const alive: string[] = [];
  const work = async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const verdict = await tryMutant(mutant);
      if (verdict !== 'killed') alive.push(`${mutant.name}: ${verdict}`);
    }
  };
  await Promise.all([work(), work()]);
  assert.deepEqual(alive, []);
});
