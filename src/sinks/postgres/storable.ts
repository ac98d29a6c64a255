/**
 * Storable: the one rule for JSON that is valid but that jsonb refuses.
 *
 *   \u0000, and half of a surrogate pair (\ud800 without its \udc00), are stored as \ufffd, the replacement character
 *   anything else (a number beyond numeric's range, nesting beyond the server's stack) goes to the dead-letter file
 *
 * Characters that no text column can hold come from broken clients and are worth less than the event around them. A
 * number is data, and any other number in its stead would be invented. File and Kafka keep the line as it came. The
 * replacement is as long as the escape, so it is made in place.
 */
const BACKSLASH = 0x5c;
const LETTER_U = 0x75;
const ESCAPE_LENGTH = 6;

/** Every escape that the rule may concern begins so. */
export const suspect = Buffer.from('\\u');

/** Replaces in a JSON text, in place, the escapes that jsonb cannot hold. Returns how many there were. */
export function makeStorable(json: Buffer): number {
  let replaced = 0;
  for (let at = json.indexOf(BACKSLASH); at >= 0; at = json.indexOf(BACKSLASH, at)) {
    if (json[at + 1] !== LETTER_U) {
      at += 2; // the escaped character may be a backslash itself
      continue;
    }
    const unit = hexAt(json, at + 2);
    if (isHigh(unit) && isLowEscape(json, at + ESCAPE_LENGTH)) {
      at += 2 * ESCAPE_LENGTH;
      continue;
    }
    if (unit === 0 || isHigh(unit) || isLow(unit)) {
      json.write('fffd', at + 2, 'latin1');
      replaced += 1;
    }
    at += ESCAPE_LENGTH;
  }
  return replaced;
}

function isLowEscape(json: Buffer, at: number): boolean {
  return json[at] === BACKSLASH && json[at + 1] === LETTER_U && isLow(hexAt(json, at + 2));
}
function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
function hexAt(json: Buffer, at: number): number {
  return Number.parseInt(json.toString('latin1', at, at + 4), 16);
}
