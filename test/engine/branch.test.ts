/**
 * A folder of the log that is put back from a copy, whole or in parts: nothing that it holds, and nothing that is taken afterwards, may
 * be skipped by a sink or deleted before its time. On a real folder, with the engine, its keeper and a sink's source in this process.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import { LaneSource } from '../../src/delivery/lane-source.ts';
import { Batch } from '../../src/engine/batch.ts';
import { CheckpointFile } from '../../src/engine/checkpoint.ts';
import { type EngineConfig, engineConfig } from '../../src/engine/config.ts';
import { realDisk } from '../../src/engine/disk.ts';
import { type Engine, liveLanes, openEngine } from '../../src/engine/engine.ts';
import { checkpointPath, lanesFolder, readCheckpoint, readIdentity } from '../../src/engine/journal.ts';
import { Keeper } from '../../src/engine/keeper.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { appendRecord, range, recordId } from './lanes.ts';

const KIB = 1024;

class Folder {
  readonly dir: string;
  readonly #copies: string;
  #engine: Engine | undefined;
  #keeper: Keeper | undefined;
  #writer: LaneWriter | undefined;
  #now = 1_000_000;

  constructor(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'ringmain-branch-'));
    this.dir = join(folder, 'journal');
    this.#copies = join(folder, 'copies');
    t.onTestFinished(() => {
      this.stop();
      rmSync(folder, { recursive: true, force: true });
    });
  }

  /** A new life. Returns what the sink `log` gets of what is there, and stores its progress. */
  start(start: 'earliest' | 'latest' = 'earliest'): Engine {
    const env = {
      JOURNAL_DIR: this.dir,
      RING_BYTES: '256KiB',
      SEGMENT_BYTES: '1MiB',
      JOURNAL_MAX_BYTES: '64MiB',
      JOURNAL_RETAIN_MS: '0',
    };
    const { engine: config } = loadConfig([engineConfig], { env, argv: [] }).values as unknown as {
      engine: EngineConfig;
    };
    const sinks = [{ name: 'log', drops: false, lagBytesMax: 0 }];
    const engine = openEngine({ config, lanes: 1, sinks, keep: [], start });
    this.#engine = engine;
    this.#keeper = new Keeper(engine.shared.keeper!);
    this.#step(4);
    this.#writer = new LaneWriter(engine.shared.lanes[0]!);
    return engine;
  }

  #step(times: number): void {
    for (; times > 0; times--) {
      this.#now += 1000;
      this.#keeper!.step(this.#now);
    }
  }

  take(from: number, to: number): void {
    for (let id = from; id < to; id++) {
      appendRecord(this.#writer!, id, 40);
      assert.ok(this.#writer!.publish());
    }
    this.#step(3);
  }

  /** What the sink gets, all of it; its checkpoint is written and the keeper deletes what it may. */
  deliver(): number[] {
    const { shared } = this.#engine!;
    const checkpoint = new CheckpointFile(checkpointPath(this.dir, 'log'), realDisk);
    const source = new LaneSource(
      {
        live: liveLanes(shared),
        finished: shared.finished,
        journal: { lanes: lanesFolder(this.dir), logId: shared.logId },
        reader: 0,
        log: shared.log,
        lives: shared.lives,
      },
      checkpoint.read()?.state,
    );
    const ids: number[] = [];
    const batch = new Batch(64 * KIB);
    do
      for (const strand of source.strands)
        for (;;) {
          batch.begin(strand.id, strand.reader.mark);
          if (!strand.reader.fill(batch, 1000)) break;
          assert.deepEqual(batch.losses, []);
          for (let i = 0; i < batch.count; i++) ids.push(recordId(batch.buffer, batch.offsets[i]!));
          strand.delivered = batch.to;
        }
    while (source.advance());
    checkpoint.write(source.state({ kept: true }));
    source.close();
    checkpoint.close();
    return ids;
  }

  housekeeping(): void {
    this.#step(3);
  }

  stop(): void {
    this.#keeper?.finish();
    this.#engine?.release();
    this.#engine = undefined;
    this.#keeper = undefined;
  }

  /** One life: takes events; `delivered`: the sink gets them and its checkpoint says so. */
  life(from: number, to: number, delivered = true): void {
    this.start();
    this.take(from, to);
    if (delivered) this.deliver();
    this.stop();
  }

  copy(name: string): void {
    cpSync(this.dir, join(this.#copies, name), { recursive: true });
  }

  putBack(name: string, parts: readonly string[] = ['log', 'lanes', 'sinks']): void {
    for (const part of parts) {
      rmSync(join(this.dir, part), { recursive: true, force: true });
      const copied = join(this.#copies, name, part);
      if (existsSync(copied)) cpSync(copied, join(this.dir, part), { recursive: true });
    }
  }
}

test('a life has an id of its own, in the list of the log, in its lanes and in the checkpoints', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10);
  folder.life(10, 20);
  const { lives } = readIdentity(folder.dir)!;
  assert.deepEqual(
    lives!.map(([life]) => life),
    [1, 2],
  );
  assert.notEqual(lives![0]![1], lives![1]![1]);
  const { shared } = folder.start();
  assert.deepEqual(
    shared.finished.map(({ id }) => [id.life, id.lifeId]),
    lives,
  );
  const state = readCheckpoint(folder.dir, 'log')!;
  assert.deepEqual([state.life, state.lifeId, state.line], [...lives![1]!, [lives![0]]]);
});

test('the whole folder is put back: the number of the life comes again, its events are not taken for old ones', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10);
  folder.copy('first');
  folder.life(10, 50);
  folder.putBack('first');
  const { shared } = folder.start();
  assert.equal(shared.life.life, 2);
  folder.take(100, 120);
  assert.deepEqual(folder.deliver(), range(100, 120));
});

// A checkpoint in a life that is newer than the lanes would let the keeper delete a live segment, and skip what it holds.
test('checkpoints newer than the rest: they go on where the copy ends, nothing is sent twice or skipped', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10);
  folder.copy('first');
  folder.life(10, 50);
  folder.life(50, 60);
  folder.putBack('first', ['log', 'lanes']);
  const { branched, shared } = folder.start();
  assert.deepEqual(branched, [{ name: 'log', life: shared.life.life }]);
  assert.ok(shared.life.life > 3, 'above every life that left something here');
  folder.take(100, 120);
  folder.housekeeping();
  assert.deepEqual(folder.deliver(), range(100, 120));
  assert.deepEqual(readCheckpoint(folder.dir, 'log')!.target, { kept: true });
});

test('checkpoints of another branch: what only this branch has is delivered, what both have is not sent twice', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10);
  folder.copy('first');
  folder.life(10, 20);
  folder.life(20, 30);
  folder.copy('gone');
  folder.putBack('first');
  folder.life(100, 110, false);
  folder.life(110, 120, false);
  folder.putBack('gone', ['sinks']);
  folder.start();
  folder.take(120, 130);
  folder.housekeeping();
  assert.deepEqual(folder.deliver(), range(100, 130));
});

test('checkpoints older than the rest: what came after them is delivered again, nothing is skipped', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10, false);
  folder.copy('first');
  folder.life(10, 20, false);
  folder.putBack('first', ['sinks']);
  folder.start();
  assert.deepEqual(folder.deliver(), range(0, 20));
});

for (const start of ['earliest', 'latest'] as const)
  test(`no checkpoint is put back: its sinks are not new, whatever SINK_START says (${start})`, (t) => {
    const folder = new Folder(t);
    folder.life(0, 10, false);
    rmSync(join(folder.dir, 'sinks'), { recursive: true });
    folder.start(start);
    folder.take(10, 20);
    assert.deepEqual(folder.deliver(), range(0, 20));
  });

test('the log file alone is older: no lane is written in a second life (L9)', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10);
  folder.copy('first');
  folder.life(10, 20, false);
  folder.life(20, 30, false);
  folder.putBack('first', ['log']);
  assert.equal(folder.start().shared.life.life, 4);
  folder.take(30, 40);
  assert.deepEqual(folder.deliver(), range(10, 40));
});

// Without its log file the folder would get a new log id, with which not one frame validates: the lanes would pass for empty and go.
test('lanes without their log file, or with that of another log, refuse the start and stay as they are', (t) => {
  const folder = new Folder(t);
  folder.life(0, 10, false);
  const log = readFileSync(join(folder.dir, 'log'), 'utf8');
  rmSync(join(folder.dir, 'log'));
  assert.throws(() => folder.start(), { code: 'JOURNAL_FORMAT' });
  writeFileSync(join(folder.dir, 'log'), log.replace(/"log":"[0-9a-f]{32}"/, `"log":"${'ab'.repeat(16)}"`));
  assert.throws(() => folder.start(), { code: 'JOURNAL_FORMAT' });
  writeFileSync(join(folder.dir, 'log'), log);
  folder.start();
  assert.deepEqual(folder.deliver(), range(0, 10));
});
