/** The 16 bytes of a UUID. Buffer.write() takes hex digits only, and a text without dashes would have to be made first. */
const DASH = 0x2d;

/** By character code, in either case. */
const digits = new Uint8Array(128);
for (let value = 0; value < 16; value += 1) {
  const digit = value.toString(16);
  digits[digit.charCodeAt(0)] = value;
  digits[digit.toUpperCase().charCodeAt(0)] = value;
}

/** `text`: 32 hex digits, with dashes between them or without. Of any other text something is written. */
export function putUuid(target: Uint8Array, at: number, text: string): void {
  let from = 0;
  for (let to = at; to < at + 16; to += 1) {
    if (text.charCodeAt(from) === DASH) from += 1;
    target[to] = (digits[text.charCodeAt(from)]! << 4) | digits[text.charCodeAt(from + 1)]!;
    from += 2;
  }
}
