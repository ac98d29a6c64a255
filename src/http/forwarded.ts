/**
 * Forwarded: the header of RFC 7239, as in `for="[2001:db8::1]:4711";proto=https, for=10.0.0.2`. One element per proxy,
 * each of parameters; texts may stand in quotes.
 *
 * Elements are found from the right. The right-most one is our own proxy's and well-formed; what a client made up
 * stands to its left, perhaps with a quote that never ends. From the left such a quote would swallow the element of our
 * proxy.
 */

const QUOTE = 34;
const COMMA = 44;
const BACKSLASH = 92;

function isEscaped(text: string, at: number): boolean {
  let before = at;
  while (text.charCodeAt(before - 1) === BACKSLASH) before -= 1;
  return (at - before) % 2 === 1;
}

/** Where the element that ends at `end` begins: behind the nearest comma to its left that stands in no quotes. */
export function elementStart(text: string, end: number): number {
  let quoted = false;
  for (let i = end - 1; i >= 0; i--) {
    const c = text.charCodeAt(i);
    if (c === QUOTE && !isEscaped(text, i)) quoted = !quoted;
    else if (c === COMMA && !quoted) return i + 1;
  }
  return 0;
}

/** Where the first element ends. */
export function firstElementEnd(text: string): number {
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE && !isEscaped(text, i)) quoted = !quoted;
    else if (c === COMMA && !quoted) return i;
  }
  return text.length;
}

const PAIR = /[ \t]*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))[ \t]*(?:;|$)/y;

/** The value of a parameter of one element; '' when it is missing or comes twice, or the element is malformed. */
export function parameterOf(element: string, name: string): string {
  let found: string | undefined;
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < element.length) {
    const pair = PAIR.exec(element);
    if (pair === null) return '';
    if (pair[1]!.toLowerCase() !== name) continue;
    if (found !== undefined) return '';
    found = pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3]!;
  }
  return found ?? '';
}
