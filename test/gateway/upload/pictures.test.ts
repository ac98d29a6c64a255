/**
 * Goal: sizes are those that a decoder finds, a location is gone when it was asked to go, and no bytes make the readers
 * crash, run long or leave the file. Method: pictures made by sharp, whole, cut and changed by fast-check; a reader that
 * counts, and knows the end.
 */
import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { formatOf, inspect, type PictureFormat, type ReadAt } from '../../../src/gateway/upload/inspect.ts';
import { removeLocation } from '../../../src/gateway/upload/location.ts';

const picture = (width: number, height: number, channels: 3 | 4 = 3): Sharp =>
  sharp({ create: { width, height, channels, background: { r: 10, g: 90, b: 160, alpha: 0.5 } } });
const GPS = {
  IFD0: { Make: 'Camera' },
  IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 17/1', GPSLongitudeRef: 'E', GPSLongitude: '13/1 24/1 9/1' },
};
const XMP = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="52,31.2N"/></rdf:RDF></x:xmpmeta>`;

const makers: Readonly<Record<string, (width: number, height: number) => Promise<Buffer>>> = {
  baseline: (w, h) => picture(w, h).jpeg().toBuffer(),
  progressive: (w, h) => picture(w, h).jpeg({ progressive: true }).toBuffer(),
  'jpeg with large Exif data': (w, h) =>
    picture(w, h)
      .jpeg()
      .withExif({ ...GPS, IFD2: { UserComment: 'x'.repeat(60_000) } })
      .toBuffer(),
  png: (w, h) => picture(w, h, 4).png().toBuffer(),
  gif: (w, h) => picture(w, h).gif().toBuffer(),
  'lossy webp': (w, h) => picture(w, h).webp().toBuffer(),
  'lossless webp': (w, h) => picture(w, h).webp({ lossless: true }).toBuffer(),
  'webp with alpha': (w, h) => picture(w, h, 4).webp().toBuffer(),
  avif: (w, h) => picture(w, h).avif({ effort: 0 }).toBuffer(),
};

/** The reads of one inspection: bounded, and none before the file. */
function reader(bytes: Buffer): { readonly read: ReadAt; readonly reads: () => number } {
  let reads = 0;
  return {
    read: (offset, count) => {
      reads += 1;
      if (!Number.isSafeInteger(offset) || offset < 0 || count < 0 || count > 16 << 20)
        throw new TypeError(`reads must be bounded: offset=${offset}, count=${count}`);
      return Promise.resolve(Buffer.from(bytes.subarray(offset, offset + count)));
    },
    reads: () => reads,
  };
}
const READS_MAX = 13_000;
const sizeOf = (bytes: Buffer) => inspect(reader(bytes).read, bytes.length);

test.each(Object.keys(makers))('the size of %s is that of the decoder', async (name) => {
  const side = fc.integer({ min: 1, max: 300 });
  await fc.assert(
    fc.asyncProperty(side, side, async (width, height) => {
      const bytes = await makers[name]!(width, height);
      const { width: w, height: h } = await sharp(bytes).metadata();
      expect(await sizeOf(bytes)).toMatchObject({ width: w, height: h });
      expect([w, h]).toEqual([width, height]);
    }),
    { numRuns: 8 },
  );
});

test('a GIF is as large as its largest frame, wherever that stands', async () => {
  const plain = await picture(30, 20).gif().toBuffer();
  const frame = Buffer.from([0x2c, 5, 0, 6, 0, 0x10, 0x27, 0x20, 0x4e, 0, 2, 1, 0, 0]);
  const comments = Buffer.from(`\x21\xfe${`\xff${'x'.repeat(255)}`.repeat(1000)}\0`, 'latin1');
  const { read, reads } = reader(Buffer.concat([plain.subarray(0, -1), comments, frame, Buffer.from(';')]));
  expect(await inspect(read, plain.length + comments.length + frame.length)).toEqual({
    format: 'gif',
    width: 10_005,
    height: 20_006,
  });
  expect(reads()).toBeLessThan(20);
});

test('a brand counts when it stands in its box', () => {
  const box = (...brands: string[]) =>
    Buffer.concat([
      Buffer.from([0, 0, 0, 12 + 4 * (brands.length - 1) + 4]),
      Buffer.from(`ftyp${brands[0]}\0\0\0\0`),
      ...brands.slice(1).map((brand) => Buffer.from(brand)),
      Buffer.alloc(16),
    ]);
  expect(formatOf(box('heic', 'mif1'))).toBe('heic');
  expect(formatOf(box('mif1', 'heic', 'avif'))).toBe('avif');
  expect(formatOf(box('mp42', 'isom'))).toBeUndefined();
  expect(formatOf(Buffer.concat([box('isom').subarray(0, 16), Buffer.from('avifavifavifavif')]))).toBeUndefined();
});

test('changed and cut files are understood or refused, in few reads', async () => {
  const samples = await Promise.all(Object.values(makers).map((make) => make(64, 48)));
  const change = fc.record({ at: fc.nat(4000), byte: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0xd8, 0xe1) });
  const formats: readonly PictureFormat[] = ['jpeg', 'png', 'webp', 'avif', 'heic'];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...samples),
      fc.array(change, { maxLength: 12 }),
      fc.option(fc.nat(3000), { nil: undefined }),
      async (sample, changes, cut) => {
        const bytes = Buffer.from(sample.subarray(0, cut));
        for (const { at, byte } of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
        const { read, reads } = reader(bytes);
        const found = await inspect(read, bytes.length);
        if (found !== undefined) expect(found.width * found.height).toBeGreaterThan(0);
        expect(reads()).toBeLessThan(READS_MAX);
        const format = formatOf(bytes);
        if (format === undefined || !formats.includes(format)) return;
        const write = (offset: number, piece: Buffer): Promise<void> => {
          expect(offset).toBeGreaterThanOrEqual(0);
          expect(offset + piece.length).toBeLessThanOrEqual(bytes.length);
          piece.copy(bytes, offset);
          return Promise.resolve();
        };
        await removeLocation({ read: reader(bytes).read, write, bytes: bytes.length }, format).catch((error) => {
          if (!(error instanceof RangeError)) throw error;
        });
      },
    ),
    { numRuns: 3000 },
  );
});

test('a box of many small boxes is one read', async () => {
  const box = (type: string, ...content: Buffer[]) => {
    const body = Buffer.concat(content);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(8 + body.length);
    head.write(type, 4);
    return Buffer.concat([head, body]);
  };
  const free = Buffer.concat(Array.from({ length: 4000 }, () => box('free')));
  const ispe = box('ispe', Buffer.from([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5]));
  const bytes = Buffer.concat([
    box('ftyp', Buffer.from('avif\0\0\0\0avifmif1')),
    box('meta', Buffer.alloc(4), box('iprp', box('ipco', free, ispe, free))),
  ]);
  const { read, reads } = reader(bytes);
  expect(await inspect(read, bytes.length)).toEqual({ format: 'avif', width: 7, height: 5 });
  expect(reads()).toBeLessThan(10);
});

async function stripped(bytes: Buffer, format: PictureFormat): Promise<Buffer> {
  const out = Buffer.from(bytes);
  const write = (offset: number, piece: Buffer) => Promise.resolve(void piece.copy(out, offset));
  await removeLocation({ read: reader(out).read, write, bytes: out.length }, format);
  return out;
}
const pixels = async (bytes: Buffer) => (await sharp(bytes).raw().toBuffer()).toString('base64');

/** A TIFF structure with a maker's name, and a latitude of 52 in its GPS directory. */
function tiff(little: boolean): Buffer {
  const out = Buffer.alloc(100);
  const u16 = (value: number, at: number) => (little ? out.writeUInt16LE(value, at) : out.writeUInt16BE(value, at));
  const u32 = (value: number, at: number) => (little ? out.writeUInt32LE(value, at) : out.writeUInt32BE(value, at));
  const entry = (at: number, tag: number, type: number, count: number, value: number) => {
    u16(tag, at);
    u16(type, at + 2);
    u32(count, at + 4);
    u32(value, at + 8);
  };
  out.write(little ? 'II' : 'MM');
  u16(42, 2);
  u32(8, 4);
  u16(2, 8);
  entry(10, 0x010f, 2, 7, 84);
  entry(22, 0x8825, 4, 1, 38);
  u16(1, 38);
  entry(40, 2, 5, 3, 60);
  for (const [i, value] of [52, 1, 31, 1, 17, 1].entries()) u32(value, 60 + 4 * i);
  out.write('Camera\0', 84);
  return out;
}
const place = (little: boolean) => tiff(little).subarray(60, 84);
const app1 = (content: Buffer) =>
  Buffer.concat([Buffer.from([0xff, 0xe1, (content.length + 2) >> 8, (content.length + 2) & 0xff]), content]);
const withApp1 = (jpeg: Buffer, content: Buffer) =>
  Buffer.concat([jpeg.subarray(0, 2), app1(content), jpeg.subarray(2)]);

test.each([true, false])('the location of a JPEG goes: little endian %s', async (little) => {
  const exif = Buffer.concat([Buffer.from('Exif\0\0'), tiff(little)]);
  const plain = await picture(40, 30).jpeg().toBuffer();
  const xmp = Buffer.from(`http://ns.adobe.com/xap/1.0/\0${XMP}`);
  const photo = withApp1(withApp1(plain, xmp), exif);
  const clean = await stripped(photo, 'jpeg');
  expect([photo.includes(place(little)), clean.includes(place(little))]).toEqual([true, false]);
  expect([photo.includes('GPSLatitude'), clean.includes('GPSLatitude')]).toEqual([true, false]);
  expect(clean.includes('Camera')).toBe(true);
  expect(clean.length).toBe(photo.length);
  expect(await pixels(clean)).toBe(await pixels(plain));
});

test('a location between scans and behind the picture goes, too', async () => {
  const exif = Buffer.concat([Buffer.from('Exif\0\0'), tiff(true)]);
  const noise = Buffer.from(Array.from({ length: 90 * 70 * 3 }, (_, i) => (i * 7919 * (i % 13)) % 256));
  const plain = await sharp(noise, { raw: { width: 90, height: 70, channels: 3 } })
    .jpeg({ progressive: true, quality: 100 })
    .toBuffer();
  const second = plain.lastIndexOf(Buffer.from([0xff, 0xda]));
  const between = Buffer.concat([plain.subarray(0, second), app1(exif), plain.subarray(second)]);
  const behind = Buffer.concat([between, withApp1(await picture(9, 9).jpeg().toBuffer(), exif)]);
  const clean = await stripped(behind, 'jpeg');
  expect(clean.includes(place(true))).toBe(false);
  expect(await pixels(clean)).toBe(await pixels(plain));
});

test.each(['png', 'webp', 'avif'] as const)('the location of %s goes', async (format) => {
  const plain = await picture(40, 30).toFormat(format).toBuffer();
  const photo = await picture(40, 30).toFormat(format).withExif(GPS).withXmp(XMP).toBuffer();
  const latitude = Buffer.from([17, 0, 0, 0, 1, 0, 0, 0]);
  const clean = await stripped(photo, format);
  // In PNG it is compressed.
  const xmpOf = async (bytes: Buffer) => (await sharp(bytes).metadata()).xmp?.includes('GPSLatitude') ?? false;
  expect([await xmpOf(photo), await xmpOf(clean)]).toEqual([true, false]);
  expect([photo.includes(latitude), clean.includes(latitude)]).toEqual([true, false]);
  expect(clean.includes('Camera')).toBe(true);
  expect(await pixels(clean)).toBe(await pixels(plain));
  // What stands behind the picture is in no way a part of it.
  const hidden = format === 'avif' ? Buffer.from('\0\0\0\x1cmpvd52.5 N 13.4 E     ') : Buffer.from('52.5 N 13.4 E');
  const more = await stripped(Buffer.concat([photo, hidden]), format);
  expect([more.includes('52.5 N'), await pixels(more)]).toEqual([false, await pixels(plain)]);
});

test('the city in the IPTC data of a JPEG goes', async () => {
  const plain = await picture(40, 30).jpeg().toBuffer();
  const iptc = Buffer.from('Photoshop 3.0\0' + '8BIM\x04\x04\0\0\0\0\0\x0b\x1c\x02\x5a\0\x06Berlin\0', 'latin1');
  const app13 = app1(iptc);
  app13[1] = 0xed;
  const clean = await stripped(Buffer.concat([plain.subarray(0, 2), app13, plain.subarray(2)]), 'jpeg');
  expect([clean.includes('Berlin'), await pixels(clean)]).toEqual([false, await pixels(plain)]);
});

test('metadata of a HEIF is found wherever its items stand, and a film is not taken', async () => {
  const box = (type: string, ...content: (Buffer | string)[]) => {
    const body = Buffer.concat(content.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
    const head = Buffer.alloc(8);
    head.writeUInt32BE(8 + body.length);
    head.write(type, 4);
    return Buffer.concat([head, body]);
  };
  const exif = Buffer.concat([Buffer.from([0, 0, 0, 6]), Buffer.from('Exif\0\0'), tiff(false)]);
  const xmp = Buffer.from(XMP);
  const infos = box(
    'iinf',
    '\0\0\0\0\0\x02',
    box('infe', '\x02\0\0\0\0\x01\0\0Exif\0'),
    box('infe', '\x03\0\0\0\0\0\0\x02\0\0mime\0application/rdf+xml\0'),
  );
  const places = (first: number) => {
    const u32 = (value: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return bytes;
    };
    // Version 2: the first in two parts in the file, the second in idat, 8 bytes behind its beginning.
    const one = ['\0\0\0\x01', '\0\0', '\0\0', u32(first), '\0\x02', u32(0), u32(50), u32(50), u32(exif.length - 50)];
    const two = ['\0\0\0\x02', '\0\x01', '\0\0', u32(8), '\0\x01', u32(0), u32(xmp.length)];
    return box('iloc', '\x02\0\0\0', '\x44\x40', u32(2), ...one, ...two);
  };
  const make = (first: number) =>
    Buffer.concat([
      box('ftyp', 'heic\0\0\0\0heic'),
      box('meta', '\0\0\0\0', infos, places(first), box('idat', '........', xmp)),
      box('mdat', exif),
    ]);
  const photo = make(make(0).length - exif.length);
  const clean = await stripped(photo, 'heic');
  expect([photo.includes(place(false)), clean.includes(place(false))]).toEqual([true, false]);
  expect([photo.includes('GPSLatitude'), clean.includes('GPSLatitude')]).toEqual([true, false]);
  expect([clean.includes('Camera'), clean.includes('........'), clean.length]).toEqual([true, true, photo.length]);
  await expect(stripped(Buffer.concat([photo, box('moov', 'udta')]), 'heic')).rejects.toThrow(RangeError);
});
