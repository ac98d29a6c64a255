/** Goal: a thread gives back what its start has left. Method: a heap with garbage that V8 sees no reason to collect. */
import assert from 'node:assert/strict';
import { getHeapStatistics } from 'node:v8';
import { test } from 'vitest';
import { settle } from '../../../src/kernel/threads/settle.ts';

const MIB = 2 ** 20;

test('garbage goes, with its pages', () => {
  settle();
  const before = getHeapStatistics();
  let garbage: object[] = Array.from({ length: 300_000 }, (_, i) => ({ i, text: `${i} of them`, list: [i] }));
  const full = getHeapStatistics();
  assert.ok(full.used_heap_size > before.used_heap_size + 20 * MIB, 'the garbage is there');
  assert.equal(garbage.length, 300_000);
  garbage = [];
  settle();
  const after = getHeapStatistics();
  assert.ok(after.used_heap_size < before.used_heap_size + 5 * MIB, `used: ${after.used_heap_size / MIB} MiB`);
  assert.ok(after.total_physical_size < full.total_physical_size - 10 * MIB, 'its pages are given back');
});
