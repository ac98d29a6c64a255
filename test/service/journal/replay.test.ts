/** The tools of the journal in this process, on a log in a real folder, with a receiver of HTTP: what they send, and what they refuse. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { readIdentity } from '../../../src/engine/journal.ts';
import { commitRecord } from '../../../src/events/service-record.ts';
import pixel from '../../../src/pixel/pixel.ts';
import { runJournal } from '../../../src/service/journal/journal-command.ts';
import { Folder } from '../../engine/folder.ts';
import { range } from '../../engine/lanes.ts';
import { receiver, toolRun } from '../tool/run.ts';

const BATCH = 5;

/** A log of two lives; frames hold three records, so a request ends inside of one. */
function filled(t: TestContext): string {
  const folder = new Folder(t);
  for (const [from, to] of [
    [0, 13],
    [13, 22],
  ] as const) {
    folder.start();
    for (let n = from; n < to; n++) {
      const line = Buffer.from(JSON.stringify({ n }));
      commitRecord(folder.writer, { kind: 16, key: Buffer.from('k'), line, receivedMs: 1_000 + n });
      if (n % 3 === 2) expect(folder.writer.publish()).toBe(true);
    }
    expect(folder.writer.publish()).toBe(true);
    folder.housekeeping();
    folder.stop();
  }
  return folder.dir;
}

const journal = (words: readonly string[]) => toolRun(() => runJournal(pixel, words));
const replayTo = (url: string, dir: string, more: readonly string[] = []) =>
  journal([
    'replay',
    '--sink=http',
    `--journal-dir=${dir}`,
    `--http-sink-url=${url}`,
    `--http-sink-batch-size=${BATCH}`,
    ...more,
  ]);

// Goal: whoever follows what a replay says when it stops sends every event once, wherever it stops.
// Method: each run gets one request through and is refused its second; the next one continues with the --resume it said.
test('a replay that is stopped again and again sends each event once, in order, over frames and lives', async (t) => {
  const dir = filled(t);
  let left = 0;
  const { got, url } = await receiver(t, () => (left-- > 0 ? 204 : 401));
  let resume: readonly string[] = [];
  for (let run = 0; run < 10; run++) {
    left = 1;
    const before = got.length;
    const { code, said } = await replayTo(url, dir, resume);
    if (code === 0) break;
    expect(code).toBe(1);
    expect(said).toContain(`stopped after ${got.length - before} events: http (`);
    resume = [/--resume=\d+-\d+:\d+$/.exec(said)![0]];
  }
  expect(got).toEqual(range(0, 22));
});

test('a receiver that is away for a moment costs a replay nothing', async (t) => {
  const dir = filled(t);
  let request = 0;
  const blink = await receiver(t, () => (request++ % 2 === 0 ? 503 : 204));
  expect(await replayTo(blink.url, dir, ['--lane=1-0'])).toEqual({ code: 0, said: '13 events sent to http\n' });
  expect(blink.got).toEqual(range(0, 13));
});

test('refused events are halved out of their requests, named, and counted', async (t) => {
  const dir = filled(t);
  const { got, url } = await receiver(t, (numbers) => (numbers.some((n) => n === 3 || n === 17) ? 400 : 204));
  const { code, said } = await replayTo(url, dir);
  expect(code).toBe(1);
  expect(said).toMatch(
    /^the event at 1-0:\d+ was rejected: .*\nthe event at 2-0:\d+ was rejected: .*\n20 events sent to http, 2 rejected\n$/,
  );
  expect(got).toEqual(range(0, 22).filter((n) => n !== 3 && n !== 17));
});

test('a sink without its options is refused before anything is read', async (t) => {
  const { code, said } = await journal(['replay', '--sink=http', `--journal-dir=${filled(t)}`]);
  expect([code, said]).toEqual([78, expect.stringContaining('HTTP_SINK_URL must be set')]);
});

test('a log that cannot be read is not a log that is not there', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-hidden-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  expect(readIdentity(folder)).toBeUndefined();
  // Root may read everything; a link that leads to itself nobody can.
  symlinkSync('log', join(folder, 'log'));
  expect(() => readIdentity(folder)).toThrow('ELOOP');
});

test('drain makes no log where none was, and refuses lanes whose log is missing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-empty-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const dir = join(folder, 'journal');
  const logPath = `--log-path=${join(folder, 'events.ndjson')}`;
  const said = `there is no journal in ${dir}: nothing was owed\n`;
  expect(await journal(['drain', `--journal-dir=${dir}`, logPath])).toEqual({ code: 0, said });
  expect(readdirSync(folder)).toEqual([]);
  mkdirSync(dir);
  expect(await journal(['drain', `--journal-dir=${dir}`, logPath])).toEqual({ code: 0, said });
  const log = filled(t);
  rmSync(join(log, 'log'));
  expect((await journal(['ls', `--journal-dir=${log}`])).said).toContain('the file log is missing here');
  expect(await journal(['drain', `--journal-dir=${log}`, logPath])).toMatchObject({
    code: 78,
    said: expect.stringContaining('segments of log'),
  });
});
