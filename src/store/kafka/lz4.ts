/**
 * LZ4: unpacks the one frame of a record batch, never into more than a limit. The library's decoder is WebAssembly that
 * grows with what a frame claims, and that keeps what a damaged frame has made it take: a few of those fill its memory,
 * and then nothing unpacks any more.
 *
 *   frame     magic u32, flags u8, block size u8, [content size u64], [dictionary u32], header checksum u8,
 *             blocks { length u32, the top bit: as it is; bytes; [checksum u32] }, length 0, [checksum u32]
 *             flags: bit 0 dictionary, 2 content checksum, 3 content size, 4 block checksums, 6-7 version 1
 *   block     sequences { token u8: literals << 4 | match - 4; [more literals]; literals; offset u16; [more match] };
 *             the last one ends behind its literals; 15 goes on in bytes that are added, up to one below 255
 *             (lz4_Block_format.md and lz4_Frame_format.md of the LZ4 project)
 *
 * The first pass finds out how long the output is, without making any; the second writes into memory of that length.
 * Checksums of the frame are not looked at: that of the record batch holds all of it.
 */
import type { Room } from './spare.ts';

const MAGIC = 0x184d2204;
const FRAME_BYTES_MIN = 7;
const DICTIONARY = 1 << 0;
const CONTENT_SIZE = 1 << 3;
const BLOCK_CHECKSUMS = 1 << 4;
const AS_IT_IS = 2 ** 31;
const MATCH_BYTES_MIN = 4;
/** From this length on a call that copies is cheaper than a loop. */
export const COPIED_BYTES_MIN = 32;

/** The bytes, or undefined when it is no sound frame or holds more than `bytesMax`. */
export function unpackLz4(packed: Buffer, bytesMax: number, room: Room = Buffer.allocUnsafeSlow): Buffer | undefined {
  const blocks = blocksOf(packed);
  if (blocks === undefined) return undefined;
  let bytes = 0;
  for (const { from, to, plain } of blocks) {
    bytes += plain ? to - from : lengthOf(packed, from, to, bytesMax);
    if (!(bytes <= bytesMax)) return undefined;
  }
  const unpacked = room(bytes);
  let at = 0;
  for (const { from, to, plain } of blocks) {
    if (plain) at += packed.copy(unpacked, at, from, to);
    else at = unpackBlock(packed, from, to, unpacked, at);
    if (at < 0) return undefined;
  }
  return unpacked;
}

interface Block {
  readonly from: number;
  readonly to: number;
  readonly plain: boolean;
}

function blocksOf(packed: Buffer): readonly Block[] | undefined {
  if (packed.length < FRAME_BYTES_MIN || packed.readUInt32LE(0) !== MAGIC) return undefined;
  const flags = packed[4]!;
  if (flags >>> 6 !== 1 || (flags & DICTIONARY) !== 0) return undefined;
  const checksum = (flags & BLOCK_CHECKSUMS) === 0 ? 0 : 4;
  const blocks: Block[] = [];
  for (let at = FRAME_BYTES_MIN + ((flags & CONTENT_SIZE) === 0 ? 0 : 8); at + 4 <= packed.length; ) {
    const word = packed.readUInt32LE(at);
    if (word === 0) return blocks;
    const plain = word >= AS_IT_IS;
    const from = at + 4;
    const to = from + (plain ? word - AS_IT_IS : word);
    if (to > packed.length) return undefined;
    blocks.push({ from, to, plain });
    at = to + checksum;
  }
  return undefined;
}

/** Bytes that a block unpacks to, or more than `bytesMax` as soon as there are more; NaN: it does not end as it must. */
function lengthOf(packed: Buffer, from: number, to: number, bytesMax: number): number {
  let bytes = 0;
  for (let at = from; at < to; ) {
    const token = packed[at++]!;
    let literals = token >>> 4;
    if (literals === 15)
      for (let more = 255; more === 255; literals += more) more = at < to ? packed[at++]! : Number.NaN;
    at += literals;
    bytes += literals;
    if (at === to) return bytes;
    at += 2;
    let match = token & 15;
    if (match === 15) for (let more = 255; more === 255; match += more) more = at < to ? packed[at++]! : Number.NaN;
    bytes += match + MATCH_BYTES_MIN;
    if (bytes > bytesMax) return bytes;
  }
  return Number.NaN;
}

/** Where the output ends, or -1. lengthOf() has passed the block, so only offsets can be wrong. */
function unpackBlock(packed: Buffer, from: number, to: number, unpacked: Buffer, begin: number): number {
  let out = begin;
  for (let at = from; ; ) {
    const token = packed[at++]!;
    let literals = token >>> 4;
    if (literals === 15) for (let more = 255; more === 255; literals += more) more = packed[at++]!;
    if (literals >= COPIED_BYTES_MIN) {
      packed.copy(unpacked, out, at, at + literals);
      out += literals;
      at += literals;
    } else for (const end = at + literals; at < end; ) unpacked[out++] = packed[at++]!;
    if (at === to) return out;
    const offset = packed[at]! | (packed[at + 1]! << 8);
    at += 2;
    let match = token & 15;
    if (match === 15) for (let more = 255; more === 255; match += more) more = packed[at++]!;
    match += MATCH_BYTES_MIN;
    if (offset === 0 || offset > out) return -1;
    repeat(unpacked, out, offset, match);
    out += match;
  }
}

/** Writes `length` bytes at `out`: those that stand `offset` before it, again and again when they are fewer. */
export function repeat(unpacked: Buffer, out: number, offset: number, length: number): void {
  if (length < COPIED_BYTES_MIN) {
    for (let from = out - offset, to = out, end = out + length; to < end; ) unpacked[to++] = unpacked[from++]!;
    return;
  }
  // Each copy doubles what can be copied at once.
  const first = out - offset;
  for (let done = 0; done < length; ) {
    const step = Math.min(length - done, offset + done);
    unpacked.copyWithin(out + done, first, first + step);
    done += step;
  }
}
