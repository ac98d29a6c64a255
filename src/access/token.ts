/**
 * Token: 256 random bits that somebody shows again: a session's cookie, the address of a share link. What is kept of
 * one is its SHA-256. A slow digest would gain nothing, since nobody can try 2^256 texts; a look-up by it leaks nothing
 * by its time, because the digest of a guess has nothing to do with the guess.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const BYTES = 32;
const SHAPE = /^[A-Za-z0-9_-]{43}$/;

/** A new one: 43 characters of base64url. */
export const makeToken = (): string => randomBytes(BYTES).toString('base64url');

export const isToken = (text: string): boolean => SHAPE.test(text);

/** What is kept: 32 bytes. */
export const tokenDigest = (token: string): Buffer => createHash('sha256').update(token).digest();

/**
 * The text that a page sends in a header with each request that changes something. It follows from the session's token,
 * so nothing has to be kept; scripts of other origins can neither read it nor, without a preflight, send such a header.
 */
export const csrfOf = (token: string): string => createHmac('sha256', token).update('csrf').digest('base64url');

/** Compares texts in a time that tells nothing about where they differ. */
export function sameText(a: string, b: string): boolean {
  const left = createHash('sha256').update(a).digest();
  return timingSafeEqual(left, createHash('sha256').update(b).digest());
}
