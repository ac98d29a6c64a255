/**
 * Snappy: unpacks the records of a batch, never into more than a limit. They are one block, or blocks in the framing of
 * the Java library. (Not the library's decoder, for the reason in lz4.ts: a claim of 2 GiB in 6 bytes costs 2 GiB.)
 *
 *   block     length of the output as a varint, then elements { tag u8, ... }, by the two low bits of the tag:
 *             0  literals: length - 1 in the tag, from 60 on in 1 to 4 bytes behind it; then the bytes
 *             1  copy of 4 to 11 bytes, offset of 11 bits      2, 3  copy of 1 to 64 bytes, offset u16 or u32
 *             (format_description.txt of the Snappy project)
 *   framing   82 'SNAPPY' 0, version i32, oldest version i32, blocks { length u32 big-endian, block }
 *             (SnappyCodec and SnappyOutputStream of snappy-java)
 */
import { COPIED_BYTES_MIN, repeat } from './lz4.ts';
import type { Room } from './spare.ts';

const FRAMED = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const FRAMES_FROM = 16;
/** Three bytes are at most 64: a length that says more is a lie, and costs no memory. */
const GROWTH_MAX = 22;

interface Block {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** The bytes, or undefined when they are no sound blocks or say that they hold more than `bytesMax`. */
export function unpackSnappy(
  packed: Buffer,
  bytesMax: number,
  room: Room = Buffer.allocUnsafeSlow,
): Buffer | undefined {
  const blocks = blocksOf(packed);
  if (blocks === undefined) return undefined;
  const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
  if (bytes > bytesMax) return undefined;
  const unpacked = room(bytes);
  let at = 0;
  for (const block of blocks) {
    if (!unpackBlock(packed, block, unpacked, at)) return undefined;
    at += block.bytes;
  }
  return unpacked;
}

function blocksOf(packed: Buffer): readonly Block[] | undefined {
  const ranges: { from: number; to: number }[] = [];
  if (packed.subarray(0, FRAMED.length).equals(FRAMED)) {
    for (let at = FRAMES_FROM; at < packed.length; ) {
      if (at + 4 > packed.length) return undefined;
      const from = at + 4;
      at = from + packed.readUInt32BE(at);
      if (at > packed.length) return undefined;
      ranges.push({ from, to: at });
    }
  } else ranges.push({ from: 0, to: packed.length });
  const blocks = ranges.map((range) => blockOf(packed, range.from, range.to));
  return blocks.every((block) => block !== undefined) ? blocks : undefined;
}

function blockOf(packed: Buffer, begin: number, to: number): Block | undefined {
  let bytes = 0;
  let from = begin;
  for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
    if (from >= to) return undefined;
    const byte = packed[from++]!;
    bytes += (byte & 0x7f) * factor;
    if (byte < 0x80) return bytes <= GROWTH_MAX * (to - from) ? { from, to, bytes } : undefined;
  }
  return undefined;
}

/** Whether the block holds what it says. */
function unpackBlock(packed: Buffer, { from, to, bytes }: Block, unpacked: Buffer, begin: number): boolean {
  const end = begin + bytes;
  let out = begin;
  for (let at = from; at < to; ) {
    const tag = packed[at++]!;
    if ((tag & 3) === 0) {
      let length = tag >>> 2;
      if (length >= 60) {
        const size = length - 59;
        if (at + size > to) return false;
        length = packed.readUIntLE(at, size);
        at += size;
      }
      length += 1;
      if (at + length > to || out + length > end) return false;
      if (length >= COPIED_BYTES_MIN) {
        packed.copy(unpacked, out, at, at + length);
        at += length;
        out += length;
      } else for (const last = at + length; at < last; ) unpacked[out++] = packed[at++]!;
      continue;
    }
    const size = (tag & 3) === 3 ? 4 : tag & 3;
    if (at + size > to) return false;
    const length = size === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
    const offset = size === 1 ? ((tag >>> 5) << 8) | packed[at]! : packed.readUIntLE(at, size);
    at += size;
    if (offset === 0 || offset > out - begin || out + length > end) return false;
    repeat(unpacked, out, offset, length);
    out += length;
  }
  return out === end;
}
