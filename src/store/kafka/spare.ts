/**
 * Spare: the memory of a batch that was read to its end, for the next one. A backlog unpacks a megabyte every few
 * thousand records, which grows old while it is read: made anew each time, it would lie there until the next large
 * collection, and malloc would give back little of it.
 */

/** Memory for so many bytes, which may hold anything. */
export type Room = (bytes: number) => Buffer;

/** A batch that is larger than brokers take by default leaves nothing. */
export const SPARE_BYTES_MAX = 4 * 2 ** 20;
/** Batches of a topic are of some size, not of the same. Small ones get what they need: many partitions have one each. */
const STEP_BYTES = 2 ** 18;

/** One for all partitions of a consumer: what it keeps does not grow with their number. */
export class Spare {
  #kept: Buffer | undefined;

  /** Bytes that nobody uses now. */
  get bytes(): number {
    return this.#kept?.length ?? 0;
  }

  readonly take: Room = (bytes) => {
    let memory = this.#kept;
    if (memory !== undefined && memory.length >= bytes) this.#kept = undefined;
    else memory = Buffer.allocUnsafeSlow(bytes < STEP_BYTES ? bytes : STEP_BYTES * Math.ceil(bytes / STEP_BYTES));
    return memory.subarray(0, bytes);
  };

  /** Takes back what take() gave: nobody may look at it any more. */
  give(taken: Buffer): void {
    const { byteLength } = taken.buffer;
    if (byteLength > SPARE_BYTES_MAX || byteLength <= this.bytes) return;
    this.#kept = Buffer.from(taken.buffer as ArrayBuffer);
  }
}
