/** Request ids: whose is taken, and that no two that are made are alike. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { RequestIds } from '../../src/http/request-id.ts';

const asking = (id: string) => ({ getHeader: () => id });

test('ids that are made have one shape, their order, and differ', () => {
  const [ids, others] = [new RequestIds(), new RequestIds()];
  const made = Array.from({ length: 5000 }, () => ids.of(asking('')));
  for (const id of made) assert.match(id, /^[\da-f]{16}-[\da-z]{9}$/);
  assert.equal(new Set(made).size, made.length);
  assert.deepEqual(made, made.toSorted());
  assert.notEqual(others.of(asking('')).slice(0, 16), made[0]!.slice(0, 16));
});

test("a client's id is taken when it has the shape of one", () => {
  const ids = new RequestIds();
  assert.equal(ids.of(asking('a/b:c.d+e=f-g_1')), 'a/b:c.d+e=f-g_1');
  for (const bad of ['a b', '"', 'é', 'a'.repeat(129)]) assert.match(ids.of(asking(bad)), /^[\da-f]{16}-/);
});
