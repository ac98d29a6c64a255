/**
 * Named damage: what disks, crashes and people have done to the logs of others, done to ours. Each test names its damage; where it comes
 * from another project's history, that issue. Everything runs on the disk in memory (test/engine/crash-disk.ts).
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { LaneSource } from '../../src/delivery/lane-source.ts';
import { CheckpointFile } from '../../src/engine/checkpoint.ts';
import { markOf } from '../../src/engine/engine.ts';
import { checkpointPath, lanesFolder } from '../../src/engine/journal.ts';
import { recoverLanes } from '../../src/engine/recovery.ts';
import { type LaneId, laneFolder, PAGE, parseSegmentName } from '../../src/engine/segment.ts';
import { CrashDisk, pick, randomOf } from '../engine/crash-disk.ts';
import { appendRecord, DIR, fill, LOG, LOG_ID, openLog, range, readAll, recordBytes, ZERO } from '../engine/lanes.ts';

const LANE: LaneId = { life: 1, lane: 0 };
const SEGMENT = 16 * 1024;
/** Header, record header, number, 40 bytes. */
const FRAME = 40 + 56;

const pathOf = (name: string, lane = LANE): string => `${lanesFolder(DIR)}/${laneFolder(lane)}/${name}`;

function segmentsOf(disk: CrashDisk, lane = LANE): string[] {
  return disk
    .list(`${lanesFolder(DIR)}/${laneFolder(lane)}`)
    .filter((name) => parseSegmentName(name) !== undefined)
    .map((name) => pathOf(name, lane));
}

/** A lane with `records` records of one frame each, whose process has died. */
function dead(records: number, options: { sizes?: (id: number) => number; ringBytes?: number } = {}): CrashDisk {
  const disk = new CrashDisk();
  const log = openLog({ disk, retainMs: 1e12, ringBytes: options.ringBytes ?? 4096, segmentBytes: SEGMENT });
  for (let id = 0; id < records; id++) fill(log, id, 1, options.sizes?.(id) ?? 40);
  disk.processDeath();
  return disk;
}

function recovered(disk: CrashDisk, batchBytes?: number) {
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  return { lane, ...readAll(lane, disk, ZERO, batchBytes) };
}

test('nothing is damaged: everything is read, over several segments', () => {
  const disk = dead(500);
  assert.ok(segmentsOf(disk).length >= 4);
  const { ids, losses, lane } = recovered(disk);
  assert.deepEqual(ids, range(0, 500));
  assert.deepEqual(losses, []);
  assert.deepEqual(lane.end, { position: 500 * FRAME, record: 500 });
});

test('torn tail: a last frame cut at any byte ends the lane before it, without a loss', () => {
  for (let cut = 0; cut < FRAME; cut++) {
    const disk = dead(10);
    const [path] = segmentsOf(disk);
    disk.content(path).fill(0, PAGE + 9 * FRAME + cut, PAGE + 10 * FRAME);
    const { ids, losses, lane } = recovered(disk);
    // What was cut off may have been zeros.
    if (ids.length === 10) continue;
    assert.deepEqual(ids, range(0, 9), `cut at ${cut}`);
    assert.deepEqual(losses, []);
    assert.equal(lane.end.record, 9);
  }
});

test('a file that is shorter than it should be ends where it ends', () => {
  for (const size of [0, 100, PAGE - 1, PAGE, PAGE + 20, PAGE + 5 * FRAME, PAGE + 5 * FRAME + 1]) {
    const disk = dead(10);
    const [path] = segmentsOf(disk);
    const fd = disk.open(path, 'r+');
    disk.truncate(fd, size);
    const whole = Math.max(0, Math.floor((size - PAGE) / FRAME));
    assert.deepEqual(recovered(disk).ids, range(0, whole), `size ${size}`);
  }
});

for (const [name, at] of [
  ['first', 0],
  ['middle', 6],
] as const)
  test(`a wrong checksum in the ${name} frame costs that frame and names its place`, () => {
    const disk = dead(12);
    const [path] = segmentsOf(disk);
    disk.content(path)[PAGE + at * FRAME + 60] ^= 1;
    const { ids, losses } = recovered(disk);
    assert.deepEqual(
      ids,
      range(0, 12).filter((id) => id !== at),
    );
    assert.deepEqual(losses, [
      {
        from: { position: at * FRAME, record: at },
        to: { position: (at + 1) * FRAME, record: at + 1 },
        reason: 'damaged',
      },
    ]);
  });

test('a frame that claims no bytes, or far too many, costs that frame', () => {
  for (const bytes of [0, 8, 39, 0xffff_ffff, 64 * 2 ** 20, 4096]) {
    const disk = dead(12);
    const [path] = segmentsOf(disk);
    disk.content(path).writeUInt32LE(bytes, PAGE + 5 * FRAME + 8);
    assert.deepEqual(
      recovered(disk).ids,
      range(0, 12).filter((id) => id !== 5),
      `claims ${bytes}`,
    );
  }
});

test('a page of zeros in the middle costs the frames it touches', () => {
  const disk = dead(300);
  const [path] = segmentsOf(disk);
  disk.content(path).fill(0, 2 * PAGE, 3 * PAGE);
  const { ids, losses } = recovered(disk);
  const first = Math.floor(PAGE / FRAME);
  const last = Math.floor((2 * PAGE - 1) / FRAME);
  assert.deepEqual(
    ids,
    range(0, 300).filter((id) => id < first || id > last),
  );
  assert.equal(losses.length, 1);
});

test('a damaged header page costs nothing: positions are in the name, frames name themselves', () => {
  for (const which of [0, 1, 2]) {
    const disk = dead(400);
    disk.content(segmentsOf(disk)[which]).fill(0xee, 0, PAGE);
    assert.deepEqual(recovered(disk).ids, range(0, 400), `header of segment ${which}`);
  }
});

test('a header page damaged behind a damaged tail: the frames of the next segment say where it goes on', () => {
  const disk = dead(400);
  const [first, second] = segmentsOf(disk);
  const base = parseSegmentName(second.slice(second.lastIndexOf('/') + 1))?.base as number;
  disk.content(first).fill(0xee, PAGE + base - FRAME, PAGE + base);
  disk.content(second).fill(0xee, 0, PAGE);
  const lost = base / FRAME - 1;
  assert.deepEqual(
    recovered(disk).ids,
    range(0, 400).filter((id) => id !== lost),
  );
});

test('a missing segment in the middle is named with the numbers of its records', () => {
  const disk = dead(500);
  const [, second, third] = segmentsOf(disk);
  const base = (path: string) => parseSegmentName(path.slice(path.lastIndexOf('/') + 1))?.base as number;
  disk.unlink(second);
  const { ids, losses } = recovered(disk);
  const from = base(second) / FRAME;
  const to = base(third) / FRAME;
  assert.deepEqual(
    ids,
    range(0, 500).filter((id) => id < from || id >= to),
  );
  assert.deepEqual(
    losses.map((loss) => [loss.from.record, loss.to.record]),
    [[from, to]],
  );
});

test('a missing first segment is gone, not damaged', () => {
  const disk = dead(500);
  const [first, second] = segmentsOf(disk);
  disk.unlink(first);
  const { ids, losses } = recovered(disk);
  const to = (parseSegmentName(second.slice(second.lastIndexOf('/') + 1))?.base as number) / FRAME;
  assert.deepEqual(ids, range(to, 500));
  assert.deepEqual(
    losses.map(({ reason }) => reason),
    ['gone'],
  );
});

// fluent-bit#5265: one corrupt chunk stopped the start.
test('fluent-bit#5265: garbage in the folder of the log stops neither the start nor the delivery', () => {
  const disk = dead(100);
  const folder = `${lanesFolder(DIR)}/${laneFolder(LANE)}`;
  const write = (path: string, bytes: Buffer) => disk.write(disk.open(path, 'w+'), bytes, 0, bytes.length, 0);
  write(`${folder}/0000000000999999-0.seg`, Buffer.alloc(0));
  write(`${folder}/0000000000888888-0.seg`, Buffer.alloc(SEGMENT, 0x5a));
  write(`${folder}/core`, Buffer.from('x'));
  write(`${lanesFolder(DIR)}/.nfs0001`, Buffer.from('x'));
  write(`${lanesFolder(DIR)}/pool-77-1.seg`, Buffer.alloc(SEGMENT, 0x5a));
  disk.mkdir(`${lanesFolder(DIR)}/lost+found`);
  disk.mkdir(`${lanesFolder(DIR)}/000007-0`);
  const log = openLog({ disk, life: 8 });
  fill(log, 1000, 10);
  const ids = log.finished.flatMap((lane) => readAll(lane, disk).ids);
  assert.deepEqual(ids, range(0, 100));
  assert.deepEqual(readAll(log.live[0], disk).ids, range(1000, 1010));
});

test('segments of another lane or another log in this lane are left out', () => {
  const disk = dead(50);
  const [path] = segmentsOf(disk);
  const own = Buffer.from(disk.content(path));
  // The same file under another lane's name.
  const stranger: LaneId = { life: 2, lane: 3 };
  disk.mkdir(`${lanesFolder(DIR)}/${laneFolder(stranger)}`);
  const fd = disk.open(pathOf('0000000000000000-0.seg', stranger), 'w+');
  disk.write(fd, own, 0, own.length, 0);
  const [, found] = recoverLanes(DIR, LOG_ID, disk);
  assert.deepEqual(found.end, ZERO);
  assert.deepEqual(readAll(found, disk).ids, []);
});

test('frames of a recycled segment do not come back to life', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 4096 });
  const file = log.checkpoints[0].file;
  for (let id = 0; id < 2000; id++) {
    fill(log, id, 1);
    const { position, record } = log.writers[0].ring.tailMark();
    if (id % 50 === 0) {
      file.write({ ...log.checkpoints[0].state, life: 1, lanes: [[0, position, record]] });
      log.board.setCheckpoint(0, file.sequence);
      log.step(300);
    }
  }
  const stored = file.read()?.state;
  disk.processDeath();
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  assert.equal(lane.end.record, 2000, 'the lane ends where it ended, not at an old frame behind it');
  const mark = markOf(stored, lane);
  assert.deepEqual(readAll(lane, disk, mark).ids, range(mark.record, 2000));
});

// Goal: the search for frames behind the end of a lane costs one pass, not a megabyte per frame that an earlier use has left there.
test('a recycled segment full of stale frames is read four times at most, at the start and at a loss (L10)', () => {
  const disk = dead(10);
  const [path] = segmentsOf(disk);
  const content = disk.content(path);
  const end = PAGE + 10 * FRAME;
  // Whole frames, none of which belongs to its place: the last stretch of the lane over and over.
  for (let at = end; at + FRAME <= content.length; at += FRAME) content.copy(content, at, end - FRAME, end);
  let bytes = 0;
  disk.trace = (operation, _path, count) => {
    if (operation === 'read') bytes += count;
  };
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  assert.deepEqual(lane.end, { position: 10 * FRAME, record: 10 });
  assert.ok(bytes <= 4 * SEGMENT, `recovery: bytes=${bytes}, segment=${SEGMENT}`);
  content[PAGE + 4 * FRAME + 60] ^= 1;
  bytes = 0;
  assert.equal(readAll(lane, disk).losses.length, 1);
  assert.ok(bytes <= 4 * SEGMENT, `reading over a loss: bytes=${bytes}, segment=${SEGMENT}`);
});

// L6 as a property.
test('random damage costs the frames it touches and no other, and nothing is invented', () => {
  const base = Number(process.env.SEED ?? pick(Math.random, 2 ** 31));
  console.log(`seeds ${base} .. ${base + 99}`);
  for (let seed = base; seed < base + 100; seed++) {
    const random = randomOf(seed);
    const sizes = range(0, 300).map(() => pick(random, random() < 0.05 ? 900 : 80));
    const disk = dead(300, { sizes: (id) => sizes[id] });
    // Where each record's frame stands.
    const frames: { path: string; from: number; to: number }[] = [];
    const paths = segmentsOf(disk);
    const bases = paths.map((path) => parseSegmentName(path.slice(path.lastIndexOf('/') + 1))?.base as number);
    let position = 0;
    for (const size of sizes) {
      const at = bases.findLastIndex((b) => b <= position);
      const bytes = 40 + recordBytes(size);
      frames.push({ path: paths[at], from: PAGE + position - bases[at], to: PAGE + position - bases[at] + bytes });
      position += bytes;
    }
    const touched = new Set<number>();
    for (let n = 1 + pick(random, 4); n > 0; n--) {
      const path = paths[pick(random, paths.length)];
      const from = PAGE + pick(random, SEGMENT - PAGE);
      const to = Math.min(SEGMENT, from + 1 + pick(random, random() < 0.2 ? 5000 : 60));
      const content = disk.content(path);
      for (let i = from; i < to; i++) content[i] = pick(random, 256);
      frames.forEach((frame, id) => {
        if (frame.path === path && frame.from < to && frame.to > from) touched.add(id);
      });
    }
    const { ids } = recovered(disk);
    const found = new Set(ids);
    assert.deepEqual(
      ids,
      [...found].sort((a, b) => a - b),
      `seed ${seed}: order`,
    );
    const missing = range(0, 300).filter((id) => !found.has(id) && !touched.has(id));
    assert.deepEqual(missing, [], `seed ${seed}: untouched frames are missing`);
  }
});

test('a record larger than any batch (MAX_EVENT_BYTES was larger once) is delivered all the same', () => {
  const disk = dead(9, { sizes: (id) => (id === 4 ? 9000 : 40), ringBytes: 65_536 });
  const { ids, losses } = recovered(disk, 1024);
  assert.deepEqual(ids, range(0, 9));
  assert.deepEqual(losses, []);
});

test('a reader far behind reads the segment that is being written, and comes back to the ring', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, ringBytes: 4096, segmentBytes: 64 * 1024, retainMs: 1e12 });
  const route = new LaneSource(
    { live: log.live, finished: [], journal: { lanes: lanesFolder(DIR), logId: LOG_ID }, reader: 0, log: LOG, disk },
    undefined,
  );
  fill(log, 0, 400);
  let reads = 0;
  disk.trace = (operation) => {
    if (operation === 'read') reads += 1;
  };
  const seen = readAll(log.live[0], disk).ids;
  assert.deepEqual(seen, range(0, 400));
  assert.ok(reads > 0);
  const before = reads;
  fill(log, 400, 5);
  assert.deepEqual(readAll(log.live[0], disk, { position: 400 * FRAME, record: 400 }).ids, range(400, 405));
  assert.equal(reads, before, 'the newest bytes come from the ring');
  route.close();
});

test('a checkpoint behind the log: what stands behind it is delivered again, nothing before it', () => {
  const disk = dead(100);
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  assert.deepEqual(readAll(lane, disk, { position: 60 * FRAME, record: 60 }).ids, range(60, 100));
});

// A sink reads from memory what a power cut takes from the log.
test('a checkpoint ahead of the log: that lane is done, and nothing new is skipped', () => {
  const disk = new CrashDisk(randomOf(5));
  const log = openLog({ disk, segmentBytes: SEGMENT });
  fill(log, 0, 20);
  const file = log.checkpoints[0].file;
  file.write({ ...log.checkpoints[0].state, life: 1, lanes: [[0, 20 * FRAME, 20]] });
  disk.powerCut();
  const next = openLog({ disk, life: 2, segmentBytes: SEGMENT });
  assert.ok((next.finished[0]?.end.record ?? 0) < 20, 'the power cut took something');
  fill(next, 100, 10);
  const route = new LaneSource(
    {
      live: next.live,
      finished: next.finished,
      journal: { lanes: lanesFolder(DIR), logId: LOG_ID },
      reader: 0,
      log: LOG,
      disk,
    },
    next.checkpoints[0].file.read()?.state,
  );
  for (let i = 0; i < 5 && !route.live; i++) route.advance();
  assert.ok(route.live);
  assert.deepEqual(readAll(next.live[0], disk, route.strands[0].delivered).ids, range(100, 110));
});

test('recovery reads one segment per lane, writes nothing, and is not led astray by a torn one (L10)', () => {
  const disk = dead(600);
  disk.content(segmentsOf(disk)[1])[PAGE + 200] ^= 1;
  const read = new Map<string, number>();
  disk.readOnly = true;
  disk.trace = (operation, path, bytes, position) => {
    if (operation === 'read' && position >= PAGE) read.set(path, (read.get(path) ?? 0) + bytes);
  };
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  assert.equal(lane.end.record, 600);
  assert.equal(read.size, 1, `read from ${[...read.keys()].join(', ')}`);
});

// vector#25570: the file was unlinked before the ledger was synced; a crash between the two looped for ever.
test('vector#25570: a crash at any step of deletion and checkpoint leaves every segment that is still owed', () => {
  let steps = 0;
  for (let crashAt = 1; ; crashAt++) {
    const random = randomOf(crashAt);
    const disk = new CrashDisk(random);
    const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 4096 });
    fill(log, 0, 700);
    log.step(300);
    const { file, state } = log.checkpoints[0];
    let left = crashAt;
    disk.fault = (operation) => (operation !== 'read' && operation !== 'open' && --left <= 0 ? 'EIO' : undefined);
    try {
      file.write({ ...state, life: 1, lanes: [[0, 500 * FRAME, 500]] });
      log.board.setCheckpoint(0, file.sequence);
      for (let i = 0; i < 6; i++) log.step(300);
    } catch {
      // The process is dead now, one way or the other.
    }
    const crashed = left <= 0;
    steps = crashAt;
    disk.fault = () => undefined;
    if (crashAt % 2) disk.powerCut();
    else disk.processDeath();
    const next = openLog({ disk, life: 2, segmentBytes: SEGMENT });
    const stored = next.checkpoints[0].file.read()?.state;
    const mark = markOf(stored, next.finished[0]);
    const { ids, losses } = readAll(next.finished[0], disk, mark);
    assert.deepEqual(losses, [], `crash at step ${crashAt}`);
    assert.deepEqual(ids, range(mark.record, 700), `crash at step ${crashAt}`);
    if (!crashed) break;
  }
  assert.ok(steps > 5, `only ${steps} steps`);
});

// vector#8763: the disk was full, then it was not, and nothing worked until a restart.
test('vector#8763: a full disk refuses, is told apart from the quota, and intake returns by itself when there is space', () => {
  const disk = new CrashDisk();
  disk.bytesMax = 70_000;
  const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 4096, retainMs: 0 });
  let id = 0;
  const writer = log.writers[0];
  for (let i = 0; i < 100; i++) {
    while (writer.refusal(recordBytes(40)) === undefined) {
      appendRecord(writer, id, 40);
      assert.ok(writer.publish());
      id += 1;
    }
    log.step(100);
  }
  assert.equal(writer.refusal(recordBytes(40)), 'journal_full');
  assert.equal(writer.control.full(), 2);
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, id), 'delivery goes on');
  disk.bytesMax = 1_000_000;
  for (let i = 0; i < 5; i++) log.step(1000);
  fill(log, id, 50);
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, id + 50));
});

test('a disk that is full for a write itself (thin provisioning) keeps the draft and repeats it', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, segmentBytes: SEGMENT });
  const writer = log.writers[0];
  fill(log, 0, 5);
  disk.fault = (operation, path) => (operation === 'write' && path.includes('/lanes/') ? 'ENOSPC' : undefined);
  appendRecord(writer, 5, 40);
  assert.equal(writer.publish(), false);
  assert.equal(writer.refusal(8), 'write_failed');
  assert.ok(writer.control.stuck());
  assert.equal(writer.retry(), false);
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, 5), 'what is not written is not published');
  disk.fault = () => undefined;
  writer.tick();
  assert.equal(writer.refusal(8), undefined);
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, 6));
  disk.processDeath();
  assert.deepEqual(recovered(disk).ids, range(0, 6));
});

// L7. The kernel marks the pages clean although they never reached the disk: an fdatasync that is repeated succeeds and lies.
test('a failed fdatasync: the unsynced part is written anew, a power cut then loses nothing that was called synced', () => {
  for (let seed = 0; seed < 40; seed++) {
    const disk = new CrashDisk(randomOf(seed));
    const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 8192 });
    const writer = log.writers[0];
    fill(log, 0, 30);
    log.step(20);
    assert.equal(writer.ring.synced(), writer.tail);
    fill(log, 30, 10);
    let failures = 1;
    disk.fault = (operation, path) =>
      operation === 'fdatasync' && path.includes('/lanes/') && failures-- > 0 ? 'EIO' : undefined;
    log.step(20);
    assert.equal(writer.ring.synced(), 30 * FRAME, 'nothing is called synced');
    assert.ok(writer.control.rescue());
    if (seed % 2) fill(log, 40, 3);
    for (let i = 0; i < 5; i++) {
      writer.tick();
      log.step(20);
    }
    assert.equal(writer.control.rescue(), false);
    assert.equal(writer.ring.synced(), writer.tail, 'synced in the new segment');
    assert.equal(writer.refusal(8), undefined, 'intake goes on');
    fill(log, 50, 5);
    for (let i = 0; i < 3; i++) log.step(20);
    const expected = [...range(0, 40), ...(seed % 2 ? range(40, 43) : []), ...range(50, 55)];
    assert.deepEqual(readAll(log.live[0], disk).ids, expected);
    disk.powerCut();
    assert.deepEqual(recovered(disk).ids, expected, `seed ${seed}`);
  }
});

test('a rescue whose own writes fail leaves everything as it was, and is tried again', () => {
  for (const failing of [1, 2]) {
    for (const dies of [true, false]) {
      const disk = new CrashDisk(randomOf(failing));
      const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 8192 });
      const writer = log.writers[0];
      fill(log, 0, 30);
      log.step(20);
      fill(log, 30, 10);
      let syncs = 1;
      disk.fault = (operation, path) =>
        operation === 'fdatasync' && path.includes('/lanes/') && syncs-- > 0 ? 'EIO' : undefined;
      log.step(20);
      let writes = 0;
      disk.fault = (operation, path) =>
        operation === 'write' && path.includes('/lanes/') && ++writes === failing ? 'EIO' : undefined;
      writer.tick();
      assert.equal(writes, failing, 'bytes first, then the header');
      assert.ok(writer.control.rescue(), 'still to be done');
      fill(log, 40, 3);
      if (!dies) {
        for (let i = 0; i < 4; i++) {
          writer.tick();
          log.step(20);
        }
        assert.equal(writer.ring.synced(), writer.tail);
      }
      disk.processDeath();
      assert.deepEqual(recovered(disk).ids, range(0, 43), `write ${failing} failed, dies=${dies}`);
    }
  }
});

test('a second failed fdatasync ends intake and says so; delivery goes on', () => {
  const disk = new CrashDisk();
  const warnings: string[] = [];
  const log = openLog({
    disk,
    segmentBytes: SEGMENT,
    ringBytes: 8192,
    events: { warn: (message) => warnings.push(message) },
  });
  const writer = log.writers[0];
  fill(log, 0, 10);
  disk.fault = (operation, path) => (operation === 'fdatasync' && /\/\d{16}-\d+\.seg$/.test(path) ? 'EIO' : undefined);
  for (let i = 0; i < 10; i++) {
    log.step(20);
    writer.tick();
  }
  assert.equal(writer.refusal(8), 'journal_failed');
  assert.equal(log.figures.get('failed'), 1);
  assert.ok(warnings.some((message) => message.includes('intake stops')));
  const used = disk.usedBytes();
  for (let i = 0; i < 50; i++) {
    log.step(300);
    writer.tick();
  }
  assert.equal(disk.usedBytes(), used, 'a broken disk is not filled with tries');
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, 10));
  disk.processDeath();
  assert.deepEqual(recovered(disk).ids, range(0, 10), 'ACK=journal survives the death of the process all the same');
});

test('a keeper that dies with a rotated segment unsynced has an heir that syncs it', () => {
  const disk = new CrashDisk(randomOf(3));
  const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 16_384, syncIntervalMs: 1e9 });
  const writer = log.writers[0];
  fill(log, 0, 1);
  log.step();
  // A whole segment and the beginning of the next, nothing synced; then the heir.
  for (let id = 1; id < 140; id++) {
    appendRecord(writer, id, 40);
    assert.ok(writer.publish());
  }
  assert.equal(writer.ring.synced(), FRAME);
  const heir = openHeir(log, disk);
  heir.step(log.now + 20);
  assert.equal(writer.ring.synced(), writer.tail);
  disk.powerCut();
  assert.deepEqual(recovered(disk).ids, range(0, 140));
});

function openHeir(log: ReturnType<typeof openLog>, disk: CrashDisk) {
  const Keeper = log.keeper.constructor as new (shared: typeof log.keeperShared, on: CrashDisk) => typeof log.keeper;
  return new Keeper(log.keeperShared, disk);
}

// rudder-server#4953: one dead destination slowed the whole server.
test('rudder#4953: one dead sink of three holds back neither intake nor the others, until the quota', () => {
  const disk = new CrashDisk();
  const log = openLog({
    disk,
    sinks: ['log', 'kafka', 'postgres'],
    segmentBytes: SEGMENT,
    ringBytes: 4096,
    quotaBytes: 40 * SEGMENT,
  });
  const alive = [0, 2];
  let id = 0;
  for (let round = 0; round < 30; round++) {
    fill(log, id, 60);
    id += 60;
    for (const index of alive) {
      const { file, state } = log.checkpoints[index];
      const { position, record } = log.writers[0].ring.tailMark();
      file.write({ ...state, life: 1, lanes: [[0, position, record]] });
      log.board.setCheckpoint(index, file.sequence);
    }
    log.step(300);
  }
  assert.deepEqual(readAll(log.live[0], disk).ids, range(0, id), 'the dead one still finds everything');
  // Only the quota ends it, and then it is the quota that is named.
  const writer = log.writers[0];
  for (let i = 0; i < 9000 && writer.refusal(recordBytes(40)) !== 'journal_full'; i++) {
    if (writer.refusal(recordBytes(40)) === undefined) {
      appendRecord(writer, id++, 40);
      assert.ok(writer.publish());
    } else log.step(20);
  }
  assert.equal(writer.refusal(recordBytes(40)), 'journal_full');
  assert.ok(disk.usedBytes() < 45 * SEGMENT, `used ${disk.usedBytes()}`);
  // It comes back: space too.
  const { file, state } = log.checkpoints[1];
  const { position, record } = writer.ring.tailMark();
  file.write({ ...state, life: 1, lanes: [[0, position, record]] });
  log.board.setCheckpoint(1, file.sequence);
  for (const index of alive) {
    const other = log.checkpoints[index];
    other.file.write({ ...other.state, life: 1, lanes: [[0, position, record]] });
    log.board.setCheckpoint(index, other.file.sequence);
  }
  for (let i = 0; i < 5; i++) log.step(300);
  fill(log, id, 100);
});

test('ON_LAG=drop: the quota takes the oldest from a sink that lags, and it learns exactly what it lost', () => {
  const disk = new CrashDisk();
  const log = openLog({ disk, drops: true, segmentBytes: SEGMENT, ringBytes: 4096, quotaBytes: 8 * SEGMENT });
  fill(log, 0, 3000);
  const { ids, losses } = readAll(log.live[0], disk);
  assert.ok(ids.length > 0 && ids.length < 3000);
  assert.deepEqual(
    losses.map(({ reason }) => reason),
    ['gone'],
  );
  assert.equal(losses[0].to.record - losses[0].from.record + ids.length, 3000);
  assert.deepEqual(ids, range(losses[0].to.record, 3000));
});

test('a full quota that is delivered gives way after a restart, though the sink is down', () => {
  const disk = new CrashDisk();
  const quotaBytes = 8 * SEGMENT;
  const log = openLog({ disk, segmentBytes: SEGMENT, ringBytes: 4096, quotaBytes, retainMs: 1e12 });
  fill(log, 0, 600);
  const { file, state } = log.checkpoints[0];
  const { position, record } = log.writers[0].ring.tailMark();
  file.write({ ...state, life: 1, lanes: [[0, position, record]] });
  disk.processDeath();
  // The sink never comes up in this life, so it writes no checkpoint.
  const next = openLog({ disk, life: 2, segmentBytes: SEGMENT, ringBytes: 4096, quotaBytes, retainMs: 1e12 });
  fill(next, 1000, 200);
  assert.deepEqual(readAll(next.live[0], disk).ids, range(1000, 1200));
});

test('the checkpoint of a sink that never ran is not taken for one that has passed something', () => {
  const disk = dead(10);
  assert.equal(new CheckpointFile(checkpointPath(DIR, 'other'), disk).read(), undefined);
  const [lane] = recoverLanes(DIR, LOG_ID, disk);
  assert.deepEqual(markOf(undefined, lane), ZERO);
});
