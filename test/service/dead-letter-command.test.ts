/** `ringmain deadletter` in this process: real files, a real receiver of HTTP. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { DeadLetterFile } from '../../src/delivery/dead-letter.ts';
import pixel from '../../src/pixel/pixel.ts';
import { runDeadLetter } from '../../src/service/dead-letter-command.ts';
import { range } from '../engine/lanes.ts';
import { receiver, toolRun } from './tool/run.ts';

const LETTERS = 1200;
/** Letters of a request. */
const REQUEST = 500;

/** A folder with LETTERS letters; in memory where there is such a place, for a replay syncs before each request. */
function letters(t: TestContext): string {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'ringmain-letters-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = new DeadLetterFile({ directory, sink: 'http', logId: 'a' });
  const lineOf = (n: number): Buffer => {
    const id = `01890000-0000-7000-8000-${String(n).padStart(12, '0')}`;
    return Buffer.from(`{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"x","n":${n}}`);
  };
  file.append(
    range(0, LETTERS).map((n) => ({ lane: '1-0', position: n * 64, reason: 'status=400', event: lineOf(n) })),
  );
  file.close();
  return directory;
}

const deadletter = (directory: string, url: string, ...words: readonly string[]) =>
  toolRun(() => runDeadLetter(pixel, [...words, `--dead-letter-dir=${directory}`, `--http-sink-url=${url}`]));

// Goal: Ctrl-C costs nothing but time. Method: the signal comes while the second of three requests is under way.
test('Ctrl-C ends a replay of letters behind the request under way, and the next one sends the rest, each once', async (t) => {
  const directory = letters(t);
  let requests = 0;
  const { got, url } = await receiver(t, () => {
    if (++requests === 2) process.emit('SIGINT', 'SIGINT');
    return 204;
  });
  const first = await deadletter(directory, url, 'replay', 'http');
  const said = `the replay was interrupted after ${2 * REQUEST} letters; the next one continues there\n`;
  expect(first).toEqual({ code: 130, said });
  const second = await deadletter(directory, url, 'replay', 'http');
  expect(second).toEqual({ code: 0, said: `${LETTERS - 2 * REQUEST} delivered, 0 rejected again\n` });
  expect(got).toEqual(range(0, LETTERS));
});

test('a replay that the receiver refuses says where that is and what to do; letters that are refused again exit 1', async (t) => {
  const directory = letters(t);
  let status = (_: readonly number[]): number => 401;
  const { at, url } = await receiver(t, (numbers) => status(numbers));
  const refused = await deadletter(directory, url, 'replay', 'http');
  expect(refused.code).toBe(1);
  expect(refused.said).toMatch(/delivered=0, .*status=401; fix the credentials; the other letters stay pending$/);
  expect(refused.said).toContain(`reason=${at}: `);
  status = (numbers) => (numbers.includes(7) ? 400 : 204);
  expect(await deadletter(directory, url, 'replay', 'http')).toEqual({
    code: 1,
    said: `${LETTERS - 1} delivered, 1 rejected again\n`,
  });
});
