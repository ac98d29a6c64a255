/**
 * Cookies: reads one value out of a Cookie header without copying the rest, and writes the Set-Cookie line that gives
 * it.
 */

const SEMICOLON = 59;
const SPACE = 32;
const TAB = 9;

/** The value of the first cookie of that name, '' when there is none. */
export function cookieValue(header: string, name: string): string {
  let at = header.indexOf(name);
  while (at >= 0) {
    const equals = at + name.length;
    if (header.charCodeAt(equals) === 61 && startsCookie(header, at)) {
      const semicolon = header.indexOf(';', equals);
      let end = semicolon < 0 ? header.length : semicolon;
      while (end > equals + 1 && (header.charCodeAt(end - 1) === SPACE || header.charCodeAt(end - 1) === TAB)) end -= 1;
      return header.slice(equals + 1, end);
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

export type SameSite = 'Lax' | 'Strict' | 'None';

export interface CookieOptions {
  readonly name: string;
  /** Empty: the host that answered, and no other. */
  readonly domain: string;
  readonly maxAgeS: number;
  readonly sameSite: SameSite;
}

/** Makes Set-Cookie values. HttpOnly always: no script needs to read it. */
export class CookieWriter {
  readonly #start: string;
  readonly #plain: string;
  readonly #secure: string;

  constructor(options: CookieOptions) {
    this.#start = `${options.name}=`;
    const domain = options.domain === '' ? '' : `; Domain=${options.domain}`;
    this.#plain = `; Path=/; Max-Age=${options.maxAgeS}; HttpOnly; SameSite=${options.sameSite}${domain}`;
    this.#secure = `${this.#plain}; Secure`;
  }

  /** `secure`: the client came over TLS. Browsers drop a SameSite=None cookie that is not Secure. */
  line(value: string, secure: boolean): string {
    return this.#start + value + (secure ? this.#secure : this.#plain);
  }
}
