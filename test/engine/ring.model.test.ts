/**
 * Goal: R1 to R3 hold for any order of publish, sync, copy, pin and advance. Method: random actions on a ring of 4 KiB
 * with three readers against a plain array of frames; checkRing after each. Seeds are printed.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { FRAME_HEADER } from '../../src/engine/frame.ts';
import { checkRing, createRing, LAPPED, Ring, RingProducer, RingReader } from '../../src/engine/ring.ts';
import { pick, randomOf } from './crash-disk.ts';
import { frameOf } from './ring-frames.ts';

const CAPACITY = 4096;
const READERS = 3;
const ROUNDS = process.env.LONG === '1' ? 20_000 : 300;

interface Published {
  readonly position: number;
  readonly bytes: Buffer;
}

function play(seed: number, journal: boolean): { published: number; lapped: number; refused: number } {
  const random = randomOf(seed);
  const ring = new Ring(createRing(CAPACITY, READERS));
  const producer = new RingProducer(ring, journal);
  const readers = Array.from({ length: READERS }, (_, r) => new RingReader(ring, r));
  const frames: Published[] = [];
  const pins = new Map<number, number>();
  const cursors = new Array<number>(READERS).fill(0);
  let records = 0;
  let synced = 0;
  let lapped = 0;
  let refused = 0;
  const into = Buffer.alloc(CAPACITY);
  const boundary = (from: number): number => {
    const later = frames.filter(({ position }) => position >= from);
    return later.length === 0 ? producer.tail : later[pick(random, later.length)].position;
  };
  for (let step = 0; step < 250; step++) {
    const action = pick(random, 6);
    if (action <= 1) {
      const run = Array.from({ length: 1 + pick(random, 3) }, () => FRAME_HEADER + 8 * pick(random, 60));
      const bytes = run.reduce((sum, b) => sum + b, 0);
      // What the rules say about room, from the model alone.
      const limit = journal ? synced : Math.min(...cursors);
      const fits = producer.tail + bytes - CAPACITY <= Math.min(limit, ...pins.values());
      if (!producer.room(bytes)) {
        refused += 1;
        assert.ok(!fits || pins.size > 0, `refused although there is room: seed=${seed}, step=${step}`);
      } else {
        assert.ok(fits, `overwrites what is needed: seed=${seed}, step=${step}`);
        const buffers = [];
        let position = producer.tail;
        for (const length of run) {
          const frame = frameOf(position, records++, length);
          frames.push({ position, bytes: frame });
          buffers.push(frame);
          position += length;
        }
        const draft = Buffer.from(new ArrayBuffer(bytes));
        Buffer.concat(buffers).copy(draft);
        producer.publish(draft, new Int32Array(draft.buffer), 0, bytes, records);
      }
    } else if (action === 2) {
      synced = Math.max(synced, boundary(synced));
      ring.setSynced(synced);
    } else if (action === 3) {
      const r = pick(random, READERS);
      cursors[r] = boundary(cursors[r]);
      readers[r].advance(cursors[r], 0);
    } else if (action === 4) {
      // A reader in the middle of its copy: pinned, the floor looked at.
      const r = pick(random, READERS);
      if (pins.has(r)) {
        assert.equal(ring.pin(r), pins.get(r));
        ring.clearPin(r);
        pins.delete(r);
      } else if (producer.tail > ring.floor()) {
        const at = boundary(ring.floor());
        if (at === producer.tail) continue;
        Atomics.store(ring.longs, 64 + 16 * r + 1, BigInt(at));
        pins.set(r, at);
      }
    } else {
      const r = pick(random, READERS);
      if (pins.has(r)) continue;
      const from = boundary(journal ? 0 : cursors[r]);
      const got = readers[r].copy(from, into, 0, 1 + pick(random, CAPACITY), 1 + pick(random, 8));
      if (got === LAPPED) {
        lapped += 1;
        assert.ok(from < ring.floor());
      } else if (got > 0) {
        const expected = Buffer.concat(frames.filter(({ position }) => position >= from).map(({ bytes }) => bytes));
        assert.deepEqual(into.subarray(0, got), expected.subarray(0, got), `seed=${seed}, step=${step}`);
      } else assert.equal(from, producer.tail);
    }
    checkRing(ring, journal);
    // R2 and R3: all that is above the floor, and above every pin, is there as it was published.
    for (const low of [ring.floor(), ...pins.values()]) {
      const bytes = producer.tail - low;
      ring.copyOut(low, bytes, into, 0);
      const expected = Buffer.concat(frames.filter(({ position }) => position >= low).map((frame) => frame.bytes));
      assert.ok(into.subarray(0, bytes).equals(expected), `overwritten: seed=${seed}, step=${step}`);
    }
    while (frames.length > 0 && frames[0].position < ring.floor() - CAPACITY) frames.shift();
  }
  return { published: records, lapped, refused };
}

for (const journal of [true, false])
  test(`a ring ${journal ? 'with' : 'without'} a journal holds R1, R2, R3 under random actions`, () => {
    const base = Number(process.env.SEED ?? pick(Math.random, 2 ** 31));
    console.log(`seeds ${base} .. ${base + ROUNDS - 1}`);
    const seen = { published: 0, lapped: 0, refused: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const { published, lapped, refused } = play(base + round, journal);
      seen.published += published;
      seen.lapped += lapped;
      seen.refused += refused;
    }
    assert.ok(seen.refused > ROUNDS && (!journal || seen.lapped > ROUNDS), JSON.stringify(seen));
  });
