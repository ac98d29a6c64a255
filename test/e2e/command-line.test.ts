/**
 * Goal: the command line answers as people expect of one: help and version in every spelling, a hint for a mistyped word,
 * an exit code that scripts can branch on, and no stack trace.
 * Method: the built program is run; what it prints and how it ends is compared.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');
const PORT = 22_240;

function ringmain(words: readonly string[], env: Record<string, string> = {}, cwd = '/tmp') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    cwd,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

test('help and version come in every spelling, on standard output, with 0', () => {
  for (const words of [['help'], ['--help'], ['-h']]) {
    const { status, stdout } = ringmain(words);
    expect([words, status]).toEqual([words, 0]);
    for (const command of ['pixel', 'journal', 'deadletter', 'migrate'])
      expect(stdout).toContain(`ringmain ${command}`);
  }
  for (const words of [['version'], ['--version'], ['-v']]) {
    const { status, stdout } = ringmain(words);
    expect([words, status]).toEqual([words, 0]);
    expect(stdout).toMatch(/^ringmain \d+\.\d+\.\d+ \(/);
  }
  const [spelt, behind, short] = [
    ['help', 'pixel'],
    ['pixel', '--help'],
    ['pixel', '-h'],
  ].map((words) => ringmain(words));
  expect(spelt).toEqual(behind);
  expect(short).toEqual(behind);
  for (const name of ['--check-config', '--print-config', '--env-file', '--config', '--healthcheck'])
    expect(behind!.stdout).toContain(name);
});

test('an option that an installation adds to every call asks for nothing: help stays help, nothing stays nothing', () => {
  const [help, journal] = [ringmain(['help']).stdout, ringmain(['journal', '--help']).stdout];
  const option = '--env-file=/etc/hostname';
  for (const [words, code, said] of [
    [['help', option], 0, help],
    [['help', '--env-file', '/etc/hostname'], 0, help],
    [['--help', option], 0, help],
    [[option, '--help'], 0, help],
    [['help', option, 'journal'], 0, journal],
    [['journal', '--help', option], 0, journal],
    [[option, 'journal', '--help'], 0, journal],
    [[option], 64, help],
    [['journal', option], 64, journal],
  ] as const) {
    const { status, stdout, stderr } = ringmain(words);
    expect([words, status, code === 0 ? stdout : stderr]).toEqual([words, code, said]);
  }
});

test('a command line that is not understood ends with 64 and names what was probably meant', () => {
  for (const [words, hint] of [
    [[], 'ringmain pixel'],
    [['pixle'], 'did you mean pixel?'],
    [['versoin'], 'did you mean version?'],
    [['pixel', '--sever-addr=:1'], 'did you mean --server-addr?'],
    [['pixel', '--bogus'], '--bogus is not a flag'],
    [['pixel', 'word'], 'options begin with --'],
    [['pixel', 'doctor'], 'doctor is no word behind pixel: ringmain doctor --service=pixel'],
    [['sms', 'doctor', '--json'], 'ringmain doctor --service=sms'],
    [['gateway', 'journal', 'ls'], 'ringmain journal <command> --service=gateway'],
    [['analytics', 'migrate', 'up'], 'ringmain migrate analytics <command>'],
  ] as const) {
    const { status, stdout, stderr } = ringmain(words);
    expect([words, status]).toEqual([words, 64]);
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain('    at ');
    expect(stdout).toBe('');
  }
});

test('a port that is taken ends the start with 75, because it passes by itself', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(PORT, '127.0.0.1', resolve));
  t.onTestFinished(() => void server.close());
  const { status, stderr } = ringmain(['pixel', `--server-addr=127.0.0.1:${PORT}`], {}, temporary(t));
  expect([status, stderr]).toEqual([75, expect.stringContaining('port is in use')]);
});

test('where nobody sits at a terminal every line is JSON; LOG_FORMAT=text is for people', async (t) => {
  const collector = new Collector(t, { port: PORT + 2 });
  await collector.start();
  const said = () =>
    collector.log
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
  await expect.poll(said, { message: '/healthz answers before the line is written' }).toContain('ready');
  await collector.kill('SIGTERM');
  const readable = new Collector(t, { port: PORT + 2, env: { LOG_FORMAT: 'text' } });
  await readable.start();
  await expect.poll(() => readable.log, { message: 'the banner comes last' }).toMatch(/^try +curl -i /m);
  expect(readable.log).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}main {2}ready {2}listen=/m);
});

// Goal: `ringmain journal cat | head` is quiet. Method: the reader goes away after the first bytes of many.
test('a tool whose reader goes away ends without a trace of the stack', async (t) => {
  const collector = new Collector(t, { port: PORT + 1 });
  await collector.start();
  const event = { e: 'x', props: { text: 'x'.repeat(900) } };
  const body = JSON.stringify(Array.from({ length: 500 }, () => event));
  expect((await fetch(`${collector.url}/collect`, { method: 'POST', body })).status).toBe(202);
  const cat = spawn(process.execPath, [MAIN, 'journal', 'cat'], {
    cwd: collector.folder,
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  cat.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  cat.stdout.once('data', () => cat.stdout.destroy());
  const code = await new Promise((resolve) => cat.once('close', resolve));
  expect([code, said]).toEqual([141, '']);
});
