/**
 * Segment: one file of a lane. A header page of 4 KiB, then the lane's frames: byte p of the lane lies at 4096 + p -
 * base.
 *
 *   byte  field       header page, little-endian
 *      0  crc         u32  CRC-32 of bytes 4..72
 *      4  magic       u32
 *      8  format      u32  on-disk format; another one is refused, never rewritten
 *     12  life        u32
 *     16  lane        u32
 *     20  generation  u32  0; one more each time a failed fdatasync makes the lane start over from `synced` (L7)
 *     24  log id      16 bytes
 *     40  base        f64  position of the first frame
 *     48  base record f64  number of the first record
 *     56  created     f64  epoch ms
 *     64  (zero)
 *
 * Name: `<base, 16 digits>-<generation>.seg`; `spare-<n>.seg` while it waits for use. A segment is zero-filled or
 * recycled before use and never grown. Positions go on without a gap: a segment's frames end where the next segment
 * begins.
 */
import { crc32 } from 'node:zlib';

export const PAGE = 4096;
export const FORMAT = 1;
const MAGIC = 0x47535452; // "RTSG"
/** Byte offsets in the header page, as the table gives them. */
const headerAt = {
  crc: 0,
  magic: 4,
  format: 8,
  life: 12,
  lane: 16,
  generation: 20,
  logId: 24,
  base: 40,
  baseRecord: 48,
  created: 56,
} as const;
const LOG_ID_BYTES = 16;
/** The checksum covers [CHECKED_FROM, CHECKED_TO). */
const CHECKED_FROM = headerAt.magic;
const CHECKED_TO = 72;

/** Names one writer's part of the log: one acceptor in one life of the process. */
export interface LaneId {
  readonly life: number;
  readonly lane: number;
}
export const laneKey = (id: LaneId): string => `${id.life}-${id.lane}`;

export interface SegmentHeader extends LaneId {
  readonly generation: number;
  readonly base: number;
  readonly baseRecord: number;
  readonly created: number;
}

const headerSum = (page: Buffer): number => crc32(page.subarray(CHECKED_FROM, CHECKED_TO));

export function writeSegmentHeader(page: Buffer, header: SegmentHeader, logId: Buffer): void {
  page.fill(0, 0, PAGE);
  page.writeUInt32LE(MAGIC, headerAt.magic);
  page.writeUInt32LE(FORMAT, headerAt.format);
  page.writeUInt32LE(header.life, headerAt.life);
  page.writeUInt32LE(header.lane, headerAt.lane);
  page.writeUInt32LE(header.generation, headerAt.generation);
  logId.copy(page, headerAt.logId, 0, LOG_ID_BYTES);
  page.writeDoubleLE(header.base, headerAt.base);
  page.writeDoubleLE(header.baseRecord, headerAt.baseRecord);
  page.writeDoubleLE(header.created, headerAt.created);
  page.writeUInt32LE(headerSum(page), headerAt.crc);
}

/** The header, when it is whole and of this log; `undefined` when the page is damaged, blank or of another log. */
export function readSegmentHeader(page: Buffer, logId: Buffer): SegmentHeader | undefined {
  if (page.length < CHECKED_TO || page.readUInt32LE(headerAt.magic) !== MAGIC) return undefined;
  if (page.readUInt32LE(headerAt.format) !== FORMAT || headerSum(page) !== page.readUInt32LE(headerAt.crc))
    return undefined;
  if (!page.subarray(headerAt.logId, headerAt.logId + LOG_ID_BYTES).equals(logId)) return undefined;
  return {
    life: page.readUInt32LE(headerAt.life),
    lane: page.readUInt32LE(headerAt.lane),
    generation: page.readUInt32LE(headerAt.generation),
    base: page.readDoubleLE(headerAt.base),
    baseRecord: page.readDoubleLE(headerAt.baseRecord),
    created: page.readDoubleLE(headerAt.created),
  };
}

export const segmentName = (base: number, generation: number): string =>
  `${String(base).padStart(16, '0')}-${generation}.seg`;
export const spareName = (serial: number): string => `spare-${serial}.seg`;

/** What a segment's name says; `undefined` for spares and strangers. */
export interface SegmentName {
  readonly name: string;
  readonly base: number;
  readonly generation: number;
}
export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^(\d{16})-(\d+)\.seg$/.exec(name);
  return match ? { name, base: Number(match[1]), generation: Number(match[2]) } : undefined;
}

/**
 * The segments to read, by position. When a higher generation replaces a segment from its start, the segment is left
 * out. When it replaces one from the middle on, that one ends at the newcomer's base, as every segment ends at the base
 * of its successor.
 */
export function readableSegments(names: readonly string[]): SegmentName[] {
  const all = names.map(parseSegmentName).filter((s) => s !== undefined);
  return all
    .filter((s) => !all.some((other) => other.generation > s.generation && other.base <= s.base))
    .sort((a, b) => a.base - b.base);
}

export const laneFolder = (id: LaneId): string => `${String(id.life).padStart(6, '0')}-${id.lane}`;
export function parseLaneFolder(name: string): LaneId | undefined {
  const match = /^(\d{6,})-(\d+)$/.exec(name);
  return match ? { life: Number(match[1]), lane: Number(match[2]) } : undefined;
}
