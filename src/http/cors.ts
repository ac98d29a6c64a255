/**
 * CORS: which pages may send, by CORS_ORIGINS. A route declares its rule by the Cors it holds (Route.cors):
 *
 *                        CORS_ORIGINS=*                              a list
 *   an intake route      every page's own origin echoed, with        a listed page's origin echoed, with credentials;
 *                        credentials                                 any other origin is answered 403
 *   every other route    Access-Control-Allow-Origin: * and no       the same; `null` counts as any other origin
 *                        credentials
 *
 * Browsers take no `*` in the answer to a request with credentials, and such requests are what pages send: sendBeacon
 * always has them. An answer of an intake route holds nothing that a page must not read (a count, the errors of what
 * the page itself sent; the cookie is HttpOnly), so there the echo gives nothing away. Elsewhere it would hand the
 * data of whoever is logged in to every page, so there `*` never goes together with credentials.
 *
 * A request without an Origin header (an <img> pixel, a server) is no cross-origin request: it is taken and gets none
 * of these headers.
 *
 * `Origin: null` comes from sandboxed frames, local files, and redirects across origins. Any page can make it, so it
 * stands for nobody. `*` takes it like any origin; a list takes it only on intake routes, and only when it names it.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { endBare } from './answer.ts';

/** What the Origin of a request means. `listed`: echoed, with credentials. `any`: answered with `*`. */
export type OriginVerdict = 'none' | 'any' | 'listed' | 'foreign';

export interface CorsOptions {
  /** Reply headers that a page's script may read. */
  readonly exposed?: string;
  /** The rule of intake routes: answers hold no secret. */
  readonly intake?: boolean;
}

/** Pages of these schemes have the origin `null`, or there are no such pages. */
const PAGELESS = /^(about|blob|data|file|ftp|javascript|mailto|ws|wss):$/;

/** What is wrong with an item of CORS_ORIGINS, which then would match no page, or far too many; undefined: nothing. */
export function originProblem(text: string): string | undefined {
  if (text === '*' || text === 'null') return undefined;
  const found = `found=${text}`;
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\s\\]*)(.*)$/i.exec(text);
  if (parts === null) return `an origin begins with a scheme, as in https://example.com: ${found}`;
  const [, , host = '', rest = ''] = parts;
  if (rest !== '') return `an origin has neither a path nor a trailing slash: ${found}`;
  if (host.includes('@')) return `an origin has no user: ${found}`;
  const starred = host.startsWith('*.');
  if (host.slice(starred ? 2 : 0).includes('*'))
    return `a star stands alone or for the first names of a host, as in https://*.example.com: ${found}`;
  // The star is no part of a name: what stands for it here is what a page's host has in its place.
  const plain = starred ? text.replace('*', 'x') : text;
  if (!URL.canParse(plain) || new URL(plain).host === '') return `an origin has a host: ${found}`;
  const { protocol, hostname } = new URL(plain);
  if (PAGELESS.test(protocol)) return `pages of ${protocol} have no origin of their own: ${found}`;
  if (starred && !/^x(\.[^.]+){2,}$/.test(hostname) && hostname !== 'x.localhost')
    return `a star needs a domain of two names or more behind it, as in https://*.example.com: ${found}`;
  return undefined;
}

/** How browsers spell an origin: lower case, without the scheme's own port. */
function spelled(origin: string): string {
  if (origin === 'null') return origin;
  const url = new URL(origin);
  return `${url.protocol}//${url.host}`;
}

/** `https://*.example.com`: every host below the domain, at any depth, and not the domain itself. */
interface Pattern {
  readonly start: string;
  readonly end: string;
}

function patternOf(item: string): Pattern {
  const [start = '', end = ''] = spelled(item.replace('*', 'x')).split('//x');
  return { start: `${start}//`, end };
}

const NAMES = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;

function fits({ start, end }: Pattern, origin: string): boolean {
  if (!origin.startsWith(start) || !origin.endsWith(end) || origin.length <= start.length + end.length) return false;
  return NAMES.test(origin.slice(start.length, -end.length));
}

/** A host has at most 253 characters. What is longer is no origin, and is not echoed. */
const ORIGIN_LENGTH_MAX = 300;
const TOKENS = /^[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1024}$/;

/** What a preflight asks for. */
export interface Preflight {
  /** Access-Control-Request-Headers. */
  readonly headers: string;
  /** Access-Control-Request-Private-Network: true, from a page of the Internet to an address of the local network. */
  readonly privateNetwork: boolean;
}

export class Cors {
  /** Whether answers differ by origin. Each of them then has `Vary: Origin`. */
  readonly varies: boolean;
  readonly #any: boolean;
  readonly #intake: boolean;
  readonly #listed: ReadonlySet<string>;
  readonly #patterns: readonly Pattern[];
  readonly #exposed: string;

  /** `origins`: CORS_ORIGINS. */
  constructor(origins: readonly string[], { exposed = '', intake = false }: CorsOptions = {}) {
    this.#any = origins.includes('*');
    this.#intake = intake;
    this.varies = intake || !this.#any;
    const exact = origins.filter((item) => !item.includes('*') && (intake || item !== 'null'));
    this.#listed = new Set(exact.map(spelled));
    this.#patterns = origins.filter((item) => item.includes('://*.')).map(patternOf);
    this.#exposed = exposed;
  }

  /** `origin`: the Origin header, '' when there is none. */
  judge(origin: string): OriginVerdict {
    if (origin === '') return 'none';
    if (this.#any) return this.#intake && origin.length <= ORIGIN_LENGTH_MAX ? 'listed' : 'any';
    if (this.#listed.has(origin)) return 'listed';
    if (origin.length > ORIGIN_LENGTH_MAX) return 'foreign';
    for (const pattern of this.#patterns) if (fits(pattern, origin)) return 'listed';
    return 'foreign';
  }

  /**
   * Writes the headers of an answer; call after writeStatus. A foreign origin gets none: its page may not read the
   * answer.
   */
  write(res: HttpResponse, verdict: OriginVerdict, origin: string): void {
    // Written with or without an Origin in this request: a cache must not give the answer for one page to another page.
    if (this.varies) res.writeHeader('Vary', 'Origin');
    this.writeOrigin(res, verdict, origin);
  }

  /** The same without `Vary`, for an answer whose constant headers hold it. */
  writeOrigin(res: HttpResponse, verdict: OriginVerdict, origin: string): void {
    if (verdict === 'any') res.writeHeader('Access-Control-Allow-Origin', '*');
    else if (verdict === 'listed') {
      res.writeHeader('Access-Control-Allow-Origin', origin);
      res.writeHeader('Access-Control-Allow-Credentials', 'true');
    } else return;
    if (this.#exposed !== '') res.writeHeader('Access-Control-Expose-Headers', this.#exposed);
  }

  /**
   * Answers a preflight: 204, kept by the browser for a day. Nothing is recorded. The caller has refused a foreign
   * origin. `methods`: what the path takes besides OPTIONS. `headers` writes those of every answer (write()).
   */
  preflight(
    res: HttpResponse,
    methods: string,
    asked: Preflight,
    verdict: OriginVerdict,
    headers: () => void,
    close: boolean,
  ): void {
    res.writeStatus('204 No Content');
    headers();
    if (verdict !== 'none') {
      res.writeHeader('Access-Control-Allow-Methods', methods);
      // What was asked for is echoed, if it looks like names of headers: with credentials browsers take `*` for such a
      // name.
      if (asked.headers !== '' && TOKENS.test(asked.headers))
        res.writeHeader('Access-Control-Allow-Headers', asked.headers);
      // A collector of an intranet may take the events of public pages; what else it serves there is not for them.
      if (asked.privateNetwork && this.#intake) res.writeHeader('Access-Control-Allow-Private-Network', 'true');
      res.writeHeader('Access-Control-Max-Age', '86400');
    }
    res.writeHeader('Allow', `${methods}, OPTIONS`);
    endBare(res, undefined, close);
  }
}
