/** A lane without its threads, for micro-benchmarks: two preallocated files serve in turn as its segments. */
import { mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Disk, realDisk } from '../../src/engine/disk.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { createLaneControl } from '../../src/engine/lane-control.ts';
import { createRing } from '../../src/engine/ring.ts';
import { createWakeWords } from '../../src/kernel/threads/wake.ts';

const MiB = 2 ** 20;
const segmentBytes = 64 * MiB;
export const ringBytes = 16 * MiB;
/** One event as the pixel writes it: 64 bytes of fixed fields and the JSON line of 480 bytes. */
export const record = Buffer.alloc(64 + 480, 'x');

export const id = { life: 1, lane: 0 };
export const logId = new Uint8Array(16);

/** Where files go that must lie on a disk: BENCH_DIR, else the temporary folder. */
export const scratch = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'micro-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** A file of zeros that is really there: no block is allocated while it is measured. */
export function preallocated(name: string, bytes: number): number {
  const fd = openSync(join(scratch, name), 'w+');
  const zeros = Buffer.alloc(MiB);
  for (let at = 0; at < bytes; at += MiB) writeSync(fd, zeros, 0, MiB, at);
  return fd;
}

export interface BenchLane {
  readonly writer: LaneWriter;
  readonly ring: SharedArrayBuffer;
  /** Whether so many records may be published: without a journal the ring keeps what a reader has not passed. */
  hasRoom(count: number): boolean;
  /** Publishes `count` records as one draft. */
  publish(count: number): void;
}

export function benchLane(journal: boolean, readers = 0): BenchLane {
  const ring = createRing(ringBytes, readers);
  const control = createLaneControl();
  // A segment that is full is only renamed in our heads: the other file is the next one.
  const disk: Disk = { ...realDisk, rename: () => undefined };
  const folder = join(scratch, `journal-${performance.now()}`);
  if (journal) mkdirSync(folder);
  const shared = { id, ring, control, wake: createWakeWords(1), journal: journal ? folder : undefined, logId };
  const writer = new LaneWriter(shared, disk);
  const files = journal ? [preallocated('a', segmentBytes), preallocated('b', segmentBytes)] : [];
  let serial = 0;
  let unsynced = 0;
  return {
    writer,
    ring,
    hasRoom: (count) => writer.refusal(count * record.length) === undefined,
    publish(count) {
      if (journal && !writer.control.spareReady()) {
        writer.control.offerSpare({ fd: files[serial % 2]!, serial, bytes: segmentBytes });
        serial += 1;
      }
      for (let i = 0; i < count; i++) {
        const at = writer.begin(record.length);
        record.copy(writer.buffer, at, 8, record.length);
        writer.commit(at + record.length, 1, 1);
      }
      if (!writer.publish()) throw writer.stuck;
      unsynced += count * record.length;
      if (journal && unsynced > MiB) {
        writer.ring.setSynced(writer.tail); // the keeper's part, without its fdatasync
        unsynced = 0;
      }
    },
  };
}
