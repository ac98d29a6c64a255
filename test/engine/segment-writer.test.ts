/**
 * Segment writer: a draft on a disk in memory, byte p of the lane at 4096 + p - base of its segment, whatever fails in
 * between. (What recovery makes of such files is in test/faults/damage.test.ts.)
 */
import { expect, test } from 'vitest';
import { Draft } from '../../src/engine/draft.ts';
import { FRAME_BODY_MAX } from '../../src/engine/frame.ts';
import { lanesFolder } from '../../src/engine/journal.ts';
import { createLaneControl, LaneControl } from '../../src/engine/lane-control.ts';
import { laneFolder, PAGE, segmentName, spareName } from '../../src/engine/segment.ts';
import { SegmentWriter } from '../../src/engine/segment-writer.ts';
import { RECORD_HEADER } from '../../src/kernel/record.ts';
import { CrashDisk } from './crash-disk.ts';

const id = { life: 1, lane: 0 };
const SEGMENT = 8 * PAGE;
const FOLDER = `${lanesFolder('/journal')}/${laneFolder(id)}`;

function stage() {
  const disk = new CrashDisk();
  for (const folder of ['/journal', lanesFolder('/journal'), FOLDER]) disk.mkdir(folder);
  const control = new LaneControl(createLaneControl());
  const writer = new SegmentWriter({
    id,
    journal: '/journal',
    logId: Buffer.alloc(16, 1),
    control,
    disk,
    now: () => 0,
  });
  const draft = new Draft(4 * FRAME_BODY_MAX);
  const lane: Buffer[] = [];
  let position = 0;
  let records = 0;
  return {
    disk,
    control,
    writer,
    draft,
    /** All bytes published so far. */
    lane: () => Buffer.concat(lane),
    offer(serial: number): void {
      const fd = disk.open(`${FOLDER}/${spareName(serial)}`, 'wx+');
      disk.write(fd, Buffer.alloc(SEGMENT), 0, SEGMENT, 0);
      control.offerSpare({ fd, serial, bytes: SEGMENT });
    },
    /** A draft of `bytes` in one record, sealed. */
    fill(bytes: number): void {
      const at = draft.begin(RECORD_HEADER + bytes);
      draft.buffer.fill(1 + (records % 250), at + RECORD_HEADER, at + RECORD_HEADER + bytes);
      draft.commit(at + RECORD_HEADER + bytes, 1, 1);
      draft.close();
      draft.seal(position, records, 0, 7);
    },
    /** What the lane writer does after a write. */
    publish(): void {
      lane.push(Buffer.from(draft.buffer.subarray(draft.start, draft.end)));
      position += draft.bytes;
      records += draft.records;
      draft.clear(writer.keep(draft));
    },
    segment: (base: number) => disk.content(`${FOLDER}/${segmentName(base, 0)}`),
  };
}

test('every write covers whole pages, and the file holds the lane byte for byte', () => {
  const { disk, writer, draft, lane, offer, fill, publish, segment } = stage();
  offer(1);
  const writes: [bytes: number, position: number][] = [];
  disk.trace = (operation, _, bytes, at) => void (operation === 'write' && writes.push([bytes, at]));
  for (const bytes of [10, 5000, 3000, 96, 4040]) {
    fill(bytes);
    writer.write(draft);
    publish();
    const all = lane();
    expect(
      segment(0)
        .subarray(PAGE, PAGE + all.length)
        .equals(all),
    ).toBe(true);
  }
  expect(writes.every(([bytes, at]) => bytes % PAGE === 0 && at % PAGE === 0)).toBe(true);
});

test('a frame that does not fit begins the next segment, and a failed write is repeated at the same place', () => {
  const { disk, control, writer, draft, lane, offer, fill, publish, segment } = stage();
  offer(1);
  fill(5 * PAGE);
  writer.write(draft);
  publish();
  const base = lane().length;
  fill(3 * PAGE);
  expect(() => writer.write(draft), 'no spare').toThrow(/no spare segment/);
  offer(2);
  const { length } = draft.buffer.subarray(draft.start, draft.end);
  // The rotation succeeds, the frame behind it does not.
  let writes = 0;
  disk.fault = (operation) => (operation === 'write' && ++writes === 2 ? 'EIO' : undefined);
  expect(() => writer.write(draft)).toThrow(/EIO/);
  expect(control.spareReady(), 'the spare is the current segment now').toBe(false);
  writer.write(draft);
  publish();
  expect(writer.fits(SEGMENT - PAGE - length)).toBe(true);
  expect(writer.fits(SEGMENT - PAGE - length + 1)).toBe(false);
  expect(
    segment(base)
      .subarray(PAGE, PAGE + length)
      .equals(lane().subarray(base)),
  ).toBe(true);
  expect(
    segment(0)
      .subarray(PAGE, PAGE + base)
      .equals(lane().subarray(0, base)),
  ).toBe(true);
});
