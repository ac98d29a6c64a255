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
 *     64  life id     8 bytes, random; zero in segments of versions that had none
 *
 * Name: `<base, 16 digits>-<generation>.seg`; `spare-<n>.seg` while it waits for use. A segment is zero-filled or
 * recycled before use and never grown. Positions go on without a gap: a segment's frames end where the next segment
 * begins.
 */
import { randomBytes } from 'node:crypto';
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
  lifeId: 64,
} as const;
const LOG_ID_BYTES = 16;
const LIFE_ID_BYTES = 8;
/** The checksum covers [CHECKED_FROM, CHECKED_TO). */
const CHECKED_FROM = headerAt.magic;
const CHECKED_TO = 72;

/**
 * Names one writer's part of the log: one acceptor in one life of the process.
 *
 * A journal that is put back from a copy counts its lives from the copy on, so the number of a life comes again. The id
 * of a life is random and never does: whatever outlives the journal or lies outside of it (cursors, checkpoints, dead
 * letters, keys of idempotence) names a lane by laneKey().
 */
export interface LaneId {
  readonly life: number;
  readonly lane: number;
  /** 16 hex digits; left out in lanes of versions that had none, and in strands that are no lanes. */
  readonly lifeId?: string;
}
/** The name of a lane that no other lane of any copy of the log has. */
export const laneKey = ({ life, lane, lifeId }: LaneId): string =>
  lifeId === undefined ? `${life}-${lane}` : `${life}-${lane}-${lifeId}`;
/** Its name within one folder of the log, for people. */
export const laneName = ({ life, lane }: LaneId): string => `${life}-${lane}`;

export const newLifeId = (): string => randomBytes(LIFE_ID_BYTES).toString('hex');

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
  page.write(header.lifeId ?? '', headerAt.lifeId, LIFE_ID_BYTES, 'hex');
  page.writeUInt32LE(headerSum(page), headerAt.crc);
}

/** The log that a whole header names, 32 hex digits; `undefined` when the page is damaged or blank. */
export function logOfSegment(page: Buffer): string | undefined {
  const logId = page.subarray(headerAt.logId, headerAt.logId + LOG_ID_BYTES);
  return readSegmentHeader(page, logId) === undefined ? undefined : logId.toString('hex');
}

/** The header, when it is whole and of this log; `undefined` when the page is damaged, blank or of another log. */
export function readSegmentHeader(page: Buffer, logId: Buffer): SegmentHeader | undefined {
  if (page.length < CHECKED_TO || page.readUInt32LE(headerAt.magic) !== MAGIC) return undefined;
  if (page.readUInt32LE(headerAt.format) !== FORMAT || headerSum(page) !== page.readUInt32LE(headerAt.crc))
    return undefined;
  if (!page.subarray(headerAt.logId, headerAt.logId + LOG_ID_BYTES).equals(logId)) return undefined;
  const lifeId = page.toString('hex', headerAt.lifeId, headerAt.lifeId + LIFE_ID_BYTES);
  return {
    life: page.readUInt32LE(headerAt.life),
    lane: page.readUInt32LE(headerAt.lane),
    ...(/^0+$/.test(lifeId) ? {} : { lifeId }),
    generation: page.readUInt32LE(headerAt.generation),
    base: page.readDoubleLE(headerAt.base),
    baseRecord: page.readDoubleLE(headerAt.baseRecord),
    created: page.readDoubleLE(headerAt.created),
  };
}

/**
 * The smallest segment of a lane with this ring: a whole draft, which is a quarter of the ring, with its header page,
 * the page that a write fills up with zeros, and what a frame adds to a draft.
 */
export const segmentBytesMin = (ringBytes: number): number => Math.ceil(ringBytes / 4 / PAGE) * PAGE + 4 * PAGE;

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
