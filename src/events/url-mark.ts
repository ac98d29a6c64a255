/** URL marks: where the path of a URL ends, and its query. */
const HASH = 0x23;
const QUESTION = 0x3f;

/** Offset of the first '?' or '#' in [from, to), or `to`. */
export function findMark(scratch: Buffer, view: DataView, from: number, to: number): number {
  let p = from;
  for (; p < to; p += 4) {
    const word = view.getInt32(p, true);
    const question = word ^ 0x3f3f3f3f;
    const hash = word ^ 0x23232323;
    if (((((question - 0x01010101) & ~question) | ((hash - 0x01010101) & ~hash)) & 0x80808080) !== 0) break;
  }
  for (; p < to; p += 1) if (scratch[p] === QUESTION || scratch[p] === HASH) return p;
  return to;
}
