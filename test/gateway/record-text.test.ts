/**
 * Goal: nothing of the record before stands in a record, although its pieces are kept.
 * Method: rows of records, each unlike the one before in a field, in some or in none.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RequestRecord } from '../../src/gateway/record.ts';
import { recordText } from '../../src/gateway/record-text.ts';

const first: RequestRecord = {
  userId: undefined,
  keyId: undefined,
  backendId: undefined,
  requestId: 'a-1',
  method: 'GET',
  target: '/a',
  status: 401,
  outcome: 'no_key',
  durationMs: 0,
  bytesIn: 0,
  bytesOut: 177,
  address: '203.0.113.4',
  month: undefined,
  receivedMs: 1,
};
const id = fc.constantFrom(undefined, 0, 1, 7);
const change: fc.Arbitrary<Partial<RequestRecord>> = fc.record(
  {
    userId: id,
    keyId: fc.constantFrom(undefined, '9fK2mQx07TbA', '9fK2mQx07TbB'),
    backendId: id,
    requestId: fc.constantFrom('a-1', 'a-2'),
    method: fc.constantFrom('GET', 'POST'),
    target: fc.constantFrom('/a', '/b', '/"\\\n', `/${'a'.repeat(8191)}`, `/${'a'.repeat(8191)}b`),
    status: fc.constantFrom(200, 401),
    outcome: fc.constantFrom('no_key', 'hit'),
    durationMs: fc.constantFrom(0, 0.4, 12.6),
    bytesIn: fc.constantFrom(0, 12),
    bytesOut: fc.constantFrom(0, 177),
    address: fc.constantFrom('', '203.0.113.4', '2001:db8::1'),
    month: fc.constantFrom(undefined, 24_298, 24_299),
  },
  { requiredKeys: [] },
);

const told = (record: RequestRecord) => ({
  user: record.userId ?? null,
  key: record.keyId ?? null,
  backend: record.backendId ?? null,
  id: record.requestId,
  method: record.method,
  path: record.target.slice(0, 8192),
  status: record.status,
  outcome: record.outcome,
  ms: Math.round(record.durationMs),
  in: record.bytesIn,
  out: record.bytesOut,
  ip: record.address === '' ? null : record.address,
  month: record.month ?? null,
});

test('a line tells of its own record, whatever the one before was', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      let record = first;
      for (const changed of [{}, ...changes]) {
        record = { ...record, ...changed };
        expect(JSON.parse(recordText(record))).toEqual(told(record));
      }
    }),
    { numRuns: 500 },
  );
  // Each field alone, from either side.
  for (const [name, value] of Object.entries({
    ...first,
    userId: 7,
    keyId: 'k',
    backendId: 3,
    method: 'PUT',
    month: 9,
  }))
    for (const other of [value, name === 'address' ? '' : typeof value === 'number' ? value + 1 : `${value}x`])
      for (const record of [first, { ...first, [name]: other }, first])
        expect(JSON.parse(recordText(record))).toEqual(told(record));
});
