/**
 * CORS: which pages may send, by CORS_ORIGINS.
 *
 *   *        Access-Control-Allow-Origin: * for every page, and no credentials: a browser then sends no cookie
 *   a list   the page's own origin echoed, credentials allowed, Vary: Origin; any other origin is answered 403
 *
 * `*` never goes together with credentials. A request without an Origin header (an <img> pixel, a server) is no
 * cross-origin request: it is taken and gets none of these headers.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { endBare } from './answer.ts';

/** What the Origin of a request means under the policy. */
export type OriginVerdict = 'none' | 'any' | 'listed' | 'foreign';

/** What is wrong with an item of CORS_ORIGINS; undefined: nothing. */
export function originProblem(text: string): string | undefined {
  if (text === '*') return undefined;
  const problem = `must be * or scheme://host[:port] without a path: found=${text}`;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(text)) return problem;
  return URL.canParse(text) ? undefined : problem;
}

/** How browsers spell an origin: lower case, without the scheme's own port. */
function spelled(origin: string): string {
  const url = new URL(origin);
  return `${url.protocol}//${url.host}`;
}

const TOKENS = /^[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1024}$/;

export class Cors {
  readonly #any: boolean;
  readonly #listed: ReadonlySet<string>;
  readonly #exposed: string;

  /** `origins`: CORS_ORIGINS. `exposed`: reply headers that a page's script may read. */
  constructor(origins: readonly string[], exposed = '') {
    this.#any = origins.includes('*');
    this.#listed = new Set(origins.filter((origin) => origin !== '*').map(spelled));
    this.#exposed = exposed;
  }

  /** `origin`: the Origin header, '' when there is none. */
  judge(origin: string): OriginVerdict {
    if (origin === '') return 'none';
    if (this.#any) return 'any';
    return this.#listed.has(origin) ? 'listed' : 'foreign';
  }

  /**
   * Writes the headers of an answer; call after writeStatus. A foreign origin gets none: its page may not read the
   * answer.
   */
  write(res: HttpResponse, verdict: OriginVerdict, origin: string): void {
    // Written with or without an Origin in this request: a cache must not give the answer for one page to another page.
    if (!this.#any) res.writeHeader('Vary', 'Origin');
    if (verdict === 'any') res.writeHeader('Access-Control-Allow-Origin', '*');
    else if (verdict === 'listed') {
      res.writeHeader('Access-Control-Allow-Origin', origin);
      res.writeHeader('Access-Control-Allow-Credentials', 'true');
    } else return;
    if (this.#exposed !== '') res.writeHeader('Access-Control-Expose-Headers', this.#exposed);
  }

  /**
   * Answers a preflight: 204, kept by the browser for a day. Nothing is recorded. The caller has refused a foreign
   * origin. `methods`: what the path takes besides OPTIONS. `asked`: Access-Control-Request-Headers.
   */
  preflight(
    res: HttpResponse,
    methods: string,
    asked: string,
    verdict: OriginVerdict,
    origin: string,
    close: boolean,
  ): void {
    res.writeStatus('204 No Content');
    this.write(res, verdict, origin);
    if (verdict !== 'none') {
      res.writeHeader('Access-Control-Allow-Methods', methods);
      // What was asked for is echoed, if it looks like names of headers: with credentials browsers take `*` for such a
      // name.
      if (asked !== '' && TOKENS.test(asked)) res.writeHeader('Access-Control-Allow-Headers', asked);
      res.writeHeader('Access-Control-Max-Age', '86400');
    }
    res.writeHeader('Allow', `${methods}, OPTIONS`);
    endBare(res, undefined, close);
  }
}
