/**
 * Unpack: the records of a batch out of the codec that its producer chose. A batch of a kilobyte may hold gigabytes; so
 * every codec ends at a limit before it has made more: zlib and zstd by the limit of their output, the others by what
 * their blocks say (lz4.ts, snappy.ts).
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { unpackLz4 } from './lz4.ts';
import { unpackSnappy } from './snappy.ts';
import type { Room } from './spare.ts';

type Unpack = (packed: Buffer, bytesMax: number, room?: Room) => Buffer | undefined;

/** Undefined where a decoder throws: it does not unpack, or to more than it may. */
const orUndefined =
  (decoder: (packed: Buffer, limit: { readonly maxOutputLength: number }) => Buffer): Unpack =>
  (packed, bytesMax) => {
    try {
      return decoder(packed, { maxOutputLength: bytesMax });
    } catch {
      return undefined;
    }
  };

/** By the three low bits of a batch's attributes. Undefined: the batch does not unpack, or to more than it may. */
export const codecs: readonly Unpack[] = [
  (packed) => packed,
  orUndefined(gunzipSync),
  unpackSnappy,
  unpackLz4,
  orUndefined(zstdDecompressSync),
];
