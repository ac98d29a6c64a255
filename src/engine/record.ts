/**
 * Record: one event in a frame. The engine knows its length, kind and version; the rest belongs to the room that wrote it.
 *
 *   byte  field
 *      0  length   u32  header and body, without the zero padding to 8 bytes
 *      4  kind     u16  1 = event line (events/record.ts)
 *      6  version  u16  layout of the body
 *      8  body
 *
 * Records start at multiples of 8, so a reader may use aligned typed-array access on them.
 */
export const RECORD_HEADER = 8;

/** Rounds up to the alignment of records and frames. */
export const align8 = (bytes: number): number => (bytes + 7) & ~7;
