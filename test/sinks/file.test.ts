/**
 * Goal: the file sink delivers exactly once across the death of the process at any step, and never harms a file that is not its own.
 * Method: node:fs itself is wrapped, so that the process "dies" at the k-th change of the disk, for every k; what was done stays, the
 * target is forgotten, a new one starts from the last checkpoint.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { type TestContext, test } from 'vitest';
import { SettleFirst, type SinkBatch, type SinkTarget, TargetLost } from '../../src/delivery/contract.ts';
import { createLog } from '../../src/kernel/log.ts';
import type { FileConfig } from '../../src/sinks/file/config.ts';
import { pruneRotated, rotatedFiles } from '../../src/sinks/file/rotated.ts';
import { fileSink } from '../../src/sinks/file/sink.ts';
import { events, TestLane } from './lane.ts';

const EVENTS = 60;
const BATCH = 5;
const lane = new TestLane(events(EVENTS));
const lines = lane.events.map(({ line }) => line);

function folder(t: TestContext): string {
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
async function withFs<T>(
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
class Death extends Error {}
const isDeath = (error: unknown): boolean => error instanceof Death || (error as Error).cause instanceof Death;

const config = (path: string, more: Partial<FileConfig> = {}): FileConfig => ({
  logPath: path,
  batchSize: BATCH,
  flushIntervalMs: 20,
  logRotateBytes: 0,
  logBackups: 0,
  logMaxAgeDays: 0,
  logCompress: false,
  ...more,
});

const warnings: string[] = [];
const log = createLog({
  level: 'warn',
  destination: 2,
  name: 'test',
  stream: { write: (text: string) => void warnings.push(text) },
});

/** What the checkpoint file would hold. */
interface Saved {
  done: number;
  state: unknown;
}

function open(options: FileConfig, saved: Saved, journal = true): Promise<SinkTarget> {
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

async function checkpoint(target: SinkTarget, saved: Saved, done: number): Promise<void> {
  const state = await target.settle?.();
  saved.state = structuredClone(state);
  saved.done = done;
  await target.settled?.();
}

/** As the runner begins: a checkpoint describes the file before anything is written to it. */
async function begun(options: FileConfig, saved: Saved = { done: 0, state: undefined }): Promise<SinkTarget> {
  const target = await open(options, saved);
  await checkpoint(target, saved, saved.done);
  return target;
}

/** As the runner does it: a checkpoint before the first delivery, then every second batch. `saved` is what outlives a death. */
async function deliver(options: FileConfig, saved: Saved, to = EVENTS): Promise<void> {
  const target = await begun(options, saved);
  await goOn(target, saved, saved.done, to);
  await target.close();
}

async function goOn(target: SinkTarget, saved: Saved, from: number, to = EVENTS): Promise<void> {
  let done = from;
  for (let n = 0; done < to; n++) {
    await put(target, lane.batch(done, Math.min(done + BATCH, to)), () => checkpoint(target, saved, done));
    done = Math.min(done + BATCH, to);
    if (target.settleDue || n % 2 === 1) await checkpoint(target, saved, done);
  }
  await checkpoint(target, saved, done);
}

/** One batch, after as many checkpoints as the target asks for. */
async function put(target: SinkTarget, batch: SinkBatch, settle: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await target.write(batch, Promise.resolve());
    } catch (error) {
      if (!(error instanceof SettleFirst)) throw error;
    }
    await settle();
  }
}

function contentOf(path: string): string[] {
  return [...rotatedFiles(path), path]
    .filter((file) => fs.existsSync(file))
    .flatMap((file) => {
      const bytes = fs.readFileSync(file);
      const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
      assert.ok(text === '' || text.endsWith('\n'), `${file} ends in the middle of a line`);
      return text.split('\n').slice(0, -1);
    });
}

for (const [name, more] of [
  ['without rotation', {}],
  ['with a rotation every few batches', { logRotateBytes: 1000 }],
] as const)
  test(`killed at any step, ${name}, and started again: every line once, in order, whole`, async (t) => {
    let steps = 0;
    for (let dieAt = 1; ; dieAt++) {
      const path = join(folder(t), 'events.ndjson');
      const saved: Saved = { done: 0, state: undefined };
      let left = dieAt;
      let died = false;
      try {
        await withFs(
          (call) => {
            left -= 1;
            if (left > 0) return undefined;
            // A write is cut in the middle before the process is gone.
            if (call === 'writeSync' && left === 0) return 7;
            throw new Death();
          },
          () => deliver(config(path, more), saved),
        );
      } catch (error) {
        assert.ok(isDeath(error), String((error as Error).stack));
        died = true;
      }
      // A start alone takes back what came after the checkpoint, torn lines with it.
      const started = await open(config(path, more), saved);
      assert.deepEqual(contentOf(path), lines.slice(0, saved.done), `died at step ${dieAt}, started`);
      await started.close();
      await deliver(config(path, more), saved);
      assert.deepEqual(contentOf(path), lines, `died at step ${dieAt}`);
      assert.deepEqual(
        fs.readdirSync(join(path, '..')).filter((file) => file.includes('.next')),
        [],
        `died at step ${dieAt}: something is left over`,
      );
      if (!died) break;
      steps = dieAt;
    }
    assert.ok(steps > 15, `only ${steps} steps`);
    if (name !== 'without rotation') assert.ok(steps > 50, `only ${steps} steps`);
  });

test('two deaths in a row, the second while the first is being mended: every line once', async (t) => {
  for (let first = 20; first < 70; first += 3) {
    for (let second = 1; second < 12; second++) {
      const path = join(folder(t), 'events.ndjson');
      const saved: Saved = { done: 0, state: undefined };
      for (const dieAt of [first, second]) {
        let left = dieAt;
        const dying = withFs(
          () => {
            if (--left <= 0) throw new Death();
            return undefined;
          },
          () => deliver(config(path, { logRotateBytes: 1000 }), saved),
        );
        await dying.catch((error) => assert.ok(isDeath(error), String((error as Error).stack)));
      }
      await deliver(config(path, { logRotateBytes: 1000 }), saved);
      assert.deepEqual(contentOf(path), lines, `died at ${first}, then at ${second}`);
    }
  }
});

// vector#4601: the file sink acknowledged events although their write had failed.
test('vector#4601: a write that fails is taken back and thrown; the same batch then stands there once', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await begun(config(path));
  await target.write(lane.batch(0, 5), Promise.resolve());
  let calls = 0;
  await assert.rejects(
    withFs(
      (call) => {
        if (call !== 'writeSync') return undefined;
        if (calls++ === 0) return 100;
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      },
      () => target.write(lane.batch(5, 10), Promise.resolve()),
    ),
    { code: 'ENOSPC' },
  );
  assert.deepEqual(contentOf(path), lines.slice(0, 5), 'no torn line while it waits');
  await target.write(lane.batch(5, 10), Promise.resolve());
  await target.close();
  assert.deepEqual(contentOf(path), lines.slice(0, 10));
});

test('a failed fdatasync is not tried again: the target is lost, its successor writes anew from the checkpoint', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  const target = await begun(config(path), saved);
  await target.write(lane.batch(20, 30), Promise.resolve());
  await assert.rejects(
    withFs(
      (call) => {
        if (call === 'fdatasyncSync') throw Object.assign(new Error('EIO'), { code: 'EIO' });
        return undefined;
      },
      async () => target.settle?.(),
    ),
    TargetLost,
  );
  await target.close();
  await deliver(config(path), saved);
  assert.deepEqual(contentOf(path), lines);
});

test('a file is cut only when it is the one of the checkpoint: a changed LOG_PATH harms no stranger', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const stranger = join(folder(t), 'theirs.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  const theirs = `${'x'.repeat(100_000)}\n`;
  fs.writeFileSync(stranger, theirs);
  // Delivered after the checkpoint, then killed.
  fs.appendFileSync(path, 'after the checkpoint\n');
  await deliver(config(stranger), saved);
  assert.ok(
    fs.readFileSync(stranger, 'utf8') === `${theirs}${lines.slice(20).join('\n')}\n`,
    'appended to, nothing else',
  );
  assert.deepEqual(contentOf(path), lines.slice(0, 20), 'its own file is cut where it was');
});

// The inode of a removed file is soon given to the next one made.
test('a file put in the place of ours, with the same inode even, is appended to', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  const theirs = 'y'.repeat(50_000);
  // The same inode for sure: written over.
  fs.writeFileSync(path, theirs);
  await deliver(config(path), saved);
  assert.ok(
    fs.readFileSync(path, 'utf8') === `${theirs}\n${lines.slice(20).join('\n')}\n`,
    'their last line gets its end, nothing else',
  );
});

test('a file that logrotate has moved is found by its inode and cut there', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  fs.appendFileSync(path, `${lines[20]}\n{"torn`);
  fs.renameSync(path, `${path}.1`);
  await deliver(config(path), saved);
  assert.deepEqual(fs.readFileSync(`${path}.1`, 'utf8').split('\n').slice(0, -1), lines.slice(0, 20));
  assert.deepEqual(contentOf(path), lines.slice(20));
});

// Goal: a disk that comes back under another device number (a reboot, a volume on another host) doubles no event.
// Method: the checkpoint names a device that is not there; also one of an older version, which knows no time of birth.
test('a file whose disk has another device number is cut at its checkpoint', async (t) => {
  for (const done of [0, 20]) {
    const path = join(folder(t), 'events.ndjson');
    const saved: Saved = { done: 0, state: undefined };
    await deliver(config(path), saved, done);
    fs.appendFileSync(path, `${lines[done]}\n`);
    saved.state = { ...(saved.state as object), dev: 1 };
    await deliver(config(path), saved);
    assert.deepEqual(contentOf(path), lines);
  }
});

test('a checkpoint of an older version, without a time of birth, goes by device and inode', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  fs.appendFileSync(path, `${lines[20]}\n`);
  saved.state = { ...(saved.state as object), born: undefined };
  await deliver(config(path), saved);
  assert.deepEqual(contentOf(path), lines);
});

test('copytruncate while nobody runs: appended, with a warning', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  fs.truncateSync(path, 0);
  warnings.length = 0;
  await deliver(config(path), saved);
  assert.deepEqual(contentOf(path), lines.slice(20));
  assert.ok(
    warnings.some((warning) => warning.includes('shorter than its checkpoint')),
    warnings.join(''),
  );
});

test('copytruncate under a running sink leaves no hole of zeros, and nothing is written before a checkpoint knows of it', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  const target = await begun(config(path), saved);
  await target.write(lane.batch(0, 20), Promise.resolve());
  fs.truncateSync(path, 0);
  await assert.rejects(target.write(lane.batch(20, 30), Promise.resolve()), SettleFirst);
  assert.equal(fs.statSync(path).size, 0);
  assert.equal(target.settleDue, true);
  await checkpoint(target, saved, 20);
  assert.equal((saved.state as { length: number }).length, 0);
  assert.equal(target.settleDue, false);
  await target.write(lane.batch(20, 30), Promise.resolve());
  assert.deepEqual(contentOf(path), lines.slice(20, 30));
  await target.close();
});

// The file was once written to before the checkpoint knew that it was cut: a start then saw a file that is shorter than it should be,
// could not tell what in it is its own, and appended the same lines again.
for (const [what, cut] of [
  ['copytruncate', (path: string) => fs.truncateSync(path, 0)],
  ['a file that ends in the middle of a line now', (path: string) => fs.truncateSync(path, 300)],
] as const)
  test(`${what}, then killed at any step up to the next checkpoints: no line stands in the file twice`, async (t) => {
    let steps = 0;
    for (let dieAt = 1; ; dieAt++) {
      const path = join(folder(t), 'events.ndjson');
      const saved: Saved = { done: 0, state: undefined };
      await deliver(config(path), saved, 20);
      const target = await begun(config(path), saved);
      await target.write(lane.batch(20, 25), Promise.resolve());
      cut(path);
      const left = fs.readFileSync(path, 'utf8');
      let toGo = dieAt;
      let died = false;
      await withFs(
        (call) => {
          toGo -= 1;
          if (toGo > 0) return undefined;
          if (call === 'writeSync' && toGo === 0) return 7;
          throw new Death();
        },
        () => goOn(target, saved, 25),
      ).catch((error) => {
        assert.ok(isDeath(error), String((error as Error).stack));
        died = true;
      });
      const { done } = saved;
      await deliver(config(path), saved);
      // Death before the checkpoint that follows the cut: what was delivered since the one before is delivered again, here for the first time.
      const first = done === 20 ? 20 : 25;
      const ended = left === '' || left.endsWith('\n') ? left : `${left}\n`;
      assert.equal(
        fs.readFileSync(path, 'utf8'),
        `${ended}${lines.slice(first).join('\n')}\n`,
        `died at step ${dieAt}`,
      );
      if (!died) break;
      steps = dieAt;
    }
    assert.ok(steps > 5, `only ${steps} steps`);
  });

// The checkpoint that follows a reopen() may fail: a start must not meet lines in a file that no checkpoint tells of.
test('a file that logrotate has put in place takes nothing before a checkpoint knows it', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  await deliver(config(path), saved, 20);
  const target = await begun(config(path), saved);
  fs.renameSync(path, `${path}.1`);
  await target.reopen?.();
  await assert.rejects(target.write(lane.batch(20, 30), Promise.resolve()), SettleFirst);
  // The checkpoint cannot be written, and we are killed.
  await target.settle?.();
  await assert.rejects(target.write(lane.batch(20, 30), Promise.resolve()), SettleFirst, 'settled is not yet durable');
  await target.close();
  await deliver(config(path), saved);
  assert.deepEqual(contentOf(path), lines.slice(20));
  assert.deepEqual(fs.readFileSync(`${path}.1`, 'utf8').split('\n').slice(0, -1), lines.slice(0, 20));
});

test('reopen goes on in the file that has the name now', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await begun(config(path));
  await target.write(lane.batch(0, 10), Promise.resolve());
  fs.renameSync(path, `${path}.1`);
  await target.write(lane.batch(10, 20), Promise.resolve());
  await target.reopen?.();
  await checkpoint(target, { done: 0, state: undefined }, 20);
  await target.write(lane.batch(20, 30), Promise.resolve());
  await target.close();
  assert.deepEqual(fs.readFileSync(`${path}.1`, 'utf8').split('\n').slice(0, -1), lines.slice(0, 20));
  assert.deepEqual(contentOf(path), lines.slice(20, 30));
});

test('a rotation that finds a stranger under the name does not overwrite it', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved: Saved = { done: 0, state: undefined };
  const target = await begun(config(path, { logRotateBytes: 1000 }), saved);
  await target.write(lane.batch(0, 20), Promise.resolve());
  await target.settle?.();
  fs.renameSync(path, `${path}.1`);
  fs.writeFileSync(path, 'theirs\n');
  await target.settled?.();
  await put(target, lane.batch(20, 30), () => checkpoint(target, saved, 20));
  await target.close();
  assert.deepEqual(fs.readFileSync(path, 'utf8').split('\n').slice(0, -1), ['theirs', ...lines.slice(20, 30)]);
});

test('a rotation whose second rename fails is finished by the next try', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await begun(config(path, { logRotateBytes: 1000 }));
  await target.write(lane.batch(0, 20), Promise.resolve());
  await target.settle?.();
  let renames = 0;
  await assert.rejects(
    withFs(
      (call) => {
        if (call === 'renameSync' && ++renames === 2) throw Object.assign(new Error('EIO'), { code: 'EIO' });
        return undefined;
      },
      async () => target.settled?.(),
    ),
  );
  await target.settle?.();
  await target.settled?.();
  await target.write(lane.batch(20, 25), Promise.resolve());
  await target.close();
  assert.deepEqual(contentOf(path), lines.slice(0, 25));
  assert.deepEqual(fs.readFileSync(path, 'utf8').split('\n').length, 6);
});

test('rotated files are compressed and pruned; nothing of the present file is touched', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  await deliver(config(path, { logRotateBytes: 1500, logCompress: true }), { done: 0, state: undefined });
  const compressed = () => rotatedFiles(path).every((file) => file.endsWith('.gz'));
  const target = await open(config(path, { logRotateBytes: 1500, logCompress: true }), { done: 0, state: undefined });
  for (let i = 0; i < 500 && !compressed(); i++) await sleep(10);
  assert.ok(compressed() && rotatedFiles(path).length >= 2, rotatedFiles(path).join(', '));
  for (const file of rotatedFiles(path)) assert.equal(fs.statSync(file).mode, fs.statSync(path).mode, file);
  await target.close();
  assert.deepEqual(contentOf(path), lines);
  const gone = pruneRotated(path, 1, 0, Date.now());
  assert.equal(rotatedFiles(path).length, 1);
  assert.ok(gone.length >= 1 && fs.existsSync(path));
  assert.equal(pruneRotated(path, 0, 1, Date.now() + 2 * 86_400_000).length, 1);
  assert.ok(fs.existsSync(path));
});

test('the folder of the file is made when it is missing', async (t) => {
  const path = join(folder(t), 'new', 'deep', 'events.ndjson');
  const target = await open(config(path), { done: 0, state: undefined });
  await target.close();
  assert.ok(fs.existsSync(path));
});

test('a name that is no file needs an operator', async (t) => {
  const path = folder(t);
  await assert.rejects(open(config('/dev/null'), { done: 0, state: undefined }), { code: 'SINK_STOPPED' });
  await assert.rejects(open(config(path), { done: 0, state: undefined }));
});

test('without a journal a torn last line of a killed writer is closed, not glued to the next', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  fs.writeFileSync(path, `${lines[0]}\n{"torn`);
  const target = await open(config(path), { done: 0, state: undefined }, false);
  await target.write(lane.batch(1, 3), Promise.resolve());
  await target.close();
  assert.deepEqual(fs.readFileSync(path, 'utf8').split('\n').slice(0, -1), [lines[0], '{"torn', lines[1], lines[2]]);
});

test('a real disk that is full: nothing torn, and it goes on when there is space', {
  skip: process.getuid?.() !== 0, // only root mounts a tmpfs
}, async (t) => {
  const mount = fs.mkdtempSync(join(tmpdir(), 'ringmain-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount]);
  t.onTestFinished(() => {
    execFileSync('umount', ['-l', mount]);
    fs.rmdirSync(mount);
  });
  const path = join(mount, 'events.ndjson');
  const filler = join(mount, 'filler');
  fs.writeFileSync(filler, Buffer.alloc(60 * 1024));
  const target = await begun(config(path));
  let done = 0;
  await assert.rejects(
    async () => {
      for (; done < EVENTS; done += BATCH) await target.write(lane.batch(done, done + BATCH), Promise.resolve());
    },
    { code: 'ENOSPC' },
  );
  assert.deepEqual(contentOf(path), lines.slice(0, done));
  fs.rmSync(filler);
  for (; done < EVENTS; done += BATCH) await target.write(lane.batch(done, done + BATCH), Promise.resolve());
  await target.close();
  assert.deepEqual(contentOf(path), lines);
});
