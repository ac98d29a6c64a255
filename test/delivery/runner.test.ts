/**
 * Goal: the runner passes nothing that is not delivered, whatever a target does, and never stands still. Method: real
 * lanes, segments, route and checkpoint over a disk in memory; a target that does what the test says; a clock that only
 * moves when the runner waits, so that hours of back-off take milliseconds. L5 is checked at every wait.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { test } from 'vitest';
import type { DeadLetterSink } from '../../src/delivery/batch-delivery.ts';
import {
  CursorMoved,
  type ErrorClass,
  RecordsRefused,
  SettleFirst,
  type SinkBatch,
  type SinkKind,
  type SinkTarget,
  TargetLost,
} from '../../src/delivery/contract.ts';
import { DeadLetterFile } from '../../src/delivery/dead-letter.ts';
import { deadLetterFiles, readLetters } from '../../src/delivery/dead-letter-format.ts';
import { LaneSource } from '../../src/delivery/lane-source.ts';
import { SinkRunner } from '../../src/delivery/runner.ts';
import { CheckpointFile, type Mark } from '../../src/engine/checkpoint.ts';
import { checkpointPath, lanesFolder } from '../../src/engine/journal.ts';
import { laneKey } from '../../src/engine/segment.ts';
import { createLog } from '../../src/kernel/log.ts';
import { CrashDisk, pick, randomOf } from '../engine/crash-disk.ts';
import {
  appendRecord,
  DIR,
  fill,
  LOG,
  LOG_ID,
  type Log,
  type LogOptions,
  openLog,
  range,
  recordId,
} from '../engine/lanes.ts';

/** An error of a class. */
class Refusal extends Error {
  readonly kind: ErrorClass;
  constructor(kind: ErrorClass, message: string = kind) {
    super(message);
    this.kind = kind;
  }
}

interface Setting {
  readonly log: Log;
  readonly disk: CrashDisk;
  readonly write: (batch: SinkBatch, ids: number[]) => Promise<void> | void;
  readonly inFlightMax?: number;
  readonly settle?: () => Promise<unknown>;
  readonly cursors?: SinkTarget['cursors'];
  readonly records?: number;
  /** Called at every wait of the runner, after L5 was checked; the number of waits so far. */
  readonly waited?: (waits: number) => void;
  readonly bury?: (position: number) => void;
  /** Default: `dead` of the rig. */
  readonly deadLetters?: DeadLetterSink;
  readonly random?: () => number;
  readonly lagBytesMax?: number;
  readonly kinds?: readonly number[];
}

class Rig {
  readonly setting: Setting;
  readonly runner: SinkRunner;
  readonly route: LaneSource;
  readonly delivered: number[] = [];
  readonly dead: { position: number; reason: string }[] = [];
  /** What happened, in order. */
  readonly trace: string[] = [];
  readonly pauses: number[] = [];
  readonly checkpoint: { write: CheckpointFile['write'] };
  clock = 0;
  waits = 0;

  constructor(setting: Setting) {
    this.setting = setting;
    const { log, disk } = setting;
    const file = new CheckpointFile(checkpointPath(DIR, 'log'), disk);
    const stored = file.read();
    this.route = new LaneSource(
      {
        live: log.live,
        finished: log.finished,
        journal: { lanes: lanesFolder(DIR), logId: LOG_ID },
        reader: 0,
        log: LOG,
        disk,
      },
      stored?.state,
    );
    const kind = {
      name: 'log',
      waits: 'event-loop',
      classify: (error: unknown) =>
        error instanceof RecordsRefused ? 'split' : error instanceof Refusal ? error.kind : 'retry',
    } as unknown as SinkKind<never>;
    const target: SinkTarget = {
      inFlightMax: setting.inFlightMax ?? 1,
      write: async (batch) => {
        const ids = range(0, batch.count).map((i) => recordId(batch.buffer, batch.offsets[i]));
        this.trace.push(`write ${ids.length}`);
        await setting.write(batch, ids);
        this.delivered.push(...ids);
        if (ids.length > 0) this.trace.push('delivered');
      },
      close: async () => undefined,
      ...(setting.settle === undefined ? {} : { settle: setting.settle }),
      ...(setting.cursors === undefined ? {} : { cursors: setting.cursors }),
    };
    this.checkpoint = Object.assign(file, {
      write: (state: Parameters<CheckpointFile['write']>[0]) => {
        this.trace.push('checkpoint');
        CheckpointFile.prototype.write.call(file, state);
      },
    });
    const wait = async (ms: number) => {
      this.clock += Math.max(0.5, Math.min(ms, 1000));
      this.waits += 1;
      if (this.waits > 20_000) throw new Error('the runner waits for ever');
      this.checkLedger();
      setting.waited?.(this.waits);
      await turn();
    };
    this.runner = new SinkRunner({
      name: 'log',
      kind,
      open: async () => target,
      batching: { records: setting.records ?? 10, bytes: 64 * 1024, flushMs: 20 },
      source: this.route,
      ...(setting.kinds === undefined ? {} : { records: setting.kinds }),
      checkpoint: file,
      state: stored?.state.target,
      deadLetters: setting.deadLetters ?? {
        append: (letters) => {
          for (const { position, reason } of letters) {
            setting.bury?.(position);
            this.dead.push({ position, reason });
          }
          return letters.length;
        },
        count: () => 0,
        passed: () => undefined,
        close: () => undefined,
      },
      board: log.board,
      index: 0,
      waiter: {
        busy: () => undefined,
        rest: async (_now, msMax, work) => {
          if (!work()) await wait(Math.min(msMax, 4));
          else await turn();
        },
        pause: async (ms) => {
          this.pauses.push(ms);
          await wait(ms);
        },
      },
      log: createLog({ level: 'silent', destination: 2, name: 'test' }),
      meters: { batch: () => undefined, failure: () => undefined },
      line: (buffer, offset) => buffer.subarray(offset, offset + 8),
      now: () => this.clock,
      random: setting.random ?? (() => 1),
      ...(setting.lagBytesMax === undefined ? {} : { lagBytesMax: setting.lagBytesMax }),
    });
  }

  checkLedger(): void {
    const { passed, delivered, dead, givenUp, skipped } = this.route.ledger;
    assert.equal(passed, delivered + dead + givenUp + skipped, 'L5');
  }

  /** What is there is delivered, then the run ends. */
  async drain(): Promise<void> {
    this.setting.log.board.setPhase(0, 'drain');
    await this.runner.run();
    this.checkLedger();
  }

  /** Runs until everything is delivered; then strands. */
  async all(): Promise<void> {
    const { board } = this.setting.log;
    board.setPhase(0, 'run');
    const { waited } = this.setting;
    Object.assign(this.setting, {
      waited: (waits: number) => {
        waited?.(waits);
        if (this.route.live && this.route.lag().bytes === 0) board.setPhase(0, 'drain');
      },
    });
    await this.runner.run();
    this.checkLedger();
  }

  stored() {
    return new CheckpointFile(checkpointPath(DIR, 'log'), this.setting.disk).read()?.state;
  }
}

function filled(records: number, options: Partial<LogOptions> = {}): { log: Log; disk: CrashDisk } {
  const disk = new CrashDisk();
  const log = openLog({ disk, ringBytes: 65_536, segmentBytes: 64 * 1024, ...options });
  fill(log, 0, records);
  return { log, disk };
}

test('a drain delivers everything in order, then writes the checkpoint', async () => {
  const rig = new Rig({ ...filled(95), write: () => undefined });
  await rig.drain();
  assert.deepEqual(rig.delivered, range(0, 95));
  const state = rig.stored();
  assert.deepEqual(state?.lanes, [[0, rig.setting.log.writers[0].tail, 95]]);
  assert.deepEqual(state?.ledger, { passed: 95, delivered: 95, dead: 0, givenUp: 0, skipped: 0 });
});

// Goal: whoever waits for "up and nothing owed" does not take a lag that nobody has looked at yet for an empty one.
test('what a sink owes is on the board before it is called up', async () => {
  const { log, disk } = filled(50);
  const rig = new Rig({ log, disk, write: () => undefined });
  const owed: number[] = [];
  const { setState } = log.board;
  log.board.setState = (sink, state, reason) => {
    if (state === 'up') owed.push(log.board.get(0, 'lagRecords'));
    setState.call(log.board, sink, state, reason);
  };
  await rig.drain();
  assert.equal(owed[0], 50);
});

// rudder-server#709: the key that says "delivered" was written before the event was.
test('rudder#709: a checkpoint is written only after settle, and settle only with nothing under way', async () => {
  let open = 0;
  const trace: string[] = [];
  const { log, disk } = filled(200);
  const rig: Rig = new Rig({
    log,
    disk,
    inFlightMax: 3,
    write: async () => {
      open += 1;
      await turn();
      await turn();
      open -= 1;
    },
    settle: async () => {
      assert.equal(open, 0, 'settle while a batch is under way');
      rig.trace.push('settle');
      return { length: rig.delivered.length };
    },
  });
  disk.trace = (operation, path) => {
    if (operation !== 'write' || !path.endsWith('.checkpoint')) return;
    assert.equal(rig.trace.at(-2), 'settle', `a checkpoint came after ${rig.trace.slice(-3).join(', ')}`);
    trace.push('checkpoint');
  };
  await rig.drain();
  const state = rig.stored();
  assert.deepEqual(state?.target, { length: 200 });
  assert.equal(state?.ledger.delivered, 200);
  // A crash right after the first batch has to find out where that began.
  assert.deepEqual(rig.trace.slice(0, 3), ['settle', 'checkpoint', 'write 10']);
});

// PostHog's S3 sink took the bytes out of its buffer before the PUT: the retry found nothing, and called that a
// success.
test('PostHog S3 retry: a failed batch comes again, unchanged and before any other, after 100 ms doubling to 30 s', async () => {
  let fails = 14;
  const seen: number[][] = [];
  const rig = new Rig({
    ...filled(30),
    write: (_, ids) => {
      seen.push(ids);
      if (fails-- > 0) throw new Refusal('retry');
    },
  });
  const board = rig.setting.log.board;
  let down = '';
  Object.assign(rig.setting, { waited: () => (down = board.state(0) === 'down' ? 'down' : down) });
  await rig.all();
  assert.equal(down, 'down', 'readiness names the sink while it is away');
  assert.deepEqual(rig.delivered, range(0, 30));
  for (const ids of seen.slice(0, 14)) assert.deepEqual(ids, range(0, 10));
  // random() is 1 here: the whole delay. Pauses come in pieces of 250 ms.
  const total = rig.pauses.reduce((sum, ms) => sum + ms, 0);
  const expected = range(0, 14).reduce((sum, i) => sum + Math.min(30_000, 100 * 2 ** i), 0);
  assert.ok(Math.abs(total - expected) < 20, `waited ${total}, expected ${expected}`);
  assert.ok(Math.max(...rig.pauses) <= 250);
});

test('jitter takes up to half of a delay', async () => {
  let fails = 1;
  const rig = new Rig({
    ...filled(5),
    random: () => 0,
    write: () => {
      if (fails-- > 0) throw new Refusal('retry');
    },
  });
  await rig.all();
  assert.deepEqual(rig.pauses, [50]);
});

// GoTrack: one duplicate id failed the COPY; the batch was tried again for ever, and every later event behind it.
test('GoTrack poison batch: a refused record is found by halving, goes to the dead letters alone, and the cursor moves behind it last', async () => {
  const poison = new Set([3, 4, 17, 99]);
  const parts: [number, boolean][] = [];
  const rig = new Rig({
    ...filled(100),
    records: 100,
    write: (batch, ids) => {
      parts.push([batch.count, batch.commit]);
      if (ids.some((id) => poison.has(id))) throw new Refusal('split', 'not this one');
    },
  });
  await rig.drain();
  assert.deepEqual(
    rig.delivered,
    range(0, 100).filter((id) => !poison.has(id)),
  );
  assert.equal(rig.dead.length, 4);
  assert.deepEqual(new Set(rig.dead.map(({ reason }) => reason)), new Set(['not this one']));
  assert.deepEqual(parts.at(-1), [0, true], 'the cursor of a target moves with an empty batch');
  assert.ok(parts.slice(1, -1).every(([, commit]) => !commit));
  assert.ok(parts.length < 70, `halving took ${parts.length} writes`);
  assert.deepEqual(rig.stored()?.ledger, { passed: 100, delivered: 96, dead: 4, givenUp: 0, skipped: 0 });
});

test('records that a target names go to the dead letters at once, and the others come again in one piece', async () => {
  const poison = new Set([3, 4, 17, 99]);
  const parts: [number, boolean][] = [];
  const rig = new Rig({
    ...filled(100),
    records: 100,
    write: (batch, ids) => {
      parts.push([batch.count, batch.commit]);
      const refused = ids.flatMap((id, i) => (poison.has(id) ? [[i, `not ${id}`] as const] : []));
      if (refused.length > 0) throw new RecordsRefused(new Map(refused));
    },
  });
  await rig.drain();
  assert.deepEqual(
    rig.delivered,
    range(0, 100).filter((id) => !poison.has(id)),
  );
  assert.deepEqual(
    rig.dead.map(({ reason }) => reason),
    [...poison].map((id) => `not ${id}`),
  );
  assert.deepEqual(parts, [
    [100, true],
    [96, false],
    [0, true],
  ]);
  assert.deepEqual(rig.stored()?.ledger, { passed: 100, delivered: 96, dead: 4, givenUp: 0, skipped: 0 });
});

// Goal: the ledger tells dead letters from deliveries, also after kill -9 of a target that keeps its own cursor.
// Method: real dead-letter files; the checkpoint of the killed run is the one from before its first batch; then the
// target fails over to an older state, so that the cursor goes back over some of the letters and comes again.
test('letters that the cursor of a target has passed behind the checkpoint are counted as dead', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ringmain-ledger-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const disk = new CrashDisk();
  const poison = (id: number) => id % 9 < 2;
  const cursors = new Map<string, Mark>();
  const stored = new Set<number>();
  let old: [string, Mark][] = [];
  const start = (life: number, from: number): Rig => {
    const log = openLog({ disk, life, ringBytes: 65_536, segmentBytes: 64 * 1024 });
    fill(log, from, 40);
    return new Rig({
      log,
      disk,
      records: 10,
      cursors: async () => new Map(cursors),
      deadLetters: new DeadLetterFile({ directory, sink: 'log', logId: LOG }),
      write: (batch, ids) => {
        if (ids.some(poison)) throw new Refusal('split', 'no');
        for (const id of ids) stored.add(id);
        if (batch.commit) cursors.set(laneKey(batch.lane), batch.to);
        if (batch.commit && batch.to.record === 20) old = [...cursors];
      },
    });
  };
  const first = start(1, 0);
  const killed = first.checkpoint.write;
  first.checkpoint.write = () => undefined;
  await first.drain();
  first.checkpoint.write = killed;
  disk.processDeath();
  const dead = (to: number) => range(0, to).filter(poison).length;
  const second = start(2, 40);
  await second.all();
  assert.deepEqual(second.stored()?.ledger, {
    passed: 80,
    delivered: 80 - dead(80),
    dead: dead(80),
    givenUp: 0,
    skipped: 0,
  });
  disk.processDeath();
  cursors.clear();
  for (const [lane, mark] of old) cursors.set(lane, mark);
  const third = start(3, 80);
  await third.all();
  assert.equal(stored.size, 120 - dead(120));
  const { passed, dead: counted } = third.stored()!.ledger;
  assert.deepEqual([passed, counted], [120, dead(120)]);
  const lines = deadLetterFiles(directory).flatMap((path) => [...readLetters(path)]);
  assert.equal(lines.length, dead(120), 'a letter is written once');
});

// An output takes some kinds of records; the others are passed over, and everything stays accounted for.
for (const [kinds, others] of [
  [1, 'some of another kind'],
  [2, 'none that it takes'],
] as const)
  test(`an output delivers the kinds that it takes and passes over the rest: ${others}`, async () => {
    const { log, disk } = filled(0);
    const [writer] = log.writers;
    for (let id = 0; id < 300; id++) {
      appendRecord(writer!, id, 40, id % 3 === 0 ? 3 : 1);
      if (id % 7 === 0) writer!.publish();
    }
    writer!.publish();
    const writes: [count: number, commit: boolean][] = [];
    const rig = new Rig({
      log,
      disk,
      kinds: [kinds],
      write: ({ count, commit }) => void writes.push([count, commit]),
    });
    await rig.drain();
    const taken = kinds === 1 ? range(0, 300).filter((id) => id % 3 !== 0) : [];
    assert.deepEqual(rig.delivered, taken);
    const skipped = 300 - taken.length;
    assert.deepEqual(rig.stored()?.ledger, { passed: 300, delivered: taken.length, dead: 0, givenUp: 0, skipped });
    assert.equal(rig.stored()?.lanes[0]?.[1], writer!.tail, 'the cursor passes records of other kinds too');
    assert.ok(
      writes.every(([count, commit]) => commit && (kinds === 1 || count === 0)),
      'a target with a cursor moves it',
    );
    assert.equal(log.board.get(0, 'skipped'), skipped);
  });

test('a checkpoint from before outputs had kinds counts none as skipped', async () => {
  const { log, disk } = filled(20);
  const file = new CheckpointFile(checkpointPath(DIR, 'log'), disk);
  const { lanes, life } = { lanes: [[0, 0, 0]] as const, life: log.live[0]!.id.life };
  file.write({ log: LOG, life, lanes, ledger: { passed: 40, delivered: 39, dead: 1, givenUp: 0 } });
  const rig = new Rig({ log, disk, write: () => undefined });
  await rig.drain();
  assert.deepEqual(rig.stored()?.ledger, { passed: 60, delivered: 59, dead: 1, givenUp: 0, skipped: 0 });
});

test('while a dead letter cannot be written nothing is passed; it is tried again', async () => {
  let full = 3;
  const rig: Rig = new Rig({
    ...filled(10),
    write: (_, ids) => {
      if (ids.includes(5)) throw new Refusal('split');
    },
    bury: () => {
      assert.equal(rig.route.ledger.passed, 0);
      if (full-- > 0) throw new Error('ENOSPC');
    },
  });
  await rig.all();
  assert.equal(rig.dead.length, 1);
  assert.equal(rig.pauses.length > 0, true);
  assert.deepEqual(rig.stored()?.ledger, { passed: 10, delivered: 9, dead: 1, givenUp: 0, skipped: 0 });
});

test('halving goes on through outages, and no part of the batch is delivered twice', async () => {
  let writes = 0;
  const rig = new Rig({
    ...filled(64),
    records: 64,
    write: (_, ids) => {
      writes += 1;
      if (ids.length > 0 && writes % 3 === 0) throw new Refusal('retry');
      if (ids.includes(20)) throw new Refusal('split');
    },
  });
  await rig.all();
  assert.deepEqual(
    rig.delivered,
    range(0, 64).filter((id) => id !== 20),
  );
});

// A batch that was given up at the end of a drain must hold back what stands behind it: it was skipped once.
test('a drain that gives up a batch passes nothing behind it, and the next start delivers all', async () => {
  for (const inFlightMax of [1, 3]) {
    const { log, disk } = filled(60);
    let calls = 0;
    const first = new Rig({
      log,
      disk,
      inFlightMax,
      write: async () => {
        // The target flaps: the second batch fails, later ones would pass.
        if (++calls === 2) throw new Refusal('retry');
        await turn();
      },
    });
    await first.drain();
    const stored = first.stored();
    assert.equal(stored?.lanes[0]?.[2], 10, `inFlightMax=${inFlightMax}: only the first batch is passed`);
    const second = new Rig({ log, disk, write: () => undefined });
    await second.drain();
    assert.deepEqual(second.delivered, range(10, 60));
    assert.equal(second.stored()?.ledger.delivered, 60);
  }
});

test('a stop ends the run in the middle of an hour of back-off', async () => {
  const { log, disk } = filled(20);
  const rig = new Rig({
    log,
    disk,
    write: () => {
      throw new Refusal('stop', 'no such table');
    },
    waited: (waits) => {
      if (waits === 50) {
        assert.equal(log.board.state(0), 'stopped');
        assert.match(log.board.reason(0), /no such table/);
        log.board.setPhase(0, 'stop');
      }
    },
  });
  log.board.setPhase(0, 'run');
  await rig.runner.run();
  assert.ok(rig.waits < 60);
  assert.equal(rig.stored()?.ledger.passed, 0);
  assert.equal(log.board.state(0), 'ended');
});

// Goal: an outage does not put the checkpoint off: a crash in it would send again what was delivered before it.
test('what was delivered before a target hangs is in the checkpoint while it hangs', async () => {
  const { log, disk } = filled(200);
  const gate = Promise.withResolvers<void>();
  const rig: Rig = new Rig({
    log,
    disk,
    inFlightMax: 2,
    write: async (batch) => {
      if (batch.from.record >= 50) await gate.promise;
    },
  });
  log.board.setPhase(0, 'run');
  const run = rig.runner.run();
  for (const end = Date.now() + 30_000; rig.stored()?.ledger.passed !== 50; await sleep(20))
    assert.ok(Date.now() < end, `in the checkpoint are ${rig.stored()?.ledger.passed} of 50`);
  gate.resolve();
  log.board.setPhase(0, 'drain');
  await run;
  assert.deepEqual(rig.delivered, range(0, 200));
  assert.equal(rig.stored()?.ledger.passed, 200);
});

test('batches that end out of order move the cursor in order', async () => {
  const { log, disk } = filled(90);
  let began = 0;
  const ends: number[] = [];
  const rig: Rig = new Rig({
    log,
    disk,
    inFlightMax: 3,
    write: async (batch) => {
      // Of three that are under way the last that began ends first.
      for (let turns = 9 - 4 * (began++ % 3); turns > 0; turns--) {
        await turn();
        assert.ok(rig.route.strands[0].delivered.record <= batch.from.record, 'passed before it was delivered');
      }
      ends.push(batch.from.record);
    },
  });
  await rig.all();
  assert.notDeepEqual(
    ends,
    ends.toSorted((x, y) => x - y),
    'they ended in order after all',
  );
  assert.deepEqual(
    rig.delivered.toSorted((x, y) => x - y),
    range(0, 90),
  );
  assert.equal(rig.stored()?.ledger.passed, 90);
});

test('a target that stands elsewhere is followed, backwards and forwards', async () => {
  for (const to of [0, 30]) {
    const { log, disk } = filled(50);
    const marks = new Map<number, { position: number; record: number }>();
    let moved = false;
    const rig: Rig = new Rig({
      log,
      disk,
      inFlightMax: 2,
      write: (batch) => {
        marks.set(batch.from.record, batch.from);
        if (batch.from.record === 20 && !moved) {
          moved = true;
          // 80 bytes a frame: header, id, 40 bytes.
          const position = (to * log.writers[0].tail) / 50;
          throw new CursorMoved(new Map([[laneKey(log.writers[0].id), { position, record: to }]]), 'failed over');
        }
      },
    });
    await rig.all();
    const again = rig.delivered.filter((id, i) => rig.delivered.indexOf(id) !== i);
    assert.deepEqual(
      new Set(rig.delivered),
      new Set(to === 0 ? range(0, 50) : [...range(0, 20), ...range(30, 50)]),
      `to ${to}`,
    );
    assert.equal(again.length > 0, to === 0);
    assert.equal(rig.stored()?.lanes[0]?.[2], 50);
  }
});

// Batches of finished lanes were never given back: after a few lives a sink had none left and stood still.
test('a log of twelve lives with three lanes each is delivered whole, oldest life first', async () => {
  const disk = new CrashDisk();
  let id = 0;
  const expected: number[][] = [];
  for (let life = 1; life <= 12; life++) {
    const log = openLog({ disk, life, lanes: 3, ringBytes: 16_384 });
    for (let lane = 0; lane < 3; lane++) {
      fill(log, id, 7, 40, lane);
      expected.push(range(id, id + 7));
      id += 7;
    }
    disk.processDeath();
  }
  const log = openLog({ disk, life: 13, lanes: 2, ringBytes: 16_384 });
  fill(log, id, 5);
  const rig = new Rig({ log, disk, write: () => undefined });
  await rig.all();
  assert.deepEqual(
    rig.delivered.toSorted((a, b) => a - b),
    range(0, id + 5),
  );
  const lifeOf = (found: number) => Math.floor(found / 21);
  assert.ok(rig.delivered.every((found, i) => i === 0 || lifeOf(rig.delivered[i - 1]) <= lifeOf(found)));
});

test('a target that has lost what it had ends the run without a checkpoint, and the next one delivers from there', async () => {
  const { log, disk } = filled(40);
  let settles = 0;
  const rig = new Rig({
    log,
    disk,
    write: () => undefined,
    settle: async () => {
      settles += 1;
      if (settles === 2) throw new TargetLost('fdatasync: EIO');
      return { settles };
    },
  });
  log.board.setPhase(0, 'drain');
  await assert.rejects(rig.runner.run(), TargetLost);
  assert.equal(rig.stored()?.ledger.passed, 0);
  const next = new Rig({ log, disk, write: () => undefined, settle: async () => ({}) });
  await next.drain();
  assert.deepEqual(next.delivered, range(0, 40));
});

test('a target that asks for a checkpoint first gets it, as often as it asks, and then the same batch', async () => {
  let known = false;
  let asked = 0;
  const rig: Rig = new Rig({
    ...filled(40),
    write: (_, ids) => {
      if (ids[0] === 20 && asked++ < 2) known = false;
      if (asked > 10) throw new TargetLost('nobody listens');
      if (!known) throw new SettleFirst('the file is another one');
    },
    settle: async () => ({ delivered: rig.delivered.length }),
  });
  const { write } = rig.checkpoint;
  rig.checkpoint.write = (state) => {
    write(state);
    known = true;
  };
  await rig.all();
  assert.deepEqual(rig.delivered, range(0, 40), 'nothing twice');
  assert.equal(asked, 3);
  // The last one delivered, asked, checkpoint, asked, checkpoint, and only then the batch.
  const at = rig.trace.indexOf('delivered', rig.trace.indexOf('delivered') + 1);
  assert.deepEqual(rig.trace.slice(at, at + 7), [
    'delivered',
    'write 10',
    'checkpoint',
    'write 10',
    'checkpoint',
    'write 10',
    'delivered',
  ]);
  assert.deepEqual(rig.pauses, [], 'that is no failure');
});

test('while the checkpoint that a target asks for cannot be written, nothing is delivered, readiness says why, and a drain ends', async () => {
  for (const heals of [true, false]) {
    const { log, disk } = filled(30);
    let known = true;
    let moved = false;
    let tries = 0;
    let full = false;
    let down = '';
    const rig: Rig = new Rig({
      log,
      disk,
      write: (_, ids) => {
        if (ids[0] === 10 && !moved) {
          moved = true;
          known = false;
          full = true;
        }
        if (++tries > 100) throw new TargetLost('nobody listens');
        if (!known) throw new SettleFirst('the file is another one');
      },
      settle: async () => ({}),
      waited: () => {
        if (log.board.state(0) === 'down') down = log.board.reason(0);
        if (rig.pauses.length < 8) return;
        if (full) assert.deepEqual(rig.delivered, range(0, 10));
        if (heals) full = false;
        else log.board.setPhase(0, 'drain');
      },
    });
    const { write } = rig.checkpoint;
    rig.checkpoint.write = (state) => {
      if (full) throw new Error('ENOSPC: no space left on device');
      write(state);
      known = true;
    };
    if (heals) {
      await rig.all();
      assert.deepEqual(rig.delivered, range(0, 30));
    } else {
      log.board.setPhase(0, 'run');
      await rig.runner.run();
      assert.equal(rig.stored()?.ledger.passed, 10, 'nothing behind it is passed');
    }
    assert.match(down, /ENOSPC/);
  }
});

test('ON_LAG=drop: a sink that lags further than it may gives up its oldest events, counted one by one', async () => {
  const { log, disk } = filled(0, { segmentBytes: 16_384, ringBytes: 4096, retainMs: 1e12 });
  fill(log, 0, 600);
  const rig = new Rig({ log, disk, lagBytesMax: 20_000, write: () => undefined });
  await rig.drain();
  const state = rig.stored();
  const [first] = rig.delivered;
  assert.ok(first > 300 && first < 600, `went on at ${first}`);
  assert.deepEqual(rig.delivered, range(first, 600));
  assert.deepEqual(state?.ledger, { passed: 600, delivered: 600 - first, dead: 0, givenUp: first, skipped: 0 });
});

// vector#22946: an event that stays in the buffer until the next one comes.
test('a lone event is flushed after flushMs, though nothing follows', async () => {
  const { log, disk } = filled(0);
  const rig: Rig = new Rig({
    log,
    disk,
    write: () => undefined,
    waited: (waits) => {
      if (waits === 100) fill(log, 0, 1);
    },
  });
  let published = 0;
  const { waited } = rig.setting;
  Object.assign(rig.setting, {
    waited: (waits: number) => {
      waited?.(waits);
      if (waits === 100) published = rig.clock;
      if (rig.delivered.length === 1) log.board.setPhase(0, 'drain');
      assert.ok(waits <= 100 || rig.clock - published < 50, 'the event was not flushed');
    },
  });
  log.board.setPhase(0, 'run');
  await rig.runner.run();
  assert.deepEqual(rig.delivered, [0]);
});

// A sink that has taken what there is rests; a round more would find nothing, and costs as much as the one before.
test('it looks once for what has come, not a second time to find that nothing more has', async () => {
  const { log, disk } = filled(0);
  let next = 0;
  const rig: Rig = new Rig({
    log,
    disk,
    write: () => undefined,
    waited: () => {
      log.step(4);
      if (next < 300) fill(log, next, 3);
      else log.board.setPhase(0, 'drain');
      next += 3;
    },
  });
  const { reader } = rig.route.strands[0]!;
  const look = reader.fill.bind(reader);
  let looks = 0;
  reader.fill = (...args) => {
    looks += 1;
    return look(...args);
  };
  log.board.setPhase(0, 'run');
  await rig.runner.run();
  assert.deepEqual(rig.delivered, range(0, 300));
  // One per wait, and one for each of some flushed batches, whose place a fresh one takes.
  assert.ok(looks < 1.5 * rig.waits, `${looks} looks in ${rig.waits} waits`);
});

// Goal: the end of a drain leaves nothing behind that would have become a whole batch, or old enough, later.  Method:
// several lanes, each with more than whole batches, and a clock that stands still, so that only the drain can be the
// reason to hand over the rest.
test('what is left over when the drain comes is delivered, on every lane', async () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, lanes: 3, ringBytes: 65_536, segmentBytes: 64 * 1024 });
  let next = 0;
  for (const [lane, records] of [10, 13, 1].entries()) {
    fill(log, next, records, 40, lane);
    next += records;
  }
  const rig = new Rig({ log, disk, write: () => undefined });
  await rig.drain();
  assert.equal(rig.waits, 0, 'nothing had to be waited for');
  assert.deepEqual(
    rig.delivered.toSorted((a, b) => a - b),
    range(0, next),
  );
  assert.equal(rig.stored()?.ledger.passed, next);
});

test('with a target that fails at random, in random ways, everything is delivered or dead, once, in order', async () => {
  const base = Number(process.env.SEED ?? pick(Math.random, 2 ** 31));
  console.log(`seeds ${base} .. ${base + 59}`);
  for (let seed = base; seed < base + 60; seed++) {
    const random = randomOf(seed);
    const disk = new CrashDisk(random);
    const log = openLog({ disk, lanes: 2, ringBytes: 16_384, segmentBytes: 16_384 });
    const poison = (id: number) => (id * 2_654_435_761) % 17 === 0;
    let next = 0;
    const inFlightMax = 1 + pick(random, 4);
    const rig: Rig = new Rig({
      log,
      disk,
      inFlightMax,
      records: 1 + pick(random, 30),
      random,
      write: async (_, ids) => {
        for (let i = pick(random, 4); i > 0; i--) await turn();
        if (random() < 0.15) throw new Refusal(random() < 0.8 ? 'retry' : 'stop');
        if (ids.some(poison)) throw new Refusal('split');
      },
      waited: () => {
        log.step(5);
        if (next < 400 && random() < 0.5) {
          const lane = pick(random, 2);
          const count = 1 + pick(random, 10);
          if (log.writers[lane].refusal(800) === undefined) {
            fill(log, next, count, pick(random, 100), lane);
            next += count;
          }
        }
        if (next >= 400 && rig.route.lag().bytes === 0) log.board.setPhase(0, 'drain');
      },
    });
    log.board.setPhase(0, 'run');
    await rig.runner.run();
    rig.checkLedger();
    const expected = range(0, next).filter((id) => !poison(id));
    assert.deepEqual(
      rig.delivered.toSorted((a, b) => a - b),
      expected,
      `seed ${seed}`,
    );
    assert.equal(rig.dead.length, next - expected.length, `seed ${seed}`);
    assert.equal(rig.stored()?.ledger.passed, next, `seed ${seed}`);
  }
});
