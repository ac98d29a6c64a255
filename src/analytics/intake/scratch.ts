/** Scratch: a draft of a thread's own, for records that are read again and never published. */
import type { Draft } from '../../events/draft.ts';
import { align8 } from '../../kernel/record.ts';

const BYTES_AT_START = 64 * 1024;

export class Scratch implements Draft {
  buffer: Buffer = Buffer.alloc(BYTES_AT_START);
  /** Offsets of the records. */
  readonly records: number[] = [];
  #end = 0;

  clear(): void {
    this.records.length = 0;
    this.#end = 0;
  }

  begin(bytesMax: number): number {
    const need = this.#end + align8(bytesMax);
    if (need > this.buffer.length) {
      const grown = Buffer.from(new ArrayBuffer(align8(Math.max(need, 2 * this.buffer.length))));
      this.buffer.copy(grown, 0, 0, this.#end);
      this.buffer = grown;
    }
    return this.#end;
  }

  commit(end: number): void {
    this.records.push(this.#end);
    this.#end = align8(end);
  }
}
