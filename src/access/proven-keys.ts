/**
 * Proven keys: which secret a key's text is. A text that was found right is remembered (bounded), so that its HMAC is
 * not computed for each request; what it is good for is asked anew each time, so a revoked key is not remembered beyond
 * the record of it. A wrong one costs a look at its checksum and its id, and an HMAC only when its id is that of a key.
 */
import { KEY_LENGTH_MAX, matches, parseKey } from './api-key.ts';

/** A secret that is kept: its digest as text. */
export interface KeptSecret {
  readonly digest: string;
}

export interface Proven<S extends KeptSecret> {
  /** Of the key. */
  readonly id: string;
  readonly secret: S;
}

const PROVEN_MAX = 10_000;

export class ProvenKeys<S extends KeptSecret> {
  readonly #pepper: string | undefined;
  readonly #encoding: 'hex' | 'base64';
  /** By text; the oldest first. */
  readonly #proven = new Map<string, { readonly id: string; readonly digest: string }>();

  /** `pepper`: KEY_PEPPER; without it no key is right. */
  constructor(pepper: string | undefined, encoding: 'hex' | 'base64') {
    this.#pepper = pepper;
    this.#encoding = encoding;
  }

  /** The secret that the text is, of those that `secretsOf` says are in force now under the id in the text. */
  find(text: string, secretsOf: (id: string) => readonly S[] | undefined): Proven<S> | undefined {
    const proven = this.#proven.get(text);
    if (proven !== undefined) {
      const secret = secretsOf(proven.id)?.find(({ digest }) => digest === proven.digest);
      return secret === undefined ? undefined : { id: proven.id, secret };
    }
    const key = text.length > KEY_LENGTH_MAX ? undefined : parseKey(text);
    if (key === undefined || this.#pepper === undefined) return undefined;
    for (const secret of secretsOf(key.id) ?? []) {
      if (!matches(this.#pepper, key, { digest: Buffer.from(secret.digest, this.#encoding) })) continue;
      if (this.#proven.size >= PROVEN_MAX) this.#proven.delete(this.#proven.keys().next().value!);
      this.#proven.set(text, { id: key.id, digest: secret.digest });
      return { id: key.id, secret };
    }
    return undefined;
  }
}
