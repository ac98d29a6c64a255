import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import { DeadLetterFile } from '../../src/delivery/dead-letter.ts';
import { type DeadLetter, deadLetterFiles, readLetters } from '../../src/delivery/dead-letter-format.ts';

function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'ringmain-letters-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function letter(position: number, event = `{"n":${position}}`, lane = '1-0'): DeadLetter {
  return { lane, position, reason: 'refused', event: Buffer.from(event) };
}

function positions(directory: string): number[] {
  return deadLetterFiles(directory).flatMap((path) =>
    [...readLetters(path)].map(({ letter: stored }) => stored?.position ?? -1),
  );
}

test('a letter holds event, sink, reason, time, lane and position', (t) => {
  const directory = folder(t);
  const file = new DeadLetterFile({ directory, sink: 'postgres', logId: 'log-a', now: () => Date.UTC(2026, 0, 2) });
  file.append([{ lane: '3-1', position: 640, reason: 'out of range', event: Buffer.from('{"e":"ü"}') }]);
  file.close();
  const [path] = deadLetterFiles(directory, 'postgres');
  assert.deepEqual(JSON.parse(readFileSync(path!, 'utf8')), {
    sink: 'postgres',
    log: 'log-a',
    lane: '3-1',
    position: 640,
    time: '2026-01-02T00:00:00.000Z',
    reason: 'out of range',
    event: { e: 'ü' },
  });
});

// Goal: a crash between the letter and the commit repeats the batch, not the letter.
test('a letter is written once per lane and position, also in the next life', (t) => {
  const directory = folder(t);
  const options = { directory, sink: 'kafka', logId: 'log-a' };
  const first = new DeadLetterFile(options);
  assert.equal(first.append([letter(300), letter(100), letter(300)]), 2, 'out of order, and twice in one call');
  assert.equal(
    first.append([letter(100), letter(300, '{}', '1-1')]),
    1,
    'the same position of another lane is another event',
  );
  first.close();
  const second = new DeadLetterFile(options);
  second.passed('1-0', 100);
  assert.equal(second.append([letter(100), letter(300), letter(400)]), 1);
  second.close();
  const other = new DeadLetterFile({ ...options, logId: 'log-b' });
  assert.equal(other.append([letter(100)]), 1, 'positions of another log mean other events');
  other.close();
  assert.deepEqual(positions(directory), [300, 100, 300, 400, 100]);
});

test('a cursor that goes back finds the letters it has forgotten', (t) => {
  const file = new DeadLetterFile({ directory: folder(t), sink: 'postgres', logId: 'a' });
  file.append([letter(100), letter(200)]);
  file.passed('1-0', 500);
  file.passed('1-0', 150);
  assert.equal(file.append([letter(200), letter(250)]), 1);
  file.close();
});

test('a torn tail is closed and skipped, and its letter is written again', (t) => {
  const directory = folder(t);
  const options = { directory, sink: 'http', logId: 'a' };
  const first = new DeadLetterFile(options);
  first.append([letter(100), letter(200)]);
  first.close();
  const [path] = deadLetterFiles(directory);
  const length = readFileSync(path!).length;
  for (const cut of [1, 2, 7, 60]) {
    truncateSync(path!, length - cut);
    const next = new DeadLetterFile(options);
    const whole = cut === 1; // only the newline is missing: closing the tail makes the line whole again
    assert.equal(next.append([letter(100), letter(200)]), whole ? 0 : 1, `cut=${cut}`);
    next.close();
    const stored = [...readLetters(path!)].map(({ letter: found }) => found?.position);
    assert.deepEqual(stored, whole ? [100, 200] : [100, undefined, 200], `cut=${cut}`);
    truncateSync(path!, 0);
    const again = new DeadLetterFile(options);
    again.append([letter(100), letter(200)]);
    again.close();
  }
});

// Two collectors that are started in one folder share DEAD_LETTER_DIR by default. They wrote at the same places: of 360 letters 193 were left.
test('two collectors that share a folder keep the letters of each other whole, also where a file ends', (t) => {
  for (const fileBytesMax of [2 ** 20, 700]) {
    const directory = folder(t);
    const files = ['a', 'b'].map((logId) => new DeadLetterFile({ directory, sink: 'http', logId, fileBytesMax }));
    const expected: string[] = [];
    for (let n = 1; n <= 20; n += 1)
      for (const [i, file] of files.entries()) {
        const position = 64 * n;
        file.append([letter(position, JSON.stringify({ e: 'x'.repeat(n * (i + 1)) })), letter(position + 8)]);
        expected.push(`${'ab'[i]}${position}`, `${'ab'[i]}${position + 8}`);
      }
    for (const file of files) file.close();
    const found = deadLetterFiles(directory).flatMap((path) => [...readLetters(path)]);
    const names = found.map(({ letter: stored }) => `${stored?.log}${stored?.position}`);
    assert.deepEqual(names.toSorted(), expected.toSorted());
  }
});

// The log file's own kind of accident: the letters went into a file without a name, and counted as kept.
test('a file that an operator removes or moves away is made anew: the next letter is there, the others are where they were put', (t) => {
  const directory = folder(t);
  const file = new DeadLetterFile({ directory, sink: 'http', logId: 'a' });
  file.append([letter(100)]);
  const [path] = deadLetterFiles(directory);
  rmSync(path!);
  file.append([letter(200)]);
  assert.deepEqual(positions(directory), [200]);
  const archive = folder(t);
  renameSync(path!, join(archive, 'http-000001.ndjson'));
  file.append([letter(300)]);
  assert.deepEqual([positions(directory), positions(archive)], [[300], [200]]);
  rmSync(directory, { recursive: true });
  file.append([letter(400)]);
  assert.deepEqual(positions(directory), [400]);
  file.close();
});

test('files are bounded, and the keys of a batch that spans two files are found', (t) => {
  const directory = folder(t);
  const options = { directory, sink: 'postgres', logId: 'a', fileBytesMax: 300 };
  const first = new DeadLetterFile(options);
  const all = Array.from({ length: 10 }, (_, index) => letter(index * 64));
  for (const one of all) first.append([one]);
  first.close();
  assert.ok(deadLetterFiles(directory).length >= 3);
  const second = new DeadLetterFile(options);
  assert.equal(second.append(all), 0);
  second.close();
  assert.deepEqual(
    positions(directory),
    all.map(({ position }) => position),
  );
});

test('an event that is not JSON is kept as text, and a foreign line does not stop a reader', (t) => {
  const directory = folder(t);
  const file = new DeadLetterFile({ directory, sink: 'postgres', logId: 'a' });
  file.append([letter(100, '{"a":'), letter(200, '{"b":\n1}')]);
  file.close();
  const [path] = deadLetterFiles(directory);
  appendFileSync(path!, 'hello\n\n');
  const events = [...readLetters(path!)].map(({ letter: stored }) => stored?.event);
  assert.deepEqual(events, ['{"a":', '{"b":\n1}', undefined, undefined]);
});

test('reading goes on from the end of any line, in lines longer than one read', (t) => {
  const directory = folder(t);
  const file = new DeadLetterFile({ directory, sink: 'postgres', logId: 'a' });
  const long = JSON.stringify({ text: 'x'.repeat(3 * 1024 * 1024) });
  file.append([letter(1), letter(2, long), letter(3)]);
  file.close();
  const [path] = deadLetterFiles(directory);
  const lines = [...readLetters(path!)];
  assert.deepEqual(
    lines.map((line) => line.letter?.position),
    [1, 2, 3],
  );
  assert.deepEqual(
    [...readLetters(path!, lines[1]!.end)].map((line) => line.letter?.position),
    [3],
  );
});
