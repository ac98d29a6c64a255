/**
 * Rig of the file sink's tests: a lane of known events, a target that is driven as the runner does it, and node:fs itself wrapped, so
 * that the process "dies" at the k-th change of the disk: what was done stays, the target is forgotten.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { TestContext } from 'vitest';
import { SettleFirst, type SinkBatch, type SinkTarget } from '../../../src/delivery/contract.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { FileConfig } from '../../../src/sinks/file/config.ts';
import { rotatedFiles } from '../../../src/sinks/file/rotated.ts';
import { fileSink } from '../../../src/sinks/file/sink.ts';
import { events, TestLane } from '../lane.ts';

export const EVENTS = 60;
export const BATCH = 5;
export const lane = new TestLane(events(EVENTS));
export const lines = lane.events.map(({ line }) => line);

export function folder(t: TestContext): string {
  const path = fs.mkdtempSync(join(tmpdir(), 'ringmain-file-'));
  t.onTestFinished(() => fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

const CHANGES = [
  'openSync',
  'writeSync',
  'ftruncateSync',
  'renameSync',
  'rmSync',
  'fdatasyncSync',
  'fsyncSync',
] as const;
const real = Object.fromEntries(CHANGES.map((name) => [name, fs[name]])) as unknown as Record<
  (typeof CHANGES)[number],
  (...args: unknown[]) => unknown
>;

/** Wraps the changing calls of node:fs for `during`; `step` may throw before the call, or return how much of a write is done. */
export async function withFs<T>(
  step: (name: (typeof CHANGES)[number], args: unknown[]) => number | undefined,
  during: () => Promise<T>,
): Promise<T> {
  for (const name of CHANGES)
    Object.assign(fs, {
      [name]: (...args: unknown[]) => {
        const part = step(name, args);
        // A death of the process asks nothing of the disk; hundreds of real syncs would only take time.
        if (name === 'fsyncSync' || name === 'fdatasyncSync') return undefined;
        if (part === undefined || name !== 'writeSync') return real[name](...args);
        const [fd, bytes, offset = 0, length = (bytes as Uint8Array).length, position] = args as [
          number,
          Uint8Array,
          number,
          number,
          number,
        ];
        return real.writeSync(fd, bytes, offset, Math.min(part, length), position);
      },
    });
  syncBuiltinESMExports();
  try {
    return await during();
  } finally {
    Object.assign(fs, real);
    syncBuiltinESMExports();
  }
}

/** The process has died. */
export class Death extends Error {}
export const isDeath = (error: unknown): boolean => error instanceof Death || (error as Error).cause instanceof Death;

export const config = (path: string, more: Partial<FileConfig> = {}): FileConfig => ({
  logPath: path,
  batchSize: BATCH,
  flushIntervalMs: 20,
  logRotateBytes: 0,
  logBackups: 0,
  logMaxAgeDays: 0,
  logCompress: false,
  ...more,
});

export const warnings: string[] = [];
const log = createLog({
  level: 'warn',
  destination: 2,
  name: 'test',
  stream: { write: (text: string) => void warnings.push(text) },
});

/** What the checkpoint file would hold. */
export interface Saved {
  done: number;
  state: unknown;
}

export function open(options: FileConfig, saved: Saved, journal = true): Promise<SinkTarget> {
  return fileSink.open(options, {
    name: 'log',
    logId: '0'.repeat(32),
    journal,
    state: saved.state,
    log,
    signal: new AbortController().signal,
    ended: () => false,
  });
}

export async function checkpoint(target: SinkTarget, saved: Saved, done: number): Promise<void> {
  const state = await target.settle?.();
  saved.state = structuredClone(state);
  saved.done = done;
  await target.settled?.();
}

/** As the runner begins: a checkpoint describes the file before anything is written to it. */
export async function begun(options: FileConfig, saved: Saved = { done: 0, state: undefined }): Promise<SinkTarget> {
  const target = await open(options, saved);
  await checkpoint(target, saved, saved.done);
  return target;
}

/** As the runner does it: a checkpoint before the first delivery, then every second batch. `saved` is what outlives a death. */
export async function deliver(options: FileConfig, saved: Saved, to = EVENTS): Promise<void> {
  const target = await begun(options, saved);
  await goOn(target, saved, saved.done, to);
  await target.close();
}

export async function goOn(target: SinkTarget, saved: Saved, from: number, to = EVENTS): Promise<void> {
  let done = from;
  for (let n = 0; done < to; n++) {
    await put(target, lane.batch(done, Math.min(done + BATCH, to)), () => checkpoint(target, saved, done));
    done = Math.min(done + BATCH, to);
    if (target.settleDue || n % 2 === 1) await checkpoint(target, saved, done);
  }
  await checkpoint(target, saved, done);
}

/** One batch, after as many checkpoints as the target asks for. */
export async function put(target: SinkTarget, batch: SinkBatch, settle: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await target.write(batch, Promise.resolve());
    } catch (error) {
      if (!(error instanceof SettleFirst)) throw error;
    }
    await settle();
  }
}

export function contentOf(path: string): string[] {
  return [...rotatedFiles(path), path]
    .filter((file) => fs.existsSync(file))
    .flatMap((file) => {
      const bytes = fs.readFileSync(file);
      const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
      assert.ok(text === '' || text.endsWith('\n'), `${file} ends in the middle of a line`);
      return text.split('\n').slice(0, -1);
    });
}
