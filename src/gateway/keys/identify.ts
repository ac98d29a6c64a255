/**
 * Identify: whose request this is, synchronously, by what the registry knows now.
 *
 *   X-API-Key, else Authorization: Bearer, else a signed URL (signing.ts; GET and HEAD). What is shown first counts: a
 *   wrong key beside a right signature is refused
 *
 * A typo is refused by the checksum before any look-up, an unknown id without an HMAC. During the overlap of a rotation
 * both secrets are good, and both signing keys. A refusal is a value, for most requests of an attack end here.
 */
import { bearerOf } from '../../access/admin-key.ts';
import { accessErrors } from '../../access/errors.ts';
import { ProvenKeys } from '../../access/proven-keys.ts';
import type { ErrorMaker } from '../../kernel/errors.ts';
import { gatewayErrors } from '../errors.ts';
import type { GatewayKey, GatewayUser, KeySecret } from '../model.ts';
import type { Registry } from '../registry/registry.ts';
import { isSignedBy, parseSigned, signingKeyOf } from './signing.ts';

/** What a request shows; '' for nothing. */
export interface Shown {
  readonly method: string;
  /** As it stands on the wire, without the query. */
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  /** The route takes signed URLs. */
  readonly signable: boolean;
  /** Header x-api-key. */
  readonly apiKey: string;
  /** Header authorization. */
  readonly authorization: string;
}

export interface Identity {
  readonly user: GatewayUser;
  readonly key: GatewayKey;
  /** By a signed URL: the key's networks and the user's do not bind who looks at it. */
  readonly signed: boolean;
}

/** Why nobody is told; `error` and `fields` are those of the answer. */
export interface Unidentified {
  readonly refused: 'none' | 'key' | 'expired' | 'signature' | 'unknown';
  // biome-ignore lint/suspicious/noExplicitAny: each error has fields of its own, and they come with it.
  readonly error: ErrorMaker<string, any>;
  readonly fields: object;
}

export interface IdentifyOptions {
  readonly registry: Registry;
  /** KEY_PEPPER */
  readonly pepper: string | undefined;
  /** SIGNED_URL_MAX_AGE: a signed URL whose end is further away is refused. */
  readonly signedMsMax: number;
  /** Wall clock, ms. */
  readonly now: () => number;
}

const none: Unidentified = {
  refused: 'none',
  error: accessErrors.KEY_REQUIRED,
  fields: { reason: 'a key must be given: X-API-Key, Authorization: Bearer, or a signed URL' },
};
const wrong: Unidentified = { refused: 'key', error: accessErrors.KEY_INVALID, fields: {} };
const unread: Unidentified = { refused: 'unknown', error: accessErrors.ACCESS_UNKNOWN, fields: {} };
const unsigned = (reason: string): Unidentified => ({
  refused: 'signature',
  error: gatewayErrors.SIGNATURE_INVALID,
  fields: { reason },
});
const malformed = unsigned('a signed URL must end with kid=<id>&exp=<seconds>&sig=<43 characters>, once');
const notGet = unsigned('a signed URL must be asked for by GET or HEAD');
const notHere = unsigned('a signed URL must be that of a picture: this route takes a key alone');
const forged = unsigned('the signature must be that of this path, kid and exp under a key that exists');
const ended = unsigned('the signed URL has ended: exp is over');

/** Ids whose signing keys are kept. */
const SIGNING_MAX = 10_000;

export class Identifier {
  readonly #options: IdentifyOptions;
  readonly #proven: ProvenKeys<KeySecret>;
  /** By id and version; the oldest first. */
  readonly #signingKeys = new Map<string, string>();
  readonly #far: Unidentified;
  readonly #secretsOf: (id: string) => readonly KeySecret[] | undefined;

  constructor(options: IdentifyOptions) {
    this.#options = options;
    this.#proven = new ProvenKeys(options.pepper, 'hex');
    this.#far = unsigned(`exp must be at most ${Math.floor(options.signedMsMax / 1000)} s away`);
    this.#secretsOf = (id) => options.registry.key(id)?.secrets;
  }

  identify(shown: Shown): Identity | Unidentified {
    if (!this.#options.registry.known) return unread;
    const { apiKey, authorization } = shown;
    if (apiKey !== '') return this.#byKey(apiKey);
    if (authorization !== '') return this.#byKey(bearerOf(authorization) ?? '');
    return this.#bySignature(shown);
  }

  #byKey(text: string): Identity | Unidentified {
    const proven = this.#proven.find(text, this.#secretsOf);
    if (proven === undefined) return wrong;
    const { untilMs } = proven.secret;
    const now = this.#options.now();
    if (untilMs !== undefined && untilMs <= now) return wrong;
    return this.#of(proven.id, now, false) ?? wrong;
  }

  #bySignature({ method, path, query, signable }: Shown): Identity | Unidentified {
    const signed = parseSigned(path, query);
    if (signed === undefined) return none;
    if (signed === 'malformed') return malformed;
    if (method !== 'GET' && method !== 'HEAD') return notGet;
    if (!signable) return notHere;
    const now = this.#options.now();
    const leftMs = signed.expS * 1000 - now;
    if (leftMs <= 0) return ended;
    if (leftMs > this.#options.signedMsMax) return this.#far;
    const good = (secret: KeySecret): boolean =>
      (secret.untilMs === undefined || secret.untilMs > now) &&
      isSignedBy(this.#signingKey(signed.kid, secret.version), signed);
    if (this.#options.pepper === undefined || this.#secretsOf(signed.kid)?.some(good) !== true) return forged;
    return this.#of(signed.kid, now, true) ?? forged;
  }

  /** undefined: the key or its user went just now. */
  #of(id: string, now: number, signed: boolean): Identity | Unidentified | undefined {
    const { registry } = this.#options;
    const key = registry.key(id);
    const user = key === undefined ? undefined : registry.user(key.userId);
    if (key === undefined || user === undefined) return undefined;
    if (key.expiresAtMs !== undefined && key.expiresAtMs <= now)
      return {
        refused: 'expired',
        error: gatewayErrors.KEY_EXPIRED,
        fields: { expiredAt: new Date(key.expiresAtMs).toISOString() },
      };
    return { user, key, signed };
  }

  #signingKey(kid: string, version: number): string {
    const name = `${kid} ${version}`;
    let text = this.#signingKeys.get(name);
    if (text !== undefined) return text;
    text = signingKeyOf(this.#options.pepper!, kid, version);
    if (this.#signingKeys.size >= SIGNING_MAX) this.#signingKeys.delete(this.#signingKeys.keys().next().value!);
    this.#signingKeys.set(name, text);
    return text;
  }
}
