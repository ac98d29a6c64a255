/**
 * Location: takes out of a picture where it was made, in place, so that nothing else of it changes. Overwritten are
 *
 *   the GPS directory of its Exif data (Exif 2.32, 4.6.6)
 *   its XMP packet, which may repeat it, and the IPTC data of a JPEG, which may name the city
 *   what stands behind the picture: further pictures and films, each with a location of its own
 *
 * GIF has no place for it but XMP; it is not taken.
 */
import { crc32 } from 'node:zlib';
import { metadataItems } from './heif-items.ts';
import type { PictureFormat, ReadAt } from './inspect.ts';

export type WriteAt = (offset: number, bytes: Buffer) => Promise<void>;

/** Formats whose location can be removed. */
export const strippable: ReadonlySet<PictureFormat> = new Set(['jpeg', 'png', 'webp', 'avif', 'heic']);

const STEPS_MAX = 100_000;
/** Larger metadata is no metadata of a camera. */
const BLOCK_BYTES_MAX = 16 << 20;
const PIECE_BYTES = 64 * 1024;
/** The directories of a picture and of its preview, and some more. */
const DIRECTORIES_MAX = 16;
const EXIF = 'Exif\0\0';
const XMP = 'http://ns.adobe.com/xap/1.0/\0';
const XMP_MORE = 'http://ns.adobe.com/xmp/extension/\0';

interface File {
  readonly read: ReadAt;
  readonly write: WriteAt;
  readonly bytes: number;
}

/** Throws a RangeError when the file is damaged: what cannot be understood may hold a location. */
export async function removeLocation(file: File, format: PictureFormat): Promise<void> {
  if (format === 'jpeg') await inJpeg(file);
  else if (format === 'png') await inPng(file);
  else if (format === 'webp') await inWebp(file);
  else if (format === 'avif' || format === 'heic') await inHeif(file);
  else throw new TypeError(`a location cannot be removed from this format: found=${format}`);
}

const damaged = (): RangeError => new RangeError('the metadata of the picture cannot be read');

async function block({ read, bytes }: File, at: number, length: number): Promise<Buffer> {
  if (length > BLOCK_BYTES_MAX || at + length > bytes) throw damaged();
  const found = await read(at, length);
  if (found.length < length) throw damaged();
  return found;
}

async function inJpeg(file: File): Promise<void> {
  let at = 2;
  for (let step = 0; at + 2 <= file.bytes; step++) {
    if (step === STEPS_MAX) throw damaged();
    const head = await block(file, at, 2);
    if (head[0] !== 0xff) throw damaged();
    const marker = head[1]!;
    if (marker === 0xd9) {
      // Telephones append further pictures and films, each with a location of its own.
      await blank(file, at + 2);
      return;
    }
    // Fill bytes, and markers without a length.
    if (marker === 0xff) at += 1;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    else {
      const length = (await block(file, at + 2, 2)).readUInt16BE(0);
      if (length < 2) throw damaged();
      if (marker === 0xe1) await cleanApp1(file, at + 4, length - 2);
      // IPTC data, within resources of Photoshop. No decoder needs them.
      else if (marker === 0xed) await blank(file, at + 4, Math.min(at + 2 + length, file.bytes));
      at += 2 + length;
      // Further segments may stand between scans.
      if (marker === 0xda) at = await scanEnd(file, at);
    }
  }
}

async function cleanApp1(file: File, at: number, length: number): Promise<void> {
  const content = await block(file, at, length);
  const text = content.toString('latin1', 0, XMP_MORE.length);
  if (text.startsWith(EXIF)) eraseGps(content);
  else if (text.startsWith(XMP)) content.fill(' ', XMP.length);
  else if (text.startsWith(XMP_MORE)) content.fill(' ', XMP_MORE.length);
  await file.write(at, content);
}

/** Where entropy-coded data end: at a marker that is neither a stuffed zero nor a restart (T.81, B.1.1.5). */
async function scanEnd({ read, bytes }: File, from: number): Promise<number> {
  for (let at = from; at + 1 < bytes; ) {
    const piece = await read(at, PIECE_BYTES);
    if (piece.length < 2) break;
    for (let i = piece.indexOf(0xff); i >= 0 && i + 1 < piece.length; i = piece.indexOf(0xff, i + 1)) {
      const marker = piece[i + 1]!;
      if (marker !== 0 && marker !== 0xff && !(marker >= 0xd0 && marker <= 0xd7)) return at + i;
    }
    // The last byte may be the first half of a marker.
    at += piece.length - 1;
  }
  return bytes;
}

/** Overwrites the file from there on, or up to `to`. */
async function blank({ write, bytes }: File, from: number, to = bytes): Promise<void> {
  const zeros = Buffer.alloc(Math.min(PIECE_BYTES, Math.max(to - from, 0)));
  for (let at = from; at < to; at += zeros.length) await write(at, zeros.subarray(0, to - at));
}

async function inPng(file: File): Promise<void> {
  let at = 8;
  for (let step = 0; at + 12 <= file.bytes; step++) {
    if (step === STEPS_MAX) throw damaged();
    const head = await block(file, at, 8);
    const length = head.readUInt32BE(0);
    const type = head.toString('latin1', 4, 8);
    if (type === 'eXIf' || type === 'iTXt' || type === 'zTXt' || type === 'tEXt') {
      // Type and content are what the sum is over.
      const content = await block(file, at + 4, 4 + length);
      const data = content.subarray(4);
      if (type === 'eXIf') eraseGps(data);
      else if (
        /^(XML:com\.adobe\.xmp|Raw profile type (exif|APP1|xmp|iptc|8bim))\0/.test(data.toString('latin1', 0, 40))
      ) {
        // Plain text of blanks, so that no decoder finds damaged compression.
        content.write('tEXt', 'latin1');
        data.fill(' ', data.indexOf(0) + 1);
      }
      const sum = Buffer.alloc(4);
      sum.writeUInt32BE(crc32(content));
      await file.write(at + 4, Buffer.concat([content, sum]));
    }
    at += 12 + length;
    if (type !== 'IEND') continue;
    await blank(file, at);
    return;
  }
}

async function inWebp(file: File): Promise<void> {
  const end = Math.min(8 + (await block(file, 4, 4)).readUInt32LE(0), file.bytes);
  let at = 12;
  for (let step = 0; at + 8 <= end; step++) {
    if (step === STEPS_MAX) throw damaged();
    const head = await block(file, at, 8);
    const length = head.readUInt32LE(4);
    const type = head.toString('latin1', 0, 4);
    if (type === 'EXIF' || type === 'XMP ') {
      const content = await block(file, at + 8, length);
      if (type === 'XMP ') content.fill(' ');
      else eraseGps(content);
      await file.write(at + 8, content);
    }
    at += 8 + length + (length % 2);
  }
  await blank(file, end);
}

/** Boxes of the file that a still picture is made of. */
const PICTURE_BOXES = new Set(['ftyp', 'meta', 'mdat', 'free', 'skip']);

async function inHeif(file: File): Promise<void> {
  let at = 0;
  for (let step = 0; at + 8 <= file.bytes; step++) {
    if (step === STEPS_MAX) throw damaged();
    const head = await block(file, at, Math.min(16, file.bytes - at));
    let [bytes, offset] = [head.readUInt32BE(0), 8];
    if (bytes === 1) [bytes, offset] = [Number(head.readBigUInt64BE(8)), 16];
    else if (bytes === 0) bytes = file.bytes - at;
    const type = head.toString('latin1', 4, 8);
    // Films have tracks, and those have a place of their own for a location.
    if (bytes < offset || type === 'moov') throw damaged();
    const end = Math.min(at + bytes, file.bytes);
    if (type === 'meta') await cleanItems(file, at + offset, end);
    // Telephones put films there, and descriptions of their own.
    else if (!PICTURE_BOXES.has(type)) await blank(file, at + offset, end);
    at = end;
  }
}

async function cleanItems(file: File, at: number, end: number): Promise<void> {
  for (const { kind, extents } of metadataItems(await block(file, at, end - at), at)) {
    const parts: Buffer[] = [];
    for (const extent of extents) parts.push(await block(file, extent.at, extent.bytes));
    const content = Buffer.concat(parts);
    if (kind === 'xmp') content.fill(' ');
    // In front stands how far the TIFF structure is from here.
    else eraseGps(content.subarray(4 + content.readUInt32BE(0)));
    let done = 0;
    for (const extent of extents) {
      await file.write(extent.at, content.subarray(done, done + extent.bytes));
      done += extent.bytes;
    }
  }
}

const GPS_POINTER = 0x8825;
const TYPE_BYTES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

/** Overwrites the GPS directories of a TIFF structure and their values. */
function eraseGps(exif: Buffer): void {
  // The prefix of JPEG: some writers put it in front elsewhere, too.
  const tiff = exif.toString('latin1', 0, EXIF.length) === EXIF ? exif.subarray(EXIF.length) : exif;
  const order = tiff.toString('latin1', 0, 2);
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) throw damaged();
  const numbers = numbersOf(tiff, order === 'II');
  let directory = numbers.u32(4);
  for (let step = 0; directory !== 0; step++) {
    if (step === DIRECTORIES_MAX) throw damaged();
    const entries = numbers.u16(directory);
    const next = directory + 2 + 12 * entries;
    for (let at = directory + 2; at < next; at += 12)
      if (numbers.u16(at) === GPS_POINTER) eraseDirectory(tiff, numbers, numbers.u32(at + 8));
    // Some writers end behind the last entry.
    directory = next + 4 <= tiff.length ? numbers.u32(next) : 0;
  }
}

interface Numbers {
  u16(at: number): number;
  u32(at: number): number;
}

/** Numbers of a TIFF structure in its byte order; beyond its end they throw. */
function numbersOf(tiff: Buffer, little: boolean): Numbers {
  const within = (at: number, bytes: number): number => {
    if (at + bytes > tiff.length) throw damaged();
    return at;
  };
  return {
    u16: (at) => (little ? tiff.readUInt16LE(within(at, 2)) : tiff.readUInt16BE(within(at, 2))),
    u32: (at) => (little ? tiff.readUInt32LE(within(at, 4)) : tiff.readUInt32BE(within(at, 4))),
  };
}

function eraseDirectory(tiff: Buffer, { u16, u32 }: Numbers, gps: number): void {
  const count = u16(gps);
  const end = gps + 2 + 12 * count;
  if (end > tiff.length) throw damaged();
  for (let at = gps + 2; at < end; at += 12) {
    const bytes = (TYPE_BYTES[u16(at + 2)] ?? 0) * u32(at + 4);
    if (bytes <= 4) continue;
    const where = u32(at + 8);
    if (where + bytes > tiff.length) throw damaged();
    tiff.fill(0, where, where + bytes);
  }
  // A directory without entries.
  tiff.fill(0, gps, end);
}
