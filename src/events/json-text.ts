/**
 * JSON text at byte level: copies UTF-8 between two private buffers and escapes where it must.
 *
 * The loops take four bytes at a time (SWAR), so they read and write up to three bytes past the given ends: source and
 * target need SLACK bytes of room there. The next writer overwrites what was written too far. Long runs go through
 * Buffer.copy. Escapes are those of JSON.stringify: \b \t \n \f \r \" \\, else \u00xx; other characters stay
 * as they are.
 */

/** Bytes past the end of source and target that a copy may touch. */
export const SLACK = 8;
/** Escaping makes at most this many bytes of one byte: \u0000. */
export const ESCAPE_GROWTH = 6;

const COPY_CALL_FROM = 48; // Bytes from which one call of Buffer.copy beats the loop (measured: 10 ns a call).
const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');

/** For each byte, what follows the backslash of its escape: 0 = no escape needed, 'u' = \u00xx, else the character. */
const escapes = new Uint8Array(256);
escapes.fill(0x75, 0, 0x20);
for (const [char, letter] of ['\bb', '\tt', '\nn', '\ff', '\rr', '""', '\\\\'].map((pair) => [...pair])) {
  escapes[char!.charCodeAt(0)] = letter!.charCodeAt(0);
}
/** For each byte: 1 when it must be escaped in a JSON string. */
export const needsEscape: Uint8Array = escapes.map((letter) => (letter === 0 ? 0 : 1));

/** A view for unaligned 4-byte access to the same bytes. */
export const viewOf = (buffer: Buffer): DataView => new DataView(buffer.buffer, buffer.byteOffset, buffer.length);

/** Mask for the bytes of a 4-byte word that still belong to a text with `left` bytes to go. */
export const tailMask = (left: number): number => (left >= 4 ? -1 : (1 << (left << 3)) - 1);

/**
 * Sets a bit for each byte of the word that is below 0x20, a quote or a backslash; 0 when the word has none. Only the
 * lowest set bit is reliable. Flipping bit 1 keeps control characters below 0x20 and turns the quote into 0x20 and the
 * space into 0x22, so one comparison finds both.
 */
export function unsafeBytes(word: number): number {
  const low = word ^ 0x02020202;
  const slash = word ^ 0x5c5c5c5c;
  return (((low - 0x21212121) & ~low) | ((slash - 0x01010101) & ~slash)) & 0x80808080;
}

/** Index in its word, 0 to 3, of the byte that the lowest set bit of such a mask marks. */
export const lowestByte = (mask: number): number => (31 - Math.clz32(mask & -mask)) >> 3;

/** Copies [from, to) unchanged; returns the end in the target. */
export function copyPlain(
  source: Buffer,
  sourceView: DataView,
  from: number,
  to: number,
  target: Buffer,
  targetView: DataView,
  at: number,
): number {
  const length = to - from;
  if (length >= COPY_CALL_FROM) source.copy(target, at, from, to);
  else {
    for (let done = 0; done < length; done += 4) {
      targetView.setInt32(at + done, sourceView.getInt32(from + done, true), true);
    }
  }
  return at + length;
}

/** Copies UTF-8 text [from, to) as the inside of a JSON string; returns the end in the target. */
export function copyEscaped(
  source: Buffer,
  sourceView: DataView,
  from: number,
  to: number,
  target: Buffer,
  targetView: DataView,
  at: number,
): number {
  const letters = escapes;
  let clean = from;
  while (clean < to) {
    const mask = unsafeBytes(sourceView.getInt32(clean, true));
    clean += mask === 0 ? 4 : lowestByte(mask);
    if (mask !== 0) break;
  }
  // The last word may reach past the text.
  if (clean > to) clean = to;
  let end = copyPlain(source, sourceView, from, clean, target, targetView, at);
  for (let p = clean; p < to; p += 1) {
    const byte = source[p]!;
    const letter = letters[byte]!;
    if (letter === 0) {
      target[end++] = byte;
      continue;
    }
    target[end++] = 0x5c;
    target[end++] = letter;
    if (letter === 0x75) {
      target[end++] = 0x30;
      target[end++] = 0x30;
      target[end++] = 0x30 + (byte >> 4);
      target[end++] = HEX_DIGITS[byte & 15]!;
    }
  }
  return end;
}

/** For each byte its value as a hexadecimal digit, 255 for any other byte. */
export const hexValue: Uint8Array = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit += 1) {
  const char = digit.toString(16);
  hexValue[char.charCodeAt(0)] = digit;
  hexValue[char.toUpperCase().charCodeAt(0)] = digit;
}
