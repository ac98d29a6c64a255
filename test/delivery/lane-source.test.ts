import assert from 'node:assert/strict';
import { test } from 'vitest';
import { LaneSource, type LaneSourceDeps, standingIn } from '../../src/delivery/lane-source.ts';
import { Batch } from '../../src/engine/batch.ts';
import type { CheckpointState } from '../../src/engine/checkpoint.ts';
import { lanesFolder } from '../../src/engine/journal.ts';
import { createRing, Ring } from '../../src/engine/ring.ts';
import { laneKey } from '../../src/engine/segment.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { CrashDisk } from '../engine/crash-disk.ts';
import { DIR, fill, LOG, LOG_ID, type Log, openLog, range, recordId } from '../engine/lanes.ts';

/** Header, record header, number, 40 bytes. */
const FRAME = 96;

/**
 * A log of `lives` dead lives with two lanes each, five records per lane, and a live one. Ids rise from life to life.
 */
function lives(count: number): { log: Log; deps: LaneSourceDeps } {
  const disk = new CrashDisk();
  for (let life = 1; life <= count; life++) {
    const log = openLog({ disk, life, lanes: 2, retainMs: 1e12 });
    fill(log, 100 * life, 5, 40, 0);
    fill(log, 100 * life + 50, 5, 40, 1);
    disk.processDeath();
  }
  const log = openLog({ disk, life: count + 1, lanes: 1, retainMs: 1e12 });
  fill(log, 100 * (count + 1), 5);
  return {
    log,
    deps: {
      live: log.live,
      finished: log.finished,
      journal: { lanes: lanesFolder(DIR), logId: LOG_ID },
      reader: 0,
      log: LOG,
      disk,
    },
  };
}

/** Reads everything on the present life's strands, as delivered. */
function take(route: LaneSource): number[] {
  const ids: number[] = [];
  const batch = new Batch(64 * 1024);
  for (const strand of route.strands) {
    batch.begin(strand.id, strand.reader.mark);
    while (strand.reader.fill(batch, 1000));
    for (let i = 0; i < batch.count; i++) ids.push(recordId(batch.buffer, batch.offsets[i]));
    strand.delivered = batch.to;
  }
  return ids;
}

const checkpoint = (life: number, lanes: CheckpointState['lanes'] = []): CheckpointState => ({
  log: LOG,
  life,
  lanes,
  ledger: { passed: 7, delivered: 7, dead: 0, givenUp: 0 },
});

test('it goes life by life, the oldest first, and stays with the live one', () => {
  const { deps } = lives(3);
  const route = new LaneSource(deps, undefined);
  const seen: number[][] = [];
  for (;;) {
    assert.equal(route.advance(), false, 'not before this life is delivered');
    seen.push(take(route));
    if (!route.advance()) break;
  }
  const of = (life: number) => [...range(100 * life, 100 * life + 5), ...range(100 * life + 50, 100 * life + 55)];
  assert.deepEqual(seen, [of(1), of(2), of(3), range(400, 405)]);
  assert.ok(route.live);
});

test('a checkpoint begins in its life at its marks; a lane without a mark at the beginning', () => {
  const { deps } = lives(3);
  const route = new LaneSource(deps, checkpoint(2, [[1, 3 * FRAME, 3]]));
  assert.deepEqual(take(route), [...range(200, 205), 253, 254]);
  assert.equal(route.ledger.passed, 7, 'the ledger goes on');
});

test('a checkpoint in a life that is gone goes on with the next that is there', () => {
  const { deps } = lives(2);
  const later = { ...deps, finished: deps.finished.filter(({ id }) => id.life > 1) };
  assert.deepEqual(take(new LaneSource(later, checkpoint(1, [[0, FRAME, 1]]))), [
    ...range(200, 205),
    ...range(250, 255),
  ]);
});

test('a mark beyond the end of a dead lane (power cut) makes that lane done, and no other', () => {
  const { deps } = lives(1);
  const route = new LaneSource(deps, checkpoint(1, [[0, 50 * FRAME, 50]]));
  assert.deepEqual(take(route), range(150, 155));
  assert.ok(route.advance());
  assert.deepEqual(take(route), range(200, 205));
});

test('the lag counts what later lives hold, and shrinks to nothing', () => {
  const { deps } = lives(2);
  const route = new LaneSource(deps, undefined);
  for (const records of [25, 15, 5]) {
    assert.deepEqual(route.lag(), { records, bytes: records * FRAME });
    take(route);
    route.advance();
  }
  assert.deepEqual(route.lag(), { records: 0, bytes: 0 });
});

test('without live lanes it ends with the last life, and its state is one that can be stored', () => {
  const { deps } = lives(2);
  const route = new LaneSource({ ...deps, live: [] }, undefined);
  assert.equal(route.exhausted, false);
  take(route);
  assert.ok(route.advance());
  take(route);
  assert.equal(route.advance(), false);
  assert.ok(route.exhausted);
  assert.deepEqual(route.state(undefined).lanes, [
    [0, 5 * FRAME, 5],
    [1, 5 * FRAME, 5],
  ]);
  const empty = new LaneSource({ ...deps, live: [], finished: [] }, checkpoint(9));
  assert.ok(empty.exhausted);
  assert.equal(JSON.parse(JSON.stringify(empty.state(undefined))).life, 9);
});

test('a target that fell back into an earlier life is followed there, and the ledger with it', () => {
  const { log, deps } = lives(2);
  const route = new LaneSource(deps, undefined);
  for (let life = 0; life < 2; life++) {
    take(route);
    route.advance();
  }
  assert.ok(route.live);
  Object.assign(route.ledger, { passed: 20, delivered: 14, dead: 6 });
  const whole = { position: 5 * FRAME, record: 5 };
  const cursors = new Map([
    ['1-0', whole],
    ['1-1', whole],
    ['2-0', { position: 2 * FRAME, record: 2 }],
    ['2-1', whole],
    [laneKey(log.live[0].id), { position: 0, record: 0 }],
  ]);
  const asked: unknown[] = [];
  const broken = () => {
    throw new Error('the disk');
  };
  assert.throws(() => route.follow(cursors, broken), /the disk/);
  route.follow(cursors, (...stretch) => asked.push(stretch) && 2);
  assert.equal(route.life, 2);
  assert.deepEqual(asked, [['2-0', 2 * FRAME, 5 * FRAME]], 'the stretch that is owed again');
  assert.deepEqual(take(route), range(202, 205));
  const { passed, delivered, dead } = route.ledger;
  assert.deepEqual([passed, delivered, dead], [17, 13, 4], 'three are owed again, two of them were dead letters');
});

test('without a journal a thread that is started again goes on where its rings say, with the ledger of the board', () => {
  const memory = createRing(4096, 1);
  const board = new SinkBoard(SinkBoard.create(1));
  const live = [{ id: { life: 1, lane: 0 }, ring: memory }];
  assert.equal(standingIn(live, 0, LOG, board), undefined, 'at the first start there is nothing to go on from');
  const ring = new Ring(memory);
  ring.longs[64] = 800n;
  ring.longs[66] = 10n;
  board.set(0, 'dead', 2);
  assert.deepEqual(standingIn(live, 0, LOG, board), {
    log: LOG,
    life: 1,
    lanes: [[0, 800, 10]],
    ledger: { passed: 10, delivered: 8, dead: 2, givenUp: 0, skipped: 0 },
  });
});
