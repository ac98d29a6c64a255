/**
 * Segment writer: puts the frames of a lane's draft into its segments, at the file offset that belongs to their
 * position, and takes the keeper's spare as the next segment when a frame does not fit the current one.
 *
 * A write covers whole pages: the last, partly filled page is written again with the same bytes and the new ones, so
 * the kernel never has to read a page first. For that the draft keeps the page's bytes in front of its frames
 * (`mirrored`).
 *
 * A write that throws may be repeated: write() does the same again at the same offsets. Frames that the failed try has
 * put into a segment that is full by now stay there.
 */
import { join } from 'node:path';
import type { Disk } from './disk.ts';
import type { Draft } from './draft.ts';
import { frameAt } from './frame.ts';
import { lanesFolder } from './journal.ts';
import type { LaneControl, Spare } from './lane-control.ts';
import type { Ring } from './ring.ts';
import { type LaneId, laneFolder, PAGE, segmentName, spareName, writeSegmentHeader } from './segment.ts';

export interface SegmentWriterDeps {
  readonly id: LaneId;
  readonly journal: string;
  readonly logId: Buffer;
  readonly control: LaneControl;
  readonly disk: Disk;
  readonly now: () => number;
}

export class SegmentWriter {
  readonly #deps: SegmentWriterDeps;
  readonly #disk: Disk;
  readonly #folder: string;
  #fd = -1;
  #bytes = 0;
  #generation = 0;
  /** File offset of the end of what is written. */
  #end = 0;
  /** Where in the draft the bytes of the current segment begin. */
  #runFrom = 0;
  /** The draft's [0, runFrom) holds the file's bytes from the page boundary on. */
  #mirrored = false;

  constructor(deps: SegmentWriterDeps) {
    this.#deps = deps;
    this.#disk = deps.disk;
    this.#folder = join(lanesFolder(deps.journal), laneFolder(deps.id));
  }

  /** Whether `bytes` more fit the current segment. */
  fits(bytes: number): boolean {
    return this.#end + bytes <= this.#bytes;
  }

  /** Writes the sealed frames of the draft, rotating before each one that does not fit. */
  write(draft: Draft): void {
    const { view, buffer, end } = draft;
    let fileEnd = this.#end;
    for (let at = this.#runFrom; at < end; ) {
      const bytes = view.getUint32(at + frameAt.bytes, true);
      if (fileEnd + bytes > this.#bytes) {
        const run = at - this.#runFrom;
        if (run > 0) this.#disk.write(this.#fd, buffer, this.#runFrom, run, fileEnd - run);
        const base = view.getFloat64(at + frameAt.position, true);
        this.#rotate(base, view.getFloat64(at + frameAt.firstRecord, true), this.#generation);
        this.#runFrom = at;
        fileEnd = this.#end;
      } else {
        fileEnd += bytes;
        at += bytes;
      }
    }
    const whole = Math.ceil(fileEnd / PAGE) * PAGE;
    buffer.fill(0, end, end + whole - fileEnd);
    const lead = this.#mirrored ? this.#runFrom : 0;
    const begin = fileEnd - (end - this.#runFrom) - lead;
    this.#disk.write(this.#fd, buffer, this.#runFrom - lead, whole - begin, begin);
    this.#end = fileEnd;
  }

  /** After a publish: bytes at the draft's end that it must keep in front of its next frames, for Draft.clear(). */
  keep(draft: Draft): number {
    const partial = this.#end % PAGE;
    const available = this.#mirrored ? draft.end : draft.end - this.#runFrom;
    // Too few only after a rescue, whose bytes the draft has never held.
    this.#mirrored = partial <= available;
    this.#runFrom = this.#mirrored ? partial : 0;
    return this.#runFrom;
  }

  /**
   * L7: after a failed fdatasync nobody knows what is on disk. Writes [synced, tail) from the ring, which still has it
   * (L2), into a new segment of a higher generation, which recovery prefers. The bytes come before the name, so whoever
   * finds the segment finds them in it, and a write that fails leaves everything as it was. False: there is no spare
   * yet, it is too small, or this write failed too. `records`: number of the next record.
   */
  rescue(ring: Ring, tail: number, records: number, draft: Draft): boolean {
    const { control } = this.#deps;
    if (!control.spareReady()) return false;
    const from = ring.synced();
    const bytes = tail - from;
    if (PAGE + bytes > control.spareBytes()) {
      control.refuseSpare();
      return false;
    }
    const copy = Buffer.alloc(Math.ceil(bytes / PAGE) * PAGE);
    ring.copyOut(from, bytes, copy, 0);
    const record = bytes > 0 ? copy.readDoubleLE(frameAt.firstRecord) : records;
    try {
      if (bytes > 0) this.#disk.write(this.#spare().fd, copy, 0, copy.length, PAGE);
      this.#rotate(from, record, this.#generation + 1);
    } catch {
      return false;
    }
    this.#end = PAGE + bytes;
    // The draft keeps its place. Its next write begins inside a page that the draft does not mirror.
    this.#runFrom = draft.start;
    return true;
  }

  /**
   * Takes the spare as the next segment. Header first, then the name: a segment that can be found has a valid header.
   */
  #rotate(base: number, baseRecord: number, generation: number): void {
    const { id, logId, control, now } = this.#deps;
    const spare = this.#spare();
    const header = Buffer.alloc(PAGE);
    writeSegmentHeader(header, { ...id, generation, base, baseRecord, created: now() }, logId);
    this.#disk.write(spare.fd, header, 0, PAGE, 0);
    const name = segmentName(base, generation);
    this.#disk.rename(join(this.#folder, spareName(spare.serial)), join(this.#folder, name));
    this.#fd = spare.fd;
    this.#generation = generation;
    this.#bytes = spare.bytes;
    this.#end = PAGE;
    this.#mirrored = false;
    control.setCurrent(spare.fd, base, base + spare.bytes - PAGE, generation);
  }

  #spare(): Spare {
    const spare = this.#deps.control.spare();
    if (spare === undefined) throw new Error('journal: no spare segment is ready');
    return spare;
  }
}
