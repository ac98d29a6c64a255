/** Chars: texts of a scanned body in characters (code points), as varchar counts and Postgres holds them. */
import { decodeString } from '../../events/json-mend.ts';

/** Bytes of U+FFFD. */
const REPLACEMENT = [0xef, 0xbf, 0xbd] as const;

/** How many characters the UTF-8 bytes [from, to) are. */
export function charsIn(text: Buffer, from: number, to: number): number {
  let chars = 0;
  for (let p = from; p < to; p += 1) if ((text[p]! & 0xc0) !== 0x80) chars += 1;
  return chars;
}

/** Where the first `max` characters of [from, to) end, `to` when there are no more. */
export function cutAt(text: Buffer, from: number, to: number, max: number): number {
  if (to - from <= max) return to;
  let chars = 0;
  for (let p = from; p < to; p += 1) {
    if ((text[p]! & 0xc0) !== 0x80) {
      if (chars === max) return p;
      chars += 1;
    }
  }
  return to;
}

/**
 * Unescapes the inside of a JSON string, [from, to), to `at`, in the same buffer behind it. Halves of surrogate pairs
 * and U+0000, which Postgres cannot hold, become U+FFFD. Returns the end; the result is never longer than the source.
 */
export function unescapeTo(text: Buffer, from: number, to: number, at: number): number {
  return withoutNul(text, at, decodeString(text, from, to, text, at));
}

/**
 * Replaces the zeros of [from, to) by U+FFFD and returns the new end. There is room: two bytes for each of them, which
 * came as \u0000 or as %00.
 */
export function withoutNul(text: Buffer, from: number, to: number): number {
  let zeros = 0;
  for (let p = from; p < to; p += 1) if (text[p] === 0) zeros += 1;
  if (zeros === 0) return to;
  const end = to + 2 * zeros;
  let target = end;
  for (let p = to - 1; p >= from; p -= 1) {
    if (text[p] !== 0) {
      target -= 1;
      text[target] = text[p]!;
    } else {
      target -= 3;
      text.set(REPLACEMENT, target);
    }
  }
  return end;
}
