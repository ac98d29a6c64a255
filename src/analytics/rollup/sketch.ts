/**
 * Sketches: about how many distinct signed-in visitors there were, of any union of slots, days and months.
 *
 * HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) over 64 bits of the visitor, which are those of a SHA-256. Few
 * visitors are kept as a list (the sparse form of HyperLogLog++: Heule, Nunkesser, Hall 2013), whose estimate is all
 * but exact. The estimator is Ertl's improved one (New cardinality estimation algorithms for HyperLogLog sketches,
 * 2017, algorithm 6): right from 0 on, and without tables of biases.
 *
 *   sparse  byte 1, then entries u32, ascending: the first 25 bits of the visitor << 6 | rank of its other 39 bits
 *   dense   byte 2, then 2048 registers of 6 bits, lowest bits first
 *
 * The dense form has 1537 bytes: a row with it stays below the 2 KB from which Postgres would move it out of the row.
 */
const PRECISION = 11;
const REGISTERS = 2 ** PRECISION;
const SPARSE_PRECISION = 25;
/** Longer lists become dense, and no longer than that. */
const SPARSE_ENTRIES_MAX = 384;
const DENSE_BYTES = 1 + (REGISTERS * 6) / 8;
const SPARSE = 1;
const DENSE = 2;
const NOBODY = Uint8Array.of(SPARSE);
/** Largest rank of a register, plus one: 64 - PRECISION bits without a 1 have rank RANKS - 1. */
const RANKS = 64 - PRECISION + 2;

/** Of a dense sketch: 1.04 / sqrt(registers). Two of three estimates are nearer to the truth than that. */
export const SKETCH_STANDARD_ERROR = 1.04 / Math.sqrt(REGISTERS);

export type Sketch = Uint8Array;

/** What a sketch keeps of a visitor (32 hex digits). */
export function entryOf(visitor: string): number {
  const high = Number.parseInt(visitor.slice(0, 8), 16);
  const low = Number.parseInt(visitor.slice(8, 16), 16);
  // Rank: position of the first 1 bit among the 39 bits after the first 25.
  const seven = high & 0x7f;
  let rank: number;
  if (seven !== 0) rank = Math.clz32(seven) - 25 + 1;
  else if (low !== 0) rank = 7 + Math.clz32(low) + 1;
  else rank = 40;
  return (high >>> 7) * 64 + rank;
}

/** Puts entries in. Returns the sketch itself when they change nothing. */
export function withEntries(sketch: Sketch | undefined, entries: readonly number[]): Sketch {
  if (sketch?.[0] === DENSE) {
    let dense = sketch;
    for (const entry of entries) dense = raise(dense, sketch, registerOf(entry), rankOf(entry));
    return dense;
  }
  const stored = sketch ?? NOBODY;
  const added = entries.length === 1 ? entries : Uint32Array.from(entries).sort();
  const bytes = Buffer.allocUnsafe(stored.length + 4 * added.length);
  bytes[0] = SPARSE;
  let end = 1;
  let changed = sketch === undefined;
  let at = 1;
  let index = 0;
  while (at < stored.length || index < added.length) {
    const fromStored = index === added.length || (at < stored.length && entryAt(stored, at) <= added[index]!);
    const entry = fromStored ? entryAt(stored, at) : added[index]!;
    if (fromStored) at += 4;
    else index += 1;
    // Of entries with the same 25 bits the last one has the largest rank, and that one counts.
    const replaces = end > 1 && entryAt(bytes, end - 4) >>> 6 === entry >>> 6;
    if (replaces && entryAt(bytes, end - 4) === entry) continue;
    if (!fromStored || replaces) changed = true;
    end = bytes.writeUInt32BE(entry, replaces ? end - 4 : end);
  }
  if (!changed) return stored;
  const list = bytes.subarray(0, end);
  return (end - 1) / 4 > SPARSE_ENTRIES_MAX ? toDense(sparseEntries(list)) : list;
}

/** The sketch of everybody in one or the other. */
export function mergeSketches(sketches: Iterable<Sketch>): Sketch | undefined {
  let merged: Sketch | undefined;
  for (const sketch of sketches) {
    if (merged === undefined) merged = sketch;
    else if (sketch[0] === SPARSE) merged = withEntries(merged, sparseEntries(sketch));
    else if (merged[0] === SPARSE) merged = withEntries(sketch, sparseEntries(merged));
    else {
      const before: Sketch = merged;
      let after: Sketch = merged;
      for (let register = 0; register < REGISTERS; register += 1) {
        after = raise(after, before, register, rankAt(sketch, register));
      }
      merged = after;
    }
  }
  return merged;
}

/** How many distinct visitors there are in it, about. */
export function estimate(sketch: Sketch | undefined): number {
  if (sketch === undefined) return 0;
  if (sketch[0] === SPARSE) {
    const slots = 2 ** SPARSE_PRECISION;
    return Math.round(-slots * Math.log1p(-((sketch.length - 1) / 4) / slots));
  }
  const histogram = new Float64Array(RANKS);
  for (let register = 0; register < REGISTERS; register += 1) histogram[rankAt(sketch, register)]! += 1;
  let sum = REGISTERS * tau(1 - histogram[RANKS - 1]! / REGISTERS);
  for (let rank = RANKS - 2; rank >= 1; rank -= 1) sum = 0.5 * (sum + histogram[rank]!);
  sum += REGISTERS * sigma(histogram[0]! / REGISTERS);
  return Math.round((REGISTERS * REGISTERS) / (2 * Math.LN2) / sum);
}

function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let [x, y, z] = [share, 1, share];
  for (;;) {
    x *= x;
    const before = z;
    z += x * y;
    y += y;
    if (z === before) return z;
  }
}

function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let [x, y, z] = [share, 1, 1 - share];
  for (;;) {
    x = Math.sqrt(x);
    const before = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
    if (z === before) return z / 3;
  }
}

function sparseEntries(sketch: Sketch): number[] {
  const entries: number[] = [];
  for (let at = 1; at < sketch.length; at += 4) entries.push(entryAt(sketch, at));
  return entries;
}

/** An entry has 31 bits. */
const entryAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;

const registerOf = (entry: number): number => (entry >>> 6) >>> (SPARSE_PRECISION - PRECISION);

/** Rank among the bits after the register's: those of the list's index that the register leaves, then the others. */
function rankOf(entry: number): number {
  const bits = SPARSE_PRECISION - PRECISION;
  const rest = (entry >>> 6) & (2 ** bits - 1);
  return rest === 0 ? bits + (entry & 63) : Math.clz32(rest) - (32 - bits) + 1;
}

function toDense(entries: readonly number[]): Sketch {
  const dense = new Uint8Array(DENSE_BYTES);
  dense[0] = DENSE;
  for (const entry of entries) raise(dense, undefined, registerOf(entry), rankOf(entry));
  return dense;
}

function rankAt(dense: Sketch, register: number): number {
  const bit = register * 6;
  const at = 1 + (bit >>> 3);
  return (((dense[at]! | ((dense[at + 1] ?? 0) << 8)) >>> (bit & 7)) & 63) as number;
}

/** Raises a register of `dense`; as long as that is `original`, in a copy of it. */
function raise(dense: Sketch, original: Sketch | undefined, register: number, rank: number): Sketch {
  if (rankAt(dense, register) >= rank) return dense;
  const target = dense === original ? Uint8Array.from(dense) : dense;
  const bit = register * 6;
  const at = 1 + (bit >>> 3);
  const shift = bit & 7;
  const both = target[at]! | ((target[at + 1] ?? 0) << 8);
  const changed = (both & ~(63 << shift)) | (rank << shift);
  target[at] = changed & 255;
  if (at + 1 < DENSE_BYTES) target[at + 1] = changed >>> 8;
  return target;
}
