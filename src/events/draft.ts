/**
 * Draft: where an encoder writes records before they are published. The engine's lane writer is one; tests use a plain buffer.
 * Structural, so that the event model knows nothing of lanes.
 */
export interface Draft {
  /** Private memory whose byte 0 lies at a multiple of 8. May be another buffer after begin(): read it again then. */
  readonly buffer: Buffer;
  /** Offset of a new record's byte 0, a multiple of 8; up to `bytesMax` bytes may be written from there on. */
  begin(bytesMax: number): number;
  /** The record is [begin, end), padded by the draft; from here on it belongs to it. A begin() without a commit() leaves nothing behind. */
  commit(end: number, kind: number, version: number): void;
}
