/**
 * Segments: how many messages of a phone a text takes. A text that the alphabet of GSM 03.38 has is counted in septets,
 * any other in UTF-16 units (UCS-2).
 *
 *           one segment   each of several    what is not cut in two
 *   gsm7            160               153    a character of the extension table (ESC and its code)
 *   ucs2             70                67    a surrogate pair
 *
 * Of several segments each gives 6 bytes of its 140 to the user data header that says its place (3GPP TS 23.040,
 * 9.2.3.24.1). What is not cut begins the next segment, so a segment may be one unit short.
 */
import { septetsOfUnit } from './gsm7.ts';

export type Alphabet = 'gsm7' | 'ucs2';

export const limits = {
  gsm7: { alone: 160, linked: 153 },
  ucs2: { alone: 70, linked: 67 },
} as const satisfies Readonly<Record<Alphabet, object>>;

export interface Measure {
  readonly alphabet: Alphabet;
  /** At least 1, also of an empty text. */
  readonly segments: number;
  /** Septets, or UTF-16 units. */
  readonly units: number;
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLowSurrogate = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** Counts without making the parts. */
export function measure(text: string): Measure {
  let septets = 0;
  for (let i = 0; i < text.length; i++) {
    const count = septetsOfUnit(text.charCodeAt(i));
    if (count === 0) return measureOf('ucs2', text, text.length);
    septets += count;
  }
  return measureOf('gsm7', text, septets);
}

function measureOf(alphabet: Alphabet, text: string, units: number): Measure {
  const segments = units <= limits[alphabet].alone ? 1 : cuts(alphabet, text).length + 1;
  return { alphabet, segments, units };
}

/** The texts of the segments, in order; together they are the text. */
export function partsOf(text: string): { readonly alphabet: Alphabet; readonly parts: readonly string[] } {
  const { alphabet, segments } = measure(text);
  if (segments === 1) return { alphabet, parts: [text] };
  const ends = [...cuts(alphabet, text), text.length];
  return { alphabet, parts: ends.map((end, i) => text.slice(i === 0 ? 0 : ends[i - 1]!, end)) };
}

/** Where each segment after the first begins, as places in the text. */
function cuts(alphabet: Alphabet, text: string): number[] {
  const { linked } = limits[alphabet];
  const found: number[] = [];
  let filled = 0;
  for (let i = 0; i < text.length; ) {
    const unit = text.charCodeAt(i);
    const pair = isHighSurrogate(unit) && i + 1 < text.length && isLowSurrogate(text.charCodeAt(i + 1));
    const length = pair ? 2 : 1;
    const size = alphabet === 'gsm7' ? septetsOfUnit(unit) : length;
    if (filled + size > linked) {
      found.push(i);
      filled = 0;
    }
    filled += size;
    i += length;
  }
  return found;
}
