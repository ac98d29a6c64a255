/**
 * Draft: where an encoder writes records before they are published. The engine's lane writer is one, tests use a plain
 * buffer. The type is structural, so the event model does not depend on lanes.
 */
export interface Draft {
  /** Private memory whose byte 0 is aligned to 8. begin() may replace the buffer, so read this again after it. */
  readonly buffer: Buffer;
  /** Returns the offset of a new record, a multiple of 8. The caller may write up to `bytesMax` bytes from there. */
  begin(bytesMax: number): number;
  /**
   * Takes [begin, end) as a finished record and pads it; from here on the bytes belong to the draft. A begin() without
   * a commit() leaves nothing behind.
   */
  commit(end: number, kind: number, version: number): void;
}
