import assert from 'node:assert/strict';
import { test } from 'vitest';
import { CheckpointFile, type CheckpointState } from '../../src/engine/checkpoint.ts';
import { CrashDisk, randomOf } from './crash-disk.ts';
import { LOG } from './lanes.ts';

const PATH = '/log.checkpoint';
const state = (n: number): CheckpointState => ({
  log: LOG,
  life: 1,
  lanes: [[0, 1000 * n, n]],
  ledger: { passed: n, delivered: n, dead: 0, givenUp: 0 },
  target: { n },
});

function written(disk: CrashDisk, n: number): CheckpointFile {
  const file = new CheckpointFile(PATH, disk);
  for (let i = 1; i <= n; i++) file.write(state(i));
  disk.syncFolder('/');
  return file;
}

test('the newest of two slots counts, and the sequence goes on from it', () => {
  const disk = new CrashDisk();
  written(disk, 7).close();
  const file = new CheckpointFile(PATH, disk);
  assert.deepEqual(file.read(), { sequence: 7, state: state(7) });
  file.write(state(8));
  assert.deepEqual(new CheckpointFile(PATH, disk).read(), { sequence: 8, state: state(8) });
});

test('a sink without a file never had a checkpoint', () => {
  assert.equal(new CheckpointFile(PATH, new CrashDisk()).read(), undefined);
});

test('with one slot damaged at any byte the other counts, and the next write mends it', () => {
  for (const slot of [0, 1]) {
    for (let at = 0; at < 20 + JSON.stringify(state(6)).length; at++) {
      const disk = new CrashDisk();
      written(disk, 6).close();
      disk.content(PATH)[slot * 4096 + at] ^= 0x20;
      const file = new CheckpointFile(PATH, disk);
      const survivor = slot === 0 ? 5 : 6;
      assert.equal(file.read()?.sequence, survivor, `slot ${slot}, byte ${at}`);
      file.write(state(9));
      assert.deepEqual(new CheckpointFile(PATH, disk).read(), { sequence: survivor + 1, state: state(9) });
    }
  }
});

test('with both slots damaged there is no checkpoint, and one can be written again', () => {
  const disk = new CrashDisk();
  written(disk, 2).close();
  disk.content(PATH).fill(0xff);
  const file = new CheckpointFile(PATH, disk);
  assert.equal(file.read(), undefined);
  file.write(state(3));
  assert.deepEqual(new CheckpointFile(PATH, disk).read()?.state, state(3));
});

test('a power cut at any moment of a write leaves the old checkpoint or the new one', () => {
  for (let seed = 0; seed < 200; seed++) {
    const disk = new CrashDisk(randomOf(seed));
    const file = written(disk, 4);
    disk.fault = (operation) => (operation === (seed % 2 ? 'fdatasync' : 'write') ? 'EIO' : undefined);
    assert.throws(() => file.write(state(5)));
    disk.fault = () => undefined;
    disk.powerCut();
    const found = new CheckpointFile(PATH, disk).read();
    assert.ok(found?.sequence === 4 || found?.sequence === 5, `seed ${seed}: ${found?.sequence}`);
    assert.deepEqual(found?.state, state(found?.sequence as number));
  }
});

test('what write() has returned from survives a power cut', () => {
  for (let seed = 0; seed < 100; seed++) {
    const disk = new CrashDisk(randomOf(seed));
    written(disk, 1 + (seed % 5));
    disk.powerCut();
    assert.deepEqual(new CheckpointFile(PATH, disk).read()?.state, state(1 + (seed % 5)));
  }
});

test('a state that does not fit a slot is refused, an unknown format too', () => {
  const disk = new CrashDisk();
  const file = written(disk, 1);
  assert.throws(() => file.write({ ...state(2), target: 'x'.repeat(4096) }), /state must fit/);
  assert.deepEqual(new CheckpointFile(PATH, disk).read()?.state, state(1));
});
