/**
 * Address: IP addresses as text and as bytes. One parser and one formatter, so that an address has one spelling
 * everywhere: dotted for IPv4 and for IPv4 inside IPv6 (::ffff:a.b.c.d), RFC 5952 for IPv6. What does not parse is
 * never stored.
 *
 * `parseAddress` leaves the bytes in `parsed` and returns their number: 4, 16 or 0. They are valid until the next call.
 */

/** Bytes of the last address that parsed. Borrowed: the next parse overwrites them. */
export const parsed = new Uint8Array(16);

const octets = Array.from({ length: 256 }, (_, value) => String(value));
const COLON = 58;
const DOT = 46;

/**
 * Reads text[from, to). Returns 4 for IPv4 (also inside IPv6), 16 for IPv6, 0 for anything else. Zones and ports are
 * refused.
 */
export function parseAddress(text: string, from = 0, to = text.length): number {
  if (to - from < 2 || to - from > 45) return 0;
  for (let i = from; i < to && i < from + 5; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) return parseV4(text, from, to, 0) ? 4 : 0;
    if (c === COLON) break;
  }
  return parseV6(text, from, to);
}

function parseV4(text: string, from: number, to: number, at: number): boolean {
  let value = 0;
  let digits = 0;
  let parts = 0;
  for (let i = from; i <= to; i++) {
    const c = i < to ? text.charCodeAt(i) : DOT;
    if (c === DOT) {
      if (digits === 0 || parts === 4) return false;
      parsed[at + parts] = value;
      parts += 1;
      value = 0;
      digits = 0;
      continue;
    }
    const digit = c - 48;
    // A leading zero is refused, because some software reads 010 as eight and some as ten.
    if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return false;
    value = value * 10 + digit;
    digits += 1;
    if (value > 255) return false;
  }
  return parts === 4;
}

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function parseV6(text: string, from: number, to: number): number {
  let at = 0;
  let gap = -1;
  let i = from;
  if (text.charCodeAt(i) === COLON) {
    if (text.charCodeAt(i + 1) !== COLON) return 0;
    gap = 0;
    i += 2;
  }
  while (i < to) {
    if (at === 16) return 0;
    let value = 0;
    const group = i;
    while (i < to) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) break;
      value = value * 16 + digit;
      i += 1;
      if (i - group > 4) return 0;
    }
    if (i < to && text.charCodeAt(i) === DOT) {
      if (at > 12 || !parseV4(text, group, to, at)) return 0;
      at += 4;
      i = to;
      break;
    }
    if (i === group) return 0;
    parsed[at] = value >> 8;
    parsed[at + 1] = value & 255;
    at += 2;
    if (i === to) break;
    if (text.charCodeAt(i) !== COLON) return 0;
    i += 1;
    if (i === to) return 0;
    if (text.charCodeAt(i) === COLON) {
      if (gap >= 0) return 0;
      gap = at;
      i += 1;
    }
  }
  if (gap < 0) {
    if (at !== 16) return 0;
  } else {
    if (at === 16) return 0;
    parsed.copyWithin(16 - (at - gap), gap, at);
    parsed.fill(0, gap, 16 - (at - gap));
  }
  return unmap();
}

/** ::ffff:a.b.c.d in `parsed` becomes a.b.c.d. */
function unmap(): number {
  for (let i = 0; i < 10; i++) if (parsed[i] !== 0) return 16;
  if (parsed[10] !== 255 || parsed[11] !== 255) return 16;
  parsed.copyWithin(0, 12, 16);
  return 4;
}

/** Takes 4 or 16 bytes, as a socket reports them, into `parsed`; returns 4, 16, or 0 for any other length. */
export function takeAddress(bytes: Uint8Array): number {
  if (bytes.length !== 4 && bytes.length !== 16) return 0;
  parsed.set(bytes);
  return bytes.length === 4 ? 4 : unmap();
}

/** The one spelling of the address in `parsed`. */
export function formatParsed(length: number): string {
  if (length === 4) return formatV4();
  return length === 16 ? formatV6() : '';
}

const SPELLED_BITS = 10;
/**
 * The last spelling in each slot of a hash: the same clients and proxies come again, and joining seven strings is
 * saved.
 */
const spelledV4 = Array.from({ length: 1 << SPELLED_BITS }, () => '0.0.0.0');
const spelledWords = new Int32Array(1 << SPELLED_BITS);

function formatV4(): string {
  const address = word(0) | 0;
  // Fibonacci hashing (Knuth, TAOCP 6.4): the top bits of the product.
  const slot = Math.imul(address, 0x9e3779b1) >>> (32 - SPELLED_BITS);
  if (spelledWords[slot] === address) return spelledV4[slot]!;
  const text = `${octets[parsed[0]!]}.${octets[parsed[1]!]}.${octets[parsed[2]!]}.${octets[parsed[3]!]}`;
  spelledWords[slot] = address;
  spelledV4[slot] = text;
  return text;
}

function formatV6(): string {
  let bestAt = -1;
  let best = 1;
  for (let g = 0; g < 8; g++) {
    let run = 0;
    while (g + run < 8 && parsed[2 * (g + run)] === 0 && parsed[2 * (g + run) + 1] === 0) run += 1;
    if (run > best) {
      best = run;
      bestAt = g;
    }
    g += run;
  }
  let text = '';
  for (let g = 0; g < 8; ) {
    if (g === bestAt) {
      text += '::';
      g += best;
      continue;
    }
    if (g > 0 && g !== bestAt + best) text += ':';
    text += ((parsed[2 * g]! << 8) | parsed[2 * g + 1]!).toString(16);
    g += 1;
  }
  return text;
}

/**
 * The one spelling of the address in text[from, to); '' when the text is no address. A dotted text that parses is
 * spelled right.
 */
export function canonicalAddress(text: string, from = 0, to = text.length): string {
  const length = parseAddress(text, from, to);
  if (length === 4 && text.charCodeAt(to - 1) !== COLON && text.indexOf(':', from) < 0) return text.slice(from, to);
  return formatParsed(length);
}

/**
 * The one spelling of a network in CIDR notation; an address is the network of it alone, and ::ffff:a.b.c.d is IPv4.
 * Throws a RangeError for what is none, and for one that has bits behind its prefix: that is a typo more often than a
 * network.
 */
export function canonicalNetwork(text: string): string {
  const must = (what: string) => new RangeError(`a network must be ${what}: found=${text.slice(0, 60)}`);
  const [address = '', bitsText, ...more] = text.split('/');
  const length = parseAddress(address);
  const mapped = length === 4 && address.includes(':');
  const bitsMax = address.includes(':') ? 128 : 32;
  const given = bitsText === undefined ? bitsMax : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : -1;
  const bits = mapped ? given - 96 : given;
  if (length === 0 || more.length > 0 || bits < 0 || given > bitsMax)
    throw must('CIDR like 10.0.0.0/8 or 2001:db8::/32');
  let whole = true;
  for (let bit = bits; bit < length * 8; bit += 1) {
    const mask = 128 >> (bit & 7);
    if ((parsed[bit >> 3]! & mask) === 0) continue;
    whole = false;
    parsed[bit >> 3]! &= ~mask;
  }
  const network = `${formatParsed(length)}/${bits}`;
  if (whole) return network;
  throw must(`without bits behind its prefix, like ${network}`);
}

/**
 * A set of addresses and CIDR ranges as sorted intervals: a look-up is a binary search, whatever the number of ranges.
 */
export class AddressSet {
  readonly #v4: readonly (readonly [number, number])[];
  readonly #v6: readonly (readonly [bigint, bigint])[];

  /** Throws a RangeError naming the first entry that is no address or range. */
  constructor(entries: readonly string[]) {
    const v4: [number, number][] = [];
    const v6: [bigint, bigint][] = [];
    for (const entry of entries) {
      const [address = '', bitsText, ...more] = entry.split('/');
      const mapped = address.includes(':');
      const length = parseAddress(address);
      const bitsMax = mapped ? 128 : 32;
      const bits = bitsText === undefined ? bitsMax : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : -1;
      if (length === 0 || more.length > 0 || bits < 0 || bits > bitsMax) throw new RangeError(entry);
      if (length === 4) {
        const width = mapped ? bits - 96 : bits;
        if (width < 0) throw new RangeError(entry);
        const size = 2 ** (32 - width);
        const low = Math.floor(word(0) / size) * size;
        v4.push([low, low + size - 1]);
      } else {
        const size = 1n << BigInt(128 - bits);
        const low = (parsedBig() / size) * size;
        v6.push([low, low + size - 1n]);
      }
    }
    this.#v4 = merge(v4);
    this.#v6 = merge(v6);
  }

  /** Whether the address in `parsed`, of this length, is in the set. */
  hasParsed(length: number): boolean {
    return length === 4
      ? within(this.#v4, word(0))
      : length === 16 && this.#v6.length > 0 && within(this.#v6, parsedBig());
  }

  has(text: string): boolean {
    return this.hasParsed(parseAddress(text));
  }
}

function word(at: number): number {
  return ((parsed[at]! << 24) | (parsed[at + 1]! << 16) | (parsed[at + 2]! << 8) | parsed[at + 3]!) >>> 0;
}

function parsedBig(): bigint {
  return (BigInt(word(0)) << 96n) | (BigInt(word(4)) << 64n) | (BigInt(word(8)) << 32n) | BigInt(word(12));
}

function merge<T extends number | bigint>(ranges: [T, T][]): [T, T][] {
  ranges.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  const merged: [T, T][] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last === undefined || range[0] > last[1]) merged.push(range);
    else if (range[1] > last[1]) last[1] = range[1];
  }
  return merged;
}

function within<T extends number | bigint>(ranges: readonly (readonly [T, T])[], value: T): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]![0] <= value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value <= ranges[low - 1]![1];
}
