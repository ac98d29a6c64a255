/**
 * Answers to Produce requests, byte for byte as a broker writes them: KIP-467 puts any number of record errors into
 * one.
 */
import assert from 'node:assert/strict';
import { Reader, Writer } from '@platformatic/kafka';
import fc from 'fast-check';
import { test } from 'vitest';
import { type PartitionResult, parseProduce } from '../../../src/sinks/kafka/produce.ts';

interface PartitionAnswer {
  readonly partition: number;
  readonly code: number;
  /** One message, or none, per record error. */
  readonly recordErrors: readonly (string | null)[];
  readonly message: string | null;
}

function answer(partitions: readonly PartitionAnswer[]): Reader {
  const writer = Writer.create()
    .appendUnsignedVarInt(2)
    .appendString('events')
    .appendUnsignedVarInt(partitions.length + 1);
  for (const { partition, code, recordErrors, message } of partitions) {
    writer.appendInt32(partition).appendInt16(code).appendInt64(-1n).appendInt64(-1n).appendInt64(0n);
    writer.appendUnsignedVarInt(recordErrors.length + 1);
    recordErrors.forEach((text, index) => {
      writer.appendInt32(index).appendString(text).appendUnsignedInt8(0);
    });
    writer.appendString(message).appendUnsignedInt8(0);
  }
  writer.appendUnsignedInt8(0).appendInt32(0).appendUnsignedInt8(0);
  return Reader.from(writer.buffer);
}

const parsed = (partitions: readonly PartitionAnswer[]): PartitionResult[] =>
  parseProduce(0, 0, 11, answer(partitions));

// Goal: an answer that refuses several records of a batch is read as what it says: INVALID_TIMESTAMP, which halves the
// batch, and
//   not as a code that nobody knows, which stopped delivery for good.
// Method: write answers with 0, 1, 2 and many record errors, with and without messages, before a second partition.
for (const count of [0, 1, 2, 40])
  for (const text of ['timestamp out of range', '', null])
    test(`an answer with ${count} record errors whose message is ${JSON.stringify(text)} is read to its end`, () => {
      const results = parsed([
        { partition: 3, code: 32, recordErrors: Array.from({ length: count }, () => text), message: 'one or more' },
        { partition: 4, code: 0, recordErrors: [], message: null },
      ]);
      assert.deepEqual(results, [
        { partition: 3, code: 32, detail: 'one or more' },
        { partition: 4, code: 0, detail: null },
      ]);
    });

test('the detail of a partition without a message is the first message of its records', () => {
  const results = parsed([{ partition: 0, code: 87, recordErrors: [null, 'first', 'second'], message: null }]);
  assert.deepEqual(results, [{ partition: 0, code: 87, detail: 'first' }]);
});

test('any answer that a broker may write is read as it was written', () => {
  const message = fc.option(fc.string(), { nil: null });
  const partition = fc.record({
    partition: fc.nat(1000),
    code: fc.integer({ min: -1, max: 130 }),
    recordErrors: fc.array(message, { maxLength: 20 }),
    message,
  });
  fc.assert(
    fc.property(fc.array(partition, { maxLength: 8 }), (partitions) => {
      const expected = partitions.map(({ partition, code, recordErrors, message }) => ({
        partition,
        code,
        detail: message ?? recordErrors.find((text) => text !== null) ?? null,
      }));
      assert.deepEqual(parsed(partitions), expected);
    }),
  );
});
