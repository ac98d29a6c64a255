/**
 * API key: its text, and what is kept of it.
 *
 *   <prefix>_<env>_<id>_<secret>_<crc>        rm_live_9fK2mQx07TbA_4Zr...32 characters..._0aB3xZ
 *
 *   prefix  which product made it, so that scanners of repositories can tell it: 1 to 10 of a-z 0-9, a letter first
 *   env     live or test
 *   id      12 characters of base62 (71 bits): the key's public name, by which it is looked up, shown and logged
 *   secret  32 characters of base62 (190 bits)
 *   crc     CRC-32 (IEEE 802.3, as in zlib) of everything before the last underscore: 6 characters of base62. A typo,
 *           or a key that was cut while it was copied, is refused before anything is looked up. It keeps nobody out
 *
 * The text is shown once, when the key is made. What is kept is its digest: HMAC-SHA-256 under a pepper (KEY_PEPPER)
 * that is not in the database, so that a copy of the database neither holds keys nor lets anybody try some out.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const keyEnvs = ['live', 'test'] as const;
export type KeyEnv = (typeof keyEnvs)[number];

export interface ApiKey {
  readonly prefix: string;
  readonly env: KeyEnv;
  readonly id: string;
  /** The whole key, secret included. */
  readonly text: string;
}

/** What is kept of a key. A service adds what its keys may do; the gateway a version, for rotation. */
export interface KeyRecord {
  readonly id: string;
  /** digestOf() of the whole key. */
  readonly digest: Buffer;
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID = 12;
const SECRET = 32;
const CRC = 6;
/** A byte below this is a digit with no bias: the largest multiple of 62 in a byte. */
const FAIR = 248;

const PREFIX = /^[a-z][a-z0-9]{0,9}$/;
/** The id of a key. */
export const KEY_ID = /^[0-9A-Za-z]{12}$/;
const SHAPE = /^([a-z][a-z0-9]{0,9})_(live|test)_([0-9A-Za-z]{12})_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/;
/** No key is longer: what is, is refused without a look. */
export const KEY_LENGTH_MAX = 10 + 1 + 4 + 1 + ID + 1 + SECRET + 1 + CRC;

/** A new key. `random` gives so many random bytes. */
export const makeKey = (prefix: string, env: KeyEnv, random: (bytes: number) => Buffer = randomBytes): ApiKey =>
  renewKey(prefix, env, digits(ID, random), random);

/** Another secret for a key that exists: the id stays. */
export function renewKey(
  prefix: string,
  env: KeyEnv,
  id: string,
  random: (bytes: number) => Buffer = randomBytes,
): ApiKey {
  if (!PREFIX.test(prefix)) throw new TypeError(`a prefix must be 1 to 10 of a-z 0-9, a letter first: found=${prefix}`);
  if (!KEY_ID.test(id)) throw new TypeError(`an id must be ${ID} of 0-9 A-Z a-z: found=${id}`);
  const body = `${prefix}_${env}_${id}_${digits(SECRET, random)}`;
  return { prefix, env, id, text: `${body}_${crcOf(body)}` };
}

/** Undefined: it has not the shape of a key, or its checksum is not that of its text. */
export function parseKey(text: string): ApiKey | undefined {
  if (text.length > KEY_LENGTH_MAX) return undefined;
  const [, prefix, env, id] = SHAPE.exec(text) ?? [];
  if (prefix === undefined || env === undefined || id === undefined) return undefined;
  if (text.slice(-CRC) !== crcOf(text.slice(0, -CRC - 1))) return undefined;
  return { prefix, env: env as KeyEnv, id, text };
}

const BEGINNING = /^[a-z][a-z0-9]{0,9}_(?:live|test)_([0-9A-Za-z]{12})_/;

/** The id that a person means, who may have pasted the whole key: the secret in it must go no further. */
export const meantKeyId = (text: string): string => BEGINNING.exec(text)?.[1] ?? text;

/** The digest that is kept of a key: 32 bytes. */
export const digestOf = (pepper: string, { text }: Pick<ApiKey, 'text'>): Buffer => pepperedMac(pepper, 'key', text);

/** Whether the key is the one that the record is of; takes as long for a digest that differs early as for any other. */
export function matches(pepper: string, key: ApiKey, { digest }: Pick<KeyRecord, 'digest'>): boolean {
  const found = digestOf(pepper, key);
  return digest.length === found.length && timingSafeEqual(digest, found);
}

/**
 * HMAC-SHA-256 under the pepper. `purpose` keeps digests of one kind from being taken for another: NUL ends it, and
 * stands between the parts.
 */
export function pepperedMac(pepper: string, purpose: string, ...parts: readonly string[]): Buffer {
  const mac = createHmac('sha256', pepper).update(purpose);
  for (const part of parts) mac.update('\0').update(part);
  return mac.digest();
}

function digits(count: number, random: (bytes: number) => Buffer): string {
  let text = '';
  while (text.length < count) {
    for (const byte of random(count + 8)) {
      if (byte < FAIR && text.length < count) text += DIGITS[byte % DIGITS.length];
    }
  }
  return text;
}

function crcOf(text: string): string {
  let left = crc32(text);
  let written = '';
  for (let i = 0; i < CRC; i += 1) {
    written = DIGITS[left % DIGITS.length] + written;
    left = Math.floor(left / DIGITS.length);
  }
  return written;
}
