/**
 * Goal: who looks on gets each record once, those of the minutes before as well, holds nobody up, and is told from when
 * on it is all. Method: small rings and segments on a disk of the test, the keeper stepped by hand.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { lanesFolder } from '../../src/engine/journal.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { createLaneControl } from '../../src/engine/lane-control.ts';
import { LaneWatcher } from '../../src/engine/lane-watcher.ts';
import { createRing, Ring, RingReader } from '../../src/engine/ring.ts';
import { createWakeWords } from '../../src/kernel/threads/wake.ts';
import { CrashDisk } from './crash-disk.ts';
import { appendRecord, DIR, fill, LOG_ID, type Log, openLog, range, recordId } from './lanes.ts';

const watcherOf = (log: Log, disk: CrashDisk): LaneWatcher =>
  new LaneWatcher(
    {
      live: log.live,
      finished: log.finished,
      logId: LOG_ID,
      journal: { lanes: lanesFolder(DIR), logId: LOG_ID },
    },
    disk,
  );

function past(watcher: LaneWatcher, sinceMs: number): { ids: number[]; known: number } {
  const ids: number[] = [];
  const steps = watcher.past(sinceMs, (buffer, record) => void ids.push(recordId(buffer, record)));
  for (;;) {
    const { done, value } = steps.next();
    if (done) return { ids, known: value };
  }
}

function next(watcher: LaneWatcher): number[] {
  const ids: number[] = [];
  watcher.next((buffer, record) => void ids.push(recordId(buffer, record)));
  return ids;
}

test('what was there before and what comes afterwards meet without a gap or a record twice', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, lanes: 2, segmentBytes: 8 * 1024, retainMs: 3_600_000 });
  fill(log, 0, 300, 40, 0);
  fill(log, 300, 200, 40, 1);
  const watcher = watcherOf(log, disk);
  fill(log, 500, 10, 40, 0);
  const before: number[] = [];
  const asked = watcher.past(0, (buffer, record) => void before.push(recordId(buffer, record)));
  assert.deepEqual(next(watcher), range(500, 510));
  fill(log, 510, 5, 40, 1);
  // Where it ends was settled when it was asked for.
  while (!asked.next().done);
  assert.deepEqual(
    before.toSorted((a, b) => a - b),
    range(0, 500),
  );
  assert.deepEqual(next(watcher), range(510, 515));
  assert.deepEqual(next(watcher), []);
});

test('the past begins at its time, and goes back into earlier lives', () => {
  const disk = new CrashDisk();
  const first = openLog({ disk, segmentBytes: 8 * 1024, retainMs: 3_600_000 });
  fill(first, 0, 200);
  const second = openLog({ disk, life: 2, segmentBytes: 8 * 1024, retainMs: 3_600_000 });
  fill(second, 200, 100);
  const laterMs = second.now + 5000;
  second.now = laterMs;
  fill(second, 300, 100);
  const watcher = watcherOf(second, disk);
  assert.deepEqual(past(watcher, 0), { ids: range(0, 400), known: 0 });
  assert.deepEqual(past(watcher, laterMs), { ids: range(300, 400), known: laterMs });
});

test('of segments that are deleted it says from when on it is all', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, segmentBytes: 8 * 1024, retainMs: 3_600_000 });
  fill(log, 0, 200);
  log.now += 60_000;
  const middleMs = log.now;
  fill(log, 200, 400);
  const folder = `${lanesFolder(DIR)}/000001-0`;
  const [oldest] = disk
    .list(folder)
    .filter((name) => /^\d{16}-/.test(name))
    .toSorted();
  disk.unlink(`${folder}/${oldest}`);
  const { ids, known } = past(watcherOf(log, disk), 0);
  assert.ok(known > 0 && known <= log.now, `known=${known}`);
  assert.deepEqual(ids, range(ids[0]!, 600));
  assert.ok(ids[0]! > 0);
  assert.equal(past(watcherOf(log, disk), middleMs).known, middleMs);
});

test('without a journal the rings have the past; a producer that is faster takes what it needs', () => {
  const ring = createRing(4096, 1);
  const lane = { id: { life: 1, lane: 0 }, ring, control: createLaneControl(), wake: createWakeWords(2), followers: 2 };
  let now = 1000;
  const writer = new LaneWriter({ ...lane, journal: undefined, logId: LOG_ID }, undefined, () => now);
  const reader = new RingReader(new Ring(ring), 0);
  const take = (from: number, to: number) => {
    for (let id = from; id < to; id++) {
      now += 1;
      // 32 frames fill the ring: one lies exactly where another one lay.
      appendRecord(writer, id, 72);
      assert.ok(writer.publish());
      // Its sink is always done with everything.
      reader.advance(writer.tail, id + 1);
    }
  };
  take(0, 10);
  const watcher = new LaneWatcher({ live: [lane], finished: [], logId: LOG_ID, journal: undefined });
  assert.deepEqual(past(watcher, 0), { ids: range(0, 10), known: 0 });
  take(10, 200);
  const left = next(watcher);
  assert.ok(left.length > 10 && left.length < 100, `left=${left.length}`);
  assert.deepEqual(left, range(left[0]!, 200));
  const { ids, known } = past(watcher, 0);
  assert.deepEqual(ids, left);
  assert.equal(known, 1000 + left[0]! + 1);
  // While it reads, the producer goes round: nothing of what it overwrites is taken for what was there.
  take(200, 210);
  const mixed: number[] = [];
  watcher.next((buffer, record) => {
    mixed.push(recordId(buffer, record));
    if (mixed.length === 3) take(210, 275);
  });
  assert.deepEqual(mixed, range(200, 203));
  assert.deepEqual(next(watcher).at(-1), 274);
});
