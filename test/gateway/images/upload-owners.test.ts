/** Upload owners: what is known is bounded, and forgotten one by one. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { UploadOwners } from '../../../src/gateway/images/upload-owners.ts';
import type { RegistryChange } from '../../../src/gateway/registry/registry.ts';

const KNOWN_MAX = 65_536;
const shaOf = (n: number): string => n.toString(16).padStart(64, '0');
const pathOf = (n: number): string => `00/${shaOf(n)}.jpg`;

test('beyond the bound one upload is forgotten for each that comes, and the others are asked for no more', async () => {
  let asked = 0;
  let change: (change: RegistryChange) => void = () => undefined;
  const owners = new UploadOwners(
    () => {
      asked += 1;
      return Promise.resolve(true);
    },
    {
      onChange: (listener) => {
        change = listener;
        return () => undefined;
      },
    },
  );
  const knows = (userId: number, n: number) => owners.owns(userId, pathOf(n)) === true;
  for (let n = 0; n < KNOWN_MAX; n += 1) assert.equal(await owners.owns(1 + (n % 100), pathOf(n)), true);
  assert.equal(asked, KNOWN_MAX);
  assert.equal(await owners.owns(7, pathOf(KNOWN_MAX)), true);
  assert.ok(knows(7, KNOWN_MAX));
  let known = 0;
  for (let n = 1; n < KNOWN_MAX; n += 1) known += knows(1 + (n % 100), n) ? 1 : 0;
  assert.equal(known, KNOWN_MAX - 1);
  assert.ok(!knows(1, 0));
  // It was asked for again just now, and another one of the first user has made room for it.
  await owners.owns(1, pathOf(0));
  assert.ok(knows(1, 0) && !knows(1, 100));
  const none = { anew: false, users: [], keys: [], backends: false, purges: { rules: [], gone: [] }, removed: [] };
  change({ ...none, disowned: [{ userId: 7, sha256: shaOf(KNOWN_MAX) }] });
  assert.ok(!knows(7, KNOWN_MAX));
});
