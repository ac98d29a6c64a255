/**
 * Lane writer: the one producer of a lane. Records are encoded into a private draft and become real in `publish()`:
 * frames are sealed, written to the lane's segment, copied into the ring, and `tail` is stored. What is not published does
 * not exist, so an exception while encoding leaves nothing to repair.
 *
 *   draft   [0, start)    the file's bytes from the page boundary on, so that a write covers whole pages (mirrored)
 *           [start, end)  frames: header, records, header, records ...
 *
 * A write that fails keeps the draft and is repeated by `retry()` at the same position; meanwhile `refusal()` says
 * write_failed. Write first, then ring, then tail: a 2xx given after publish() survives the death of the process, and no
 * reader sees what a crash could take back. (Redis writes its AOF in this order.)
 */
import { join } from 'node:path';
import { WakeWords } from '../kernel/threads/wake.ts';
import { type Disk, realDisk } from './disk.ts';
import { FRAME_BODY_MAX, FRAME_HEADER, laneSeed, sealFrame } from './frame.ts';
import { FULL_NONE, LaneControl, type Spare } from './lane-control.ts';
import { align8 } from './record.ts';
import { Ring, RingProducer } from './ring.ts';
import { type LaneId, laneFolder, PAGE, segmentName, spareName, writeSegmentHeader } from './segment.ts';

/** Why a lane takes no more events now. Closed: also the label of the refused counter. */
export const refusals = [
  'ring_full',
  'journal_full',
  'journal_stalled',
  'sink_lag',
  'write_failed',
  'journal_failed',
] as const;
export type Refusal = (typeof refusals)[number];

/** What a lane is made of; goes to the threads through workerData. */
export interface LaneShared {
  readonly id: LaneId;
  readonly ring: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly wake: SharedArrayBuffer;
  /** The journal's folder; undefined: memory only. */
  readonly journal: string | undefined;
  /** 16 bytes. */
  readonly logId: Uint8Array;
}

/** Thrown by begin() when one publish would exceed the largest draft: the caller rewinds and refuses the batch for good. */
export class DraftTooLarge extends Error {
  readonly limit: number;
  constructor(bytes: number, limit: number) {
    super(`events of one request must fit the draft: bytes=${bytes}, limit=${limit}`);
    this.limit = limit;
  }
}

export class LaneWriter {
  readonly id: LaneId;
  readonly ring: Ring;
  readonly control: LaneControl;
  /** Largest draft: a quarter of the ring, so that a publish always fits beside what is not synced yet. */
  readonly draftBytesMax: number;
  buffer: Buffer;
  #words: Int32Array;
  #view: DataView;
  readonly #producer: RingProducer;
  readonly #wake: WakeWords;
  readonly #disk: Disk;
  readonly #now: () => number;
  readonly #journal: string | undefined;
  readonly #logId: Buffer;
  readonly #seed: number;

  #start = 0;
  #end = 0;
  #frameAt = -1;
  #frameRecords = 0;
  #draftRecords = 0;
  #records: number;
  #markedFrameAt = -1;
  #markedFrameRecords = 0;
  #markedDraftRecords = 0;

  #fd = -1;
  #base = 0;
  #segmentBytes = 0;
  #generation = 0;
  /** File offset of the end of what is published. */
  #fileEnd = 0;
  /** Where in the draft the bytes of the current segment begin. */
  #runFrom = 0;
  /** buffer[0, start) holds the file's bytes from the page boundary on. */
  #mirrored = false;
  #stuck: Error | undefined;

  constructor(parts: LaneShared, disk: Disk = realDisk, now: () => number = Date.now) {
    this.id = parts.id;
    this.ring = new Ring(parts.ring);
    this.control = new LaneControl(parts.control);
    this.#producer = new RingProducer(this.ring, parts.journal !== undefined);
    this.#wake = new WakeWords(parts.wake);
    this.#disk = disk;
    this.#now = now;
    this.#journal = parts.journal;
    this.#logId = Buffer.from(parts.logId);
    this.#seed = laneSeed(this.#logId, parts.id.life, parts.id.lane);
    this.#records = this.ring.tailRecord();
    this.draftBytesMax = this.ring.capacity >>> 2;
    this.buffer = Buffer.alloc(0);
    this.#words = new Int32Array(0);
    this.#view = new DataView(new ArrayBuffer(0));
    this.#grow(2 * FRAME_BODY_MAX + 2 * PAGE);
  }

  /** End of what is published. */
  get tail(): number {
    return this.#producer.tail;
  }
  /** Records published so far. */
  get records(): number {
    return this.#records;
  }
  /** Bytes that the next publish() will add. */
  get draftBytes(): number {
    return this.#end - this.#start;
  }
  /** The error of the write that is being repeated. */
  get stuck(): Error | undefined {
    return this.#stuck;
  }

  /** Why `bytes` more bytes of records cannot be taken now; undefined: they can. Cheap: no system call. */
  refusal(bytes: number): Refusal | undefined {
    if (this.#stuck !== undefined) return 'write_failed';
    if (this.control.paused()) return this.control.failed() ? 'journal_failed' : 'sink_lag';
    const need = this.#end - this.#start + bytes + FRAME_HEADER * (2 + (bytes >>> 14));
    if (!this.#producer.room(need)) return 'ring_full';
    if (this.#journal === undefined || this.#fileEnd + need <= this.#segmentBytes) return undefined;
    return this.#spareRefusal(need);
  }

  #spareRefusal(need: number): Refusal | undefined {
    if (PAGE + need <= this.control.spareBytes()) return undefined;
    return this.control.full() === FULL_NONE ? 'journal_stalled' : 'journal_full';
  }

  /** Offset in `buffer` (which may be another one after this call) where a record of up to `bytesMax` bytes may be written. */
  begin(bytesMax: number): number {
    if (this.#frameAt >= 0 && this.#frameRecords > 0) {
      const body = this.#end - this.#frameAt - FRAME_HEADER;
      if (body + bytesMax > FRAME_BODY_MAX) this.#closeFrame();
    }
    const need = this.#end + FRAME_HEADER + align8(bytesMax) + PAGE;
    if (need > this.buffer.length) {
      if (need - this.#start > this.draftBytesMax + PAGE)
        throw new DraftTooLarge(need - this.#start, this.draftBytesMax);
      this.#grow(Math.min(Math.max(need, 2 * this.buffer.length), this.draftBytesMax + 3 * PAGE));
    }
    if (this.#frameAt < 0) {
      this.#frameAt = this.#end;
      this.#frameRecords = 0;
      this.#end += FRAME_HEADER;
    }
    return this.#end;
  }

  /** The record that began at the last begin() ends at `end`. */
  commit(end: number, kind: number, version: number): void {
    const at = this.#end;
    this.#view.setUint32(at, end - at, true);
    this.#view.setUint16(at + 4, kind, true);
    this.#view.setUint16(at + 6, version, true);
    const aligned = align8(end);
    for (let i = end; i < aligned; i++) this.buffer[i] = 0;
    this.#end = aligned;
    this.#frameRecords += 1;
    this.#draftRecords += 1;
  }

  /** Remembers the state of the draft; one mark at a time. */
  mark(): number {
    this.#markedFrameAt = this.#frameAt;
    this.#markedFrameRecords = this.#frameRecords;
    this.#markedDraftRecords = this.#draftRecords;
    return this.#end;
  }

  /** Forgets every record since mark(). */
  rewind(mark: number): void {
    this.#frameAt = this.#markedFrameAt;
    this.#frameRecords = this.#markedFrameRecords;
    this.#draftRecords = this.#markedDraftRecords;
    this.#end = mark;
  }

  /** Makes the draft real. False: the write failed; the draft is kept, see retry(). */
  publish(): boolean {
    if (this.#stuck !== undefined) return false;
    if (this.#draftRecords === 0) {
      this.#dropEmptyFrame();
      return true;
    }
    if (this.#frameRecords > 0) this.#closeFrame();
    else this.#dropEmptyFrame();
    // Sealed once: a write that is repeated puts the same bytes where the first try may have put some of them.
    this.#seal(this.#start, this.#end);
    return this.#write();
  }

  /** Repeats a failed write. Call from a timer while `stuck`. */
  retry(): boolean {
    if (this.#stuck === undefined) return true;
    this.#stuck = undefined;
    return this.#write();
  }

  #dropEmptyFrame(): void {
    if (this.#frameAt >= 0 && this.#frameRecords === 0) this.#end = this.#frameAt;
    this.#frameAt = -1;
  }

  #closeFrame(): void {
    // Only the size and the count: the rest is sealed in publish(), when the position is known.
    this.#view.setUint32(this.#frameAt + 8, this.#end - this.#frameAt, true);
    this.#view.setUint32(this.#frameAt + 12, this.#frameRecords, true);
    this.#frameAt = -1;
    this.#frameRecords = 0;
  }

  #write(): boolean {
    const from = this.#start;
    const end = this.#end;
    if (!this.#producer.room(end - from)) throw new Error('lane: publish without room; refusal() was not asked');
    if (this.#journal !== undefined) {
      try {
        this.#writeSegments(end);
      } catch (error) {
        this.#stuck = error as Error;
        this.control.setStuck(true);
        return false;
      }
      this.control.setStuck(false);
    }
    this.#records += this.#draftRecords;
    this.#draftRecords = 0;
    this.#producer.publish(this.buffer, this.#words, from, end - from, this.#records);
    if (this.#journal !== undefined) this.#keepPage(end);
    this.#end = this.#start;
    this.#runFrom = this.#start;
    const wake = this.#wake;
    for (let s = 0; s < wake.sleepers; s++) wake.nudge(s);
    return true;
  }

  #seal(from: number, end: number): void {
    const view = this.#view;
    const ms = this.#now();
    let record = this.#records;
    const shift = this.#producer.tail - from;
    for (let at = from; at < end; ) {
      const bytes = view.getUint32(at + 8, true);
      const records = view.getUint32(at + 12, true);
      sealFrame(this.buffer, view, at, { bytes, records, position: at + shift, firstRecord: record, ms }, this.#seed);
      record += records;
      at += bytes;
    }
  }

  /** Writes the frames, rotating where one does not fit. Repeatable: what an earlier try has put into a full segment stays there. */
  #writeSegments(end: number): void {
    const view = this.#view;
    let fileEnd = this.#fileEnd;
    for (let at = this.#runFrom; at < end; ) {
      const bytes = view.getUint32(at + 8, true);
      if (fileEnd + bytes > this.#segmentBytes) {
        const run = at - this.#runFrom;
        if (run > 0) this.#disk.write(this.#fd, this.buffer, this.#runFrom, run, fileEnd - run);
        this.#rotate(view.getFloat64(at + 16, true), view.getFloat64(at + 24, true), this.#generation);
        this.#runFrom = at;
        fileEnd = this.#fileEnd;
      } else {
        fileEnd += bytes;
        at += bytes;
      }
    }
    // Whole pages: the tail page is written again with the same bytes, so the kernel never has to read a page first.
    const whole = Math.ceil(fileEnd / PAGE) * PAGE;
    this.buffer.fill(0, end, end + whole - fileEnd);
    const lead = this.#mirrored ? this.#runFrom : 0;
    const begin = fileEnd - (end - this.#runFrom) - lead;
    this.#disk.write(this.#fd, this.buffer, this.#runFrom - lead, whole - begin, begin);
    this.#fileEnd = fileEnd;
  }

  /** Moves the last, partly filled page to the front of the draft. */
  #keepPage(end: number): void {
    const keep = this.#fileEnd % PAGE;
    const available = this.#mirrored ? end : end - this.#runFrom;
    this.#mirrored = keep <= available;
    if (this.#mirrored) this.buffer.copyWithin(0, end - keep, end);
    this.#start = this.#mirrored ? keep : 0;
  }

  /** Takes the spare as the next segment. Header first, then the name: a segment that can be found has a valid header. */
  #rotate(base: number, baseRecord: number, generation: number): void {
    const spare = this.#spare();
    const header = Buffer.alloc(PAGE);
    const created = this.#now();
    writeSegmentHeader(header, { ...this.id, generation, base, baseRecord, created }, this.#logId);
    this.#disk.write(spare.fd, header, 0, PAGE, 0);
    const folder = join(this.#journal as string, 'lanes', laneFolder(this.id));
    this.#disk.rename(join(folder, spareName(spare.serial)), join(folder, segmentName(base, generation)));
    this.#fd = spare.fd;
    this.#base = base;
    this.#generation = generation;
    this.#segmentBytes = spare.bytes;
    this.#fileEnd = PAGE;
    this.#mirrored = false;
    this.control.setCurrent(spare.fd, base, base + spare.bytes - PAGE, generation);
  }

  #spare(): Spare {
    const spare = this.control.spare();
    if (spare === undefined) throw new Error('journal: no spare segment is ready');
    return spare;
  }

  /** Call every few dozen ms: repeats a failed write, starts over after a failed sync. */
  tick(): void {
    if (this.#stuck !== undefined) this.retry();
    if (this.control.rescue()) this.rescue();
  }

  /**
   * L7: after a failed fdatasync nobody knows what is on disk. Writes [synced, tail) from the ring, which still has it (L2), into a
   * new segment of a higher generation, which recovery prefers. The bytes come before the name: whoever finds the segment finds them in it,
   * and a write that fails leaves everything as it was. Call from a timer; false: no spare yet, or this write failed too.
   */
  rescue(): boolean {
    if (this.#journal === undefined || !this.control.spareReady()) return false;
    const from = this.ring.synced();
    const bytes = this.#producer.tail - from;
    if (PAGE + bytes > this.control.spareBytes()) {
      this.control.refuseSpare();
      return false;
    }
    const copy = Buffer.alloc(Math.ceil(bytes / PAGE) * PAGE);
    this.ring.copyOut(from, bytes, copy, 0);
    const record = bytes > 0 ? copy.readDoubleLE(24) : this.#records;
    try {
      if (bytes > 0) this.#disk.write(this.#spare().fd, copy, 0, copy.length, PAGE);
      this.#rotate(from, record, this.#generation + 1);
    } catch {
      return false;
    }
    this.#fileEnd = PAGE + bytes;
    // The draft keeps its place; its next write begins inside a page that the draft does not mirror.
    this.#runFrom = this.#start;
    return true;
  }

  #grow(bytes: number): void {
    // Not from the pool: the words view below needs an ArrayBuffer of its own, aligned to 8.
    const grown = Buffer.from(new ArrayBuffer(align8(bytes)));
    this.buffer.copy(grown, 0, 0, this.#end);
    this.buffer = grown;
    this.#words = new Int32Array(grown.buffer);
    this.#view = new DataView(grown.buffer);
  }

  /** Position of the first byte of the segment being written; for tests and metrics. */
  get base(): number {
    return this.#base;
  }
}
