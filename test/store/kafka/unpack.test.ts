/**
 * Goal: what producers pack is unpacked as they packed it, and nothing that a producer can send takes more memory than
 * the limit, or keeps any.
 * Method: blocks made by three encoders, changed at random; bombs; the memory of the process.
 */
import { compressionsAlgorithms } from '@platformatic/kafka';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import { codecs } from '../../../src/store/kafka/unpack.ts';
import { randomFrom } from '../../analytics/rollup/events.ts';

const MIB = 2 ** 20;
const [, , snappy, lz4] = codecs as [unknown, unknown, (typeof codecs)[number], (typeof codecs)[number]];
const seed = Number(process.env['SEED'] ?? 15);

/** The framing of snappy-java: blocks of 32 KiB. */
function framed(bytes: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from('82534e4150505900' + '00000001' + '00000001', 'hex')];
  for (let at = 0; at < bytes.length; at += 32 * 1024) {
    const block = compressSync(bytes.subarray(at, at + 32 * 1024)) as Buffer;
    const head = Buffer.alloc(4);
    head.writeUInt32BE(block.length);
    parts.push(head, block);
  }
  return Buffer.concat(parts);
}

const encoders = {
  'lz4, our own sink': [lz4, (bytes: Buffer) => compressionsAlgorithms.lz4.compressSync(bytes)],
  'lz4, another encoder': [lz4, (bytes: Buffer) => compressFrameSync(bytes)],
  'snappy, one block': [snappy, (bytes: Buffer) => compressSync(bytes) as Buffer],
  'snappy, framed': [snappy, framed],
} as const;

/** Runs, repetitions near and far, and noise. */
function textOf(random: () => number): Buffer {
  const parts: Buffer[] = [Buffer.from('begin')];
  for (let n = Math.floor(random() * 30); n > 0; n -= 1) {
    const before = Buffer.concat(parts);
    const kind = random();
    const length = Math.floor(random() ** 3 * 40_000);
    if (kind < 0.3) parts.push(Buffer.alloc(length, 'abc'.slice(0, 1 + Math.floor(random() * 3))));
    else if (kind < 0.6)
      parts.push(Buffer.from(Array.from({ length: length % 500 }, () => Math.floor(random() * 256))));
    else parts.push(before.subarray(Math.floor(random() * before.length)).subarray(0, length));
  }
  return Buffer.concat(parts);
}

test.each(Object.entries(encoders))(
  'what is packed is unpacked, and whatever becomes of it stays bounded: %s',
  (_, [unpack, pack]) => {
    const random = randomFrom(seed);
    let [sound, refused] = [0, 0];
    for (let round = 0; round < 60; round += 1) {
      const bytes = textOf(random);
      const packed = pack(bytes);
      expect(unpack(packed, bytes.length)?.equals(bytes), `seed ${seed}, round ${round}`).toBe(true);
      expect(unpack(packed, bytes.length - 1)).toBeUndefined();
      for (let change = 0; change < 60; change += 1) {
        const other = Buffer.from(
          packed.subarray(0, change % 4 === 0 ? Math.floor(random() * packed.length) : undefined),
        );
        for (let n = 1 + random() * 3; n > 1; n -= 1)
          if (other.length > 0) other[Math.floor(random() ** 2 * other.length)] = Math.floor(random() * 256);
        const found = unpack(other, MIB);
        if (found === undefined) refused += 1;
        else {
          expect(found.length).toBeLessThanOrEqual(MIB);
          sound += 1;
        }
      }
    }
    expect(refused).toBeGreaterThan(300);
    expect(sound).toBeGreaterThan(20);
  },
);

test('a copy from before the output is refused: what the memory held before is shown to nobody', () => {
  const frame = (block: string) => Buffer.from(`04224d1860707305000000${block}00000000`, 'hex');
  // A literal, then four bytes from 1 or from 2 bytes before; the last sequence is an empty one.
  expect(String(lz4(frame('1061010000'), MIB))).toBe('aaaaa');
  expect(lz4(frame('1061020000'), MIB)).toBeUndefined();
  expect(lz4(frame('1061000000'), MIB)).toBeUndefined();
  expect(String(snappy(Buffer.from('0500610101', 'hex'), MIB))).toBe('aaaaa');
  expect(snappy(Buffer.from('0500610102', 'hex'), MIB)).toBeUndefined();
  expect(snappy(Buffer.from('0500610100', 'hex'), MIB)).toBeUndefined();
  expect(snappy(Buffer.from('0600610101', 'hex'), MIB), 'a byte is never written').toBeUndefined();
});

const rss = () => process.memoryUsage.rss() / MIB;

// A decoder that fails must leave nothing behind: a topic can hold any number of such batches.
test('bombs and damaged batches take no memory, however many come', () => {
  const bomb = compressionsAlgorithms.lz4.compressSync(Buffer.alloc(64 * MIB, 'x'));
  const torn = bomb.subarray(0, bomb.length - 8);
  const claim = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07, 0]);
  // Tokens of literals that go on and on: the length is more than 2^40.
  const endless = Buffer.concat([Buffer.from('04224d1860707300000080', 'hex'), Buffer.alloc(8 * MIB, 0xff)]);
  endless.writeUInt32LE(8 * MIB, 7);
  const far = framed(Buffer.alloc(64 * MIB, 'x'));
  const before = rss();
  for (let i = 0; i < 40; i += 1) {
    expect(lz4(bomb, 8 * MIB)).toBeUndefined();
    expect(lz4(torn, 128 * MIB)).toBeUndefined();
    expect(lz4(endless, 128 * MIB)).toBeUndefined();
    expect(snappy(claim, 128 * MIB)).toBeUndefined();
    expect(snappy(far, 8 * MIB)).toBeUndefined();
  }
  expect(rss() - before).toBeLessThan(100);
});
