/**
 * Segment: one file of a lane. A header page of 4 KiB, then the lane's frames: byte p of the lane lies at 4096 + p - base.
 *
 *   byte  field       header page, little-endian
 *      0  crc         u32  CRC-32 of bytes 4..72
 *      4  magic       u32
 *      8  format      u32  on-disk format; another one is refused, never rewritten
 *     12  life        u32
 *     16  lane        u32
 *     20  generation  u32  0; higher after a failed fdatasync made the lane start over from `synced` (L7)
 *     24  log id      16 bytes
 *     40  base        f64  position of the first frame
 *     48  base record f64  number of the first record
 *     56  created     f64  epoch ms
 *     64  (zero)
 *
 * Name: `<base, 16 digits>-<generation>.seg`; `spare-<n>.seg` while it waits for use. A segment is zero-filled or recycled before
 * use and never grown. Positions are continuous: a segment's frames end where the next segment begins.
 */
import { crc32 } from 'node:zlib';

export const PAGE = 4096;
export const FORMAT = 1;
const MAGIC = 0x47535452; // "RTSG"
const HEADER_CRC_END = 72;

/** Which writer's part of the log: one acceptor in one life of the process. */
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

export function writeSegmentHeader(page: Buffer, header: SegmentHeader, logId: Buffer): void {
  page.fill(0, 0, PAGE);
  page.writeUInt32LE(MAGIC, 4);
  page.writeUInt32LE(FORMAT, 8);
  page.writeUInt32LE(header.life, 12);
  page.writeUInt32LE(header.lane, 16);
  page.writeUInt32LE(header.generation, 20);
  logId.copy(page, 24, 0, 16);
  page.writeDoubleLE(header.base, 40);
  page.writeDoubleLE(header.baseRecord, 48);
  page.writeDoubleLE(header.created, 56);
  page.writeUInt32LE(crc32(page.subarray(4, HEADER_CRC_END)), 0);
}

/** The header, when it is whole and of this log; `undefined` when the page is damaged, blank or another log's. */
export function readSegmentHeader(page: Buffer, logId: Buffer): SegmentHeader | undefined {
  if (page.length < HEADER_CRC_END || page.readUInt32LE(4) !== MAGIC || page.readUInt32LE(8) !== FORMAT)
    return undefined;
  if (crc32(page.subarray(4, HEADER_CRC_END)) !== page.readUInt32LE(0)) return undefined;
  if (!page.subarray(24, 40).equals(logId)) return undefined;
  return {
    life: page.readUInt32LE(12),
    lane: page.readUInt32LE(16),
    generation: page.readUInt32LE(20),
    base: page.readDoubleLE(40),
    baseRecord: page.readDoubleLE(48),
    created: page.readDoubleLE(56),
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
 * The segments to read, by position. One that a higher generation replaces from the start is left out; one that it replaces
 * from the middle ends at the newcomer's base, as every segment ends at the base of its successor.
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
