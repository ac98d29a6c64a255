/**
 * Cookies of people: the one of a login, and one for each share link whose password was given. HttpOnly, SameSite=Lax
 * and for this host alone; over TLS, which may end at a trusted proxy, also Secure and named `__Host-`, so that neither
 * plain HTTP nor a sibling domain can set them.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { isToken, tokenDigest } from '../../access/token.ts';
import { CookieWriter, cookieValue } from '../../http/cookies.ts';

const HOST = '__Host-';
const SESSION = 'ringmain_session';
const UNLOCKED = 'ringmain_share_';

/** By the token, which a request has when the cookie is wanted. */
const unlockedName = (token: string): string => UNLOCKED + tokenDigest(token).toString('hex').slice(0, 16);

export interface PeopleCookies {
  /** '' for none. */
  session(req: HttpRequest): string;
  unlocked(req: HttpRequest, share: string): string;
  /** Values of Set-Cookie; `req`: read inside its handler. An empty value clears the cookie. */
  setSession(secure: boolean, token: string): string;
  setUnlocked(secure: boolean, share: string, value: string, maxAgeS: number): string;
  /** The client came over TLS. */
  secure(req: HttpRequest): boolean;
}

/** `tls`: it ends in this process. `scheme`: what a trusted proxy says (http/client-address.ts). */
export function peopleCookies(tls: boolean, scheme: (req: HttpRequest) => string, maxAgeS: number): PeopleCookies {
  const secure = (req: HttpRequest): boolean => tls || scheme(req) === 'https';
  const read = (req: HttpRequest, name: string, good: (value: string) => boolean): string =>
    cookieValue(req.getHeader('cookie'), secure(req) ? HOST + name : name, good);
  const line = (name: string, value: string, safe: boolean, ageS: number): string =>
    new CookieWriter({
      name: safe ? HOST + name : name,
      domain: '',
      maxAgeS: value === '' ? 0 : ageS,
      sameSite: 'Lax',
      partitioned: false,
    }).line(value, safe);
  return {
    secure,
    session: (req) => read(req, SESSION, isToken),
    unlocked: (req, share) => read(req, unlockedName(share), (value) => value.length <= 100),
    setSession: (safe, token) => line(SESSION, token, safe, maxAgeS),
    setUnlocked: (safe, share, value, ageS) => line(unlockedName(share), value, safe, ageS),
  };
}
