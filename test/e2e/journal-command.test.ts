/** `ringmain journal` on the log of a real collector: what it shows, sends again, forgets and delivers. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';
import { onTerminal, screenOf } from '../servers/terminal.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');
const EVENTS = 25;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function ringmain(folder: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd: folder, timeout: 30_000, env: { PATH: process.env['PATH'], ...env } };
    execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

const DRAIN_LEFT = `the drain was interrupted; ${EVENTS} events are still owed, and the next drain continues there`;

/** Runs a tool until it has said `word`, and ends it by SIGTERM. */
function terminated(
  folder: string,
  args: readonly string[],
  env: Record<string, string>,
  word: string,
): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env: { PATH: process.env['PATH'], ...env } });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (!said.err.includes(word) && (said.err + text).includes(word)) child.kill('SIGTERM');
    said.err += text;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code: code ?? -1, ...said })));
}

/** A collector that has taken EVENTS events, and where they lie. */
async function collected(t: TestContext, port: number, env: Record<string, string> = {}): Promise<Collector> {
  const collector = new Collector(t, { port, env });
  await collector.start();
  await collector.deliver(Array.from({ length: EVENTS }, (_, n) => ({ e: 'journal', props: { n } })));
  return collector;
}

const linesOf = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
const fileOf = (collector: Collector): string => join(collector.folder, 'events.ndjson');

test('journal ls shows lanes, cursors and ledger beside a running collector; cat prints the very lines of the file', async (t) => {
  const collector = await collected(t, 22_201);
  await expect.poll(() => linesOf(fileOf(collector)).length === EVENTS, { message: 'the file has them' }).toBe(true);
  const { code, out } = await ringmain(collector.folder, ['journal', 'ls']);
  assert.equal(code, 0);
  assert.match(out, /^log [0-9a-f]{32}$/m);
  assert.match(out, /^lane 1-0 {2}positions 0\.\.\d+ {2}records 0\.\.25 /m);
  assert.match(out, /^sink log {2}life \d+ {2}owes \d+ events$/m);
  const cat = await ringmain(collector.folder, ['journal', 'cat']);
  assert.deepEqual(cat.out.split('\n').slice(0, -1), linesOf(fileOf(collector)));
  const none = await ringmain(collector.folder, ['journal', 'cat', '--since=2999-01-01T00:00:00Z']);
  assert.deepEqual([none.code, none.out], [0, '']);
});

test('journal verify passes a sound log and names the positions of damage with exit 1', async (t) => {
  const collector = await collected(t, 22_202);
  // Frames of their own behind the one that will be damaged: what is valid behind damage is found.
  for (let n = 0; n < 5; n++) await collector.deliver([{ e: 'behind', props: { n } }]);
  await collector.kill('SIGTERM');
  const sound = await ringmain(collector.folder, ['journal', 'verify']);
  assert.equal(sound.code, 0);
  assert.match(sound.out, /30 records read/);
  const lane = join(collector.folder, 'data', 'journal', 'lanes', '000001-0');
  const segment = readdirSync(lane).find((name) => /^\d/.test(name))!;
  const fd = openSync(join(lane, segment), 'r+');
  writeSync(fd, 'XXXX', 4096 + 300);
  closeSync(fd);
  const damaged = await ringmain(collector.folder, ['journal', 'verify']);
  assert.equal(damaged.code, 1);
  assert.match(damaged.out, /^damaged {2}lane 1-0 {2}positions 0\.\.\d+ {2}records 0\.\.25 {2}\(damaged\)$/m);
  assert.match(damaged.out, /5 records read/);
  const cat = await ringmain(collector.folder, ['journal', 'cat']);
  assert.equal(cat.out.match(/"e":"behind"/g)?.length, 5);
  assert.ok(!cat.out.includes('XXXX'), 'a damaged frame was believed');
});

test('journal replay sends a range once more, to a file of its own, and leaves cursors alone', async (t) => {
  const collector = await collected(t, 22_203);
  await collector.kill('SIGTERM');
  const before = await ringmain(collector.folder, ['journal', 'ls']);
  const replayed = await ringmain(collector.folder, ['journal', 'replay', '--sink=log', '--file=again.ndjson']);
  assert.equal(replayed.code, 0, replayed.err);
  assert.deepEqual(linesOf(join(collector.folder, 'again.ndjson')), linesOf(fileOf(collector)));
  assert.equal((await ringmain(collector.folder, ['journal', 'ls'])).out, before.out);
  const twice = await ringmain(collector.folder, ['journal', 'replay', '--sink=log', '--file=again.ndjson']);
  assert.equal(twice.code, 64, 'a file that is there must not be written to');
});

test('a collector that goes away for good: its sink was down, journal drain delivers what it owes', async (t) => {
  const seen: string[] = [];
  let open = false;
  const target = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      if (open) seen.push(...Buffer.concat(chunks).toString('utf8').trim().split('\n'));
      res.writeHead(open ? 204 : 503).end();
    });
  }).listen(0, '127.0.0.1');
  t.onTestFinished(() => void target.close());
  await expect.poll(() => target.listening, { message: 'the target listens' }).toBe(true);
  const url = `http://127.0.0.1:${(target.address() as AddressInfo).port}/`;
  const env = { OUTPUTS: 'http', HTTP_SINK_URL: url, HTTP_URL: url };
  const collector = await collected(t, 22_204, env);
  assert.equal(await collector.kill('SIGTERM'), 0, 'a sink that is down must not spoil the end');
  const locked = await onTerminal(['journal', 'drain', '--timeout=1'], collector.folder, env);
  assert.equal(locked.code, 1, 'what is owed shows in the exit code');
  assert.match(locked.text, /\r\u001B\[Kdrain {2}0 % {2}0 events of 25 events/);
  assert.match(
    screenOf(locked.text),
    /^sink http {2}delivered 0 events in this run {2}owes 25 events {2}\(.*status=503\)$/m,
  );
  // Kubernetes ends a drain by TERM when its collector comes back: cursors are written, and it says what is left.
  const ended = await terminated(collector.folder, ['journal', 'drain'], env, 'accepts no events');
  assert.deepEqual([ended.code, ended.err.split('\n').at(-2)], [143, DRAIN_LEFT]);
  open = true;
  const drained = await ringmain(collector.folder, ['journal', 'drain', '--timeout=20'], env);
  assert.equal(drained.code, 0, drained.err + drained.out);
  assert.equal(new Set(seen.map((line) => (JSON.parse(line) as { event_id: string }).event_id)).size, EVENTS);
  assert.equal(drained.out, `sink http  delivered ${EVENTS} events in this run  owes 0 events\n`);
  const again = await ringmain(collector.folder, ['journal', 'drain', '--timeout=20'], env);
  assert.deepEqual([again.code, again.out], [0, 'sink http  nothing was owed\n'], 'a second drain has nothing to do');
});

test('journal forget removes a sink for good; drain and forget refuse while a collector runs', async (t) => {
  const collector = await collected(t, 22_205);
  const busy = await ringmain(collector.folder, ['journal', 'forget', 'log']);
  assert.equal(busy.code, 75);
  assert.match(busy.err, /in use by another Ringmain/);
  await collector.kill('SIGTERM');
  assert.equal((await ringmain(collector.folder, ['journal', 'forget', 'kafka'])).code, 64);
  assert.equal((await ringmain(collector.folder, ['journal', 'forget', 'log'])).code, 0);
  assert.doesNotMatch((await ringmain(collector.folder, ['journal', 'ls'])).out, /^sink/m);
});

test('a folder without a journal is refused with one clear line and exit 78', async (t) => {
  const { code, err } = await ringmain(temporary(t), ['journal', 'ls']);
  assert.equal(code, 78);
  assert.match(err, /there is no journal in this folder/);
});
