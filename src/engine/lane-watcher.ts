/**
 * Lane watcher: what the lanes of a process get, and what they got in the last minutes, for somebody who looks on. It
 * has no cursor and no pin: no producer waits for it, no segment is kept for it, and what has gone is left out.
 *
 *   new    from the rings. A producer may overwrite bytes while they are copied here, so a copy counts when its checksum
 *          holds for its position
 *   past   from the segments, also those of earlier lives; without a journal from the rings
 *
 * What is new and what is past meet where next() stands when past() is called: each record comes by one of them, once.
 */
import { join } from 'node:path';
import { align8, recordAt } from '../kernel/record.ts';
import { type Disk, realDisk } from './disk.ts';
import { FRAME_HEADER, frameAt, laneSeed, openFrame } from './frame.ts';
import type { FinishedLane, JournalPlace, LiveLane } from './lane-reader.ts';
import { Ring } from './ring.ts';
import { type LaneId, laneFolder, PAGE, readableSegments, readSegmentHeader } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';

/** Bytes that one step of past() reads: a few milliseconds of its thread. */
const STEP_BYTES = 1 << 20;

/** `record`: where it begins in `buffer`, which is used again after the call; `ms`: the time of its publish. */
export type Onlooker = (buffer: Buffer, record: number, ms: number) => void;

export interface WatchedLanes {
  readonly live: readonly LiveLane[];
  readonly finished: readonly FinishedLane[];
  readonly logId: Uint8Array;
  readonly journal: JournalPlace | undefined;
}

interface Watched {
  readonly id: LaneId;
  readonly ring: Ring;
  readonly seed: number;
  /** Read up to here. */
  position: number;
}

/** Memory that grows to the largest frame, which is a quarter of a ring at most. */
class Copy {
  buffer = Buffer.alloc(0);
  view = new DataView(this.buffer.buffer);

  room(bytes: number): void {
    if (bytes <= this.buffer.length) return;
    const memory = new ArrayBuffer(align8(Math.max(bytes, 2 * this.buffer.length)));
    this.buffer = Buffer.from(memory);
    this.view = new DataView(memory);
  }
}

export class LaneWatcher {
  readonly #lanes: readonly Watched[];
  readonly #watched: WatchedLanes;
  readonly #disk: Disk;
  readonly #logId: Buffer;
  readonly #copy = new Copy();

  /** Begins with what is published from now on. */
  constructor(watched: WatchedLanes, disk: Disk = realDisk) {
    this.#watched = watched;
    this.#disk = disk;
    this.#logId = Buffer.from(watched.logId);
    this.#lanes = watched.live.map(({ id, ring: memory }) => {
      const ring = new Ring(memory);
      return { id, ring, seed: laneSeed(this.#logId, id.life, id.lane), position: ring.tail() };
    });
  }

  /** What has come since the last call. Bounded by the size of the rings. */
  next(look: Onlooker): void {
    for (const lane of this.#lanes) lane.position = this.#ringFrames(lane, lane.position, lane.ring.tail(), look);
  }

  /** Calls for each frame of the ring from `position` to `end`, which is returned, as far as it is still there. */
  #ringFrames({ ring, seed }: Watched, position: number, end: number, look: Onlooker): number {
    const copy = this.#copy;
    for (let at = Math.max(position, ring.floor()); at < end; ) {
      const bytes = ring.frameBytes(at);
      if (bytes >= FRAME_HEADER && at + bytes <= end) {
        copy.room(bytes);
        ring.copyOut(at, bytes, copy.buffer, 0);
        if (openFrame(copy.buffer, copy.view, 0, bytes, at, seed) !== undefined) {
          eachRecord(copy, 0, look);
          at += bytes;
          continue;
        }
      }
      const floor = ring.floor();
      // The producer was faster: the oldest frame that is left comes next.
      if (floor <= at) return end;
      at = floor;
    }
    return end;
  }

  /**
   * Reads what was published from `sinceMs` on until now, a step at a time. Returns the time from which on everything
   * of the lanes that are still there has been read.
   */
  past(sinceMs: number, look: Onlooker): Generator<void, number> {
    return this.#past(
      this.#lanes.map(({ position }) => position),
      sinceMs,
      (buffer, record, ms) => ms >= sinceMs && look(buffer, record, ms),
    );
  }

  *#past(ends: readonly number[], sinceMs: number, recent: Onlooker): Generator<void, number> {
    const { live, finished, journal } = this.#watched;
    let known = sinceMs;
    if (journal === undefined) {
      for (const [i, lane] of this.#lanes.entries()) {
        const floor = lane.ring.floor();
        let firstMs = sinceMs;
        this.#ringFrames(lane, floor, ends[i]!, (buffer, record, ms) => {
          if (floor > 0 && firstMs === sinceMs) firstMs = ms;
          recent(buffer, record, ms);
        });
        known = Math.max(known, firstMs);
        yield;
      }
      return known;
    }
    const ended = finished.map(({ id, end }) => ({ id, end: end.position }));
    for (const { id, end } of [...ended, ...live.map(({ id: one }, i) => ({ id: one, end: ends[i]! }))])
      known = Math.max(known, yield* this.#segmentFrames(journal.lanes, id, end, sinceMs, recent));
    return known;
  }

  /** The same of a lane on disk; returns the time from which on it is there. */
  *#segmentFrames(lanes: string, id: LaneId, end: number, sinceMs: number, look: Onlooker): Generator<void, number> {
    const { base, known } = this.#firstOf(join(lanes, laneFolder(id)), id, sinceMs);
    const reader = new SegmentReader(lanes, id, this.#logId, this.#disk);
    const copy = new Copy();
    copy.room(STEP_BYTES);
    try {
      // Which number a record has, nobody asks here.
      for (let at = base; at < end; ) {
        const limit = { position: end, record: 0 };
        const took = reader.read(
          { position: at, record: 0 },
          limit,
          copy.buffer,
          copy.view,
          0,
          STEP_BYTES,
          Number.POSITIVE_INFINITY,
        );
        if (typeof took !== 'number') {
          if ('needBytes' in took) copy.room(took.needBytes);
          else at = took.to.position;
          continue;
        }
        if (took === 0) break;
        for (let frame = 0; frame < took; frame += copy.view.getUint32(frame + frameAt.bytes, true))
          eachRecord(copy, frame, look);
        at += took;
        yield;
      }
    } finally {
      reader.close();
    }
    return known;
  }

  /** The last segment that was begun before `sinceMs`; where there is none any more, the first, and when that begins. */
  #firstOf(folder: string, id: LaneId, sinceMs: number): { base: number; known: number } {
    const names = this.#disk.exists(folder) ? readableSegments(this.#disk.list(folder)) : [];
    let first = { base: 0, known: sinceMs };
    for (const { name, base } of names.toReversed()) {
      const created = this.#createdOf(join(folder, name), id);
      first = { base, known: base > 0 ? Math.max(sinceMs, created ?? sinceMs) : sinceMs };
      if (created !== undefined && created <= sinceMs) break;
    }
    return first;
  }

  /** When a segment was begun; undefined: it has gone meanwhile, or says nothing. */
  #createdOf(path: string, id: LaneId): number | undefined {
    const page = Buffer.alloc(PAGE);
    try {
      const fd = this.#disk.open(path, 'r');
      try {
        this.#disk.read(fd, page, 0, PAGE, 0);
      } finally {
        this.#disk.close(fd);
      }
    } catch {
      return undefined;
    }
    const header = readSegmentHeader(page, this.#logId);
    return header?.life === id.life && header.lane === id.lane ? header.created : undefined;
  }
}

function eachRecord({ buffer, view }: Copy, frame: number, look: Onlooker): void {
  const ms = view.getFloat64(frame + frameAt.ms, true);
  let at = frame + FRAME_HEADER;
  for (let left = view.getUint32(frame + frameAt.records, true); left > 0; left--) {
    look(buffer, at, ms);
    at += align8(view.getUint32(at + recordAt.length, true));
  }
}
