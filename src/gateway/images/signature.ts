/**
 * The signature that imgproxy asks for in front of a path: HMAC-SHA-256 over salt and path, as base64url.
 * https://docs.imgproxy.net/usage/signing_url
 */
import { createHmac } from 'node:crypto';

export interface ImgproxySecrets {
  readonly key: Buffer;
  readonly salt: Buffer;
}

/** Both as hexadecimal digits, as imgproxy takes them; undefined: paths are not signed. */
export function imgproxySecrets(key: string | undefined, salt: string | undefined): ImgproxySecrets | undefined {
  if (key === undefined || salt === undefined) return undefined;
  return { key: Buffer.from(key, 'hex'), salt: Buffer.from(salt, 'hex') };
}

/** `path` begins with a slash. Without secrets the word that imgproxy without a key takes: `/unsafe/...`. */
export function signedPath(path: string, secrets: ImgproxySecrets | undefined): string {
  if (secrets === undefined) return `/unsafe${path}`;
  return `/${createHmac('sha256', secrets.key).update(secrets.salt).update(path).digest('base64url')}${path}`;
}
