/**
 * Header text: the addon's getHeader makes one character of each byte (its getQuery and forEach read UTF-8), so a UTF-8
 * header comes out as "cafÃ©". This gives back the text that was sent; bytes that are no UTF-8 become U+FFFD. ASCII
 * needs no call.
 */
export function headerText(raw: string): string {
  return Buffer.from(raw, 'latin1').toString('utf8');
}
