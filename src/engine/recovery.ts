/**
 * Recovery: finds the lanes that earlier lives have left, and where each ends. Per lane it reads the headers and at
 * most one segment that holds frames, each byte of it once or twice, and it writes nothing (L10). A lane ends behind
 * its last valid frame: what a torn write left there does not validate.
 */
import { join } from 'node:path';
import type { Mark } from './checkpoint.ts';
import { type Disk, realDisk } from './disk.ts';
import { frameAt } from './frame.ts';
import { lanesFolder, listLanes } from './journal.ts';
import type { FinishedLane } from './lane-reader.ts';
import type { Life } from './lineage.ts';
import { type LaneId, laneFolder, PAGE, readableSegments, readSegmentHeader, type SegmentHeader } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';

/** Bytes read at once. Behind the last frame they are read twice, and then the rest of the segment once. */
const CHUNK_BYTES = 2 ** 20;

/** All lanes of the log, oldest life first. `listed`: what the log's list says of its lives. */
export function recoverLanes(
  dir: string,
  logId: Buffer,
  disk: Disk = realDisk,
  listed: readonly Life[] = [],
): FinishedLane[] {
  return listLanes(dir, disk).map((id) => recoverLane(dir, id, logId, disk, listed));
}

function recoverLane(dir: string, found: LaneId, logId: Buffer, disk: Disk, listed: readonly Life[]): FinishedLane {
  const folder = join(lanesFolder(dir), laneFolder(found));
  const segments = readableSegments(disk.list(folder));
  const headers = readHeaders(
    folder,
    segments.map((s) => s.name),
    found,
    logId,
    disk,
  );
  const known = headers.map((header) => header?.baseRecord);
  const whole = headers.find((header) => header !== undefined);
  // The lane's own word comes first: the list may have come from another copy than the lane.
  const lifeId = whole === undefined ? listed.find(([life]) => life === found.life)?.[1] : whole.lifeId;
  const id: LaneId = lifeId === undefined ? found : { ...found, lifeId };
  const begin: Mark = { position: segments[0]?.base ?? 0, record: known[0] ?? 0 };
  // From the newest segment back to one that holds a frame. More than one step only after a crash between two files.
  for (let i = segments.length - 1; i >= 0; i--) {
    const reader = new SegmentReader(lanesFolder(dir), id, logId, disk);
    const limit = i + 1 < segments.length ? segments[i + 1].base : Number.POSITIVE_INFINITY;
    const end = lastFrameEnd(reader, { position: segments[i].base, record: known[i] ?? 0 }, limit);
    reader.close();
    if (end !== undefined) return { id, begin, end };
    const record = known[i];
    if (record !== undefined) return { id, begin, end: { position: segments[i].base, record } };
  }
  return { id, begin, end: begin };
}

function readHeaders(
  folder: string,
  names: readonly string[],
  id: LaneId,
  logId: Buffer,
  disk: Disk,
): (SegmentHeader | undefined)[] {
  const page = Buffer.alloc(PAGE);
  return names.map((name) => {
    const fd = disk.open(join(folder, name), 'r');
    try {
      disk.read(fd, page, 0, PAGE, 0);
    } finally {
      disk.close(fd);
    }
    const header = readSegmentHeader(page, logId);
    return header?.life === id.life && header.lane === id.lane ? header : undefined;
  });
}

function lastFrameEnd(reader: SegmentReader, from: Mark, limit: number): Mark | undefined {
  let chunk = Buffer.from(new ArrayBuffer(CHUNK_BYTES));
  let view = new DataView(chunk.buffer);
  const open = { position: Math.min(limit, Number.MAX_SAFE_INTEGER), record: Number.NaN };
  let mark = from;
  let seen = false;
  for (;;) {
    const got = reader.read(mark, open, chunk, view, 0, chunk.length, Number.POSITIVE_INFINITY);
    if (typeof got !== 'number') {
      if ('needBytes' in got) {
        chunk = Buffer.from(new ArrayBuffer(got.needBytes));
        view = new DataView(chunk.buffer);
        continue;
      }
      // Damage. When no valid frame follows, the lane ends here; otherwise go on behind it.
      if (got.to.position >= open.position || Number.isNaN(got.to.record)) return seen ? mark : undefined;
      mark = got.to;
      continue;
    }
    if (got === 0) return seen ? mark : undefined;
    let record = mark.record;
    for (let at = 0; at < got; at += view.getUint32(at + frameAt.bytes, true))
      record = view.getFloat64(at + frameAt.firstRecord, true) + view.getUint32(at + frameAt.records, true);
    mark = { position: mark.position + got, record };
    seen = true;
  }
}
