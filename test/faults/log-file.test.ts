/**
 * Goal: one log file has one writer, and what others do to the file of a running collector loses and doubles nothing that was acknowledged.
 * Method: real collectors from dist/ with journals of their own, known load (load.ts), every line of every file compared with what was sent.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { expect, type TestContext, test } from 'vitest';
import { Collector, main, temporary } from '../servers/collector.ts';
import { Client, Oracle } from './load.ts';

const PORT = 21_860;
/** Namespaces and mounts need root. */
const root = process.getuid?.() === 0;
const base = { COOKIES: 'off', LOG_PATH: 'events.ndjson', LOG_BACKUPS: '0', LOG_LEVEL: 'info', RING_BYTES: '4MiB' };

interface Stage {
  readonly folder: string;
  readonly path: string;
  readonly oracle: Oracle;
  collector(env?: Record<string, string>): Collector;
}

function stage(t: TestContext): Stage {
  const folder = temporary(t);
  const oracle = new Oracle();
  t.onTestFinished(() => oracle.end());
  const collector = (env = {}) => new Collector(t, { port: PORT, folder, env: { ...base, ...env } });
  return { folder, path: join(folder, 'events.ndjson'), oracle, collector };
}

async function load(oracle: Oracle, ms: number): Promise<void> {
  const clients = Array.from({ length: 4 }, () => new Client(oracle, PORT));
  await sleep(ms);
  await Promise.all(clients.map((client) => client.finish()));
}

/** Starts a second collector that must be refused; what it says. */
async function refused(folder: string, env: Record<string, string>, under: readonly string[] = []): Promise<string> {
  const [command, ...args] = [...under, process.execPath, main, 'pixel'];
  const all = { PATH: process.env['PATH'], ...base, SERVER_ADDR: `127.0.0.1:${PORT + 1}`, ...env };
  const second = spawn(command!, args, { cwd: folder, env: all, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [second.stdout, second.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const late = setTimeout(() => second.kill('SIGKILL'), 30_000);
  const code = await new Promise((resolve) => second.once('exit', resolve));
  clearTimeout(late);
  assert.equal(code, 75, said);
  return said;
}

const linesOf = (path: string): string[] => {
  const bytes = readFileSync(path);
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').split('\n').slice(0, -1);
};
/** Every line of every file of events in the folder. */
const allLines = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.startsWith('events'))
    .flatMap((name) => linesOf(join(folder, name)));

/** Waits until everything that is owed from event `first` on stands in the lines, each whole and none twice. */
async function delivered({ oracle }: Stage, lines: () => readonly string[], first = 0): Promise<void> {
  const missing = () => {
    const found = new Set(lines().map((line) => Number(/"uid":"u(\d+)"/.exec(line)?.[1])));
    return [...oracle.owed].filter((n) => n >= first && !found.has(n)).length;
  };
  await expect.poll(missing, { message: 'all that is owed is in the file' }).toBe(0);
  oracle.verify(lines(), true);
}

test('two collectors, one LOG_PATH: the second exits 75 and says who has the file, by whatever name it comes', {
  skip: !root,
}, async (t) => {
  const s = stage(t);
  const first = s.collector({ JOURNAL_DIR: 'journal-1' });
  await first.start();
  await load(s.oracle, 150);
  const other = join(s.folder, 'other');
  mkdirSync(other);
  symlinkSync(s.path, join(s.folder, 'link'));
  linkSync(s.path, join(other, 'hard.ndjson'));
  writeFileSync(join(other, 'mounted.ndjson'), '');
  const mount = `mount --bind ${s.path} ${join(other, 'mounted.ndjson')} && exec "$0" "$@"`;
  const own = { JOURNAL_DIR: 'journal-2' };
  const told = new RegExp(
    `log file is in use by another Ringmain: path=\\S+, found=process ${first.pid} on host \\S+ since 20\\S+; ` +
      'a second collector needs its own LOG_PATH and JOURNAL_DIR',
  );
  assert.match(await refused(s.folder, own), told);
  assert.match(await refused(s.folder, { JOURNAL_DIR: 'off', ACK: 'memory' }), told);
  assert.match(await refused(s.folder, { ...own, LOG_PATH: 'link' }), told);
  assert.match(await refused(s.folder, own, ['unshare', '--pid', '--fork', '--mount-proc']), told);
  // Beside another name no holder is written down: the kernel still says which process it is.
  const known = new RegExp(`log file is in use by another Ringmain: .*found=process ${first.pid}[ ;]`);
  assert.match(await refused(s.folder, { ...own, LOG_PATH: join(other, 'hard.ndjson') }), known);
  const inside = ['unshare', '--mount', 'sh', '-c', mount];
  assert.match(await refused(s.folder, { ...own, LOG_PATH: join(other, 'mounted.ndjson') }, inside), known);
  assert.ok(!existsSync(join(s.folder, 'journal-2')), 'a refused start leaves no journal');
  await load(s.oracle, 150);
  await delivered(s, () => linesOf(s.path));
  // The kernel drops the lock with the process: no file has to be removed, and nobody waits.
  await first.kill('SIGKILL');
  const heir = s.collector({ JOURNAL_DIR: 'journal-2' });
  await heir.start();
  await load(s.oracle, 100);
  assert.equal(await heir.stop(), 0);
  s.oracle.verify(linesOf(s.path));
  assert.ok(!existsSync(join(s.folder, '.events.ndjson.lock')), 'gone after an end in order');
});

test('rm of the log file under load and at rest: made anew within a second, and nothing acknowledged since is missing or doubled', async (t) => {
  const s = stage(t);
  const collector = s.collector();
  await collector.start();
  const loading = load(s.oracle, 900);
  await sleep(400);
  // What was in the file is gone by the operator's own hand; what is issued from now on must be there.
  const before = s.oracle.issued;
  rmSync(s.path);
  await expect.poll(() => existsSync(s.path), { message: 'made anew' }).toBe(true);
  await loading;
  await delivered(s, () => linesOf(s.path), before);
  assert.match(collector.log, /the log file was deleted; creating it again/);
  // At rest: nobody writes, and yet the name is back within a second.
  await sleep(1200);
  const { ino } = statSync(s.path);
  renameSync(s.path, `${s.path}.1`);
  const begin = performance.now();
  await expect.poll(() => existsSync(s.path), { message: 'made anew at rest' }).toBe(true);
  console.log(`noticed after ${(performance.now() - begin).toFixed(0)} ms`);
  assert.notEqual(statSync(s.path).ino, ino);
  await load(s.oracle, 100);
  assert.equal(await collector.stop(), 0);
  await delivered(s, () => [...linesOf(`${s.path}.1`), ...linesOf(s.path)], before);
});

// gzip removes what it has read, perhaps before the collector looks: then the last second stands in both, which is the lesser evil.
test('mv and gzip in one command: nothing that was acknowledged is missing', async (t) => {
  const s = stage(t);
  const collector = s.collector();
  await collector.start();
  const loading = load(s.oracle, 900);
  for (let n = 1; n <= 3; n++) {
    await expect.poll(() => existsSync(s.path) && statSync(s.path).size > 0, { message: 'it has events' }).toBe(true);
    renameSync(s.path, `${s.path}.${n}`);
    execFileSync('gzip', [`${s.path}.${n}`]);
  }
  await loading;
  await delivered(s, () => [...new Set(allLines(s.folder))]);
  assert.equal(await collector.stop(), 0);
});

test('mv and gzip without SIGHUP, mv and create, echo >> under load, then kill -9: every event once, and the notes are there', async (t) => {
  const s = stage(t);
  const first = s.collector();
  await first.start();
  const loading = load(s.oracle, 1200);
  await sleep(250);
  renameSync(s.path, `${s.path}.1`);
  // The moved file takes nothing more as soon as the name is there again.
  await expect.poll(() => existsSync(s.path), { message: 'made anew' }).toBe(true);
  execFileSync('gzip', [`${s.path}.1`]);
  await sleep(150);
  renameSync(s.path, `${s.path}.2`);
  writeFileSync(s.path, '', { flag: 'a' });
  await sleep(250);
  appendFileSync(s.path, 'a note\n');
  await sleep(200);
  appendFileSync(s.path, 'another note\n');
  const killed = first.kill('SIGKILL');
  await loading;
  await killed;
  const heir = s.collector();
  await heir.start();
  await load(s.oracle, 100);
  assert.equal(await heir.stop(), 0);
  appendFileSync(s.path, '{"put in":"while nobody ran"}\n');
  const last = s.collector();
  await last.start();
  assert.equal(await last.stop(), 0);
  const notes = ['a note', 'another note', '{"put in":"while nobody ran"}'];
  const lines = allLines(s.folder);
  assert.deepEqual(
    lines.filter((line) => notes.includes(line)),
    notes,
  );
  s.oracle.verify(lines.filter((line) => !notes.includes(line)));
});

/** As somebody else does; the collector may have rotated the file in this moment. */
function moveAway(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT');
  }
}

test('LOG_ROTATE_MB, a rename by others and kill -9, again and again: every event once', async (t) => {
  const s = stage(t);
  const env = { LOG_ROTATE_MB: '16KiB' };
  for (let round = 0; round < 3; round++) {
    const collector = s.collector(env);
    await collector.start();
    const loading = load(s.oracle, 400);
    await sleep(150 + 70 * round);
    moveAway(s.path, join(s.folder, `events-moved-${round}.ndjson`));
    await sleep(100);
    const killed = collector.kill('SIGKILL');
    await loading;
    await killed;
  }
  const last = s.collector(env);
  await last.start();
  assert.equal(await last.stop(), 0);
  assert.ok(readdirSync(s.folder).filter((name) => name.startsWith('events-r0')).length > 0, 'it was rotated');
  s.oracle.verify(allLines(s.folder));
});
