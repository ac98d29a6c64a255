/** Rotated files: their order is the order of writing, whatever the clock says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { createLog } from '../../../src/kernel/log.ts';
import { pruneRotated, rotatedFiles, rotatedName } from '../../../src/sinks/file/rotated.ts';
import { Tidy } from '../../../src/sinks/file/tidy.ts';
import { folder } from './rig.ts';

const DAY = 86_400_000;
const stays = (error: unknown): never => assert.fail(String(error));
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
  assert.deepEqual(pruneRotated(path, 2, 0, now, stays), written.slice(0, 3));
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
  assert.deepEqual(pruneRotated(path, 0, 7, now, stays), [old]);
  assert.deepEqual(rotatedFiles(path), [young, wrong]);
  assert.deepEqual(pruneRotated(path, 0, 7, now + 20 * DAY, stays), [young, wrong]);
});

// Goal: who misses events finds in the log which files were deleted and why, and a disk that fills because nothing can be
// deleted or compressed is told once, not once per file. Method: folders in the place of rotated files cannot be either.
test('the log names what rotation deletes, and says once that files can be neither deleted nor compressed', async (t) => {
  const path = join(folder(t), 'events.ndjson');
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLog({ level: 'info', destination: 1, name: 'sink-log', stream });
  const now = Date.UTC(2026, 10, 28);
  const config = { logBackups: 2, logMaxAgeDays: 0, logCompress: false };
  const tidy = new Tidy({ path, config, log, now: () => now });
  tidy.run();
  assert.deepEqual(lines, [], 'nothing was deleted');
  const written = Array.from({ length: 14 }, (_, i) => rotate(path, now + i));
  tidy.run();
  assert.equal(lines.length, 1);
  const { level, msg, count, bytes, files, kept } = lines[0]!;
  assert.deepEqual(
    { level, msg, count, bytes, files, kept },
    {
      level: 'info',
      msg: 'rotated files were deleted (LOG_BACKUPS, LOG_MAX_AGE_DAYS)',
      count: 12,
      bytes: 24,
      files: written.slice(0, 10).map((file) => basename(file)),
      kept: 2,
    },
  );
  await tidy.close();

  for (const file of written.slice(12)) {
    fs.rmSync(file);
    fs.mkdirSync(file);
  }
  const after = rotate(path, now + 20);
  const hindered = new Tidy({ path, config: { ...config, logBackups: 1, logCompress: true }, log, now: () => now });
  for (let round = 0; round < 3; round += 1) hindered.run();
  rotate(path, now + 30);
  hindered.run();
  await expect.poll(() => lines.filter(({ msg: said }) => /compressed/.test(String(said))).length).toBe(1);
  await expect.poll(() => fs.existsSync(`${after}.gz`) || !fs.existsSync(after)).toBe(true);
  const told = lines.slice(1).filter(({ level: said }) => said === 'warn');
  assert.deepEqual(told.map(({ msg: said }) => said).sort(), [
    'rotated files cannot be compressed; retrying after the next rotation',
    'rotated files cannot be deleted; retrying after the next rotation',
  ]);
  for (const { reason } of told) assert.ok(String(reason).includes(basename(written[12]!)), String(reason));
  await hindered.close();
});
