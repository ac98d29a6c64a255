/**
 * Batch: records of one lane in private memory, and the stretch [from, to) of the lane that they cover. The stretch is
 * whole frames. Part of it may be lost (`losses`), so `to` can move on without a record.
 */
import { align8, recordAt } from '../kernel/record.ts';
import type { Mark } from './checkpoint.ts';
import { FRAME_HEADER, frameAt } from './frame.ts';
import type { LaneId } from './segment.ts';

/** A stretch of a lane that cannot be delivered any more. */
export interface Loss {
  readonly from: Mark;
  readonly to: Mark;
  /**
   * damaged: the bytes on disk are not valid, or records of a topic cannot be unpacked. gone: the segment was deleted
   * before this sink had passed it. dropped: the sink lagged further than it may (ON_LAG=drop).
   */
  readonly reason: 'damaged' | 'gone' | 'dropped';
}

export class Batch {
  lane: LaneId = { life: 0, lane: 0 };
  from: Mark = { position: 0, record: 0 };
  to: Mark = { position: 0, record: 0 };
  count = 0;
  /** Records in the stretch that the output does not take. */
  skipped = 0;
  /** More is there, but the next frame does not fit. */
  full = false;
  /** Bytes of `buffer` in use. */
  bytes = 0;
  buffer: Buffer;
  view: DataView;
  /** Where record i begins in `buffer`, i < count. */
  offsets = new Int32Array(1024);
  /** Where record i begins in the lane: a name for it that never changes. */
  positions = new Float64Array(1024);
  readonly losses: Loss[] = [];
  /** Time of the oldest frame in it, epoch ms. */
  oldestMs = 0;

  constructor(bytes: number) {
    // Not from Buffer's pool: a slice of it may be handed to a socket until the batch is used again.
    const memory = new ArrayBuffer(align8(bytes));
    this.buffer = Buffer.from(memory);
    this.view = new DataView(memory);
  }

  begin(lane: LaneId, from: Mark): void {
    this.lane = lane;
    this.from = from;
    this.to = from;
    this.count = 0;
    this.skipped = 0;
    this.bytes = 0;
    this.full = false;
    this.oldestMs = 0;
    this.losses.length = 0;
  }

  /** Makes an empty batch large enough for a frame of `bytes`. */
  reserve(bytes: number): void {
    if (bytes <= this.buffer.length) return;
    const memory = new ArrayBuffer(align8(bytes));
    this.buffer = Buffer.from(memory);
    this.view = new DataView(memory);
  }

  get lostRecords(): number {
    let records = 0;
    for (const loss of this.losses) records += loss.to.record - loss.from.record;
    return records;
  }

  /** Takes over the frames that were just copied to [bytes, bytes + added): notes where their records begin. */
  adopt(added: number): void {
    const { view } = this;
    const end = this.bytes + added;
    let record = this.to.record;
    let position = this.to.position;
    for (let at = this.bytes; at < end; ) {
      const bytes = view.getUint32(at + frameAt.bytes, true);
      const records = view.getUint32(at + frameAt.records, true);
      if (this.oldestMs === 0) this.oldestMs = view.getFloat64(at + frameAt.ms, true);
      if (this.count + records > this.offsets.length) this.#widen(this.count + records);
      let offset = at + FRAME_HEADER;
      for (let r = 0; r < records; r++) {
        this.offsets[this.count] = offset;
        this.positions[this.count] = position + offset - at;
        this.count += 1;
        offset += align8(view.getUint32(offset + recordAt.length, true));
      }
      if (offset !== at + bytes)
        throw new Error(`batch: records must fill their frame: position=${position}, off by ${offset - at - bytes}`);
      // From the frame's own number, not by counting: records that went missing unnoticed then show in the ledger.
      record = view.getFloat64(at + frameAt.firstRecord, true) + records;
      position += bytes;
      at += bytes;
    }
    this.bytes = end;
    this.to = { position, record };
  }

  /**
   * Takes over one record that was just written to [bytes, bytes + added), for a source without frames; `to`: the mark
   * behind it.
   */
  adoptRecord(added: number, position: number, to: Mark, ms: number): void {
    if (this.oldestMs === 0) this.oldestMs = ms;
    if (this.count + 1 > this.offsets.length) this.#widen(this.count + 1);
    this.offsets[this.count] = this.bytes;
    this.positions[this.count] = position;
    this.count += 1;
    this.bytes += added;
    this.to = to;
  }

  /** Takes records of other kinds out, from number `from` on. The stretch of the batch still covers them. */
  passOver(from: number, kinds: ReadonlySet<number>): void {
    const { offsets, positions, view } = this;
    let kept = from;
    for (let i = from; i < this.count; i++) {
      if (!kinds.has(view.getUint16(offsets[i] + recordAt.kind, true))) continue;
      offsets[kept] = offsets[i];
      positions[kept] = positions[i];
      kept += 1;
    }
    this.skipped += this.count - kept;
    this.count = kept;
  }

  #widen(records: number): void {
    const size = Math.max(records, 2 * this.offsets.length);
    const offsets = new Int32Array(size);
    offsets.set(this.offsets);
    this.offsets = offsets;
    const positions = new Float64Array(size);
    positions.set(this.positions);
    this.positions = positions;
  }
}
