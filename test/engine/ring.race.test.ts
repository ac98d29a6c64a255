/**
 * Goal: no reader ever sees a byte that is being overwritten, and no frame before it is whole (R2, R3), with real
 * threads. Method: a producer, a keeper and two readers in threads of their own on a ring of 4 KiB, so that the
 * producer laps it thousands of times. One reader follows, one always copies from the floor, where the producer writes
 * next. The content is a function of the position. All begin at a gate in shared memory; nobody sleeps for luck.
 */
import assert from 'node:assert/strict';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { test } from 'vitest';
import { createRing, LAPPED, Ring, RingProducer, RingReader } from '../../src/engine/ring.ts';
import { checkFrames, publishFrame } from './ring-frames.ts';

const CAPACITY = 4096;
const FRAME = 136;
const RECORDS = 3;
const FRAMES = process.env.LONG === '1' ? 3_000_000 : 150_000;
const ROLES = ['producer', 'keeper', 'follower', 'floor'] as const;
/** Words of the gate: how many have arrived, go, how many frames are published, done. */
const ARRIVED = 0;
const GO = 1;
const DONE = 2;

interface RaceData {
  readonly role: (typeof ROLES)[number];
  readonly memory: SharedArrayBuffer;
  readonly gate: SharedArrayBuffer;
}

function race({ role, memory, gate }: RaceData): { copies: number; lapped: number } {
  const ring = new Ring(memory);
  const words = new Int32Array(gate);
  Atomics.add(words, ARRIVED, 1);
  Atomics.notify(words, ARRIVED);
  Atomics.wait(words, GO, 0);
  const running = () => Atomics.load(words, DONE) === 0;
  const found = { copies: 0, lapped: 0 };
  if (role === 'producer') {
    const producer = new RingProducer(ring, true);
    try {
      for (let n = 0; n < FRAMES; n++) {
        while (!producer.room(FRAME)) {
          Atomics.wait(words, DONE, 0, 0.01);
          // A reader has found something; nobody syncs any more.
          if (!running()) return found;
        }
        publishFrame(producer, n, FRAME, RECORDS);
      }
    } finally {
      Atomics.store(words, DONE, 1);
      Atomics.notify(words, DONE);
    }
  } else if (role === 'keeper') {
    while (running()) {
      ring.setSynced(ring.tail());
      Atomics.wait(words, DONE, 0, 0.01);
    }
  } else {
    const reader = new RingReader(ring, role === 'follower' ? 0 : 1);
    const into = Buffer.alloc(CAPACITY);
    let position = 0;
    while (running()) {
      const mark = ring.tailMark();
      if (mark.position * RECORDS !== mark.record * FRAME)
        throw new Error(`tail and records of different publishes: ${JSON.stringify(mark)}`);
      if (role === 'floor') position = ring.floor();
      const got = reader.copy(position, into, 0, CAPACITY, 1000);
      if (got === LAPPED) {
        found.lapped += 1;
        position = ring.floor();
      } else if (got > 0) {
        found.copies += 1;
        position = checkFrames(into, got, position);
      }
    }
  }
  return found;
}

if (!isMainThread) {
  const { parentPort } = await import('node:worker_threads');
  parentPort?.postMessage(race(workerData as RaceData));
} else {
  test('readers in other threads never see torn or overwritten bytes', { timeout: 120_000 }, async () => {
    const memory = createRing(CAPACITY, 2);
    const gate = new SharedArrayBuffer(16);
    const words = new Int32Array(gate);
    const workers = ROLES.map((role) => new Worker(import.meta.filename, { workerData: { role, memory, gate } }));
    const results = workers.map(
      (worker) =>
        new Promise<{ copies: number; lapped: number }>((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', (error) => {
            // The others must end too.
            Atomics.store(words, DONE, 1);
            Atomics.notify(words, DONE);
            reject(error);
          });
        }),
    );
    for (;;) {
      const arrived = Atomics.load(words, ARRIVED);
      if (arrived === ROLES.length) break;
      const wait = Atomics.waitAsync(words, ARRIVED, arrived);
      if (wait.async) await wait.value;
    }
    Atomics.store(words, GO, 1);
    Atomics.notify(words, GO);
    const [, , follower, floor] = await Promise.all(results);
    assert.equal(new Ring(memory).tail(), FRAMES * FRAME);
    assert.ok(follower.copies > 100 && floor.copies > 100, JSON.stringify({ follower, floor }));
  });
}
