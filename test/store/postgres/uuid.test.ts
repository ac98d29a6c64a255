/** UUIDs as bytes: with dashes or without, in either case. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { putUuid } from '../../../src/store/postgres/uuid.ts';

test('a UUID is written as its 16 bytes, however it is spelled, and nothing beside it', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.boolean(), fc.boolean(), (uuid, upper, dashes) => {
      const hex = uuid.replaceAll('-', '');
      const text = dashes ? uuid : hex;
      const target = Buffer.alloc(20, 0xaa);
      putUuid(target, 2, upper ? text.toUpperCase() : text);
      assert.equal(target.toString('hex'), `aaaa${hex}aaaa`);
    }),
  );
});
