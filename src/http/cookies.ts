/**
 * Cookies: reads one value out of a Cookie header without copying the rest, writes the Set-Cookie line that gives it,
 * and knows what browsers drop.
 */

const SEMICOLON = 59;
const SPACE = 32;
const TAB = 9;

/**
 * The value of the first cookie of that name that is good, '' when there is none. A browser may send several of a name:
 * one set for the host, one for its parent domain.
 */
export function cookieValue(header: string, name: string, good: (value: string) => boolean): string {
  let at = header.indexOf(name);
  while (at >= 0) {
    const equals = at + name.length;
    if (header.charCodeAt(equals) === 61 && startsCookie(header, at)) {
      const semicolon = header.indexOf(';', equals);
      let end = semicolon < 0 ? header.length : semicolon;
      while (end > equals + 1 && (header.charCodeAt(end - 1) === SPACE || header.charCodeAt(end - 1) === TAB)) end -= 1;
      const value = header.slice(equals + 1, end);
      if (good(value)) return value;
    }
    at = header.indexOf(name, at + 1);
  }
  return '';
}

function startsCookie(header: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && (header.charCodeAt(before) === SPACE || header.charCodeAt(before) === TAB)) before -= 1;
  return before < 0 || header.charCodeAt(before) === SEMICOLON;
}

/** A name that a browser takes for a cookie (RFC 6265 token). */
export function isCookieName(text: string): boolean {
  return /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(text);
}

/**
 * A Domain that a browser can take: names of letters, digits and hyphens; not an address, not a top-level domain. The
 * dot that may stand in front means nothing (RFC 6265, 5.2.3).
 */
export function isCookieDomain(text: string): boolean {
  const names = text.replace(/^\./, '').split('.');
  if (text.length > 253 || !names.every((name) => /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/.test(name))) return false;
  return names.length === 1 ? names[0]!.toLowerCase() === 'localhost' : /[A-Za-z]/.test(names.at(-1)!);
}

export type SameSite = 'Lax' | 'Strict' | 'None';

export interface CookieOptions {
  readonly name: string;
  /** Empty: the host that answered, and no other. */
  readonly domain: string;
  readonly maxAgeS: number;
  readonly sameSite: SameSite;
  /** A jar for each site whose page sends (CHIPS). */
  readonly partitioned: boolean;
}

/** Names that promise something of their cookie, in any case (RFC 6265bis, 4.1.3). */
const SECURE_NAME = /^__(Host-|Secure-|Http-)/i;
const HOST_NAME = /^__Host-/i;

/** Whether browsers drop the cookie unless it is Secure. */
export function needsSecure({ name, sameSite, partitioned }: Omit<CookieOptions, 'domain' | 'maxAgeS'>): boolean {
  return sameSite === 'None' || partitioned || SECURE_NAME.test(name);
}

/** Whether browsers drop the cookie when it has a Domain. */
export const forbidsDomain = (name: string): boolean => HOST_NAME.test(name);

/** Makes Set-Cookie values. HttpOnly always: no script needs to read it. */
export class CookieWriter {
  readonly #start: string;
  readonly #plain: string;
  readonly #secure: string;

  constructor(options: CookieOptions) {
    this.#start = `${options.name}=`;
    const domain = options.domain === '' ? '' : `; Domain=${options.domain}`;
    const partitioned = options.partitioned ? '; Partitioned' : '';
    const plain = `; Path=/; Max-Age=${options.maxAgeS}; HttpOnly; SameSite=${options.sameSite}${domain}${partitioned}`;
    this.#secure = `${plain}; Secure`;
    this.#plain = needsSecure(options) ? this.#secure : plain;
  }

  /** `secure`: the client came over TLS. What browsers would drop without Secure has it always. */
  line(value: string, secure: boolean): string {
    return this.#start + value + (secure ? this.#secure : this.#plain);
  }
}
