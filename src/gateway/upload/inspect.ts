/**
 * Inspect: what a file is and how large its picture, from its own bytes and before anybody decodes it. A name or a
 * Content-Type is a claim; the magic bytes and the header are what a decoder will see.
 *
 *   jpeg   ITU-T T.81, B.2: segments up to the first frame header (SOFn)
 *   png    W3C PNG, 11.2.2: IHDR is the first chunk
 *   gif    GIF89a, 18 and 20: logical screen, and every frame, which may be larger
 *   webp   RFC 9649: VP8, VP8L or VP8X
 *   avif   ISO/IEC 23008-12: the ispe property of the largest item, in meta/iprp/ipco; heic: the same with other brands
 *
 * SVG is a program, not a picture of known size: it is refused rather than cleaned, because what cleans it would have
 * to understand all of it.
 */
export type PictureFormat = 'jpeg' | 'png' | 'gif' | 'webp' | 'avif' | 'heic';

export interface Picture {
  readonly format: PictureFormat;
  readonly width: number;
  readonly height: number;
}

/** Reads up to `bytes` bytes at an offset; fewer at the end of the file. */
export type ReadAt = (offset: number, bytes: number) => Promise<Buffer>;

/** Names of files end so. */
export const extensions: Readonly<Record<PictureFormat, string>> = {
  jpeg: 'jpg',
  png: 'png',
  gif: 'gif',
  webp: 'webp',
  avif: 'avif',
  heic: 'heic',
};

const HEAD_BYTES = 32;
/** Segments or boxes that are walked through: a picture has a few dozen before its size. */
const STEPS_MAX = 4096;
const BOX_BYTES_MAX = 1 << 20;
const PIECE_BYTES = 64 * 1024;

/** What the first bytes say; undefined: no picture that is taken. 32 bytes suffice. */
export function formatOf(head: Buffer): PictureFormat | undefined {
  const ascii = (at: number, bytes: number) => head.toString('latin1', at, at + bytes);
  if (head.length >= 3 && head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff) return 'jpeg';
  if (ascii(0, 8) === '\x89PNG\r\n\x1a\n') return 'png';
  if (/^GIF8[79]a$/.test(ascii(0, 6))) return 'gif';
  if (ascii(0, 4) === 'RIFF' && ascii(8, 4) === 'WEBP') return 'webp';
  if (ascii(4, 4) !== 'ftyp') return undefined;
  // The major brand, and the compatible ones as far as the box goes.
  const end = Math.min(head.readUInt32BE(0), HEAD_BYTES);
  const brands = [ascii(8, 4)];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(ascii(at, 4));
  if (brands.some((brand) => brand === 'avif' || brand === 'avis')) return 'avif';
  return brands.some((brand) => /^(heic|heix|hevc|hevx|heim|heis|mif1|msf1)$/.test(brand)) ? 'heic' : undefined;
}

/** Undefined: it is no picture that is taken, or its header is damaged. */
export async function inspect(read: ReadAt, bytes: number): Promise<Picture | undefined> {
  const head = await read(0, HEAD_BYTES);
  const format = formatOf(head);
  if (format === undefined) return undefined;
  const size = await sizes[format](read, bytes);
  if (size === undefined || size.width < 1 || size.height < 1) return undefined;
  return { format, ...size };
}

interface Size {
  readonly width: number;
  readonly height: number;
}
type ReadSize = (read: ReadAt, bytes: number) => Promise<Size | undefined>;

const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

const jpegSize: ReadSize = async (read, bytes) => {
  let at = 2;
  for (let step = 0; step < STEPS_MAX && at + 4 <= bytes; step++) {
    const segment = await read(at, 9);
    if (segment.length < 4 || segment[0] !== 0xff) return undefined;
    const marker = segment[1]!;
    // Fill bytes, and markers without a length.
    if (marker === 0xff) at += 1;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2;
    else if (isFrame(marker)) {
      if (segment.length < 9) return undefined;
      return { height: segment.readUInt16BE(5), width: segment.readUInt16BE(7) };
    } else if (marker === 0xd8 || marker === 0xd9 || marker === 0xda) return undefined;
    else {
      const length = segment.readUInt16BE(2);
      if (length < 2) return undefined;
      at += 2 + length;
    }
  }
  return undefined;
};

const pngSize: ReadSize = async (read) => {
  const chunk = await read(8, 16);
  if (chunk.length < 16 || chunk.toString('latin1', 4, 8) !== 'IHDR' || chunk.readUInt32BE(0) !== 13) return undefined;
  return { width: chunk.readUInt32BE(8), height: chunk.readUInt32BE(12) };
};

const colours = (packed: number): number => ((packed & 0x80) === 0 ? 0 : 3 << ((packed & 7) + 1));

/** A decoder makes room for the largest frame, whatever the screen says. What is no block ends the picture for it. */
const gifSize: ReadSize = async (read, bytes) => {
  const screen = await read(6, 7);
  if (screen.length < 7) return undefined;
  let [width, height] = [screen.readUInt16LE(0), screen.readUInt16LE(2)];
  let at = 13 + colours(screen[4]!);
  let [piece, begin]: [Buffer, number] = [screen, 6];
  // Blocks may be of one byte each: nothing is waited for but the next piece of the file.
  const lacks = (count: number): boolean => at < begin || at + count > begin + piece.length;
  const fill = async (): Promise<void> => {
    [piece, begin] = [await read(at, PIECE_BYTES), at];
  };
  while (at < bytes) {
    if (lacks(11)) await fill();
    const i = at - begin;
    const kind = piece[i];
    // What follows is the code size of a frame, or the label of an extension, and blocks until an empty one.
    if (kind === 0x2c && piece.length >= i + 10) {
      width = Math.max(width, piece.readUInt16LE(i + 1) + piece.readUInt16LE(i + 5));
      height = Math.max(height, piece.readUInt16LE(i + 3) + piece.readUInt16LE(i + 7));
      at += 11 + colours(piece[i + 9]!);
    } else if (kind === 0x21) at += 2;
    else break;
    for (let length = -1; length !== 0; at += 1 + length) {
      if (lacks(1)) await fill();
      length = piece[at - begin] ?? 0;
    }
  }
  return { width, height };
};

const webpSize: ReadSize = async (read) => {
  const chunk = await read(12, 18);
  if (chunk.length < 18) return undefined;
  switch (chunk.toString('latin1', 0, 4)) {
    case 'VP8 ': {
      // A key frame begins with its start code.
      if (chunk[11] !== 0x9d || chunk[12] !== 0x01 || chunk[13] !== 0x2a) return undefined;
      return { width: chunk.readUInt16LE(14) & 0x3fff, height: chunk.readUInt16LE(16) & 0x3fff };
    }
    case 'VP8L': {
      if (chunk[8] !== 0x2f) return undefined;
      const bits = chunk.readUInt32LE(9);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { width: chunk.readUIntLE(12, 3) + 1, height: chunk.readUIntLE(15, 3) + 1 };
    default:
      return undefined;
  }
};

/** The content of the first box of this type among those in [at, end). */
async function boxIn(
  read: ReadAt,
  [at, end]: readonly [number, number],
  wanted: string,
): Promise<readonly [number, number] | undefined> {
  let next = at;
  for (let step = 0; step < STEPS_MAX && next + 8 <= end; step++) {
    const head = await read(next, 16);
    if (head.length < 8) return undefined;
    let [bytes, offset] = [head.readUInt32BE(0), 8];
    if (bytes === 1) {
      if (head.length < 16 || head.readUInt32BE(8) !== 0) return undefined;
      [bytes, offset] = [head.readUInt32BE(12), 16];
    } else if (bytes === 0) bytes = end - next;
    if (bytes < offset || next + bytes > end) return undefined;
    if (head.toString('latin1', 4, 8) === wanted) return [next + offset, next + bytes];
    next += bytes;
  }
  return undefined;
}

const heifSize: ReadSize = async (read, bytes) => {
  const meta = await boxIn(read, [0, bytes], 'meta');
  // A full box: version and flags come first.
  const properties = meta && (await boxIn(read, [meta[0] + 4, meta[1]], 'iprp'));
  const container = properties && (await boxIn(read, properties, 'ipco'));
  if (container === undefined || container[1] - container[0] > BOX_BYTES_MAX) return undefined;
  // In memory: thousands of small boxes must not be thousands of reads.
  const content = await read(container[0], container[1] - container[0]);
  const inside: ReadAt = (offset, count) => Promise.resolve(content.subarray(offset, offset + count));
  let largest: Size | undefined;
  let at = 0;
  for (let step = 0; step < STEPS_MAX; step++) {
    const found = await boxIn(inside, [at, content.length], 'ispe');
    if (found === undefined) break;
    const box = content.subarray(found[0], Math.min(found[0] + 12, found[1]));
    if (box.length < 12) return undefined;
    const size = { width: box.readUInt32BE(4), height: box.readUInt32BE(8) };
    if (largest === undefined || size.width * size.height > largest.width * largest.height) largest = size;
    at = found[1];
  }
  return largest;
};

const sizes: Readonly<Record<PictureFormat, ReadSize>> = {
  jpeg: jpegSize,
  png: pngSize,
  gif: gifSize,
  webp: webpSize,
  avif: heifSize,
  heic: heifSize,
};
