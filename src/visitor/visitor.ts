/**
 * Visitor: what a request says about who sent it, and what we may do with that. All intake routes read it the same way,
 * inside the handler, because the addon's request is gone afterwards.
 *
 *   do not track   DNT: 1 or Sec-GPC: 1, obeyed by DNT_RESPECT in the way that DNT_MODE says
 *   address        by TRUST_PROXY, then IP_MODE; geo is looked up with the full address
 *   cookie         the sid of a well-formed cookie, and the Set-Cookie line for a new sid
 *
 * A new sid is made only where its cookie can come back. Where it cannot, each view would be a new visitor: such events
 * have no sid, and who counts visitors sees that they are not counted. Browsers say it by these headers (tried on
 * Chromium 156; a browser without them, or without TLS, is taken at its best):
 *
 *   Sec-Fetch-Site: cross-site       Lax and Strict are neither kept nor brought, but Lax in a navigation of the page
 *   Sec-Fetch-Storage-Access         the page stands in a page of another site, though Sec-Fetch-Site may say
 *                                    same-origin; unless `active`, None comes back only when it is Partitioned
 *   X-Forwarded-Proto: http          a cookie that must be Secure is dropped
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Origin } from '../events/origin.ts';
import type { AddressReader } from '../http/client-address.ts';
import { CookieWriter, cookieValue, needsSecure } from '../http/cookies.ts';
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
  readonly cookiePartitioned: boolean;
  /** TLS ends in this process. */
  readonly secure: boolean;
  /** What the client spoke to the first trusted proxy; '' when nobody says it (client-address.ts). */
  readonly scheme: (req: HttpRequest) => string;
  readonly address: AddressReader;
  readonly filter: IpFilter;
  readonly geo: Lookup | undefined;
  readonly device: Lookup | undefined;
}

export type Track = 'track' | 'drop' | 'anonymize';

/** What DNT_RESPECT and DNT_MODE make of the request's headers. Inside the handler only. */
export function trackOf(options: Pick<VisitorOptions, 'dntRespect' | 'dntMode'>, req: HttpRequest): Track {
  if (!options.dntRespect) return 'track';
  if (req.getHeader(asked.dnt) !== '1' && req.getHeader(asked.gpc) !== '1') return 'track';
  return options.dntMode;
}

const DAY_S = 86_400;

/** A sid that a cookie may bring: ours, or one made by another collector, as long as no character needs escaping. */
const sid = /^[\w.-]{1,128}$/;
const isSid = (text: string): boolean => sid.test(text);
/** One that was made here: of several it is ours, and another one may be the secret of a login. */
const own = /^s_[0-9a-f]{32}$/;
const isOwn = (text: string): boolean => own.test(text);

/** One per acceptor. */
export class Visitor {
  readonly #options: VisitorOptions;
  readonly #writer: CookieWriter;
  readonly #needsSecure: boolean;
  /** The sid of the Cookie lines that #note has seen so far. */
  #found = '';
  readonly #note: (key: string, value: string) => void;

  constructor(options: VisitorOptions) {
    this.#options = options;
    const cookie = {
      name: options.cookieName,
      domain: options.cookieDomain,
      maxAgeS: options.cookieMaxAgeDays * DAY_S,
      sameSite: options.cookieSamesite,
      partitioned: options.cookiePartitioned,
    };
    this.#writer = new CookieWriter(cookie);
    this.#needsSecure = needsSecure(cookie);
    this.#note = (key, value) => {
      if (key !== 'cookie' || isOwn(this.#found)) return;
      const sid = this.#sidIn(value);
      if (this.#found === '' || isOwn(sid)) this.#found = sid;
    };
  }

  track(req: HttpRequest): Track {
    return trackOf(this.#options, req);
  }

  /** Fills in who sends it; the source stays. Of an anonymous visitor only the rough place (geo) is kept. */
  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, origin: Origin): void {
    const { address, filter, geo, device, cookies } = this.#options;
    // Straight into the encoder's input: the garbage collector tracks every store of a new string into an old object,
    // so each is made once.
    origin.receivedMs = nowMs;
    origin.anonymous = anonymous;
    origin.userAgent = anonymous ? '' : req.getHeader(asked.userAgent);
    origin.device = device?.find(req.getHeader(asked.userAgent));
    const full = anonymous && geo === undefined ? '' : address(res, req);
    origin.geo = geo?.find(full);
    origin.ip = anonymous ? '' : filter(full, nowMs);
    origin.cookieSid = cookies && !anonymous ? this.#cookieSid(req) : '';
    origin.mintSid = cookies && !anonymous && origin.cookieSid === '' && this.#comesBack(req);
  }

  /** The sid of the cookie, '' without a well-formed one. */
  #cookieSid(req: HttpRequest): string {
    const header = req.getHeader(asked.cookie);
    if (header === '') return '';
    const made = cookieValue(header, this.#options.cookieName, isOwn);
    if (made !== '') return made;
    // A proxy that speaks HTTP/2 to its clients may hand over each cookie in a line of its own (RFC 9113, 8.2.3), and
    // getHeader gives the first. Reading all headers costs a microsecond or two; only a visitor whose first line has no
    // sid of ours pays it.
    this.#found = '';
    req.forEach(this.#note);
    return this.#found;
  }

  #sidIn(header: string): string {
    const { cookieName } = this.#options;
    return cookieValue(header, cookieName, isOwn) || cookieValue(header, cookieName, isSid);
  }

  /** Whether a browser would keep the cookie of a new sid and bring it with the next request like this one. */
  #comesBack(req: HttpRequest): boolean {
    const { cookieSamesite, cookiePartitioned, secure, scheme } = this.#options;
    const access = req.getHeader(asked.storageAccess);
    if (cookieSamesite === 'None') {
      if (!cookiePartitioned && access !== '' && access !== 'active') return false;
    } else {
      if (access !== '') return false;
      if (req.getHeader(asked.fetchSite) === 'cross-site' && !(cookieSamesite === 'Lax' && isVisit(req))) return false;
    }
    if (!this.#needsSecure || secure) return true;
    const spoken = scheme(req);
    // A proxy that says nothing may well speak TLS to its clients.
    return spoken === '' || spoken === 'https';
  }

  /** Whether the client came over TLS, here or at a trusted proxy. Inside the handler only. */
  overTls(req: HttpRequest): boolean {
    const { secure, scheme } = this.#options;
    return secure || scheme(req) === 'https';
  }

  /** The Set-Cookie line for a sid that was made for this request. */
  cookieLine(sid: string, overTls: boolean): string {
    return this.#writer.line(sid, overTls);
  }
}

/** A page of another site leads the whole tab here, by a link: Lax cookies come along. Not by a form that is posted. */
function isVisit(req: HttpRequest): boolean {
  return req.getHeader(asked.fetchDest) === 'document' && req.getMethod() !== 'post';
}
