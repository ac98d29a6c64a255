/** Keeper: what it tells about a ring that has broken its rules, and what it does with the disk. */
import { expect, test } from 'vitest';
import { RingProducer, RingReader } from '../../src/engine/ring.ts';
import { CrashDisk } from './crash-disk.ts';
import { Folder } from './folder.ts';
import { appendRecord, fill, openLog, range } from './lanes.ts';

test('the keeper tells once, by name, of a ring that overwrote bytes before they were on disk', () => {
  const warnings: { message: string; fields: Record<string, unknown> }[] = [];
  const warn = (message: string, fields: Record<string, unknown>) => void warnings.push({ message, fields });
  const log = openLog({ disk: new CrashDisk(), events: { warn }, syncIntervalMs: 1_000_000 });
  const { ring } = log.writers[0]!;
  fill(log, 0, 20);
  log.step(300);
  expect(warnings).toEqual([]);
  fill(log, 20, 5);
  // A producer that thinks there is no journal frees what the readers have passed, synced or not.
  new RingReader(ring, 0).advance(ring.tail(), ring.tailRecord());
  expect(new RingProducer(ring, false).room(ring.capacity)).toBe(true);
  expect(ring.floor()).toBeGreaterThan(ring.synced());
  log.step(300);
  log.step(300);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]!.fields).toMatchObject({ lane: '1-0', error: expect.stringContaining('R1 broken') });
});

// Goal: delivered segments stay for JOURNAL_RETAIN_MS, and no longer, whatever is done to the wall clock.
// Method: the clock of the disk's file times is set back or forward by days while the keeper's own goes on.
for (const days of [-400, -1, 0, 1, 400])
  test(`delivered segments are kept as long as they should be when the clock is set by ${days} days`, () => {
    const disk = new CrashDisk();
    let wall = 1000;
    disk.now = () => wall;
    const log = openLog({ disk, retainMs: 60_000, ringBytes: 4096, segmentBytes: 16_384 });
    const pass = (ms: number) => {
      for (let left = ms; left > 0; left -= 500) {
        wall += 500;
        log.step(500);
      }
    };
    fill(log, 0, 300);
    pass(1000);
    wall += days * 86_400_000;
    fill(log, 300, 300);
    pass(1000);
    const all = log.figures.get('segments');
    expect(all).toBeGreaterThan(2);
    const { file, state } = log.checkpoints[0]!;
    const { tail } = log.writers[0]!;
    file.write({ ...state, life: 1, lanes: [[0, tail, 600]] });
    log.board.setCheckpoint(0, file.sequence);
    pass(55_000);
    expect(log.figures.get('segments')).toBe(all);
    pass(5000);
    expect(log.figures.get('segments')).toBe(1);
  });

test('what an earlier life has written in the future, by a clock that was wrong, is kept as if it was written now', () => {
  const disk = new CrashDisk();
  disk.now = () => 1e12;
  const options = { disk, retainMs: 60_000, ringBytes: 4096, segmentBytes: 16_384 };
  const first = openLog(options);
  fill(first, 0, 600);
  disk.processDeath();
  const log = openLog({ ...options, life: 2 });
  const { file, state } = log.checkpoints[0]!;
  file.write({ ...state, life: 2, lanes: [] });
  log.board.setCheckpoint(0, file.sequence);
  log.step(500);
  const all = log.figures.get('segments');
  expect(all).toBeGreaterThan(2);
  for (let ms = 0; ms < 40_000; ms += 500) log.step(500);
  expect(log.figures.get('segments')).toBe(all);
  for (let ms = 0; ms < 25_000; ms += 500) log.step(500);
  expect(log.figures.get('segments')).toBeLessThan(3);
});

// Goal: a collector that restarts often beside a dead sink keeps room for events; each life needs what it has taken, no more.
// Method: twelve lives of one event each, in a quota that holds four segments; nothing is delivered until the end.
test('a life that has taken one event does not keep a whole segment: twelve of them fit a quota of four', (t) => {
  const folder = new Folder(t, { JOURNAL_MAX_BYTES: '4MiB' });
  for (let life = 0; life < 12; life++) folder.life(life, life + 1, false);
  folder.start();
  folder.take(12, 13);
  expect(folder.deliver()).toEqual(range(0, 13));
});

// Goal: what the options allow always fits, also in the first segment of a life, which is small.
// Method: the largest draft of a large ring (MAX_BODY_BYTES may be as much), then another one.
test('the largest publish that a ring allows fits the first segment of a life, and each one after it', (t) => {
  const folder = new Folder(t, { RING_BYTES: '64MiB', SEGMENT_BYTES: '64MiB', JOURNAL_MAX_BYTES: '512MiB' });
  folder.start();
  const { writer } = folder;
  const bytes = writer.draftBytesMax - 8192;
  expect(bytes).toBeGreaterThan(8 * 2 ** 20);
  for (let n = 0; n < 2; n++) {
    expect(writer.refusal(0)).toBeUndefined();
    appendRecord(writer, n, bytes - 64);
    expect(writer.refusal(0)).toBeUndefined();
    expect(writer.publish()).toBe(true);
    folder.housekeeping();
  }
});
