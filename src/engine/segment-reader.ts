/**
 * Segment reader: frames of one lane from its files, each checked before it is handed on. Damage costs only the frames
 * that it touches (L6): the reader searches for the next valid frame and names the stretch that it had to leave out.
 */
import { join } from 'node:path';
import type { Loss } from './batch.ts';
import type { Mark } from './checkpoint.ts';
import type { Disk } from './disk.ts';
import { claimedBytes, FRAME_HEADER, type Frame, laneSeed, openFrame, seekMagic } from './frame.ts';
import { type LaneId, laneFolder, PAGE, readableSegments, readSegmentHeader, type SegmentName } from './segment.ts';

const SCAN_BYTES = 1 << 20;

/** A frame never claims more than this; a larger claim is damage. Bounds every read. */
const FRAME_BYTES_MAX = 64 * 2 ** 20;

/** The next frame is larger than the whole buffer, as after a larger MAX_EVENT_BYTES: come again with a larger one. */
export interface Need {
  readonly needBytes: number;
}

export class SegmentReader {
  readonly folder: string;
  readonly #id: LaneId;
  readonly #logId: Buffer;
  readonly #disk: Disk;
  readonly #seed: number;
  #segments: SegmentName[] = [];
  #index = -1;
  #fd = -1;
  #size = 0;
  #scan: Buffer | undefined;

  constructor(lanes: string, id: LaneId, logId: Buffer, disk: Disk) {
    this.folder = join(lanes, laneFolder(id));
    this.#id = id;
    this.#logId = logId;
    this.#disk = disk;
    this.#seed = laneSeed(logId, id.life, id.lane);
  }

  /**
   * Copies valid whole frames from `from` on, all below `end`, to `into` at `at`: as many as fit bytesMax and
   * recordsMax, at least one. Returns the bytes copied; the loss when what lies at `from` cannot be read; 0 when `from`
   * has reached `end` or the next frame does not fit behind `at`. `listed`: the folder was read just now.
   */
  read(
    from: Mark,
    end: Mark,
    into: Buffer,
    view: DataView,
    at: number,
    bytesMax: number,
    recordsMax: number,
    listed = false,
  ): number | Loss | Need {
    if (from.position >= end.position) return 0;
    const gone = this.#seek(from, end);
    if (gone !== undefined) return gone;
    const limit = Math.min(end.position, this.#segmentEnd());
    const base = this.#segments[this.#index].base;
    const room = Math.min(into.length - at, limit - from.position);
    let wanted = bytesMax;
    let got = this.#read(into, at, Math.min(wanted, room), PAGE + from.position - base);
    let used = 0;
    let records = 0;
    for (;;) {
      const frame = openFrame(into, view, at + used, at + got, from.position + used, this.#seed);
      if (frame === undefined) {
        if (used > 0) return used;
        const claimed = claimedBytes(view, at, at + got, from.position);
        // Too large for the rest of a batch that holds records already: the frame comes first in the next batch.
        if (at > 0 && claimed > into.length - at) return 0;
        if (claimed > into.length && claimed <= Math.min(FRAME_BYTES_MAX, limit - from.position))
          return { needBytes: claimed };
        if (claimed > got && claimed <= room) {
          got = this.#read(into, at, claimed, PAGE + from.position - base);
          wanted = 0;
          if (got === claimed) continue;
        }
        if (listed) return this.#resync(from, end, limit);
        // Not damage yet: since the folder was read, a rescue may have replaced the file, or ON_LAG=drop taken it away.
        this.close();
        return this.read(from, end, into, view, at, bytesMax, recordsMax, true);
      }
      if (used > 0 && records + frame.records > recordsMax) return used;
      used += frame.bytes;
      records += frame.records;
      if (records >= recordsMax || used >= got || wanted === 0) return used;
    }
  }

  #read(into: Buffer, at: number, bytes: number, offset: number): number {
    return this.#disk.read(this.#fd, into, at, Math.min(bytes, Math.max(0, this.#size - offset)), offset);
  }

  #segmentEnd(): number {
    return this.#index + 1 < this.#segments.length ? this.#segments[this.#index + 1].base : Number.POSITIVE_INFINITY;
  }

  /** Opens the segment that holds `from`. Returns the loss when that segment is gone. */
  #seek(from: Mark, end: Mark): Loss | undefined {
    const inside =
      this.#fd >= 0 && this.#segments[this.#index].base <= from.position && from.position < this.#segmentEnd();
    // The last known segment may have successors by now, and the first of them tells where it ends.
    if (inside && this.#index + 1 < this.#segments.length) return undefined;
    const name = inside ? this.#segments[this.#index].name : undefined;
    this.#list();
    let index = -1;
    for (let i = 0; i < this.#segments.length && this.#segments[i].base <= from.position; i++) index = i;
    if (index < 0) {
      const next = this.#segments[0];
      this.close();
      const to = next === undefined ? end : { position: next.base, record: this.#baseRecord(0) ?? end.record };
      return { from, to, reason: 'gone' };
    }
    this.#index = index;
    if (this.#segments[index].name === name) return undefined;
    this.close();
    this.#index = index;
    this.#fd = this.#disk.open(join(this.folder, this.#segments[index].name), 'r');
    this.#size = this.#disk.size(this.#fd);
    return undefined;
  }

  #list(): void {
    this.#segments = this.#disk.exists(this.folder) ? readableSegments(this.#disk.list(this.folder)) : [];
  }

  /** Where the first segment at or after `position` begins; undefined: there is none, or its header cannot be read. */
  firstBase(position: number): Mark | undefined {
    this.#list();
    const index = this.#segments.findIndex((segment) => segment.base >= position);
    this.close();
    if (index < 0) return undefined;
    const record = this.#baseRecord(index);
    return record === undefined ? undefined : { position: this.#segments[index].base, record };
  }

  #baseRecord(index: number): number | undefined {
    const page = Buffer.alloc(PAGE);
    const fd = this.#disk.open(join(this.folder, this.#segments[index].name), 'r');
    try {
      this.#disk.read(fd, page, 0, PAGE, 0);
    } finally {
      this.#disk.close(fd);
    }
    const header = readSegmentHeader(page, this.#logId);
    return header?.life === this.#id.life && header.lane === this.#id.lane ? header.baseRecord : undefined;
  }

  /** Looks for the next valid frame behind damage. */
  #resync(from: Mark, end: Mark, limit: number): Loss {
    const found = this.scan(from.position + 8, limit);
    if (found !== undefined)
      return { from, to: { position: found.position, record: found.firstRecord }, reason: 'damaged' };
    if (limit >= end.position) return { from, to: end, reason: 'damaged' };
    const record = this.#baseRecord(this.#index + 1);
    if (record !== undefined) return { from, to: { position: limit, record }, reason: 'damaged' };
    // The successor's header page is damaged too: its first valid frame says which record it begins with.
    const behind =
      this.#seek({ position: limit, record: from.record }, end) ??
      this.scan(limit, Math.min(end.position, this.#segmentEnd()));
    if (behind !== undefined && 'firstRecord' in behind)
      return { from, to: { position: behind.position, record: behind.firstRecord }, reason: 'damaged' };
    return { from, to: end, reason: 'damaged' };
  }

  /** The first valid frame at or after `position` and before `limit` in the open segment. */
  scan(
    position: number,
    limit: number,
  ): { position: number; firstRecord: number; bytes: number; records: number } | undefined {
    const base = this.#segments[this.#index].base;
    this.#scan ??= Buffer.from(new ArrayBuffer(SCAN_BYTES));
    const chunk = this.#scan;
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let p = position; p < limit; ) {
      const got = this.#read(chunk, 0, Math.min(SCAN_BYTES, limit - p), PAGE + p - base);
      if (got < FRAME_HEADER) return undefined;
      // A recycled segment is full of stale frames: the search goes on in the chunk, and reads no byte again for them.
      for (let hit = seekMagic(view, 0, got); hit >= 0; hit = seekMagic(view, hit + 8, got)) {
        const frame = this.#frameIn(chunk, view, hit, got, p + hit, limit);
        if (frame !== undefined)
          return { position: p + hit, firstRecord: frame.firstRecord, bytes: frame.bytes, records: frame.records };
      }
      // The next chunk begins with the first place whose header does not lie in this one.
      p += got - FRAME_HEADER - ((got - FRAME_HEADER) % 8) + 8;
    }
    return undefined;
  }

  /** The frame at `at` of the chunk, which belongs to `position`. Its end may lie behind the chunk. */
  #frameIn(chunk: Buffer, view: DataView, at: number, end: number, position: number, limit: number): Frame | undefined {
    const claimed = claimedBytes(view, at, end, position);
    if (claimed < FRAME_HEADER || claimed > Math.min(FRAME_BYTES_MAX, limit - position)) return undefined;
    if (claimed <= end - at) return openFrame(chunk, view, at, end, position, this.#seed);
    // A frame that does not fit the file is no frame: its bytes need not be read.
    const offset = PAGE + position - this.#segments[this.#index].base;
    if (offset + claimed > this.#size) return undefined;
    const whole = Buffer.from(new ArrayBuffer(claimed));
    const n = this.#read(whole, 0, claimed, offset);
    return openFrame(whole, new DataView(whole.buffer), 0, n, position, this.#seed);
  }

  close(): void {
    if (this.#fd >= 0) this.#disk.close(this.#fd);
    this.#fd = -1;
    this.#index = -1;
  }
}
