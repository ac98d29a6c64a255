/**
 * Frame: what one publish writes, and the unit of checksums, damage and reading. Little-endian:
 *
 *   byte  field
 *      0  crc          u32  CRC-32 (zlib) of bytes 4.. of the frame, seeded per log and lane
 *      4  magic        u32
 *      8  bytes        u32  whole frame, header included, a multiple of 8
 *     12  records      u32
 *     16  position     f64  position of byte 0 of this frame in its lane
 *     24  first record f64  number of its first record in its lane, gap-free from 0
 *     32  ms           f64  time of the publish, epoch milliseconds
 *     40  records, each padded to 8 bytes
 *
 * The seed is the CRC-32 of log id, life and lane, and the checksum covers the position. So a frame that an earlier use
 * left in a recycled segment, or that was copied from elsewhere, does not validate.
 */
import { crc32 } from 'node:zlib';

/** Byte offsets in a frame's header, for every file that reads or writes one. */
export const frameAt = { crc: 0, magic: 4, bytes: 8, records: 12, position: 16, firstRecord: 24, ms: 32 } as const;
export const FRAME_HEADER = 40;
/** The checksum covers everything from here to the frame's end. */
const CHECKED_FROM = frameAt.magic;
/** Bytes of records a frame holds at most, unless a single record is larger. */
export const FRAME_BODY_MAX = 64 * 1024;
const MAGIC = 0x31464d52; // "RMF1"

/** What a frame's header says. */
export interface Frame {
  /** Bytes of the frame, header included. */
  bytes: number;
  records: number;
  position: number;
  firstRecord: number;
  /** Time of the publish, epoch ms. */
  ms: number;
}

/** Seed of the checksums of one lane. */
export function laneSeed(logId: Buffer, life: number, lane: number): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(life, 0);
  tail.writeUInt32LE(lane, 4);
  return crc32(tail, crc32(logId));
}

/** Writes the header of the frame at `at`, whose records are in place, and seals it with the checksum. */
export function sealFrame(buffer: Buffer, view: DataView, at: number, frame: Frame, seed: number): void {
  view.setUint32(at + frameAt.magic, MAGIC, true);
  view.setUint32(at + frameAt.bytes, frame.bytes, true);
  view.setUint32(at + frameAt.records, frame.records, true);
  view.setFloat64(at + frameAt.position, frame.position, true);
  view.setFloat64(at + frameAt.firstRecord, frame.firstRecord, true);
  view.setFloat64(at + frameAt.ms, frame.ms, true);
  view.setUint32(at + frameAt.crc, crc32(buffer.subarray(at + CHECKED_FROM, at + frame.bytes), seed), true);
}

/**
 * Reads the frame at `at` when it is whole, belongs to `position` and its checksum holds; `undefined` otherwise.
 * `end` is the end of the readable bytes in `buffer`.
 */
export function openFrame(
  buffer: Buffer,
  view: DataView,
  at: number,
  end: number,
  position: number,
  seed: number,
): Frame | undefined {
  if (end - at < FRAME_HEADER || view.getUint32(at + frameAt.magic, true) !== MAGIC) return undefined;
  const bytes = view.getUint32(at + frameAt.bytes, true);
  if (bytes < FRAME_HEADER || bytes % 8 !== 0 || bytes > end - at) return undefined;
  if (view.getFloat64(at + frameAt.position, true) !== position) return undefined;
  const checked = buffer.subarray(at + CHECKED_FROM, at + bytes);
  if (crc32(checked, seed) !== view.getUint32(at + frameAt.crc, true)) return undefined;
  return {
    bytes,
    records: view.getUint32(at + frameAt.records, true),
    position,
    firstRecord: view.getFloat64(at + frameAt.firstRecord, true),
    ms: view.getFloat64(at + frameAt.ms, true),
  };
}

/**
 * Bytes that the frame at `at` claims to have when its magic and position fit, else 0. For a reader that holds only the
 * start of a frame and must know how much more to fetch.
 */
export function claimedBytes(view: DataView, at: number, end: number, position: number): number {
  if (end - at < FRAME_HEADER || view.getUint32(at + frameAt.magic, true) !== MAGIC) return 0;
  return view.getFloat64(at + frameAt.position, true) === position ? view.getUint32(at + frameAt.bytes, true) : 0;
}

/** Offset of the first frame magic at `at` or a multiple of 8 behind it; -1: none before `end`. */
export function seekMagic(view: DataView, at: number, end: number): number {
  for (let i = at; i + FRAME_HEADER <= end; i += 8) if (view.getUint32(i + frameAt.magic, true) === MAGIC) return i;
  return -1;
}
