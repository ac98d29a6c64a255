/**
 * Signed URL: a request that proves by its address that somebody with a key has allowed it, until a time; for <img>,
 * because browsers send no header.
 *
 *   <path>[?<query>] and then   ?kid=<id>&exp=<seconds>&sig=<signature>      (& instead of ? behind a query)
 *
 *   kid  the id of the key
 *   exp  when it ends, in seconds since 1970
 *   sig  base64url(HMAC-SHA-256(signing key, "GET\n<path and query>\n<kid>\n<exp>")), without padding: 43 characters.
 *        <path and query> is everything before ?kid= or &kid=, as it goes on the wire
 *
 * The signing key is a text of 43 characters that is shown with the key; its bytes are the key of the HMAC, no decoding
 * is needed. It is HMAC(pepper, 'sign', kid, version) in base64url, so nothing has to be kept for it, and a rotation
 * changes it. HEAD may ask for what GET may.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { pepperedMac } from '../../access/api-key.ts';

/** The signing key of one version of a key. */
export const signingKeyOf = (pepper: string, kid: string, version: number): string =>
  pepperedMac(pepper, 'sign', kid, String(version)).toString('base64url');

const macOf = (signingKey: string, target: string, kid: string, exp: string): Buffer =>
  createHmac('sha256', signingKey).update(`GET\n${target}\n${kid}\n${exp}`).digest();

/** What may be signed: a path of this server with what a query may have, spelled as it goes on the wire. */
const TARGET = /^\/[\x21\x22\x24-\x7e]*$/;

/** What is wrong with a target that somebody wants to have signed; undefined: nothing. */
export function targetProblem(target: string): string | undefined {
  if (!TARGET.test(target))
    return `a path must begin with / and be printable ASCII without spaces and #, else percent-encoded: found=${JSON.stringify(target.slice(0, 200))}`;
  return /[?&](?:kid|exp|sig)=/.test(target)
    ? 'a path must not be signed already: it has kid=, exp= or sig='
    : undefined;
}

/** The target with its signature. `expS`: seconds since 1970. Throws a TypeError for what must not be signed. */
export function signTarget(signingKey: string, kid: string, target: string, expS: number): string {
  const problem = targetProblem(target);
  if (problem !== undefined) throw new TypeError(problem);
  const exp = String(expS);
  const sig = macOf(signingKey, target, kid, exp).toString('base64url');
  return `${target}${target.includes('?') ? '&' : '?'}kid=${kid}&exp=${exp}&sig=${sig}`;
}

export interface SignedTarget {
  /** What was signed. */
  readonly target: string;
  readonly kid: string;
  /** As it stands in the query. */
  readonly exp: string;
  readonly expS: number;
  readonly sig: string;
}

const SIGNED = /(?:^|&)kid=([0-9A-Za-z]{12})&exp=([1-9][0-9]{0,10})&sig=([A-Za-z0-9_-]{43})$/;
/** Somebody means to show a signature. */
const MEANT = /(?:^|&)(?:sig|kid)=/;

/** undefined: no signature is shown; 'malformed': one that cannot be read. `query`: without the question mark. */
export function parseSigned(path: string, query: string): SignedTarget | 'malformed' | undefined {
  if (query === '' || !MEANT.test(query)) return undefined;
  const match = SIGNED.exec(query);
  if (match === null) return 'malformed';
  const [, kid = '', exp = '', sig = ''] = match;
  const before = query.slice(0, match.index);
  // What is signed stands before all of it: a second kid, exp or sig would be another request's.
  if (MEANT.test(before)) return 'malformed';
  return { target: match[0].startsWith('&') ? `${path}?${before}` : path, kid, exp, expS: Number(exp), sig };
}

/** Takes as long for a signature that differs early as for any other. */
export function isSignedBy(signingKey: string, { target, kid, exp, sig }: SignedTarget): boolean {
  const shown = Buffer.from(sig, 'base64url');
  const made = macOf(signingKey, target, kid, exp);
  return shown.length === made.length && timingSafeEqual(shown, made);
}

const SIGNATURE = /([?&]sig=)[^&]*/g;

/** For the log: who reads it must not be able to use a signed URL. */
export const withoutSignature = (target: string): string =>
  target.includes('sig=') ? target.replace(SIGNATURE, '$1...') : target;
