import assert from 'node:assert/strict';
import { test } from 'vitest';
import { FRAME_HEADER } from '../../src/engine/frame.ts';
import { checkRing, createRing, LAPPED, Ring, RingProducer, RingReader } from '../../src/engine/ring.ts';
import { frameOf, publishFrame } from './ring-frames.ts';

const CAPACITY = 4096;

function ringOf(readers = 1, journal = true) {
  const memory = createRing(CAPACITY, readers);
  const ring = new Ring(memory);
  return { ring, producer: new RingProducer(ring, journal), reader: (r: number) => new RingReader(ring, r) };
}

test('a ring is refused whose capacity is no power of two, or that has too many readers', () => {
  for (const capacity of [0, 2048, 5000, 2 ** 31]) assert.throws(() => createRing(capacity, 1), RangeError);
  assert.throws(() => createRing(4096, 17), RangeError);
  assert.throws(() => new Ring(new SharedArrayBuffer(8192)), /not a ring of this version/);
});

test('a reader gets whole frames in order, also across the wrap', () => {
  const { ring, producer, reader } = ringOf();
  const r = reader(0);
  const into = Buffer.alloc(CAPACITY);
  let position = 0;
  for (let n = 0; n < 50; n++) {
    const bytes = FRAME_HEADER + 8 * (n % 90);
    assert.ok(producer.room(bytes));
    publishFrame(producer, n, bytes);
    const got = r.copy(position, into, 0, 1 << 20, 1000);
    assert.equal(got, bytes);
    assert.deepEqual(into.subarray(0, got), frameOf(position, n, bytes));
    position += got;
    r.advance(position, n + 1);
    ring.setSynced(position);
    checkRing(ring, true);
  }
  assert.equal(ring.pin(0), -1);
});

test('bytes that are not synced are never given away: the producer is refused, at exactly the capacity', () => {
  const { ring, producer } = ringOf();
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 1024);
  assert.equal(producer.room(8), false);
  ring.setSynced(1024);
  assert.equal(producer.room(1024), true);
  assert.equal(producer.room(1032), false);
  publishFrame(producer, 4, 1024);
  assert.equal(ring.floor(), 1024);
  checkRing(ring, true);
});

test('without a journal the slowest reader holds the floor', () => {
  const { ring, producer, reader } = ringOf(2, false);
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 1024);
  ring.setSynced(4096);
  reader(0).advance(4096, 4);
  assert.equal(producer.room(8), false);
  reader(1).advance(2048, 2);
  assert.equal(producer.room(2048), true);
  assert.equal(producer.room(2056), false);
});

// R3: the pin is what stands between a reader in the middle of its copy and the producer.
test('a pin stops the producer until it clears, also when the floor has passed it', () => {
  const { ring, producer } = ringOf();
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 1024);
  ring.setSynced(4096);
  ring.longs[4 * 16 + 1] = 1024n;
  assert.equal(producer.room(1024), true, 'before the pin there is room');
  publishFrame(producer, 4, 1024);
  assert.equal(producer.room(8), false);
  ring.clearPin(0);
  assert.equal(producer.room(1024), true);
});

// The pin of a reader that is about to learn that it was overtaken once took back room that a draft already counted on.
test('a pin below what was promised takes nothing back', () => {
  const { ring, producer } = ringOf();
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 1024);
  ring.setSynced(4096);
  publishFrame(producer, 4, 1024);
  assert.equal(producer.room(1024), true);
  ring.longs[4 * 16 + 1] = 0n;
  assert.equal(producer.room(3000), false);
  assert.equal(producer.room(1024), true, 'promised before');
  publishFrame(producer, 5, 1024);
});

test('a reader that was overtaken is told so, and its pin is gone', () => {
  const { ring, producer, reader } = ringOf();
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 1024);
  ring.setSynced(4096);
  publishFrame(producer, 4, 1024);
  assert.equal(reader(0).copy(0, Buffer.alloc(4096), 0, 4096, 10), LAPPED);
  assert.equal(ring.pin(0), -1);
});

test('a copy ends at bytesMax and recordsMax, but always brings one frame', () => {
  const { producer, reader } = ringOf();
  for (let n = 0; n < 4; n++) publishFrame(producer, n, 400, 3);
  const r = reader(0);
  const into = Buffer.alloc(4096);
  assert.equal(r.copy(0, into, 0, 1, 1), 400);
  assert.equal(r.copy(0, into, 0, 800, 100), 800);
  assert.equal(r.copy(0, into, 0, 4096, 6), 800);
  assert.equal(r.copy(0, into, 0, 4096, 7), 800);
  assert.equal(r.copy(0, into, 0, 4096, 9), 1200);
  assert.equal(r.copy(1600, into, 0, 4096, 9), 0);
  assert.throws(() => r.copy(0, Buffer.alloc(399), 0, 4096, 9), RangeError);
  assert.throws(() => r.copy(8, into, 0, 4096, 9), /R2 broken/);
});

test('the tail and its records are read together', () => {
  const { ring, producer } = ringOf();
  assert.deepEqual(ring.tailMark(), { position: 0, record: 0 });
  publishFrame(producer, 0, 80, 2);
  assert.deepEqual(ring.tailMark(), { position: 80, record: 2 });
});

// vector#19759: file ids wrapped at 65,535, which tests with a smaller limit had not shown.
test('vector#19759: positions beyond 2^32 and near 2^53 work as any others', () => {
  for (const start of [2 ** 32 - 512, 2 ** 45 - 512]) {
    const memory = createRing(CAPACITY, 1);
    const longs = new BigInt64Array(memory);
    for (const word of [16, 32, 48, 64]) longs[word] = BigInt(start);
    const ring = new Ring(memory);
    const producer = new RingProducer(ring, true);
    const r = new RingReader(ring, 0);
    const into = Buffer.alloc(CAPACITY);
    for (let n = 0; n < 20; n++) {
      const at = producer.tail;
      ring.setSynced(at);
      assert.ok(producer.room(800));
      publishFrame(producer, n, 800);
      assert.equal(r.copy(at, into, 0, CAPACITY, 1), 800);
      assert.deepEqual(into.subarray(0, 800), frameOf(at, n, 800));
      checkRing(ring, true);
    }
  }
});
