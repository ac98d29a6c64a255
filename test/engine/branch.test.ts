/**
 * A folder of the log that is put back from a copy, whole or in parts: nothing that it holds, and nothing that is taken afterwards, may
 * be skipped by a sink or deleted before its time. On a real folder, with the engine, its keeper and a sink's source in this process.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { readCheckpoint, readIdentity } from '../../src/engine/journal.ts';
import { Folder } from './folder.ts';
import { range } from './lanes.ts';

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
