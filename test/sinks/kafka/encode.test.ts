/** Record batches byte by byte: hash, varints and limits, against an implementation that is not ours. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Reader, readRecordsBatch, murmur2 as theirMurmur2 } from '@platformatic/kafka';
import { test } from 'vitest';
import { putForeign } from '../../../src/events/foreign.ts';
import { at, EVENT_KIND, EVENT_VERSION, TRACE_BYTES, TRACED_VERSION } from '../../../src/events/record.ts';
import { KEYED, keyBytes, keyOf, putKey } from '../../../src/events/record-key.ts';
import { BatchEncoder, murmur2, type RecordTime, stamp } from '../../../src/sinks/kafka/encode.ts';
import { batchOf, event, events, type TestEvent } from './events.ts';

function encode(list: readonly TestEvent[], partitions: number, skip?: (index: number) => boolean) {
  const { buffer, offsets, count } = batchOf(list);
  const partOf = new Int32Array(count).fill(-1);
  const parts = new BatchEncoder('none').encode(buffer, offsets, count, partitions, partOf, 'received', skip);
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

// Goal: a client's clock decides neither about refusal nor about retention, and the value keeps what it said.
// Method: times of receipt and of the event that lie apart, before 1970 too, under each rule.
test('the time of a record is that of its receipt; by KAFKA_TIMESTAMP=event its ts, a day before receipt at most', () => {
  const received = 1_763_700_000_000;
  const day = 86_400_000;
  const year2099 = Date.UTC(2099, 0, 1);
  const times: [receivedMs: number, tsMs: number, event: number][] = [
    [received, year2099, received],
    [received + 1, received, received],
    [received, received - 3_600_000, received - 3_600_000],
    [received, received - 30 * day, received - day],
    [received, -5, received - day],
    [-1, -1, -1],
    [received + 0.75, received - 1, received - 1],
  ];
  const { buffer, offsets, count } = batchOf(times.map(([receivedMs, tsMs], n) => event(n, { receivedMs, tsMs })));
  const timesBy = (time: RecordTime) => {
    const [part] = new BatchEncoder('none').encode(buffer, offsets, count, 1, new Int32Array(count), time);
    const { firstTimestamp, maxTimestamp, records } = readRecordsBatch(Reader.from(part!.bytes));
    const all = records.map(({ timestampDelta }) => Number(firstTimestamp + timestampDelta));
    assert.equal(Number(maxTimestamp), Math.max(...all));
    assert.deepEqual(
      records.map(({ value }) => Date.parse((JSON.parse(String(value)) as { ts: string }).ts)),
      times.map(([, tsMs]) => tsMs),
    );
    return all;
  };
  assert.deepEqual(
    timesBy('received'),
    times.map(([receivedMs]) => Math.trunc(receivedMs)),
  );
  assert.deepEqual(
    timesBy('event'),
    times.map(([, , time]) => time),
  );
  assert.deepEqual(
    timesBy('none'),
    times.map(() => -1),
  );
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
  assert.throws(() => encoder.encode(broken.buffer, broken.offsets, 5, 1, new Int32Array(5), 'received'));
  const sound = batchOf(events(10, 2));
  const [part] = encoder.encode(sound.buffer, sound.offsets, 2, 1, new Int32Array(2), 'received');
  assert.equal(part!.count, 2);
});

// Consumers and brokers that tell a repeated batch by its bytes see no difference between versions.
test('record batches of events without a key are those of the first version, byte by byte', () => {
  const { buffer, offsets, count } = batchOf(
    Array.from({ length: 500 }, (_, n) => event(n, { tsMs: 1_763_700_000_000 + n * 977 })),
  );
  for (const offset of offsets) buffer.writeUInt32LE(0x0001_0001, offset + 4);
  const hash = createHash('sha256');
  for (const { bytes } of new BatchEncoder('none').encode(
    buffer,
    offsets,
    count,
    5,
    new Int32Array(count),
    'received',
  )) {
    bytes.fill(0, 17, 21).fill(0, 43, 57); // checksum and producer: stamp() has not been here
    hash.update(bytes);
  }
  assert.equal(hash.digest('hex'), '7870fdd27a9e244a03af5923627ae1e411282eae86a344577d5c302afd95003b');
});

test('a record with a key of its own goes to the partition of that key, in order, traced or not', () => {
  const customers = ['acme', 'ümlaut & sons', '', 'x'.repeat(300)];
  const sent = Array.from({ length: 200 }, (_, n) => ({ ...event(n), customer: customers[n % customers.length]! }));
  const { buffer, offsets } = keyed(sent, (n) => n % 3 === 0);
  const parts = new BatchEncoder('none').encode(
    buffer,
    offsets,
    sent.length,
    5,
    new Int32Array(sent.length),
    'received',
  );
  const seen = new Map<string, number[]>();
  for (const part of parts) {
    for (const record of readRecordsBatch(Reader.from(part.bytes)).records) {
      const key = String(record.key);
      assert.equal((theirMurmur2(Buffer.from(key)) & 0x7fffffff) % 5, part.partition);
      const { n } = (JSON.parse(String(record.value)) as { props: { n: number } }).props;
      assert.equal(key, sent[n]!.customer);
      assert.equal(record.headers.length, n % 3 === 0 ? 3 : 2);
      seen.set(key, [...(seen.get(key) ?? []), n]);
    }
  }
  for (const [i, customer] of customers.entries())
    assert.deepEqual(
      seen.get(customer),
      Array.from({ length: 50 }, (_, k) => i + 4 * k),
      'order within a key',
    );
});

test('a foreign record goes on as it came: its value, its key or none, its time, no headers', () => {
  const buffer = Buffer.alloc(4096);
  const values = ['not JSON', '{"a":1}', ''];
  const offsets = new Int32Array(values.length);
  let end = 0;
  for (const [i, value] of values.entries()) {
    offsets[i] = end;
    const key = i === 1 ? undefined : Buffer.from(`k${i}`);
    end = putForeign(buffer, end, Buffer.from(value), key, 1_763_700_000_000 + i, {
      topic: 0,
      partition: 1,
      offset: i,
    });
  }
  const [part, ...others] = new BatchEncoder('none').encode(buffer, offsets, 3, 1, new Int32Array(3), 'received');
  assert.equal(others.length, 0);
  const { records, firstTimestamp } = readRecordsBatch(Reader.from(part!.bytes));
  assert.equal(firstTimestamp, 1_763_700_000_000n);
  assert.deepEqual(
    records.map(({ key, value, headers }) => [key?.toString(), value?.toString(), headers]),
    [
      ['k0', 'not JSON', []],
      [undefined, '{"a":1}', []],
      ['k2', '', []],
    ],
  );
});

/** Records of events that have a key. */
function keyed(list: readonly (TestEvent & { customer: string })[], traced: (n: number) => boolean) {
  const parts: Buffer[] = [];
  const offsets = new Int32Array(list.length);
  let at = 0;
  for (const [n, one] of list.entries()) {
    offsets[n] = at;
    const plain = batchOf([one]).buffer;
    const key = Buffer.from(one.customer);
    let end = plain.readUInt32LE(0);
    const record = Buffer.concat([plain.subarray(0, end), Buffer.alloc(keyBytes(key) + TRACE_BYTES + 8)]);
    end = putKey(record, end, key);
    if (traced(n)) end += TRACE_BYTES;
    record.writeUInt32LE(end, 0);
    record.writeUInt16LE(EVENT_KIND, 4);
    record.writeUInt16LE((traced(n) ? TRACED_VERSION : EVENT_VERSION) | KEYED, 6);
    assert.ok(keyOf(record, 0)!.equals(key));
    const padded = (end + 7) & ~7;
    parts.push(record.subarray(0, padded));
    at += padded;
  }
  return { buffer: Buffer.concat(parts), offsets };
}
