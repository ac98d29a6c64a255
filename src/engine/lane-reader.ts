/**
 * Lane reader: one sink's way through one lane. It reads the ring while the sink keeps up and the segments while the
 * sink lags, and returns to the ring by itself, so a slow sink holds back nobody. A finished lane belongs to an earlier
 * life: it has no ring, and its end is known.
 */
import type { Batch, Loss } from './batch.ts';
import type { Mark } from './checkpoint.ts';
import { type Disk, realDisk } from './disk.ts';
import { LAPPED, Ring, RingReader } from './ring.ts';
import type { LaneId } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';

/** Bytes copied under one pin at most. */
const COPY_BYTES_MAX = 256 * 1024;

export interface LiveLane {
  readonly id: LaneId;
  readonly ring: SharedArrayBuffer;
}
export interface FinishedLane {
  readonly id: LaneId;
  /** Position of the oldest byte still on disk. */
  readonly begin: Mark;
  readonly end: Mark;
}

export interface JournalPlace {
  readonly lanes: string;
  readonly logId: Uint8Array;
}

export class LaneReader {
  readonly id: LaneId;
  /** Read up to here. How much of that is delivered, the runner knows. */
  mark: Mark;
  readonly ring: Ring | undefined;
  readonly #reader: RingReader | undefined;
  readonly #segments: SegmentReader | undefined;
  readonly #end: Mark | undefined;

  constructor(
    lane: LiveLane | FinishedLane,
    reader: number,
    mark: Mark,
    journal: JournalPlace | undefined,
    disk: Disk = realDisk,
  ) {
    this.id = lane.id;
    this.mark = mark;
    if ('ring' in lane) {
      this.ring = new Ring(lane.ring);
      this.#reader = new RingReader(this.ring, reader);
    } else this.#end = lane.end;
    if (journal !== undefined)
      this.#segments = new SegmentReader(journal.lanes, lane.id, Buffer.from(journal.logId), disk);
  }

  /** End of what can be read now. May be late for a live lane. */
  end(): Mark {
    if (this.#end !== undefined) return this.#end;
    return (this.ring as Ring).tailMark();
  }

  /** Whether the lane is read to its end for good; never true for a live lane. */
  get finished(): boolean {
    return this.#end !== undefined && this.mark.position >= this.#end.position;
  }

  /**
   * Adds frames to the batch, which must be of this lane, until it holds `recordsMax` records, is full, or nothing more
   * is there. A frame is never split, so the batch may hold a few more. Returns whether anything was added, losses
   * included.
   */
  fill(batch: Batch, recordsMax: number): boolean {
    let added = false;
    while (batch.count < recordsMax && batch.losses.length === 0) {
      const took = this.#copy(batch, recordsMax - batch.count);
      if (took === 0) {
        batch.full = batch.count > 0 && this.mark.position < this.end().position;
        break;
      }
      added = true;
      if (typeof took === 'number') batch.adopt(took);
      else {
        batch.losses.push(took);
        batch.to = took.to;
      }
      this.mark = batch.to;
    }
    return added;
  }

  #copy(batch: Batch, recordsMax: number): number | Loss {
    let room = batch.buffer.length - batch.bytes;
    const { position } = this.mark;
    if (this.#reader !== undefined) {
      const ring = this.ring as Ring;
      const lag = ring.tail() - position;
      if (lag <= 0) return 0;
      if (this.#segments === undefined || lag <= ring.capacity >>> 1) {
        const next = ring.frameBytes(position);
        if (next > room) {
          if (batch.count > 0) return 0;
          // The floor is read after the length: still at or below, nobody has overwritten the length.
          if (ring.floor() <= position) batch.reserve(next);
          room = batch.buffer.length - batch.bytes;
        }
        const bytesMax = Math.min(COPY_BYTES_MAX, room);
        const bytes = this.#reader.copy(position, batch.buffer, batch.bytes, bytesMax, recordsMax);
        if (bytes !== LAPPED) return bytes;
        if (this.#segments === undefined)
          throw new Error(`lane reader: lapped without a journal: position=${position}`);
      }
    }
    if (batch.count > 0 && room < COPY_BYTES_MAX) return 0;
    const bytesMax = Math.min(COPY_BYTES_MAX, room);
    const segments = this.#segments as SegmentReader;
    for (;;) {
      const { buffer, view, bytes } = batch;
      const took = segments.read(this.mark, this.end(), buffer, view, bytes, bytesMax, recordsMax);
      if (typeof took === 'number' || !('needBytes' in took)) return took;
      batch.reserve(took.needBytes);
    }
  }

  /**
   * Gives up the oldest unread frames, so that at most `bytesMax` stay unread. Goes on where a segment begins, or at
   * the ring's floor, so a little less may stay. Adds the loss to the batch, which must be empty.
   */
  drop(batch: Batch, bytesMax: number): void {
    const end = this.end();
    const least = end.position - bytesMax;
    if (least <= this.mark.position) return;
    const to = this.#segments?.firstBase(least) ?? this.#floorMark(end);
    if (to.position <= this.mark.position) return;
    batch.losses.push({ from: this.mark, to, reason: 'dropped' });
    batch.to = to;
    this.mark = to;
  }

  #floorMark(end: Mark): Mark {
    if (this.ring === undefined || this.#reader === undefined) return end;
    return this.#reader.floorMark() ?? end;
  }

  /** Tells the ring's producer how far this sink has delivered. */
  advance(mark: Mark): void {
    this.#reader?.advance(mark.position, mark.record);
  }

  /** Goes to another place, for example to the cursor that the target itself keeps. */
  seek(mark: Mark): void {
    this.mark = mark;
  }

  close(): void {
    this.#segments?.close();
  }
}
