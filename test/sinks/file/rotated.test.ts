/** Rotated files: their order is the order of writing, whatever the clock says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'vitest';
import { pruneRotated, rotatedFiles, rotatedName } from '../../../src/sinks/file/rotated.ts';
import { folder } from './rig.ts';

const DAY = 86_400_000;
const names = (path: string): string[] => rotatedFiles(path).map((file) => basename(file));

function rotate(path: string, ms: number, mtimeMs = ms): string {
  const name = rotatedName(path, ms);
  fs.writeFileSync(name, 'x\n');
  fs.utimesSync(name, mtimeMs / 1000, mtimeMs / 1000);
  return name;
}

// 5,381 of 6,002 events were deleted: after a clock had been set back the newest files had the oldest names.
test('a clock set back: pruning removes what was written first, and the names sort in the order of writing', (t) => {
  const path = join(folder(t), 'events.ndjson');
  const now = Date.UTC(2026, 10, 28);
  const written = [now, now + 1000, now - 3_600_000, now - 3_599_000, now - 2 * DAY].map((ms) => rotate(path, ms));
  assert.deepEqual(rotatedFiles(path), written);
  assert.deepEqual(names(path), names(path).toSorted(), 'as a shell lists them');
  assert.deepEqual(pruneRotated(path, 2, 0, now), written.slice(0, 3));
  assert.deepEqual(rotatedFiles(path), written.slice(3));
});

test('files of versions that did not count come first, by their time; compressed ones count as well', (t) => {
  const path = join(folder(t), 'events.ndjson');
  const old = ['2026-11-27T10-00-00.000Z', '2026-11-27T09-00-00.000Z'];
  for (const time of old) fs.writeFileSync(join(path, '..', `events-${time}.ndjson.gz`), '');
  const [a, b] = [rotate(path, Date.UTC(2020, 0, 1)), rotate(path, Date.UTC(2019, 0, 1))];
  fs.renameSync(a, `${a}.gz`);
  for (const stranger of ['events-note.ndjson', 'events-r1-2026-11-27T10-00-00.000Z.ndjson', 'other.ndjson'])
    fs.writeFileSync(join(path, '..', stranger), '');
  assert.deepEqual(names(path), [
    `events-${old[1]}.ndjson.gz`,
    `events-${old[0]}.ndjson.gz`,
    `${basename(a)}.gz`,
    basename(b),
  ]);
  assert.deepEqual(names(path), names(path).toSorted());
  assert.match(
    basename(rotatedName(path, 0)),
    /^events-r000003-1970-/,
    'a number is not given twice while a file has it',
  );
});

test('LOG_MAX_AGE_DAYS: a file is old when all that were written before it are; a wrong clock makes no newer file old', (t) => {
  const path = join(folder(t), 'events.ndjson');
  const now = Date.UTC(2026, 10, 28);
  const old = rotate(path, now - 10 * DAY);
  const young = rotate(path, now - DAY);
  // Written behind `young`, by a machine whose clock had started in 1970.
  const wrong = rotate(path, now, 60_000);
  assert.deepEqual(pruneRotated(path, 0, 7, now), [old]);
  assert.deepEqual(rotatedFiles(path), [young, wrong]);
  assert.deepEqual(pruneRotated(path, 0, 7, now + 20 * DAY), [young, wrong]);
});
