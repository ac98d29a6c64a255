/** Record batches byte by byte: hash, varints and limits, against an implementation that is not ours. */
import assert from 'node:assert/strict';
import { Reader, readRecordsBatch, murmur2 as theirMurmur2 } from '@platformatic/kafka';
import { test } from 'vitest';
import { at } from '../../../src/events/record.ts';
import { BatchEncoder, murmur2, stamp } from '../../../src/sinks/kafka/encode.ts';
import { batchOf, event, events, type TestEvent } from './events.ts';

function encode(list: readonly TestEvent[], partitions: number, skip?: (index: number) => boolean) {
  const { buffer, offsets, count } = batchOf(list);
  const partOf = new Int32Array(count).fill(-1);
  const parts = new BatchEncoder('none').encode(buffer, offsets, count, partitions, partOf, skip);
  return { parts, partOf };
}

test('hashes keys as the Java client does', () => {
  // From Kafka's own UtilsTest.
  const known: [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ];
  for (const [text, hash] of known) assert.equal(murmur2(Buffer.from(`..${text}`), 2, text.length), hash, text);
  for (const { id } of events(0, 2000)) assert.equal(murmur2(Buffer.from(id), 0, 36), theirMurmur2(Buffer.from(id)));
});

test('puts each record into the partition of its key, in order', () => {
  const sent = events(0, 500);
  const { parts, partOf } = encode(sent, 7);
  const seen: string[] = [];
  for (const part of parts) {
    const { records } = readRecordsBatch(Reader.from(part.bytes));
    assert.equal(records.length, part.count);
    const ids = records.map(({ key }) => String(key));
    assert.deepEqual(ids, [...ids].sort(), 'order within a partition');
    for (const id of ids) assert.equal((theirMurmur2(Buffer.from(id)) & 0x7fffffff) % 7, part.partition);
    seen.push(...ids);
  }
  assert.deepEqual(seen.sort(), sent.map(({ id }) => id).sort());
  for (const [i, { id }] of sent.entries())
    assert.equal(parts[partOf[i]!]!.partition, (theirMurmur2(Buffer.from(id)) & 0x7fffffff) % 7);
});

test('writes times of any distance, names with escapes, long lines, and the fields of the producer', () => {
  const sent = [
    event(0, { tsMs: 1_763_700_000_000 }),
    event(1, { tsMs: 0 }),
    event(2, { tsMs: 4_102_444_800_000 }),
    event(3, { tsMs: 1_763_700_000_000 - 0x40000000 }),
    event(4, { tsMs: 1_763_700_000_000 - 0x40000001 }),
    event(5, { tsMs: 1_763_700_000_000 + 0x3fffffff }),
    event(6, { type: '\\"\n é', extra: { text: 'y'.repeat(300_000) } }),
    event(7, { type: 'n'.repeat(200) }),
  ];
  const [part] = encode(sent, 1).parts;
  stamp(part!.bytes, { id: 0x1234567890n, epoch: 7 }, 2 ** 31 - 4);
  const batch = readRecordsBatch(Reader.from(part!.bytes));
  assert.equal(batch.producerId, 0x1234567890n);
  assert.equal(batch.producerEpoch, 7);
  assert.equal(batch.firstSequence, 2 ** 31 - 4);
  assert.equal(batch.firstTimestamp, BigInt(sent[0]!.tsMs));
  assert.equal(batch.maxTimestamp, 4_102_444_800_000n);
  for (const [i, { id, tsMs, type, line }] of sent.entries()) {
    const record = batch.records[i]!;
    assert.equal(Number(batch.firstTimestamp + BigInt(record.timestampDelta)), tsMs);
    assert.equal(record.offsetDelta, i);
    assert.equal(String(record.key), id);
    assert.equal(String(record.value), line);
    assert.deepEqual(
      record.headers.map(([name, text]) => [String(name), String(text)]),
      [
        ['event_type', type],
        ['schema', 'v1'],
      ],
    );
  }
});

test('leaves out the records that are delivered already', () => {
  const { parts, partOf } = encode(events(0, 10), 1, (index) => index % 3 === 0);
  assert.equal(parts[0]!.count, 6);
  assert.deepEqual([...partOf], [-1, 0, 0, -1, 0, 0, -1, 0, 0, -1]);
  assert.deepEqual(encode(events(0, 3), 4, () => true).parts, []);
});

test('gives a time before 1970 the record time 0, for a broker refuses it otherwise', () => {
  const [part] = encode([event(0, { tsMs: -5 })], 1).parts;
  assert.equal(readRecordsBatch(Reader.from(part!.bytes)).firstTimestamp, 0n);
});

test('closes a part before it is larger than a broker takes by default, and gives a larger record its own', () => {
  const big = (n: number, bytes: number) => event(n, { extra: { text: 'z'.repeat(bytes) } });
  const sent = [big(0, 400_000), big(1, 400_000), big(2, 400_000), event(3), big(4, 1_500_000), event(5)];
  const { parts, partOf } = encode(sent, 1);
  assert.deepEqual([...partOf], [0, 0, 1, 1, 2, 3]);
  const keys = parts.flatMap((part) => readRecordsBatch(Reader.from(part.bytes)).records.map(({ key }) => String(key)));
  assert.deepEqual(
    keys,
    sent.map(({ id }) => id),
  );
  for (const i of [0, 1, 3]) assert.ok(parts[i]!.bytes.length < 1_000_000);
});

test('a batch that cannot be encoded leaves nothing behind for the next one', () => {
  const encoder = new BatchEncoder('none');
  const broken = batchOf(events(0, 5));
  broken.buffer.writeUInt32LE(0xffff_ffff, broken.offsets[4]! + at.jsonLength);
  assert.throws(() => encoder.encode(broken.buffer, broken.offsets, 5, 1, new Int32Array(5)));
  const sound = batchOf(events(10, 2));
  const [part] = encoder.encode(sound.buffer, sound.offsets, 2, 1, new Int32Array(2));
  assert.equal(part!.count, 2);
});
