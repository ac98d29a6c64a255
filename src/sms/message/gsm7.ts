/**
 * GSM-7: the default alphabet of GSM 03.38 (3GPP TS 23.038, 6.2.1) and its extension table. A character of the
 * extension takes two septets: ESC and its code.
 */
const ESC = 0x1b;

/** Code = place. The place of ESC holds a character that no text has. */
const BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\0ÆæßÉ' +
  ' !"#¤%&\'()*+,-./0123456789:;<=>?' +
  '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§' +
  '¿abcdefghijklmnopqrstuvwxyzäöñüà';

const EXTENSION: Readonly<Record<string, number>> = {
  '\f': 0x0a,
  '^': 0x14,
  '{': 0x28,
  '}': 0x29,
  '\\': 0x2f,
  '[': 0x3c,
  '~': 0x3d,
  ']': 0x3e,
  '|': 0x40,
  '€': 0x65,
};

/** Septets of each UTF-16 unit up to the euro sign, the largest of the alphabet; 0: not in the alphabet. */
const septets = new Uint8Array(0x20ad);
const codes = new Uint8Array(septets.length);
for (const [code, character] of [...BASIC].entries()) {
  if (code === ESC) continue;
  septets[character.charCodeAt(0)] = 1;
  codes[character.charCodeAt(0)] = code;
}
for (const [character, code] of Object.entries(EXTENSION)) {
  septets[character.charCodeAt(0)] = 2;
  codes[character.charCodeAt(0)] = code;
}

/** Septets that a UTF-16 unit takes: 1, 2 for the extension table, 0 when the alphabet lacks it. */
export const septetsOfUnit = (unit: number): number => (unit < septets.length ? septets[unit]! : 0);

/** The text as unpacked septets, one a byte. Throws a TypeError for a character that the alphabet lacks. */
export function septetsOf(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const count = septetsOfUnit(unit);
    if (count === 0)
      throw new TypeError(`a character must be in the alphabet of GSM 03.38: found=U+${unit.toString(16)}`);
    if (count === 2) bytes[at++] = ESC;
    bytes[at++] = codes[unit]!;
  }
  return bytes.subarray(0, at);
}
