/** A key behind the line changes nothing for a reader that does not look for it. */
import { expect, test } from 'vitest';
import { foreignBytes, hasBrokerTime, originOf, putForeign } from '../../src/events/foreign.ts';
import { jsonLength, jsonStart, receivedMsAt, traceOf, tsMsAt } from '../../src/events/record.ts';
import { isKeyed, keyOf } from '../../src/events/record-key.ts';

for (const text of [undefined, '', 'k', 'site 7|visitor ä', 'x'.repeat(100_000)])
  test(`a foreign record of any length is read back, its key too: ${text?.slice(0, 20) ?? 'none'}`, () => {
    const key = text === undefined ? undefined : Buffer.from(text);
    for (let length = 0; length < 20; length++) {
      const value = Buffer.alloc(length, 'v');
      const bytes = foreignBytes(value, key);
      const buffer = Buffer.alloc(16 + bytes + 8, 0xee);
      const end = putForeign(buffer, 16, value, key, 1234.5, { topic: 3, partition: 70_000, offset: 2 ** 40 + 1 });
      expect(end).toBe(16 + bytes);
      expect(end % 8).toBe(0);
      expect(buffer.subarray(end).every((byte) => byte === 0xee)).toBe(true);
      expect(buffer.subarray(jsonStart(16), jsonStart(16) + jsonLength(buffer, 16))).toEqual(value);
      expect(buffer[jsonStart(16) + length]).toBe(10);
      expect(isKeyed(buffer, 16)).toBe(key !== undefined);
      // toEqual() takes a second for 100 KB.
      expect(keyOf(buffer, 16)?.equals(key!)).toBe(key && true);
      expect(traceOf(buffer, 16)).toBe(undefined);
      expect([receivedMsAt(buffer, 16), tsMsAt(buffer, 16)]).toEqual([1234.5, 1234.5]);
      expect(originOf(buffer, 16)).toEqual({ topic: 3, partition: 70_000, offset: 2 ** 40 + 1 });
    }
  });

test('whose time a foreign record has is kept beside its key, and changes nothing else', () => {
  for (const key of [undefined, Buffer.from('k')])
    for (const brokerTime of [false, true]) {
      const buffer = Buffer.alloc(foreignBytes(Buffer.from('v'), key));
      putForeign(buffer, 0, Buffer.from('v'), key, 1, { topic: 0, partition: 0, offset: 0 }, brokerTime);
      expect([hasBrokerTime(buffer, 0), isKeyed(buffer, 0), traceOf(buffer, 0)]).toEqual([
        brokerTime,
        key !== undefined,
        undefined,
      ]);
    }
});
