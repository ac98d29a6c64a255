/** Ids of messages: they sort by time, never go back, and the time is read back. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { UlidMaker, ulidMs } from '../../../src/sms/message/ulid.ts';

test('the example of the specification, and the largest time', () => {
  assert.equal(ulidMs('01ARZ3NDEKTSV4RRFFQ69G5FAV'), 1_469_922_850_259);
  const ids = new UlidMaker((bytes) => bytes.fill(0));
  assert.equal(ids.make(1_469_922_850_259), '01ARZ3NDEK0000000000000000');
  assert.equal(ulidMs('7ZZZZZZZZZZZZZZZZZZZZZZZZZ'), 2 ** 48 - 1);
});

test.each([
  '',
  '01ARZ3NDEKTSV4RRFFQ69G5FA',
  '01ARZ3NDEKTSV4RRFFQ69G5FAVX',
  '81ARZ3NDEKTSV4RRFFQ69G5FAV',
  '01ARZ3NDEKTSV4RRFFQ69G5FAI',
  '01arz3ndektsv4rrffq69g5fav',
])('no ULID: %s', (text) => {
  assert.equal(ulidMs(text), undefined);
});

test('ids grow whatever the clock does, and bear a time that is never before it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 200 }), (times) => {
      const ids = new UlidMaker();
      let last = '';
      for (const ms of times) {
        const id = ids.make(1_700_000_000_000 + ms);
        assert.ok(id > last, `${id} > ${last}`);
        assert.ok(ulidMs(id)! >= 1_700_000_000_000 + ms);
        last = id;
      }
    }),
  );
});

test('behind the last random bits of a ms comes the next ms', () => {
  const ids = new UlidMaker((bytes) => bytes.fill(0xff));
  assert.equal(ids.make(5).slice(10), 'Z'.repeat(16));
  const next = ids.make(5);
  assert.equal(ulidMs(next), 6);
  const half = new UlidMaker((bytes) => bytes.fill(0x0f));
  assert.equal(half.make(9), `000000000${'9'}${'1W7GY3RF'.repeat(2)}`);
});
