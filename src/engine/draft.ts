/**
 * Draft: the frames of a lane's next publish, in private memory.
 *
 *   [0, start)    the file's bytes from the page boundary on, which segment-writer.ts writes again to cover whole pages
 *   [start, end)  frames: header, records, header, records ...
 *
 * Records are encoded in place: begin() says where, commit() takes the record in. A frame's header is filled in twice:
 * size and count when the frame is closed, the rest by seal(), when its position in the lane is known.
 */
import { align8, recordAt } from '../kernel/record.ts';
import { FRAME_BODY_MAX, FRAME_HEADER, frameAt, sealFrame } from './frame.ts';
import { PAGE } from './segment.ts';

/**
 * Thrown by begin() when one publish would exceed the largest draft: the caller rewinds and refuses the batch for good.
 */
export class DraftTooLarge extends Error {
  readonly limit: number;
  constructor(bytes: number, limit: number) {
    super(`events of one request must fit the draft: bytes=${bytes}, limit=${limit}`);
    this.limit = limit;
  }
}

const NO_FRAME = -1;

export class Draft {
  readonly bytesMax: number;
  /** May be another one after begin(). */
  buffer: Buffer = Buffer.alloc(0);
  words = new Int32Array(0);
  view = new DataView(new ArrayBuffer(0));
  start = 0;
  end = 0;
  /** Records in it. */
  records = 0;
  /** Where the open frame begins. */
  #frameAt = NO_FRAME;
  #frameRecords = 0;
  #markedFrameAt = NO_FRAME;
  #markedFrameRecords = 0;
  #markedRecords = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
    this.#grow(2 * FRAME_BODY_MAX + 2 * PAGE);
  }

  /** Bytes of its frames. */
  get bytes(): number {
    return this.end - this.start;
  }

  /** Offset in `buffer` where a record of up to `bytesMax` bytes may be written. */
  begin(bytesMax: number): number {
    if (this.#frameAt >= 0 && this.#frameRecords > 0) {
      const body = this.end - this.#frameAt - FRAME_HEADER;
      if (body + bytesMax > FRAME_BODY_MAX) this.#closeFrame();
    }
    // A page more than the records need: a write pads the last page with zeros.
    const need = this.end + FRAME_HEADER + align8(bytesMax) + PAGE;
    if (need > this.buffer.length) {
      if (need - this.start > this.bytesMax + PAGE) throw new DraftTooLarge(need - this.start, this.bytesMax);
      this.#grow(Math.min(Math.max(need, 2 * this.buffer.length), this.bytesMax + 3 * PAGE));
    }
    if (this.#frameAt < 0) {
      this.#frameAt = this.end;
      this.#frameRecords = 0;
      this.end += FRAME_HEADER;
    }
    return this.end;
  }

  /** The record that began at the last begin() ends at `end`. */
  commit(end: number, kind: number, version: number): void {
    const at = this.end;
    this.view.setUint32(at + recordAt.length, end - at, true);
    this.view.setUint16(at + recordAt.kind, kind, true);
    this.view.setUint16(at + recordAt.version, version, true);
    const aligned = align8(end);
    for (let i = end; i < aligned; i++) this.buffer[i] = 0;
    this.end = aligned;
    this.#frameRecords += 1;
    this.records += 1;
  }

  /** Remembers where the draft stands; one mark at a time. */
  mark(): number {
    this.#markedFrameAt = this.#frameAt;
    this.#markedFrameRecords = this.#frameRecords;
    this.#markedRecords = this.records;
    return this.end;
  }

  /** Forgets every record since mark(). */
  rewind(mark: number): void {
    this.#frameAt = this.#markedFrameAt;
    this.#frameRecords = this.#markedFrameRecords;
    this.records = this.#markedRecords;
    this.end = mark;
  }

  /** Ends the open frame, so that the draft is whole frames. False: no record is in it. */
  close(): boolean {
    if (this.#frameRecords > 0) this.#closeFrame();
    else {
      if (this.#frameAt >= 0) this.end = this.#frameAt;
      this.#frameAt = NO_FRAME;
    }
    return this.records > 0;
  }

  #closeFrame(): void {
    this.view.setUint32(this.#frameAt + frameAt.bytes, this.end - this.#frameAt, true);
    this.view.setUint32(this.#frameAt + frameAt.records, this.#frameRecords, true);
    this.#frameAt = NO_FRAME;
    this.#frameRecords = 0;
  }

  /** Seals the frames of a closed draft; its first one gets this position and this number of its first record. */
  seal(position: number, firstRecord: number, ms: number, seed: number): void {
    const { view, buffer, end } = this;
    const shift = position - this.start;
    for (let at = this.start; at < end; ) {
      const bytes = view.getUint32(at + frameAt.bytes, true);
      const records = view.getUint32(at + frameAt.records, true);
      sealFrame(buffer, view, at, { bytes, records, position: at + shift, firstRecord, ms }, seed);
      firstRecord += records;
      at += bytes;
    }
  }

  /** Empties the draft after a publish. Its last `keep` bytes stay in front of the next frames. */
  clear(keep: number): void {
    if (keep > 0) this.buffer.copyWithin(0, this.end - keep, this.end);
    this.start = keep;
    this.end = keep;
    this.records = 0;
  }

  #grow(bytes: number): void {
    // Not from Buffer's pool: the words view needs an ArrayBuffer of its own, aligned to 8.
    const grown = Buffer.from(new ArrayBuffer(align8(bytes)));
    this.buffer.copy(grown, 0, 0, this.end);
    this.buffer = grown;
    this.words = new Int32Array(grown.buffer);
    this.view = new DataView(grown.buffer);
  }
}
