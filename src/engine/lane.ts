/**
 * Lane writer: the one producer of a lane. Records are encoded into a private draft (draft.ts) and become real in
 * publish(): the frames are sealed, written to the lane's segment (segment-writer.ts), copied into the ring, and `tail`
 * is stored. What is not published does not exist, so an exception while encoding leaves nothing to repair.
 *
 * A write that fails keeps the draft, and tick() repeats it at the same position; meanwhile refusal() says
 * write_failed. The write comes first, then the ring, then tail: a 2xx given after publish() survives the death of the
 * process, and no reader sees what a crash could take back. (Redis writes its AOF in this order.)
 */
import { WakeWords } from '../kernel/threads/wake.ts';
import { type Disk, realDisk } from './disk.ts';
import { Draft } from './draft.ts';
import { FRAME_HEADER, laneSeed } from './frame.ts';
import { FULL_NONE, LaneControl } from './lane-control.ts';
import type { Refusal } from './refusal.ts';
import { Ring, RingProducer } from './ring.ts';
import { type LaneId, PAGE } from './segment.ts';
import { SegmentWriter } from './segment-writer.ts';

export { DraftTooLarge } from './draft.ts';

/** What a lane is made of; goes to the threads through workerData. */
export interface LaneShared {
  readonly id: LaneId;
  readonly ring: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly wake: SharedArrayBuffer;
  /** The first so many seats follow the lanes and are woken by a publish. Default: all that have a wake word. */
  readonly followers?: number;
  /** The journal's folder; undefined: memory only. */
  readonly journal: string | undefined;
  /** 16 bytes. */
  readonly logId: Uint8Array;
}

export class LaneWriter {
  readonly id: LaneId;
  readonly ring: Ring;
  readonly control: LaneControl;
  readonly #draft: Draft;
  readonly #producer: RingProducer;
  /** Undefined: memory only. */
  readonly #segments: SegmentWriter | undefined;
  readonly #wake: WakeWords;
  readonly #now: () => number;
  readonly #seed: number;
  #records: number;
  #stuck: Error | undefined;

  constructor(shared: LaneShared, disk: Disk = realDisk, now: () => number = Date.now) {
    const { id, journal } = shared;
    const logId = Buffer.from(shared.logId);
    this.id = id;
    this.ring = new Ring(shared.ring);
    this.control = new LaneControl(shared.control);
    // A quarter of the ring: a publish always fits beside what is not synced yet.
    this.#draft = new Draft(this.ring.capacity >>> 2);
    this.#producer = new RingProducer(this.ring, journal !== undefined);
    if (journal !== undefined)
      this.#segments = new SegmentWriter({ id, journal, logId, control: this.control, disk, now });
    this.#wake = new WakeWords(shared.wake, shared.followers);
    this.#now = now;
    this.#seed = laneSeed(logId, id.life, id.lane);
    this.#records = this.ring.tailRecord();
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
    return this.#draft.bytes;
  }
  get draftBytesMax(): number {
    return this.#draft.bytesMax;
  }
  /** The error of the write that is being repeated. */
  get stuck(): Error | undefined {
    return this.#stuck;
  }

  /** Why `bytes` more bytes of records cannot be taken now; undefined: they can. Cheap: no system call. */
  refusal(bytes: number): Refusal | undefined {
    if (this.#stuck !== undefined) return 'write_failed';
    if (this.control.paused()) return this.control.failed() ? 'journal_failed' : 'sink_lag';
    const need = this.#draft.bytes + bytes + FRAME_HEADER * (2 + (bytes >>> 14));
    if (!this.#producer.room(need)) return 'ring_full';
    if (this.#segments === undefined || this.#segments.fits(need)) return undefined;
    return this.#spareRefusal(need);
  }

  #spareRefusal(need: number): Refusal | undefined {
    if (PAGE + need <= this.control.spareBytes()) return undefined;
    return this.control.full() === FULL_NONE ? 'journal_stalled' : 'journal_full';
  }

  /** The draft's memory; may be another one after begin(). */
  get buffer(): Buffer {
    return this.#draft.buffer;
  }
  /** Offset in `buffer` where a record of up to `bytesMax` bytes may be written. */
  begin(bytesMax: number): number {
    return this.#draft.begin(bytesMax);
  }
  /** The record that began at the last begin() ends at `end`. */
  commit(end: number, kind: number, version: number): void {
    this.#draft.commit(end, kind, version);
  }
  /** Remembers the state of the draft; one mark at a time. */
  mark(): number {
    return this.#draft.mark();
  }
  /** Forgets every record since mark(). */
  rewind(mark: number): void {
    this.#draft.rewind(mark);
  }

  /** Makes the draft real. False: the write failed; the draft is kept, and tick() repeats the write. */
  publish(): boolean {
    if (this.#stuck !== undefined) return false;
    if (!this.#draft.close()) return true;
    // Sealed once: a write that is repeated puts the same bytes where the first try may have put some of them.
    this.#draft.seal(this.#producer.tail, this.#records, this.#now(), this.#seed);
    return this.#write();
  }

  #write(): boolean {
    const draft = this.#draft;
    const producer = this.#producer;
    if (!producer.room(draft.bytes)) throw new Error('lane: publish without room; refusal() was not asked');
    let keep = 0;
    if (this.#segments !== undefined) {
      try {
        this.#segments.write(draft);
      } catch (error) {
        this.#stuck = error as Error;
        this.control.setStuck(true);
        return false;
      }
      this.control.setStuck(false);
      keep = this.#segments.keep(draft);
    }
    this.#records += draft.records;
    producer.publish(draft.buffer, draft.words, draft.start, draft.bytes, this.#records);
    draft.clear(keep);
    const wake = this.#wake;
    for (let s = 0; s < wake.sleepers; s++) wake.nudge(s);
    return true;
  }

  /** Repeats a failed write. */
  retry(): boolean {
    if (this.#stuck === undefined) return true;
    this.#stuck = undefined;
    return this.#write();
  }

  /** Call every few dozen ms: repeats a failed write, starts over after a failed sync. */
  tick(): void {
    this.retry();
    if (this.control.rescue()) this.#segments?.rescue(this.ring, this.tail, this.#records, this.#draft);
  }
}
