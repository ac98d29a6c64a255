/**
 * Goal: each level of ACK loses what losses.ts says and no more; no fault invents or doubles an event. PERFORMANCE.md shows those rows.
 * Method: the real server at each level, known load (load.ts); the fault, a start on what is left, and
 * every line of the output compared with what was sent. What a row calls nothing is compared with every acknowledged event.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';
import { Client, linesOf, Oracle, sendOne } from './load.ts';
import { type Level, type Loss, levels, losses, nothing } from './losses.ts';

const PORT = 21_900;
const isRoot = process.getuid?.() === 0;
const run = (command: string, ...args: string[]): unknown =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });

interface Stage {
  readonly t: TestContext;
  readonly level: Level;
  readonly port: number;
  readonly folder: string;
  readonly oracle: Oracle;
  /** What was delivered. */
  readonly path: string;
  collector(env?: Record<string, string>): Collector;
}

function stage(t: TestContext, level: Level, folder = temporary(t)): Stage {
  const [oracle, port, path] = [new Oracle(), PORT + levels.indexOf(level), join(folder, 'events.ndjson')];
  const base = { ACK: level, COOKIES: 'off', LOG_PATH: path, LOG_BACKUPS: '0', LOG_LEVEL: 'info' };
  const sizes = { RING_BYTES: '1MiB', SEGMENT_BYTES: '1MiB', JOURNAL_MAX_BYTES: '64MiB', MAX_BODY_BYTES: '128k' };
  const collector = (env: Record<string, string> = {}): Collector =>
    new Collector(t, { port, folder, env: { ...base, ...sizes, MAX_EVENT_BYTES: '16k', ...env } });
  return { t, level, port, folder, oracle, path, collector };
}

/** Clients that a failed test leaves behind would send to the server of the next one. */
function clients({ t, oracle, port }: Stage): Client[] {
  const all = Array.from({ length: 8 }, () => new Client(oracle, port));
  t.onTestFinished(() => {
    for (const client of all) client.cut();
  });
  return all;
}

const polled = (message: string, timeout = 30_000): { message: string; timeout: number } => ({ message, timeout });

/** Waits until the load has been acknowledged so many times. */
async function untilOwed({ level, oracle }: Stage, count: number): Promise<void> {
  await expect.poll(() => oracle.owed.size, polled(`${level}: events are acknowledged`)).toBeGreaterThanOrEqual(count);
}

/** Waits until an event that was sent last is delivered, and all before it with it; the number of acknowledged events that are missing. */
async function missing({ level, oracle, port, path }: Stage, atMost: string): Promise<number> {
  let last = -1;
  const send = async (): Promise<number> => {
    last = await sendOne(oracle, port);
    return last;
  };
  await expect.poll(send, polled(`${level}: events are taken`)).toBeGreaterThanOrEqual(0);
  const lines = (): string[] => (existsSync(path) ? linesOf(path, true) : []);
  const isDelivered = (): boolean =>
    lines().some((line) => line.includes(`"uid":"u${last}"`)) &&
    (atMost !== nothing || oracle.verify(lines(), true) === 0);
  await expect.poll(isDelivered, polled(`${level}: the last event is delivered`, 60_000)).toBe(true);
  return oracle.verify(lines(), atMost !== nothing);
}

async function killed(s: Stage, atMost: string): Promise<number> {
  for (let round = 0; round < 3; round++) {
    const collector = s.collector();
    await collector.start();
    const all = clients(s);
    await untilOwed(s, s.oracle.owed.size + 200);
    await collector.kill('SIGKILL');
    for (const client of all) client.cut();
  }
  const collector = s.collector();
  await collector.start();
  const lost = await missing(s, atMost);
  await collector.kill('SIGTERM');
  return lost;
}

/** The disk takes nothing more and forgets what was not synced (EXT4_IOC_SHUTDOWN without a flush of its log); then the process is gone. */
const CUT = `my $flags = pack("L", 2);
open(my $disk, "<", $ARGV[0]) or die $!;
ioctl($disk, 0x8004587D, $flags) or die $!;
kill 9, $ARGV[1];`;

async function powerCut({ t, level }: Stage, atMost: string): Promise<number> {
  const folder = temporary(t);
  const image = (round: number): string => join(folder, `disk-${round}.img`);
  run('truncate', '-s', '256M', image(0));
  run('mkfs.ext4', '-q', '-F', image(0));
  const disk = mkdtempSync(join(tmpdir(), 'ringmain-cut-'));
  const mount = (round: number): unknown => run('mount', '-o', 'loop', image(round), disk);
  mount(0);
  t.onTestFinished(() => {
    run('umount', disk);
    rmdirSync(disk);
  });
  const s = stage(t, level, disk);
  let lost = 0;
  // A level that may lose is asked until it has lost: that shows that the cut is one.
  for (let round = 1; round <= (atMost === nothing ? 3 : 5) && lost === 0; round++) {
    // Synced so rarely, the journal always has something that the cut takes: what may be lost is lost.
    const collector = s.collector(atMost === nothing ? {} : { SYNC_INTERVAL_MS: '10s' });
    await collector.start();
    const all = clients(s);
    await untilOwed(s, s.oracle.owed.size + 500);
    run('perl', '-e', CUT, disk, String(collector.pid));
    await collector.kill('SIGKILL');
    for (const client of all) client.cut();
    run('umount', disk);
    // Of a copy: a mount namespace of somebody else may still hold the file system that was shut down.
    run('cp', '--sparse=always', image(round - 1), image(round));
    // The disk comes back under another device number, as after a reboot: its loop device is taken meanwhile.
    const taken = execFileSync('losetup', ['--find', '--show', image(0)], { encoding: 'utf8' }).trim();
    mount(round);
    run('losetup', '--detach', taken);
    const heir = s.collector();
    await heir.start();
    lost = await missing(s, atMost);
    await heir.kill('SIGKILL');
  }
  if (atMost !== nothing) assert.ok(lost > 0, `${level}: five power cuts cost nothing: they cut nothing off`);
  return lost;
}

/** A receiver that nobody reaches at first; then it files what comes. */
async function sinkAway(s: Stage, atMost: string): Promise<number> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      appendFileSync(s.path, Buffer.concat(chunks));
      response.writeHead(204).end();
    });
  });
  s.t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const port = s.port + 10;
  const collector = s.collector({ OUTPUTS: 'http', HTTP_SINK_URL: `http://127.0.0.1:${port}/` });
  await collector.start();
  const all = clients(s);
  await untilOwed(s, 200);
  for (const client of all) await client.finish();
  assert.ok(!existsSync(s.path), 'events are taken, and none is delivered');
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const lost = await missing(s, atMost);
  await collector.kill('SIGTERM');
  return lost;
}

async function logDiskFull({ t, level }: Stage, atMost: string): Promise<number> {
  const disk = mkdtempSync(join(tmpdir(), 'ringmain-full-'));
  run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk);
  t.onTestFinished(() => {
    run('umount', '-l', disk);
    rmdirSync(disk);
  });
  const outside = temporary(t);
  const inner = stage(t, level, disk);
  const s: Stage = { ...inner, folder: outside };
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(8 * 2 ** 20 - 64 * 1024));
  const collector = s.collector({ JOURNAL_DIR: join(outside, 'data', 'journal') });
  await collector.start();
  const all = clients(s);
  await expect
    .poll(async () => (await collector.ready()).text, polled(`${level}: the sink says why`))
    .toMatch(/ENOSPC|no space/i);
  for (const client of all) await client.finish();
  const owed = s.oracle.owed.size;
  assert.ok((await sendOne(s.oracle, s.port)) >= 0 && s.oracle.owed.size > owed, 'intake goes on');
  rmSync(join(disk, 'ballast'));
  const lost = await missing(s, atMost);
  await collector.kill('SIGKILL');
  return lost;
}

const experiments: Readonly<Record<Loss['fault'], (s: Stage, atMost: string) => Promise<number>>> = {
  kill: killed,
  power: powerCut,
  away: sinkAway,
  full: logDiskFull,
};

for (const { fault, what, lost } of losses) {
  test(`${what}: every level loses what PERFORMANCE.md says`, async (t) => {
    if (!isRoot && (fault === 'power' || fault === 'full')) t.skip('needs root to mount');
    const found = await Promise.all(levels.map((level) => experiments[fault](stage(t, level), lost[level])));
    for (const [i, level] of levels.entries())
      if (lost[level] === nothing) assert.equal(found[i], 0, `ACK=${level} lost acknowledged events`);
  });
}
