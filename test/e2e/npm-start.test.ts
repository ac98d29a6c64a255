/**
 * Goal: the command of the README does what it says it does.
 * Method: `npm start` in this folder, its places moved by the environment; the curl line that it prints is run as it stands.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ensureCommand } from '../servers/apt.ts';
import { temporary } from '../servers/collector.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const PORT = 23_530;

test('npm start prints a curl line that works, its event is in the file, and SIGTERM ends it with 0 through npm', {
  timeout: 180_000,
}, async (t) => {
  await ensureCommand('curl', 'curl');
  const folder = temporary(t);
  const path = join(folder, 'events.ndjson');
  const { PATH, HOME } = process.env;
  const npm = spawn('npm', ['start'], {
    cwd: ROOT,
    // The Node that runs the tests is the one that npm finds.
    env: {
      PATH: `${dirname(process.execPath)}${delimiter}${PATH}`,
      HOME,
      SERVER_ADDR: `127.0.0.1:${PORT}`,
      LOG_PATH: path,
      JOURNAL_DIR: join(folder, 'journal'),
      ACCEPTORS: '1',
      // As on a terminal.
      LOG_FORMAT: 'text',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: whatever npm leaves behind ends with the test.
    detached: true,
  });
  const exited = new Promise<number | null>((resolve) => npm.once('exit', resolve));
  t.onTestFinished(() => {
    try {
      process.kill(-(npm.pid as number), 'SIGKILL');
    } catch {
      // It has ended, as it should.
    }
  });
  let said = '';
  for (const stream of [npm.stdout, npm.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect
    .poll(
      () => {
        assert.equal(npm.exitCode, null, said);
        return /^try +curl .+\n/m.test(said);
      },
      { message: 'it prints the line to try', timeout: 120_000 },
    )
    .toBe(true);
  assert.match(said, new RegExp(`^Ringmain listens on http://127\\.0\\.0\\.1:${PORT}$`, 'm'));
  assert.match(said, new RegExp(`^events go to +${path}$`, 'm'));
  assert.match(said, /^a 2xx means +journal: .+kill -9/m);
  const line = /^try +(curl .+)$/m.exec(said)?.[1] as string;
  const { stdout } = await promisify(execFile)('sh', [
    '-c',
    `${line} --silent --output /dev/null --write-out '%{http_code}'`,
  ]);
  assert.equal(stdout, '200');
  await expect
    .poll(() => existsSync(path) && readFileSync(path, 'utf8').includes('"e":"hello"'), {
      message: 'the event is in the file',
    })
    .toBe(true);
  assert.equal(readFileSync(path, 'utf8').split('\n').length, 2);
  npm.kill('SIGTERM');
  assert.equal(await exited, 0, said);
});
