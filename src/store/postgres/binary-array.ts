/**
 * Arrays as parameters, in the binary form: the server copies bytes where it would have to parse text. The driver sends
 * a Buffer in binary format, so the statement must name the type: unnest($1::int4[]).
 *
 *   header   dimensions i32 = 1, has nulls i32, OID of the element u32, length i32, lower bound i32 = 1
 *   element  length i32 (-1: null), bytes; all big-endian
 *
 * Source: array_recv() in src/backend/utils/adt/arrayfuncs.c of PostgreSQL; OIDs from its pg_type.dat.
 */
import { POSTGRES_EPOCH_MS } from './copy.ts';
import { putUuid } from './uuid.ts';

const HEADER = 20;
/** Room for an item of byteaArrayOf(); more is made when they need it. */
const ITEM_BYTES = 256;
const MICROS = 1000n;
const TWO_32 = 2 ** 32;
const oids = { int2: 21, int4: 23, int8: 20, uuid: 2950, bytea: 17, text: 25, timestamptz: 1184 } as const;

function open(type: keyof typeof oids, count: number, bytes: number, nulls = false): Buffer {
  // An empty array has no dimension: the server refuses one of length 0 with a lower bound.
  const buffer = Buffer.allocUnsafe(count === 0 ? 12 : HEADER + 4 * count + bytes);
  buffer.writeInt32BE(count === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(nulls ? 1 : 0, 4);
  buffer.writeUInt32BE(oids[type], 8);
  if (count === 0) return buffer;
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
  return buffer;
}

export function int2Array<T>(items: readonly T[], of: (item: T) => number): Buffer {
  const buffer = open('int2', items.length, 2 * items.length);
  let at = HEADER;
  for (const item of items) {
    buffer.writeInt32BE(2, at);
    at = buffer.writeInt16BE(of(item), at + 4);
  }
  return buffer;
}

export function int4Array<T>(items: readonly T[], of: (item: T) => number): Buffer {
  const buffer = open('int4', items.length, 4 * items.length);
  let at = HEADER;
  for (const item of items) {
    buffer.writeInt32BE(4, at);
    at = buffer.writeInt32BE(of(item), at + 4);
  }
  return buffer;
}

export function int8Array<T>(items: readonly T[], of: (item: T) => bigint): Buffer {
  const buffer = open('int8', items.length, 8 * items.length);
  // Buffer would take the numbers apart by division.
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  let at = HEADER;
  for (const item of items) {
    view.setInt32(at, 8);
    view.setBigInt64(at + 4, of(item));
    at += 12;
  }
  return buffer;
}

/** As int8Array(), of the two halves of each number as signed integers. */
export function int8ArrayOfHalves<T>(items: readonly T[], high: (item: T) => number, low: (item: T) => number): Buffer {
  const buffer = open('int8', items.length, 8 * items.length);
  let at = HEADER;
  for (const item of items) {
    buffer.writeInt32BE(8, at);
    buffer.writeInt32BE(high(item), at + 4);
    at = buffer.writeInt32BE(low(item), at + 8);
  }
  return buffer;
}

/** As int8Array(), of safe integers. */
export function int8ArrayOfNumbers<T>(items: readonly T[], of: (item: T) => number): Buffer {
  return int8ArrayOfHalves(
    items,
    (item) => Math.floor(of(item) / TWO_32),
    (item) => of(item) | 0,
  );
}

/** timestamptz[], of ms since 1970: whole numbers. */
export function instantArray<T>(items: readonly T[], of: (item: T) => number): Buffer {
  const buffer = int8Array(items, (item) => BigInt(of(item) - POSTGRES_EPOCH_MS) * MICROS);
  buffer.writeUInt32BE(oids.timestamptz, 8);
  return buffer;
}

/** Of texts as putUuid() takes them. */
export function uuidArray<T>(items: readonly T[], of: (item: T) => string): Buffer {
  const buffer = open('uuid', items.length, 16 * items.length);
  let at = HEADER;
  for (const item of items) {
    buffer.writeInt32BE(16, at);
    putUuid(buffer, at + 4, of(item));
    at += 20;
  }
  return buffer;
}

/** `undefined` is null. */
export function byteaArray<T>(items: readonly T[], of: (item: T) => Uint8Array | undefined): Buffer {
  return bytesArray('bytea', items.map(of));
}

/** As byteaArray(), of bytes that are valid until the next call only, and never null. */
export function byteaArrayOf<T>(items: readonly T[], of: (item: T) => Uint8Array): Buffer {
  let buffer = open('bytea', items.length, ITEM_BYTES * items.length);
  let at = HEADER;
  for (const item of items) {
    const bytes = of(item);
    if (buffer.length - at < 4 + bytes.length) {
      const grown = Buffer.allocUnsafe(2 * buffer.length + bytes.length);
      buffer.copy(grown, 0, 0, at);
      buffer = grown;
    }
    buffer.writeInt32BE(bytes.length, at);
    buffer.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return items.length === 0 ? buffer : buffer.subarray(0, at);
}

/** `undefined` is null. */
export function textArray<T>(items: readonly T[], of: (item: T) => string | undefined): Buffer {
  return bytesArray(
    'text',
    items.map((item) => {
      const text = of(item);
      return text === undefined ? undefined : Buffer.from(text);
    }),
  );
}

function bytesArray(type: 'bytea' | 'text', items: readonly (Uint8Array | undefined)[]): Buffer {
  let bytes = 0;
  let nulls = false;
  for (const item of items) {
    if (item === undefined) nulls = true;
    else bytes += item.length;
  }
  const buffer = open(type, items.length, bytes, nulls);
  let at = HEADER;
  for (const item of items) {
    at = buffer.writeInt32BE(item === undefined ? -1 : item.length, at);
    if (item === undefined) continue;
    buffer.set(item, at);
    at += item.length;
  }
  return buffer;
}
