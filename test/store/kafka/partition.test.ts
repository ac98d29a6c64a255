/**
 * Goal: every record of what was fetched is read once, in order, and nothing that is damaged, torn, aborted or a marker.
 * Method: record batches made by the client library, in answers that are cut at random; each codec has a seed of its own.
 */
import { crc32c, createRecordsBatch, Writer } from '@platformatic/kafka';
import { describe, expect, test } from 'vitest';
import type { FetchedPartition } from '../../../src/store/kafka/fetch.ts';
import { Partition } from '../../../src/store/kafka/partition.ts';
import { SPARE_BYTES_MAX, Spare } from '../../../src/store/kafka/spare.ts';

type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** A batch of values at an offset, as a broker keeps it. */
function batchOf(offset: number, values: readonly (string | undefined)[], codec: Codec = 'none'): Buffer {
  const messages = values.map((value, i) => ({
    topic: 't',
    key: Buffer.from(`k${offset + i}`),
    value: value === undefined ? undefined : Buffer.from(value),
    headers: new Map([[Buffer.from('h'), Buffer.from('x')]]),
    timestamp: BigInt(1_700_000_000_000 + offset + i),
  }));
  const made = createRecordsBatch(messages as never, { compression: codec } as never).buffer;
  made.writeBigInt64BE(BigInt(offset), 0); // not under the checksum: the broker sets it
  return made;
}

/** The same batch with the checksum of what it holds now. */
function withChecksum(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(Writer.create().append(bytes.subarray(21)).dynamicBuffer), 17);
  return bytes;
}

const fetched = (records: Buffer, more: Partial<FetchedPartition> = {}): FetchedPartition => ({
  topic: 't',
  partition: 0,
  code: 0,
  end: 1_000_000,
  logStart: 0,
  aborted: [],
  records,
  ...more,
});

function readAll(partition: Partition): { offset: number; value: string }[] {
  const read: { offset: number; value: string }[] = [];
  for (let record = partition.read(); record !== undefined; record = partition.read()) {
    expect(record.timeMs).toBe(1_700_000_000_000 + record.offset);
    expect(String(record.key)).toBe(`k${record.offset}`);
    read.push({ offset: record.offset, value: String(record.value) });
    partition.pass(record);
  }
  return read;
}

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
  test(`records are read once and in order, whatever the answers are cut into: ${codec}`, () => {
    let seed = 1 + codec.length;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed % below;
    };
    const batches: Buffer[] = [];
    const sent: { offset: number; value: string }[] = [];
    for (let offset = 0; offset < 400; ) {
      const values = Array.from({ length: 1 + random(9) }, (_, i) => `v${offset + i}`.repeat(random(4)));
      values.forEach((value, i) => void sent.push({ offset: offset + i, value }));
      batches.push(batchOf(offset, values, codec));
      offset += values.length;
    }
    const log = Buffer.concat(batches);
    const starts = batches.map((_, i) => batches.slice(0, i).reduce((sum, one) => sum + one.length, 0));
    const partition = new Partition('t', 0, 0);
    const read: { offset: number; value: string }[] = [];
    for (let rounds = 0; partition.fetchFrom < sent.length; rounds++) {
      expect(rounds).toBeLessThan(10_000);
      // A broker answers from the batch that holds the offset on, and may tear the last one.
      const at = starts.findLast((start) => log.readBigInt64BE(start) <= BigInt(partition.fetchFrom))!;
      const whole = 12 + log.readInt32BE(at + 8);
      partition.add(fetched(log.subarray(at, at + whole + random(2000))));
      if (random(2) === 0) read.push(...readAll(partition));
    }
    read.push(...readAll(partition));
    expect(read).toEqual(sent);
    expect([partition.position, partition.buffered]).toEqual([sent.length, 0]);
  });

test('it begins in the middle of a batch, and a hole behind the last record is passed', () => {
  const bytes = batchOf(10, ['a', 'b', 'c']);
  bytes.writeInt32BE(9, 23); // compaction has taken the records behind: the batch ends at offset 19 all the same
  const sound = withChecksum(bytes);
  const partition = new Partition('t', 0, 11);
  partition.add(fetched(sound));
  expect(readAll(partition).map(({ value }) => value)).toEqual(['b', 'c']);
  expect([partition.position, partition.fetchFrom, partition.hasMore]).toEqual([20, 20, false]);
});

test('records of an aborted transaction and markers are passed over; those of the next transaction are read', () => {
  const producer = 77n;
  const transactional = (offset: number, values: string[]) => {
    const bytes = batchOf(offset, values);
    bytes.writeInt16BE(1 << 4, 21);
    bytes.writeBigInt64BE(producer, 43);
    return withChecksum(bytes);
  };
  const marker = (offset: number, type: number) => {
    const bytes = batchOf(offset, ['']);
    bytes.writeInt16BE((1 << 4) | (1 << 5), 21);
    bytes.writeBigInt64BE(producer, 43);
    // Length, attributes, two deltas, key of 4 bytes (version 0, type), no value, no headers.
    const record = Buffer.from([2 * 10, 0, 0, 0, 2 * 4, 0, 0, 0, type, 1, 0]);
    const whole = Buffer.concat([bytes.subarray(0, 61), record]);
    whole.writeInt32BE(whole.length - 12, 8);
    return withChecksum(whole);
  };
  const log = [
    transactional(0, ['bad', 'bad']),
    batchOf(2, ['plain']),
    marker(3, 0),
    transactional(4, ['good']),
    marker(5, 1),
  ];
  const partition = new Partition('t', 0, 0);
  partition.add(fetched(Buffer.concat(log), { aborted: [{ producer, from: 0 }] }));
  expect(readAll(partition)).toEqual([
    { offset: 2, value: 'plain' },
    { offset: 4, value: 'good' },
  ]);
  expect(partition.position).toBe(6);
});

test('a batch with another checksum is refused, and nothing of it is read', () => {
  const bytes = batchOf(0, ['a', 'b']);
  bytes[bytes.length - 3]! ^= 1;
  const partition = new Partition('t', 0, 0);
  partition.add(fetched(bytes));
  expect(() => partition.read()).toThrow(/checksum: t\/0 at offset 0/);
  expect(partition.position).toBe(0);
});

test('a record without a value has none', () => {
  const partition = new Partition('t', 0, 5);
  partition.add(fetched(batchOf(5, [undefined, 'x'])));
  expect(readAll(partition).map(({ value }) => value)).toEqual(['undefined', 'x']);
});

test('what retention has taken is a gap, and what was buffered before it is dropped', () => {
  const partition = new Partition('t', 0, 0);
  partition.add(fetched(batchOf(0, ['a'])));
  partition.skipTo(100);
  expect([partition.read(), partition.gap, partition.buffered]).toEqual([
    undefined,
    { from: 0, to: 100, reason: 'gone' },
    0,
  ]);
  partition.passGap();
  expect([partition.position, partition.fetchFrom, partition.hasMore]).toEqual([100, 100, false]);
});

// A producer may send a batch of a kilobyte that unpacks to gigabytes, or one that does not unpack; the broker keeps both.
test.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
  'a batch that unpacks to more than it may, or not at all, is a gap, and what lies around it is read: %s',
  (codec) => {
    const large = batchOf(2, ['x'.repeat(50_000), 'y'], codec);
    const broken = batchOf(4, ['v'.repeat(500)], codec);
    broken.fill(0xff, 61);
    const log = [batchOf(0, ['a', 'b'], codec), large, withChecksum(broken), batchOf(5, ['c'], codec)];
    const partition = new Partition('t', 0, 0, { unpackedBytesMax: 10_000 });
    partition.add(fetched(Buffer.concat(log)));
    const values = readAll(partition).map(({ value }) => value);
    expect([values, partition.position]).toEqual([['a', 'b'], 2]);
    const gaps: unknown[] = [];
    while (partition.gap !== undefined) {
      gaps.push(partition.gap);
      partition.passGap();
      values.push(...readAll(partition).map(({ value }) => value));
    }
    expect(gaps).toEqual([
      { from: 2, to: 4, reason: 'damaged' },
      { from: 4, to: 5, reason: 'damaged' },
    ]);
    expect([values, partition.position, partition.hasMore]).toEqual([['a', 'b', 'c'], 6, false]);
  },
);

test('a batch whose records are malformed is read up to there, and what lies behind it is read', () => {
  const bytes = batchOf(2, ['c', 'd', 'e']);
  bytes[61 + (bytes.length - 61) / 3] = 0x7f; // the second record says that it is longer than the batch
  const partition = new Partition('t', 0, 0);
  partition.add(fetched(Buffer.concat([batchOf(0, ['a', 'b']), withChecksum(bytes), batchOf(5, ['f'])])));
  expect(readAll(partition).map(({ value }) => value)).toEqual(['a', 'b', 'c']);
  expect(partition.gap).toEqual({ from: 3, to: 5, reason: 'damaged' });
  partition.passGap();
  expect(readAll(partition)).toEqual([{ offset: 5, value: 'f' }]);
  expect(partition.position).toBe(6);
});

test('a partition opens no batch while those of others take the room, and goes on when they are read', () => {
  const others: Partition[] = [];
  const hasRoom = () => others.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0) < 10_000;
  for (const index of [0, 1]) others.push(new Partition('t', index, 0, { unpackedBytesMax: 20_000, hasRoom }));
  const [first, second] = others as [Partition, Partition];
  first.add(fetched(batchOf(0, ['x'.repeat(9000), 'y'.repeat(9000)], 'lz4')));
  second.add(fetched(batchOf(0, ['a', 'b'], 'lz4')));
  const begun = first.read()!;
  expect(first.unpackedBytes).toBeGreaterThan(18_000);
  expect([second.hasMore, second.read()]).toEqual([false, undefined]);
  first.pass(begun);
  expect(first.hasMore).toBe(true);
  expect(readAll(first)).toHaveLength(1);
  expect(second.hasMore).toBe(true);
  expect(readAll(second)).toHaveLength(2);
});

/** The memory that the first value of each batch lies in, of a partition that is read to its end. */
function memories(partition: Partition): Set<ArrayBufferLike> {
  const found = new Set<ArrayBufferLike>();
  for (let record = partition.read(); record !== undefined; record = partition.read()) {
    found.add(record.value!.buffer);
    partition.pass(record);
  }
  return found;
}

describe('spare memory', () => {
  const MIB = 2 ** 20;
  const textOf = (i: number, letter = 'x') => letter.repeat(MIB + 1000 * (i % 7));
  const log = (codec: Codec, letter?: string) =>
    Array.from({ length: 30 }, (_, i) => batchOf(2 * i, [textOf(i, letter), `${i}`], codec));

  test.each(['snappy', 'lz4'] as const)(
    'batches that follow each other are unpacked into the same memory: %s',
    (codec) => {
      const spare = new Spare();
      const partition = new Partition('t', 0, 0, { spare });
      partition.add(fetched(Buffer.concat(log(codec))));
      expect(memories(partition).size).toBe(1);
      expect(partition.position).toBe(60);
      expect(spare.bytes).toBeGreaterThan(MIB);
      // Another partition takes what this one has left.
      const other = new Partition('t', 1, 0, { spare });
      other.add(fetched(batchOf(0, ['a'.repeat(MIB), 'b'], codec)));
      const begun = other.read()!;
      expect([spare.bytes, String(begun.value)]).toEqual([0, 'a'.repeat(MIB)]);
    },
  );

  test('partitions that are read in turn keep what they read, and leave one memory', () => {
    const spare = new Spare();
    const letters = ['a', 'b', 'c'];
    const partitions = letters.map((letter, index) => {
      const partition = new Partition('t', index, 0, { spare });
      partition.add(fetched(Buffer.concat(log('lz4', letter))));
      return partition;
    });
    let read = 0;
    for (let open = true; open; ) {
      open = false;
      const records = partitions.map((one) => one.read());
      for (const [index, record] of records.entries()) {
        if (record === undefined) continue;
        open = true;
        const i = Math.floor(record.offset / 2);
        const expected = record.offset % 2 === 1 ? `${i}` : textOf(i, letters[index]);
        expect(String(record.value) === expected, `partition ${index}, offset ${record.offset}`).toBe(true);
        read += 1;
      }
      for (const [index, record] of records.entries()) if (record !== undefined) partitions[index]!.pass(record);
    }
    expect(read).toBe(180);
    expect(spare.bytes).toBeLessThan(2 * MIB);
  });

  test('a batch that is read to its end without a record of ours, or that is malformed, leaves its memory as well', () => {
    for (const at of [4, 0]) {
      const spare = new Spare();
      const bytes = batchOf(0, ['x'.repeat(MIB)], 'lz4');
      if (at === 0)
        bytes.writeInt32BE(2, 57); // it says that it has a second record
      else bytes.writeInt32BE(at, 23); // its end is behind its only record
      const partition = new Partition('t', 0, at, { spare });
      partition.add(fetched(withChecksum(bytes)));
      expect(readAll(partition)).toHaveLength(at === 0 ? 1 : 0);
      expect([partition.gap?.reason, spare.bytes > MIB]).toEqual([at === 0 ? 'damaged' : undefined, true]);
    }
  });

  test('small batches take what they need, and a very large one leaves nothing', () => {
    const spare = new Spare();
    const small = spare.take(100);
    expect(small.buffer.byteLength).toBe(100);
    spare.give(small);
    spare.give(spare.take(SPARE_BYTES_MAX + 1));
    expect(spare.bytes).toBe(100);
    const large = spare.take(SPARE_BYTES_MAX);
    spare.give(large);
    spare.give(small);
    expect([spare.bytes, spare.take(10).buffer]).toEqual([SPARE_BYTES_MAX, large.buffer]);
  });
});
