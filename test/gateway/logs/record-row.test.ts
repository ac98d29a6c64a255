/** Goal: what is read of a record in place is what decoding its JSON gives, or nothing of it is believed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVENT_VERSION, jsonLength, jsonStart } from '../../../src/events/record.ts';
import { KEYED } from '../../../src/events/record-key.ts';
import { type Place, RecordRow } from '../../../src/gateway/logs/record-row.ts';
import { decodeRequest, encodeRequest, REQUEST_KIND, type RequestRecord } from '../../../src/gateway/record.ts';
import { TestDraft } from '../../events/test-draft.ts';

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const word = fc.stringMatching(/^[\w.:/+=-]{1,40}$/);
const records: fc.Arbitrary<RequestRecord> = fc.record({
  userId: maybe(count),
  keyId: maybe(fc.stringMatching(/^[0-9A-Za-z]{12}$/)),
  backendId: maybe(count),
  requestId: word,
  method: fc.constantFrom('GET', 'POST', 'DELETE'),
  target: fc.oneof(fc.webPath(), fc.string({ unit: 'binary' }), fc.constant('/"\\\u0000\n/é😀')),
  status: fc.integer({ min: 100, max: 599 }),
  outcome: fc.constantFrom('ok', 'hit', 'no_key'),
  durationMs: fc.nat({ max: 2 ** 40 }),
  bytesIn: count,
  bytesOut: count,
  address: fc.constantFrom('', '203.0.113.4', '2001:db8::1'),
  month: maybe(fc.nat({ max: 40_000 })),
  receivedMs: fc.nat(),
});

const row = new RecordRow();

function encoded(record: RequestRecord): Buffer {
  const draft = new TestDraft(REQUEST_KIND, EVENT_VERSION | KEYED);
  encodeRequest(draft, record);
  return draft.records[0]!;
}

/** The record at 0 of a draft as row reads it. */
function readOf(buffer: Buffer): Omit<RequestRecord, 'receivedMs'> {
  const text = ({ from, to }: Place): string | undefined => (from < 0 ? undefined : buffer.toString('utf8', from, to));
  const known = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);
  const path = text(row.path)!;
  return {
    userId: known(row.userId),
    keyId: text(row.key),
    backendId: known(row.backendId),
    requestId: text(row.id)!,
    method: text(row.method)!,
    target: row.escaped ? (JSON.parse(`"${path}"`) as string) : path,
    status: row.status,
    outcome: text(row.outcome)!,
    durationMs: row.ms,
    bytesIn: row.bytesIn,
    bytesOut: row.bytesOut,
    address: text(row.ip) ?? '',
    month: known(row.month),
  };
}

test('a record read in place is the record decoded', () => {
  fc.assert(
    fc.property(records, (record) => {
      const buffer = encoded(record);
      expect(row.read(buffer, 0)).toBe(true);
      const { receivedMs: _, ...decoded } = decodeRequest(buffer, 0);
      expect(readOf(buffer)).toEqual(decoded);
    }),
  );
});

test('a line with any byte changed is read as its JSON says, or not at all', () => {
  const record: RequestRecord = {
    userId: 17,
    keyId: '9fK2mQx07TbA',
    backendId: undefined,
    requestId: 'a-1',
    method: 'GET',
    target: '/a"b',
    status: 200,
    outcome: 'hit',
    durationMs: 12,
    bytesIn: 0,
    bytesOut: 20_480,
    address: '203.0.113.4',
    month: 24_298,
    receivedMs: 1,
  };
  const buffer = encoded(record);
  const start = jsonStart(0);
  const end = start + jsonLength(buffer, 0);
  let read = 0;
  for (let at = start; at < end; at += 1)
    for (const byte of [0x22, 0x2c, 0x30, 0x5c, 0x6e, 0x7d]) {
      const changed = Buffer.from(buffer);
      changed[at] = byte;
      if (!row.read(changed, 0)) continue;
      read += 1;
      const said = `at ${at}: ${byte}`;
      let decoded: RequestRecord | undefined;
      try {
        decoded = decodeRequest(changed, 0);
      } catch {
        // An escape that is none; whoever wants the path parses it.
        expect(() => readOf(changed), said).toThrow(SyntaxError);
        continue;
      }
      expect({ ...readOf(changed), receivedMs: 1 }, said).toEqual(decoded);
    }
  expect(read).toBeGreaterThan(50);
});
