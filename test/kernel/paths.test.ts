import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'vitest';
import { directoryProblem, readableFileProblem, writableFileProblem } from '../../src/kernel/config.ts';

// Goal: a start says what is wrong with a path and touches nothing. Method: a folder with one of each; its content is compared.
test('each path is judged by what it is for, in one line, and nothing is made', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-paths-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const at = (name: string) => join(folder, name);
  mkdirSync(at('directory'));
  writeFileSync(at('file'), '');
  symlinkSync(at('nowhere'), at('dangling'));
  const before = readdirSync(folder, { recursive: true });

  assert.equal(directoryProblem('X', at('directory')), undefined);
  assert.equal(directoryProblem('X', at('new/deep/er')), undefined);
  assert.equal(
    directoryProblem('JOURNAL_DIR', at('file')),
    `JOURNAL_DIR must be a writable directory: path=${at('file')}, found=a file`,
  );
  assert.match(directoryProblem('X', at('file/below'))!, /found=ENOTDIR$/);

  assert.equal(writableFileProblem('X', at('file')), undefined);
  assert.equal(writableFileProblem('X', at('new')), undefined);
  assert.equal(writableFileProblem('X', at('new/deep/file')), undefined);
  assert.equal(
    writableFileProblem('LOG_PATH', at('directory')),
    `LOG_PATH must be a writable file: path=${at('directory')}, found=a directory`,
  );
  assert.match(writableFileProblem('X', '/dev/null')!, /found=a device, pipe or socket$/);
  assert.match(writableFileProblem('X', at('new/'))!, /found=a directory$/);
  assert.match(writableFileProblem('X', at('file/below'))!, /found=ENOTDIR$/);

  assert.equal(readableFileProblem('X', at('file')), undefined);
  assert.equal(
    readableFileProblem('GEOIP_DB', at('new')),
    `GEOIP_DB must be a readable file: path=${at('new')}, found=ENOENT`,
  );
  assert.match(readableFileProblem('X', at('directory'))!, /found=a directory$/);
  assert.match(readableFileProblem('X', at('dangling'))!, /found=ENOENT$/);

  assert.deepEqual(readdirSync(folder, { recursive: true }), before);
});

// Goal: a missing permission is named. Method: root may do everything, so as root the questions are asked by `nobody`.
test('what may not be written or read is named with the code of the system', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-paths-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'file'), '', { mode: 0o400 });
  // A copy, for `nobody` may be kept out of the working tree.
  cpSync('src/kernel/config/paths.ts', join(folder, 'paths.mts'));
  const module = pathToFileURL(join(folder, 'paths.mts')).href;
  const script = `
    const { directoryProblem, readableFileProblem, writableFileProblem } = await import(${JSON.stringify(module)});
    // Only now: the Node that runs this may itself lie where nobody else may go.
    if (process.getuid() === 0) {
      process.setgid(65534);
      process.setuid(65534);
    }
    console.log(JSON.stringify([
      directoryProblem('X', ${JSON.stringify(join(folder, 'new/deep'))}),
      writableFileProblem('X', ${JSON.stringify(join(folder, 'new'))}),
      writableFileProblem('X', ${JSON.stringify(join(folder, 'file'))}),
    ]));`;
  chmodSync(folder, 0o555);
  const options = { encoding: 'utf8', cwd: '/' } as const;
  const output = execFileSync(process.execPath, ['--input-type=module', '--no-warnings', '-e', script], options);
  chmodSync(folder, 0o755);
  const must = 'X must be a writable directory: path=';
  assert.deepEqual(JSON.parse(output), [
    `${must}${join(folder, 'new/deep')}, found=EACCES at ${folder}`,
    `the folder of ${must}${folder}, found=EACCES`,
    `X must be a writable file: path=${join(folder, 'file')}, found=EACCES`,
  ]);
});
