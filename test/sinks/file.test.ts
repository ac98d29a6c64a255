/**
 * Goal: the file sink delivers exactly once across the death of the process at any step, and never harms a file that is not its own.
 * Method: node:fs itself is wrapped (file/rig.ts), so that the process "dies" at the k-th change of the disk, for every k; what was done
 * stays, the target is forgotten, a new one starts from the last checkpoint.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { SettleFirst, TargetLost } from '../../src/delivery/contract.ts';
import { pruneRotated, rotatedFiles } from '../../src/sinks/file/rotated.ts';
import {
  BATCH,
  begun,
  checkpoint,
  config,
  contentOf,
  Death,
  deliver,
  EVENTS,
  folder,
  goOn,
  isDeath,
  lane,
  lines,
  open,
  put,
  type Saved,
  warnings,
  withFs,
} from './file/rig.ts';

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
  fs.appendFileSync(path, `${lines[20]}\n`);
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
  // Their lines begin as ours do.
  const theirs = `${'y'.repeat(50_000)}\n{"their":"line"}\n{"their":"last`;
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
  const gone = pruneRotated(path, 1, 0, Date.now(), (error) => assert.fail(String(error)));
  assert.equal(rotatedFiles(path).length, 1);
  assert.ok(gone.length >= 1 && fs.existsSync(path));
  assert.equal(pruneRotated(path, 0, 1, Date.now() + 2 * 86_400_000, (error) => assert.fail(String(error))).length, 1);
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
