/**
 * Goal: whatever others do to the log file while we run or while we are down costs no event, doubles none and harms no byte of theirs.
 * Method: the file is moved, removed, cut and appended to between the steps of a target; deaths at every step (rig.ts).
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SettleFirst, TargetLost } from '../../../src/delivery/contract.ts';
import { cutBack } from '../../../src/sinks/file/file-state.ts';
import { rotatedFiles } from '../../../src/sinks/file/rotated.ts';
import {
  begun,
  checkpoint,
  config,
  contentOf,
  Death,
  deliver,
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
} from './rig.ts';

const none: Promise<void> = Promise.resolve();
const fresh = (): Saved => ({ done: 0, state: undefined });
const linesOf = (path: string): string[] => fs.readFileSync(path, 'utf8').split('\n').slice(0, -1);

/** Log lines of `during`. */
async function told(during: () => Promise<unknown>): Promise<string> {
  warnings.length = 0;
  await during();
  return warnings.join('');
}

test('a file that is moved away takes nothing more: the next write goes to a new file, after a checkpoint, and a line says so', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const target = await begun(config(path), saved);
  await target.write(lane.batch(0, 10), none);
  fs.renameSync(path, `${path}.1`);
  await assert.rejects(target.write(lane.batch(10, 20), none), SettleFirst);
  const said = await told(() => put(target, lane.batch(10, 20), () => checkpoint(target, saved, 10)));
  assert.match(said, /moved or replaced/);
  assert.equal(said.split('\n').length, 2, 'one line');
  await target.close();
  assert.deepEqual(linesOf(`${path}.1`), lines.slice(0, 10));
  assert.deepEqual(contentOf(path), lines.slice(10, 20));
});

test('an idle sink sees within one look that its file was moved or replaced, and makes the name again', async (t) => {
  for (const replace of [false, true]) {
    const path = join(folder(t), 'events.ndjson');
    const saved = fresh();
    const target = await begun(config(path), saved);
    await target.write(lane.batch(0, 10), none);
    await checkpoint(target, saved, 10);
    assert.equal(await target.look?.(), false);
    fs.renameSync(path, `${path}.1`);
    if (replace) fs.writeFileSync(path, '');
    assert.equal(await target.look?.(), true);
    await checkpoint(target, saved, 10);
    assert.ok(fs.existsSync(path));
    assert.equal(await target.look?.(), true, 'the new file wants a checkpoint, too');
    await checkpoint(target, saved, 10);
    assert.equal(await target.look?.(), false);
    await target.write(lane.batch(10, 20), none);
    await target.close();
    assert.deepEqual([...linesOf(`${path}.1`), ...linesOf(path)], lines.slice(0, 20));
  }
});

// Goal: what went into a file without a name is not counted as delivered.
// Method: the file is removed at every step between two checkpoints; the successor starts from the last one.
test('a removed file: the target is lost, and its successor writes anew what came after the last checkpoint', async (t) => {
  for (const when of ['before the write', 'behind the write, before the checkpoint']) {
    const path = join(folder(t), 'events.ndjson');
    const saved = fresh();
    const target = await begun(config(path), saved);
    await target.write(lane.batch(0, 10), none);
    await checkpoint(target, saved, 10);
    await target.write(lane.batch(10, 15), none);
    if (when === 'before the write') {
      fs.rmSync(path);
      const said = await told(() => assert.rejects(target.write(lane.batch(15, 20), none), TargetLost));
      assert.match(said, /deleted/);
    } else {
      await target.write(lane.batch(15, 20), none);
      fs.rmSync(path);
      await assert.rejects(async () => target.settle?.(), TargetLost);
    }
    await target.close();
    await deliver(config(path), saved);
    assert.deepEqual(contentOf(path), lines.slice(10), when);
  }
});

test('a removed file of which a hard link is left is moved, not lost: nothing is written twice', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const target = await begun(config(path), saved);
  await target.write(lane.batch(0, 10), none);
  fs.linkSync(path, `${path}.copy`);
  fs.rmSync(path);
  await put(target, lane.batch(10, 20), () => checkpoint(target, saved, 10));
  await target.close();
  assert.deepEqual(linesOf(`${path}.copy`), lines.slice(0, 10));
  assert.deepEqual(contentOf(path), lines.slice(10, 20));
});

test('without a journal the bytes that went into the removed file are copied to the new one', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await open(config(path), fresh(), false);
  await target.write(lane.batch(0, 10), none);
  assert.equal(await target.look?.(), false);
  await target.write(lane.batch(10, 20), none);
  fs.rmSync(path);
  await target.write(lane.batch(20, 30), none);
  await target.close();
  assert.deepEqual(contentOf(path), lines.slice(10, 30), 'what was written since the file last had its name');
});

test('bytes that somebody else appends stay, and are told: we go on behind them, after a checkpoint', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const target = await begun(config(path), saved);
  await target.write(lane.batch(0, 10), none);
  fs.appendFileSync(path, 'a note\n{"event_id":"theirs"}\nno end');
  const said = await told(() => assert.rejects(target.write(lane.batch(10, 20), none), SettleFirst));
  assert.match(said, /another program, or another copy of this journal, has appended/);
  await put(target, lane.batch(10, 20), () => checkpoint(target, saved, 10));
  await target.close();
  // Killed: only what came after the checkpoint is taken back.
  await deliver(config(path), saved, 20);
  assert.deepEqual(linesOf(path), [
    ...lines.slice(0, 10),
    'a note',
    '{"event_id":"theirs"}',
    'no end',
    ...lines.slice(10, 20),
  ]);
});

test('bytes appended between our look and our write are not overwritten', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const target = await begun(config(path), saved);
  let once = true;
  await withFs(
    (call) => {
      if (call === 'writeSync' && once) {
        once = false;
        fs.appendFileSync(path, 'in between\n');
      }
      return undefined;
    },
    () => target.write(lane.batch(0, 10), none),
  );
  await put(target, lane.batch(10, 20), () => checkpoint(target, saved, 10));
  await target.close();
  assert.deepEqual(linesOf(path), ['in between', ...lines.slice(0, 20)]);
});

test('after an end in order all that lies behind the checkpoint is of others and stays, also lines like ours', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const target = await begun(config(path), saved);
  await goOn(target, saved, 0, 20);
  saved.state = structuredClone(await target.settle?.(true));
  await target.settled?.();
  await target.close();
  fs.appendFileSync(path, '{"event_id":"put in by hand"}\nnote\n');
  const said = await told(() => deliver(config(path), saved));
  assert.match(said, /another program, or another copy of this journal, has appended/);
  assert.deepEqual(linesOf(path), [...lines.slice(0, 20), '{"event_id":"put in by hand"}', 'note', ...lines.slice(20)]);
});

test('after kill -9 our lines behind the checkpoint are taken back, lines that cannot be ours stay', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  await deliver(config(path), saved, 20);
  // A write of ours, two notes, the zeros that a power cut leaves, and a torn line.
  fs.appendFileSync(
    path,
    `${lines[20]}\nnote 1\n${lines[21]}\nnote 2\n${'\0'.repeat(100)}\n${lines[22]!.slice(0, 40)}`,
  );
  await deliver(config(path), saved);
  assert.deepEqual(linesOf(path), [...lines.slice(0, 20), 'note 1', 'note 2', ...lines.slice(20)]);
});

test('a file that was moved to another name and appended to keeps their bytes when it is cut', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  await deliver(config(path), saved, 20);
  fs.appendFileSync(path, `${lines[20]}\nnote\n`);
  fs.renameSync(path, `${path}.1`);
  await deliver(config(path), saved);
  assert.deepEqual(linesOf(`${path}.1`), [...lines.slice(0, 20), 'note']);
  assert.deepEqual(contentOf(path), lines.slice(20));
});

// LOG_ROTATE_MB, a rename by others in the same second and kill -9 gave 500 lines twice: the file that the rotation had put in place held
// lines that no checkpoint knew, and was not found again under its third name.
test('rotated, renamed by others, killed before the next checkpoint: every line once', async (t) => {
  for (const made of [false, true]) {
    const path = join(folder(t), 'events.ndjson');
    const saved = fresh();
    const options = config(path, { logRotateBytes: 1000 });
    const target = await begun(options, saved);
    await target.write(lane.batch(0, 20), none);
    await checkpoint(target, saved, 20);
    assert.equal(rotatedFiles(path).length, 1, 'rotated');
    await target.write(lane.batch(20, 25), none);
    fs.renameSync(path, `${path}.1`);
    if (made) fs.writeFileSync(path, '');
    await target.close();
    await deliver(options, saved);
    assert.equal(fs.readFileSync(`${path}.1`, 'utf8'), '', 'taken back');
    assert.deepEqual(contentOf(path), lines);
  }
});

// LOG_COMPRESS removes the rotated file, and the system gives its inode to the next new one: that one was taken for a file of the checkpoint
// that somebody had cut, and nobody looked for the file behind the rotation. Method: the checkpoint names the inode of the new file.
test('rotated and compressed, renamed by others, killed, and a new file has the inode of the rotated one: every line once', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const saved = fresh();
  const options = config(path, { logRotateBytes: 1000 });
  const target = await begun(options, saved);
  await target.write(lane.batch(0, 20), none);
  await checkpoint(target, saved, 20);
  await target.write(lane.batch(20, 25), none);
  for (const file of rotatedFiles(path)) fs.rmSync(file);
  fs.renameSync(path, `${path}.1`);
  await target.close();
  fs.writeFileSync(path, '');
  const { dev, ino, birthtimeMs: born } = fs.statSync(path);
  saved.state = { ...(saved.state as object), dev, ino, born };
  warnings.length = 0;
  await deliver({ ...options, logRotateBytes: 0 }, saved);
  assert.equal(fs.readFileSync(`${path}.1`, 'utf8'), '', 'taken back');
  assert.deepEqual(contentOf(path), lines.slice(20));
  assert.deepEqual(warnings, [], 'nothing is missing, and nothing stands twice');
});

// Method: as the tests of kill -9 (file.test.ts), with a file that goes or moves in the middle.
for (const [what, harm] of [
  ['moved', (path: string) => fs.renameSync(path, join(path, '..', 'moved'))],
  [
    'replaced',
    (path: string) => {
      fs.renameSync(path, join(path, '..', 'moved'));
      fs.writeFileSync(path, 'theirs\n');
    },
  ],
] as const)
  test(`${what}, then killed at any step up to the next checkpoints: every line once`, async (t) => {
    let steps = 0;
    for (let dieAt = 1; ; dieAt++) {
      const path = join(folder(t), 'events.ndjson');
      const saved = fresh();
      const target = await begun(config(path), saved);
      await goOn(target, saved, 0, 20);
      await target.write(lane.batch(20, 25), none);
      harm(path);
      let toGo = dieAt;
      let died = false;
      await withFs(
        (call) => {
          toGo -= 1;
          if (toGo > 0) return undefined;
          if (call === 'writeSync' && toGo === 0) return 7;
          throw new Death();
        },
        () => goOn(target, saved, 25, 40),
      ).catch((error) => {
        assert.ok(isDeath(error), String((error as Error).stack));
        died = true;
      });
      await target.close();
      await deliver(config(path), saved, 40);
      const all = [...linesOf(join(path, '..', 'moved')), ...linesOf(path)].filter((line) => line !== 'theirs');
      assert.deepEqual(all, lines.slice(0, 40), `died at step ${dieAt}`);
      if (!died) break;
      steps = dieAt;
    }
    assert.ok(steps > 5, `only ${steps} steps`);
  });

test('a rotation does not keep the rotated file open, and keeps the lock of the new one', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await begun(config(path, { logRotateBytes: 1000 }));
  await goOn(target, fresh(), 0, 60);
  const opened = fs
    .readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    })
    .filter((name) => name.startsWith(join(path, '..')));
  expect([...new Set(opened)]).toEqual([path]);
  const { ino } = fs.statSync(path);
  assert.match(
    fs.readFileSync('/proc/locks', 'utf8'),
    new RegExp(`POSIX +ADVISORY +WRITE +${process.pid} +\\S+:${ino} `),
  );
  await target.close();
  assert.ok(!fs.readFileSync('/proc/locks', 'utf8').includes(`:${ino} `), 'let go');
});

test('the folder goes with the file: both are made again', async (t) => {
  for (const journal of [true, false]) {
    const path = join(folder(t), 'deep', 'events.ndjson');
    const saved = fresh();
    const target = await open(config(path), saved, journal);
    await checkpoint(target, saved, 0);
    await target.write(lane.batch(0, 10), none);
    fs.rmSync(join(path, '..'), { recursive: true });
    if (journal) {
      await assert.rejects(target.write(lane.batch(10, 20), none), TargetLost);
      await target.close();
      await deliver(config(path), saved, 20);
    } else {
      await target.write(lane.batch(10, 20), none);
      await target.close();
    }
    assert.deepEqual(contentOf(path), lines.slice(0, 20));
  }
});

// Goal: lines that no journal has any more stay in the file, also when a copy of the journal is put back over and over. Method: it
// knows three of the lines behind its checkpoint, then two; by then nothing tells which ones.
test('of the lines behind the checkpoint those of strangers stay, and all when more are ours than come again', (t) => {
  const path = join(folder(t), 'events.ndjson');
  const text = '{"n":0}\n{"n":1}\n# a note\n{"n":2}\n{"n":3}\n';
  for (const [left, kept] of [
    [3, '# a note\n'],
    [2, text.slice(8)],
  ] as const) {
    fs.writeFileSync(path, text);
    const fd = fs.openSync(path, 'r+');
    assert.equal(cutBack(fd, 8, { left }), kept.length);
    fs.closeSync(fd);
    assert.equal(fs.readFileSync(path, 'utf8'), `{"n":0}\n${kept}`);
  }
});
