/**
 * JSON mend: copies valid JSON so that it fits one line which every consumer can read:
 *   - white space between tokens is dropped, so no raw newline remains;
 *   - the escape of a lone surrogate (\ud800 without its other half) becomes \ufffd, because it is no character.
 * All other bytes, also numbers and escapes, are copied unchanged. The result is never longer than the source.
 */
import { hexValue } from './json-text.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_U = 0x75;
const REPLACEMENT = Buffer.from('\\ufffd', 'latin1');
const ESCAPED_UNIT = REPLACEMENT.length;

/** The UTF-16 unit of the \uXXXX whose backslash is at p. */
export function escapedUnit(source: Buffer, p: number): number {
  return (
    (hexValue[source[p + 2]!]! << 12) |
    (hexValue[source[p + 3]!]! << 8) |
    (hexValue[source[p + 4]!]! << 4) |
    hexValue[source[p + 5]!]!
  );
}

/** Whether two units form a surrogate pair. */
export const arePair = (high: number, low: number): boolean => (high & 0xfc00) === 0xd800 && (low & 0xfc00) === 0xdc00;

/** Whether a unit is a surrogate. */
export const isHalf = (unit: number): boolean => (unit & 0xf800) === 0xd800;

/**
 * Copies [from, to), which holds whole JSON values, or with `inString` the inside of a string. Returns the end in the
 * target.
 */
export function copyMended(
  source: Buffer,
  from: number,
  to: number,
  inString: boolean,
  target: Buffer,
  at: number,
): number {
  let end = at;
  let within = inString;
  let p = from;
  while (p < to) {
    const byte = source[p]!;
    if (!within) {
      // In valid JSON a byte <= 0x20 outside of strings is white space.
      if (byte > 0x20) target[end++] = byte;
      within = byte === QUOTE;
      p += 1;
    } else if (byte !== BACKSLASH) {
      target[end++] = byte;
      within = byte !== QUOTE;
      p += 1;
    } else {
      const bytes = source[p + 1] === LETTER_U ? unitBytes(source, p) : 2;
      if (bytes === 0) {
        REPLACEMENT.copy(target, end);
        end += ESCAPED_UNIT;
        p += ESCAPED_UNIT;
      } else {
        for (let i = 0; i < bytes; i += 1) target[end + i] = source[p + i]!;
        end += bytes;
        p += bytes;
      }
    }
  }
  return end;
}

/**
 * Length of the escape at p: 6 for one \uXXXX, 12 for a surrogate pair, 0 for a lone surrogate. Reading past the end of
 * the text is harmless because a quote stands there.
 */
function unitBytes(source: Buffer, p: number): number {
  const unit = escapedUnit(source, p);
  if (!isHalf(unit)) return ESCAPED_UNIT;
  const next = p + ESCAPED_UNIT;
  const paired =
    source[next] === BACKSLASH && source[next + 1] === LETTER_U && arePair(unit, escapedUnit(source, next));
  return paired ? 2 * ESCAPED_UNIT : 0;
}

/** For each byte that may follow a backslash, except u: the character that the escape stands for. */
const unescaped = new Uint8Array(256);
for (const [letter, char] of ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'].map((pair) => [...pair])) {
  unescaped[letter!.charCodeAt(0)] = char!.charCodeAt(0);
}

/**
 * Unescapes the inside of a JSON string, [from, to), to UTF-8; a lone surrogate becomes U+FFFD. Returns the end in the
 * target, which may be the same buffer behind the source. The result is never longer than the source.
 */
export function decodeString(source: Buffer, from: number, to: number, target: Buffer, at: number): number {
  let end = at;
  let p = from;
  while (p < to) {
    const byte = source[p]!;
    if (byte !== BACKSLASH) {
      target[end++] = byte;
      p += 1;
    } else if (source[p + 1] !== LETTER_U) {
      target[end++] = unescaped[source[p + 1]!]!;
      p += 2;
    } else {
      const bytes = unitBytes(source, p);
      const unit = escapedUnit(source, p);
      if (bytes === 0) end = putUtf8(0xfffd, target, end);
      else if (bytes === ESCAPED_UNIT) end = putUtf8(unit, target, end);
      else {
        const low = escapedUnit(source, p + ESCAPED_UNIT);
        end = putUtf8(0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff), target, end);
      }
      p += bytes || ESCAPED_UNIT;
    }
  }
  return end;
}

function putUtf8(codePoint: number, target: Buffer, at: number): number {
  let end = at;
  if (codePoint < 0x80) target[end++] = codePoint;
  else if (codePoint < 0x800) target[end++] = 0xc0 | (codePoint >> 6);
  else if (codePoint < 0x10000) target[end++] = 0xe0 | (codePoint >> 12);
  else target[end++] = 0xf0 | (codePoint >> 18);
  if (codePoint >= 0x10000) target[end++] = 0x80 | ((codePoint >> 12) & 0x3f);
  if (codePoint >= 0x800) target[end++] = 0x80 | ((codePoint >> 6) & 0x3f);
  if (codePoint >= 0x80) target[end++] = 0x80 | (codePoint & 0x3f);
  return end;
}
