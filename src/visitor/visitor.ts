/**
 * Visitor: what a request says about who sent it, and what we may do with that. All intake routes read it the same way,
 * inside the handler, because the addon's request is gone afterwards.
 *
 *   do not track   DNT: 1 or Sec-GPC: 1, obeyed by DNT_RESPECT in the way that DNT_MODE says
 *   address        by TRUST_PROXY, then IP_MODE; geo is looked up with the full address
 *   cookie         the sid of a well-formed cookie, and the Set-Cookie line for a new sid
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Origin } from '../events/origin.ts';
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

/** A sid that a cookie may bring: ours, or one made by another collector, as long as no character needs escaping. */
const sid = /^[\w.-]{1,128}$/;
const isSid = (text: string): boolean => sid.test(text);

/** One per acceptor. */
export class Visitor {
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

  track(req: HttpRequest): Track {
    if (!this.#options.dntRespect) return 'track';
    if (req.getHeader(asked.dnt) !== '1' && req.getHeader(asked.gpc) !== '1') return 'track';
    return this.#options.dntMode;
  }

  /** Fills in who sends it; the source stays. Of an anonymous visitor only the rough place (geo) is kept. */
  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, origin: Origin): void {
    const { address, filter, geo, device, cookies } = this.#options;
    // Straight into the encoder's input: the garbage collector tracks every store of a new string into an old object,
    // so each is made once.
    origin.receivedMs = nowMs;
    origin.anonymous = anonymous;
    origin.mintSid = cookies;
    origin.userAgent = anonymous ? '' : req.getHeader(asked.userAgent);
    origin.device = device?.find(req.getHeader(asked.userAgent));
    const full = anonymous && geo === undefined ? '' : address(res, req);
    origin.geo = geo?.find(full);
    origin.ip = anonymous ? '' : filter(full, nowMs);
    origin.cookieSid = cookies && !anonymous ? this.#cookieSid(req) : '';
  }

  /** The sid of the cookie, '' without a well-formed one. */
  #cookieSid(req: HttpRequest): string {
    const header = req.getHeader(asked.cookie);
    if (header === '') return '';
    const sid = cookieValue(header, this.#options.cookieName);
    return isSid(sid) ? sid : '';
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
