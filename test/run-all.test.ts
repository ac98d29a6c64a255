/** run-all.ts in a folder of its own: what fails once, what fails again, and what is too much to be an accident. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { alive } from './servers/cache.ts';
import { temporaryFolder } from './servers/process.ts';

const here = import.meta.dirname;

/** Test files that pass, fail the first time, or always fail; returns what npm test would have said of them. */
function runAll(tempers: readonly ('steady' | 'once' | 'stray' | 'always' | 'beside')[], ...words: string[]) {
  const { folder, remove } = temporaryFolder('ringmain-run-all-');
  onTestFinished(remove);
  symlinkSync(join(here, '../node_modules'), join(folder, 'node_modules'));
  const reporter = JSON.stringify(join(here, 'last-line.ts'));
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    `export default { test: { reporters: [${reporter}], projects: [{ test: { name: 'only' } }] } };`,
  );
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(folder, 'beside.mjs'),
    `import { writeFileSync } from 'node:fs';
     writeFileSync('pid', String(process.pid));
     setInterval(() => {}, 1e6);`,
  );
  mkdirSync(join(folder, 'seen'));
  for (const [at, temper] of tempers.entries()) {
    const mark = JSON.stringify(join(folder, 'seen', String(at)));
    const failing = {
      steady: '',
      once: 'if (first) throw new Error("too slow");',
      stray: 'if (first) void Promise.reject(new Error("nobody waits")); await new Promise(setImmediate);',
      always: 'throw new Error("wrong");',
      beside: 'await expect.poll(() => existsSync("pid"), { timeout: 30_000 }).toBe(true);',
    }[temper];
    writeFileSync(
      join(folder, `${temper}-${at}.test.mjs`),
      `import { existsSync, writeFileSync } from 'node:fs';
       import { expect, test } from 'vitest';
       test('plain', () => {});
       test.skip('long', () => {});
       test(${JSON.stringify(temper)}, async () => {
         const first = !existsSync(${mark});
         writeFileSync(${mark}, '');
         ${failing}
       });`,
    );
  }
  const { VERDICT_FILE: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [join(here, 'run-all.ts'), ...words], {
    cwd: folder,
    env: { ...env, NO_COLOR: '1' },
    encoding: 'utf8',
  });
  const lines = stdout.trimEnd().split('\n');
  const steadied = lines.slice(lines.lastIndexOf('Failed at first, passed alone; look for the reason:') + 1);
  const pid = join(folder, 'pid');
  return {
    beside: existsSync(pid) ? Number(readFileSync(pid, 'utf8')) : undefined,
    status,
    last: lines.at(-1),
    again: lines.filter((line) => line.includes('which run once more')),
    steadied: steadied.length === lines.length ? [] : steadied.filter((line) => line.includes('.test.mjs')),
  };
}

test('what fails once passes alone, and is listed', () => {
  expect(runAll(['steady', 'once', 'stray'])).toEqual({
    status: 0,
    last: '6 passed, 0 failed',
    again: ['Tests failed in 2 files, which run once more, alone:'],
    steadied: ['  only once-1.test.mjs: once', '  only stray-2.test.mjs: unhandled error: nobody waits'],
  });
});

test('what fails again fails the run', () => {
  expect(runAll(['steady', 'always', 'once'])).toEqual({
    status: 1,
    last: '5 passed, 1 failed',
    again: ['Tests failed in 2 files, which run once more, alone:'],
    steadied: ['  only once-2.test.mjs: once'],
  });
});

test('more files than an accident would break fail at once', () => {
  expect(runAll(['once', 'once', 'once', 'once'])).toEqual({
    status: 1,
    last: '4 passed, 4 failed',
    again: [],
    steadied: [],
  });
});

test('what runs meanwhile is ended with the tests', async () => {
  const { status, beside } = runAll(['beside'], '--meanwhile=beside.mjs');
  expect(status).toBe(0);
  await expect.poll(() => alive(beside!)).toBe(false);
});
