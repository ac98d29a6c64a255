import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { commitOf, readVersion } from '../../src/kernel/version.ts';

test("the version is package.json's", () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  assert.equal(readVersion().version, version);
});

test('the commit is told, or stands in COMMIT, or comes from git, or is unknown', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-version-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const git = (...words: string[]) => execFileSync('git', ['-C', folder, ...words], { encoding: 'utf8' }).trim();
  assert.equal(commitOf(undefined, folder), 'unknown');
  git('init', '-q');
  assert.equal(commitOf(undefined, folder), 'unknown', 'a repository without a commit');
  git('-c', 'user.name=t', '-c', 'user.email=t@example.com', 'commit', '-q', '--allow-empty', '-m', 'first');
  assert.equal(commitOf(undefined, folder), git('rev-parse', '--short=12', 'HEAD'));
  // Installed inside of someone else's repository: that commit is not ours.
  mkdirSync(join(folder, 'node_modules'));
  assert.equal(commitOf(undefined, join(folder, 'node_modules')), 'unknown');
  writeFileSync(join(folder, 'COMMIT'), 'abcdef123456\n');
  assert.equal(commitOf(undefined, folder), 'abcdef123456');
  assert.equal(commitOf('told', folder), 'told');
});
