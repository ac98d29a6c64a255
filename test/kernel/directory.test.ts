/** Goal: a directory that cannot be made is an error, at once. Method: real folders, and /proc, in which node's own recursive mkdir never returns. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { directoryProblem, writableFileProblem } from '../../src/kernel/config.ts';
import { makeDirectory } from '../../src/kernel/directory.ts';

test('what is missing is made, with its mode, and the topmost part that was made is told', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-directory-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  assert.equal(makeDirectory(join(folder, 'a', 'b', 'c'), 0o700), join(folder, 'a'));
  assert.equal(statSync(join(folder, 'a', 'b')).mode & 0o777, 0o700);
  assert.equal(makeDirectory(join(folder, 'a', 'b', 'c')), undefined);
  assert.equal(makeDirectory(join(folder, 'a', 'b', 'd')), join(folder, 'a', 'b', 'd'));
});

test('a file in the way, a link to nowhere and a file system that takes no directories are errors at once', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-directory-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'file'), '');
  mkdirSync(join(folder, 'directory'));
  symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
  assert.throws(() => makeDirectory(join(folder, 'file')), { code: 'EEXIST' });
  assert.throws(() => makeDirectory(join(folder, 'file', 'below')), { code: 'ENOTDIR' });
  assert.throws(() => makeDirectory(join(folder, 'dangling')), { code: 'ENOENT' });
  assert.throws(() => makeDirectory('/proc/nope/x'), { code: 'ENOENT' });
});

test('a start names such a file system before it touches anything', () => {
  assert.match(
    directoryProblem('JOURNAL_DIR', '/proc/nope/x') ?? '',
    /^JOURNAL_DIR must .*found=a file system of the kernel at \/proc$/,
  );
  assert.match(directoryProblem('JOURNAL_DIR', '/sys') ?? '', /found=a file system of the kernel at \/sys$/);
  assert.match(
    writableFileProblem('LOG_PATH', '/proc/nope/x.ndjson') ?? '',
    /found=a file system of the kernel at \/proc$/,
  );
});
