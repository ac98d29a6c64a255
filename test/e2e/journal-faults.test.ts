/**
 * Goal: whatever an operator can cause ends a tool with one clear line, never with a stack trace: a target that is away,
 * wrong credentials, a full disk, Ctrl-C, a folder of another user. A replay says what was sent and where it continues.
 * Method: the log of a real collector, the built program, real sockets; what it prints and how it ends is compared.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest';
import { Collector, main } from '../servers/collector.ts';
import { onTerminal, screenOf } from '../servers/terminal.ts';

const PORT = 22_210;
const EVENTS = 25;
const root = process.getuid?.() === 0;
const undo: (() => unknown)[] = [];
const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
let folder = '';
let lines: readonly string[] = [];

beforeAll(async () => {
  const collector = await Collector.start(scope, { port: PORT });
  ({ folder } = collector);
  await collector.deliver(Array.from({ length: EVENTS }, (_, n) => ({ e: 'journal', props: { n } })));
  await collector.kill('SIGTERM');
  lines = collector.lines();
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function ringmain(words: readonly string[], env: Record<string, string> = {}, cwd = folder): Promise<Ended> {
  const options = { cwd, timeout: 30_000, env: { PATH: process.env['PATH'], ...env } };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...words], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

/** A receiver of the HTTP sink: `answer` decides about each request; the events of those that got 204 are kept. */
async function receiver(
  t: TestContext,
  answer: (events: readonly string[], res: ServerResponse) => number | undefined,
) {
  const got: string[] = [];
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const events = Buffer.concat(chunks).toString('utf8').trim().split('\n');
      const status = answer(events, res);
      if (status === undefined) return;
      if (status === 204) got.push(...events);
      res.writeHead(status).end();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { at, got, env: { OUTPUTS: 'http', HTTP_SINK_URL: `http://${at}/in`, HTTP_SINK_BATCH_SIZE: '5' } };
}

const resumeIn = (err: string): string => /--resume=\S+/.exec(err)![0];

test('a replay to a target that is away, refuses the credentials or has no room ends with one line that says what to do', async (t) => {
  const { at, env } = await receiver(t, () => 401);
  const closed = '127.0.0.1:1';
  const cases: readonly (readonly [string, Record<string, string>, number, RegExp])[] = [
    ['kafka', { OUTPUTS: 'kafka', KAFKA_BROKERS: closed }, 75, /ECONNREFUSED.*; wait until it is back, then/],
    [
      'postgres',
      { OUTPUTS: 'postgres', PG_DSN: `postgres://u:secret@${closed}/d` },
      75,
      /; wait until it is back, then/,
    ],
    ['http', { ...env, HTTP_SINK_URL: `http://${closed}/in` }, 75, /; wait until it is back, then/],
    ['http', env, 1, /status=401; fix the credentials, then/],
  ];
  await Promise.all(
    cases.map(async ([sink, options, exit, said]) => {
      const { code, err } = await ringmain(['journal', 'replay', `--sink=${sink}`], options);
      const place = sink === 'http' && exit === 1 ? at : closed;
      expect([sink, code, err]).toEqual([sink, exit, expect.stringMatching(said)]);
      expect(err.trim().split('\n'), sink).toHaveLength(1);
      expect(err).toContain(`the replay stopped after 0 events: ${sink} (${place}) accepts no events: `);
      expect(err).toMatch(/continue with --resume=1-0:\d+\n$/);
      expect(err).not.toContain('secret');
    }),
  );
});

test('a replay to a file on a full disk says so', { skip: !root }, async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'ringmain-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk]);
  t.onTestFinished(() => {
    execFileSync('umount', ['-l', disk]);
    rmdirSync(disk);
  });
  const path = join(disk, 'again.ndjson');
  const { code, err } = await ringmain(['journal', 'replay', '--sink=log', `--file=${path}`]);
  expect([code, err]).toEqual([75, expect.stringContaining(`log (${path}) accepts no events: `)]);
  expect(err).toMatch(/ENOSPC.*; make room on the disk, then continue with --resume=1-0:\d+\n$/);
  expect(err.trim().split('\n')).toHaveLength(1);
});

// Goal: no event is left out and none is sent twice by a replay that was interrupted and continued.
test('Ctrl-C ends a replay with its place, and --resume continues there', async (t) => {
  let held: (() => void) | undefined;
  const holding = new Promise<void>((resolve) => {
    held = resolve;
  });
  let patient = true;
  const { got, env } = await receiver(t, (events) => {
    if (!patient || !events[0]!.includes('"n":10')) return 204;
    held!();
    return undefined;
  });
  const args = [main, 'journal', 'replay', '--sink=http'];
  const child = spawn(process.execPath, args, { cwd: folder, env: { PATH: process.env['PATH'], ...env } });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await holding;
  child.kill('SIGINT');
  expect(await ended).toBe(130);
  expect(err).toMatch(/^the replay was interrupted after 10 events; continue with --resume=1-0:\d+\n$/);
  patient = false;
  const rest = await ringmain(['journal', 'replay', '--sink=http', resumeIn(err)], env);
  expect([rest.code, rest.err]).toEqual([0, '15 events sent to http\n']);
  expect(got).toEqual(lines);
});

/**
 * Runs the journal command as `nobody`. The modules are loaded before the rights are dropped: nobody need not be able to
 * read the folder of this build.
 */
function asNobody(words: readonly string[], cwd: string): Promise<Ended> {
  const dist = (path: string): string => JSON.stringify(join(main, '..', path));
  const script = `
    const [{ runJournal }, { default: pixel }, { explain, exitCodeOf }] = await Promise.all(
      [${dist('service/journal/journal-command.js')}, ${dist('pixel/pixel.js')}, ${dist('kernel/errors.js')}].map((path) => import(path)));
    process.setegid?.(65534);
    process.seteuid?.(65534);
    runJournal(pixel, ${JSON.stringify(words)}).then((code) => process.exit(code), (error) => {
      process.stderr.write(explain(error).join('\\n') + '\\n');
      process.exit(exitCodeOf(error));
    });`;
  const options = { cwd, timeout: 30_000, env: { PATH: process.env['PATH'] } };
  return new Promise((resolve) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

test("a journal of another user is 'permission denied', not 'there is no journal'", { skip: !root }, async () => {
  const journal = join(folder, 'data', 'journal');
  chmodSync(folder, 0o755);
  const found = await Promise.all(
    [['ls'], ['verify'], ['cat'], ['drain'], ['forget', 'log'], ['replay', '--sink=log', '--file=x.ndjson']].map(
      async (words) => [words[0], await asNobody(words, folder)] as const,
    ),
  );
  for (const [command, { code, err }] of found) {
    expect([command, code, err]).toEqual([
      command,
      78,
      expect.stringMatching(/permission denied \(EACCES\): path=\S+/),
    ]);
    expect(err, command).toContain('the owner is uid 0, this is uid 65534');
    expect(err.trim().split('\n'), command).toHaveLength(1);
  }
  expect(readFileSync(join(journal, 'log'), 'utf8')).toContain('"life":1');
});

// Goal: whoever waits at a terminal sees how far it has come, and scripts never see that line.
test('long work shows its progress in one line on a terminal, which is gone at the end; elsewhere there is none', async (t) => {
  const { env } = await receiver(t, () => 204);
  const [verify, replay, piped] = await Promise.all([
    onTerminal(['journal', 'verify'], folder),
    onTerminal(['journal', 'replay', '--sink=http'], folder, env),
    ringmain(['journal', 'verify']),
  ]);
  expect(verify.code).toBe(0);
  expect(verify.text).toMatch(/\r\u001B\[Kverify {2}100 % {2}[\d.]+ KiB of [\d.]+ KiB {2}25 events/);
  expect(screenOf(verify.text)).toBe('lane 1-0  25 records read\n');
  expect(replay.code).toBe(0);
  expect(replay.text).toMatch(/\r\u001B\[Kreplay to http {2}\d+ % /);
  expect(screenOf(replay.text)).toBe('25 events sent to http\n');
  expect([piped.code, piped.out, piped.err]).toEqual([0, 'lane 1-0  25 records read\n', '']);
});
