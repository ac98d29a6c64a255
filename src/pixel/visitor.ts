/**
 * Visitor: what a request says about who sent it, and what we may do with that. Both ingest routes read it the same way; it is read
 * inside the handler, for the addon's request is gone afterwards.
 *
 *   do not track   DNT: 1 or Sec-GPC: 1, obeyed by DNT_RESPECT; DNT_MODE says how
 *   address        by TRUST_PROXY, then IP_MODE; geo is looked up with the full one
 *   cookie         the sid of a well-formed cookie, and the Set-Cookie line for a new one
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { AddressReader } from '../http/client-address.ts';
import { CookieWriter, cookieValue } from '../http/cookies.ts';
import { asked } from '../http/wire-text.ts';
import type { Lookup } from './enrich.ts';
import type { IpFilter } from './privacy.ts';

export interface VisitorOptions {
  readonly dntRespect: boolean;
  readonly dntMode: 'drop' | 'anonymize';
  readonly cookies: boolean;
  readonly cookieName: string;
  readonly cookieDomain: string;
  readonly cookieMaxAgeDays: number;
  readonly cookieSamesite: 'Lax' | 'Strict' | 'None';
  /** TLS ends in this process. */
  readonly secure: boolean;
  /** X-Forwarded-Proto is believed (TRUST_PROXY is not false). */
  readonly trustProto: boolean;
  readonly address: AddressReader;
  readonly filter: IpFilter;
  readonly geo: Lookup | undefined;
  readonly device: Lookup | undefined;
}

export type Track = 'track' | 'drop' | 'anonymize';

const DAY_S = 86_400;

/** A sid that a cookie may bring: what we make, and what others have made before us, but nothing that needs escaping. */
const sid = /^[\w.-]{1,128}$/;
export const isSid = (text: string): boolean => sid.test(text);

/** One per acceptor. The fields hold what read() found; they are valid until the next read(). */
export class Visitor {
  ip = '';
  geo: Buffer | undefined;
  device: Buffer | undefined;
  userAgent = '';
  cookieSid = '';
  readonly #options: VisitorOptions;
  readonly #writer: CookieWriter;

  constructor(options: VisitorOptions) {
    this.#options = options;
    this.#writer = new CookieWriter({
      name: options.cookieName,
      domain: options.cookieDomain,
      maxAgeS: options.cookieMaxAgeDays * DAY_S,
      sameSite: options.cookieSamesite,
    });
  }

  /** Whether a sid may be made for who has none. */
  get mints(): boolean {
    return this.#options.cookies;
  }

  track(req: HttpRequest): Track {
    if (!this.#options.dntRespect) return 'track';
    if (req.getHeader(asked.dnt) !== '1' && req.getHeader(asked.gpc) !== '1') return 'track';
    return this.#options.dntMode;
  }

  /** Fills the fields. An anonymous visitor leaves nothing but where, roughly, it is (geo). */
  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number): void {
    const { address, filter, geo, device, cookies, cookieName } = this.#options;
    this.userAgent = anonymous ? '' : req.getHeader(asked.userAgent);
    this.ip = '';
    this.geo = undefined;
    this.device = undefined;
    this.cookieSid = '';
    if (device !== undefined) this.device = device.find(req.getHeader(asked.userAgent));
    if (!anonymous || geo !== undefined) {
      const full = address(res, req);
      if (geo !== undefined) this.geo = geo.find(full);
      if (!anonymous) this.ip = filter(full, nowMs);
    }
    if (cookies && !anonymous) {
      const header = req.getHeader(asked.cookie);
      if (header !== '') {
        const sid = cookieValue(header, cookieName);
        if (isSid(sid)) this.cookieSid = sid;
      }
    }
  }

  /** Whether the client came over TLS, here or at a trusted proxy. Inside the handler only. */
  overTls(req: HttpRequest): boolean {
    const { secure, trustProto } = this.#options;
    return secure || (trustProto && req.getHeader(asked.forwardedProto) === 'https');
  }

  /** The Set-Cookie line for a sid that was made for this request. */
  cookieLine(sid: string, overTls: boolean): string {
    return this.#writer.line(sid, overTls);
  }
}
