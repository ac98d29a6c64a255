/**
 * Goal: a file has one writer, by whatever name it is reached; the kernel drops the lock with its process.
 * Method: another process has the lock (real fcntl locks, no wait: it says when it has it), this one asks for it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import { lockFile } from '../../../src/kernel/file-lock.ts';
import type { ConfiguredOutput } from '../../../src/service/configured.ts';
import { lockLogFiles } from '../../../src/service/log-files.ts';
import { fileSink } from '../../../src/sinks/file/sink.ts';
import { config, deliver, folder, lines, open } from './rig.ts';

const SOURCE = new URL('../../../src/kernel/file-lock.ts', import.meta.url).href;

/** A process that tries for the lock: 'true' when it has it; it keeps it until it is killed. */
async function other(t: TestContext, path: string): Promise<{ has: boolean; child: ChildProcess }> {
  const script = `import { lockFile } from '${SOURCE}';
    const lock = lockFile(process.argv[1]);
    console.log(lock !== undefined);
    setInterval(() => lock, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.onTestFinished(() => void child.kill('SIGKILL'));
  const said = await new Promise<string>((resolve) => child.stdout!.setEncoding('utf8').once('data', resolve));
  return { has: said.trim() === 'true', child };
}

const killed = (child: ChildProcess): Promise<unknown> => {
  child.kill('SIGKILL');
  return new Promise((resolve) => child.once('exit', resolve));
};

test('one process has the lock, by every name of the file; after SIGKILL the next one has it at once', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const content = `${lines[0]}\n`;
  fs.writeFileSync(path, content);
  fs.linkSync(path, `${path}.hard`);
  fs.symlinkSync(path, `${path}.soft`);
  const first = await other(t, path);
  assert.equal(first.has, true);
  for (const name of [path, `${path}.hard`, `${path}.soft`]) assert.equal(lockFile(name), undefined, name);
  await killed(first.child);
  const lock = lockFile(`${path}.hard`);
  assert.ok(lock !== undefined);
  assert.equal((await other(t, path)).has, false);
  lock.release();
  assert.equal((await other(t, path)).has, true);
  assert.equal(fs.readFileSync(path, 'utf8'), content, 'nothing was written');
  assert.deepEqual(fs.readdirSync(join(path, '..')).length, 3, 'nothing was made beside it');
});

// Goal: LOG_PATH=./events with JOURNAL_DIR=./events-journal starts more than once, and files of others with such names stay. SQLite removes what
// it takes for the journal of a database, and fails on a folder of that name.
test('files and folders beside it that SQLite takes for parts of a database stay, and the lock holds', async (t) => {
  for (const [content, folders] of [
    ['', false],
    [`${lines[0]}\n`, false],
    [`${lines[0]}\n`, true],
  ] as const) {
    const path = join(folder(t), 'events');
    fs.writeFileSync(path, content);
    for (const part of ['-journal', '-wal', '-shm'])
      if (folders) fs.mkdirSync(path + part);
      else fs.writeFileSync(path + part, 'of others');
    fs.symlinkSync(path, `${path}.soft`);
    const before = fs.readdirSync(join(path, '..'));
    const { has, child } = await other(t, `${path}.soft`);
    assert.equal(has, true);
    assert.equal(lockFile(path), undefined);
    await killed(child);
    const lock = lockFile(path);
    assert.ok(lock !== undefined);
    lock.release();
    assert.deepEqual(fs.readdirSync(join(path, '..')), before);
    if (!folders) assert.equal(fs.readFileSync(`${path}-journal`, 'utf8'), 'of others');
    assert.equal(fs.readFileSync(path, 'utf8'), content);
  }
});

test('a lock lasts until it is let go, also when nobody keeps what lockFile() returned', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  fs.writeFileSync(path, '');
  const script = `import { lockFile } from '${SOURCE}';
    lockFile(process.argv[1]);
    gc();
    setImmediate(() => (gc(), console.log('locked')));
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.onTestFinished(() => void child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  assert.equal(lockFile(path), undefined);
});

test('an empty file can be locked, and stays locked while it grows', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  fs.writeFileSync(path, '');
  const lock = lockFile(path);
  // Not closed: a descriptor of the file that this process closes would drop its lock.
  const fd = fs.openSync(path, 'a');
  fs.writeSync(fd, `${lines[0]}\n`);
  assert.equal((await other(t, path)).has, false);
  lock?.release();
  fs.closeSync(fd);
});

test('a sink whose file another process has waits for an operator, touches nothing, and takes the file when it is free', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  fs.writeFileSync(path, `${lines[0]}\n{"torn`);
  const before = fs.readFileSync(path, 'utf8');
  const { child } = await other(t, path);
  const error = await open(config(path), { done: 0, state: undefined }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.equal((error as { code?: string }).code, 'LOG_FILE_LOCKED');
  assert.match(String(error), new RegExp(`found=process ${child.pid};`));
  assert.equal(fileSink.classify(error), 'stop');
  assert.equal(fs.readFileSync(path, 'utf8'), before);
  await killed(child);
  await deliver(config(path), { done: 0, state: undefined }, 5);
});

test('a running sink keeps its file locked across SIGHUP, rotation and rename', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const target = await open(config(path), { done: 0, state: undefined });
  await target.reopen?.();
  assert.equal((await other(t, path)).has, false, 'after SIGHUP');
  fs.renameSync(path, `${path}.1`);
  await target.reopen?.();
  assert.equal((await other(t, path)).has, false, 'the file that has the name now');
  assert.equal((await other(t, `${path}.1`)).has, true, 'the one that has lost it');
  await target.close();
  assert.equal((await other(t, path)).has, true, 'let go');
});

// Method: two outputs as a service declares them, their paths two names of one file.
test('two outputs of one process on one file are refused, also by two names of it', (t) => {
  const at = folder(t);
  const path = join(at, 'events.ndjson');
  const outputs = (second: string) =>
    [path, second].map((logPath, i) => ({
      name: `out-${i}`,
      kind: 'log',
      config: { logPath },
    })) as unknown as ConfiguredOutput[];
  fs.writeFileSync(path, '');
  fs.symlinkSync(path, join(at, 'soft'));
  fs.linkSync(path, join(at, 'hard'));
  for (const name of ['soft', 'hard'])
    assert.throws(() => lockLogFiles(outputs(join(at, name)), 'off'), {
      code: 'CONFIG',
      message: /outputs must write to files of their own: .*outputs=out-0, out-1/,
    });
  const files = lockLogFiles(outputs(join(at, 'new.ndjson')), 'off');
  assert.ok(fs.existsSync(join(at, 'new.ndjson')));
  files.abandon();
  assert.ok(!fs.existsSync(join(at, 'new.ndjson')), 'a start that fails leaves no file of its own');
});
