/**
 * Record: one event in a frame. The log knows only this header; the body belongs to the room that wrote the record. The
 * header is declared in the kernel because engine/ and events/ both need it and neither may import the other.
 *
 *   byte  field
 *      0  length   u32  header and body, without the zero padding to 8 bytes
 *      4  kind     u16  1 = event (events/record.ts), 2 = record of another log (events/foreign.ts)
 *      6  version  u16  layout of the body
 *      8  body
 *
 * Records start at multiples of 8, so a reader may use aligned typed-array access on them.
 */
export const recordAt = { length: 0, kind: 4, version: 6 } as const;
export const RECORD_HEADER = 8;

/** Rounds up to the alignment of records and frames. */
export const align8 = (bytes: number): number => (bytes + 7) & ~7;
