/** A log in a real folder, with its engine, its keeper stepped by hand and one sink's source: for tests of what lies on disk. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { LaneSource } from '../../src/delivery/lane-source.ts';
import { Batch } from '../../src/engine/batch.ts';
import { CheckpointFile } from '../../src/engine/checkpoint.ts';
import { type EngineConfig, engineConfig } from '../../src/engine/config.ts';
import { realDisk } from '../../src/engine/disk.ts';
import { type Engine, liveLanes, openEngine } from '../../src/engine/engine.ts';
import { checkpointPath, lanesFolder } from '../../src/engine/journal.ts';
import { Keeper } from '../../src/engine/keeper.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { appendRecord, recordId } from './lanes.ts';

const KIB = 1024;

export class Folder {
  readonly dir: string;
  readonly #copies: string;
  #engine: Engine | undefined;
  #keeper: Keeper | undefined;
  #writer: LaneWriter | undefined;
  readonly #env: Record<string, string>;
  #now = 1_000_000;

  /** `env`: options of the engine other than those of start(). */
  constructor(t: TestContext, env: Record<string, string> = {}) {
    this.#env = env;
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
      ...this.#env,
    };
    const { engine: config } = loadConfig([engineConfig], { env, argv: [] }).values as unknown as {
      engine: EngineConfig;
    };
    const sinks = [{ name: 'log', drops: false, lagBytesMax: 0 }];
    const engine = openEngine({ config, lanes: 1, sinks, keep: [], start });
    this.#engine = engine;
    this.#keeper = new Keeper(engine.shared.keeper!);
    this.#writer = new LaneWriter(engine.shared.lanes[0]!);
    for (let i = 0; i < 200 && !this.#writer.control.spareReady(); i++) this.#step(1);
    return engine;
  }

  #step(times: number): void {
    for (; times > 0; times--) {
      this.#now += 1000;
      this.#keeper!.step(this.#now);
    }
  }

  get writer(): LaneWriter {
    return this.#writer!;
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

  /** Time for the keeper: what it may delete is gone, and the next segment is there. */
  housekeeping(): void {
    this.#step(3);
    for (let i = 0; i < 200 && !this.writer.control.spareReady(); i++) this.#step(1);
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
