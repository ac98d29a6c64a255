/**
 * Admin key: the one key of administrators (ADMIN_KEY), and the reading of what a request shows. A comparison takes as
 * long for a key that differs early as for any other.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Option, secret } from '../kernel/config.ts';

const LENGTH_MIN = 32;
const BEARER = /^bearer +(\S+)$/i;

/** The option ADMIN_KEY. `doc`: what it opens. `unset`: what is off without it. */
export const adminKeyOption = (doc: string, unset: string): Option<string | undefined> =>
  secret({
    doc,
    unset,
    must: `a string of at least ${LENGTH_MIN} characters`,
    test: (text) => text.length >= LENGTH_MIN,
  });

/** The text behind Bearer of an Authorization header; undefined: there is none. */
export const bearerOf = (authorization: string): string | undefined => BEARER.exec(authorization)?.[1];

export class AdminKey {
  readonly #digest: Buffer | undefined;

  /** Undefined: administration is off, and no key is right. */
  constructor(key: string | undefined) {
    this.#digest = key === undefined ? undefined : digestOf(key);
  }

  get off(): boolean {
    return this.#digest === undefined;
  }

  matches(shown: string | undefined): boolean {
    return this.#digest !== undefined && shown !== undefined && timingSafeEqual(digestOf(shown), this.#digest);
  }
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
