/** API keys: what is made is read, what was changed is refused, and the digest is the documented one. */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  digestOf,
  KEY_LENGTH_MAX,
  keyEnvs,
  makeKey,
  matches,
  parseKey,
  pepperedMac,
} from '../../src/access/api-key.ts';
import { accessConfig } from '../../src/access/config.ts';
import { loadConfig } from '../../src/kernel/config.ts';

const PEPPER = 'a pepper for tests, of 40 characters ...';
const prefixes = fc.stringMatching(/^[a-z][a-z0-9]{0,9}$/);

test('a key that was made is read as it was made, and each differs from the others', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(prefixes, fc.constantFrom(...keyEnvs), (prefix, env) => {
      const key = makeKey(prefix, env);
      expect(parseKey(key.text)).toEqual(key);
      expect(key.text.length).toBeLessThanOrEqual(KEY_LENGTH_MAX);
      expect(key.text.startsWith(`${prefix}_${env}_${key.id}_`)).toBe(true);
      expect(seen.has(key.id)).toBe(false);
      seen.add(key.id);
    }),
  );
});

test('a key with one character changed, left out, doubled or swapped with its neighbour is refused', () => {
  const { text } = makeKey('rm', 'live');
  const others = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- ';
  for (let at = 0; at < text.length; at += 1) {
    const [before, here, after] = [text.slice(0, at), text[at]!, text.slice(at + 1)];
    for (const other of others) if (other !== here) expect(parseKey(before + other + after)).toBeUndefined();
    expect(parseKey(before + after)).toBeUndefined();
    expect(parseKey(before + here + here + after)).toBeUndefined();
    const swapped = before + after.slice(0, 1) + here + after.slice(1);
    if (swapped !== text) expect(parseKey(swapped)).toBeUndefined();
  }
});

test('no text makes the reader throw, and none that is read differs from its parts', () => {
  const near = fc.stringMatching(
    /^[a-z]{1,3}_(live|test|prod)_[0-9A-Za-z]{11,13}_[0-9A-Za-z]{31,33}_[0-9A-Za-z]{5,7}$/,
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 200 }), near), (text) => {
      // One checksum in four thousand million fits by chance.
      expect(parseKey(text)).toBeUndefined();
    }),
  );
});

// Made once by Python: zlib.crc32 and hmac.new(..., hashlib.sha256), written in base62 with 0-9A-Za-z.
test('the text and the digest are those of the documented algorithms', () => {
  let next = 0;
  const key = makeKey('rm', 'test', (bytes) => Buffer.from(Array.from({ length: bytes }, () => next++ % 256)));
  expect(key.text).toBe('rm_test_0123456789AB_KLMNOPQRSTUVWXYZabcdefghijklmnop_1UB5WG');
  expect(digestOf(PEPPER, key).toString('hex')).toBe(
    'e83b7fe4d9e829a23d91a7dc09a70b6af1fca389370128a1a2665dcc803e3628',
  );
  expect(pepperedMac(PEPPER, 'sign', 'kid', '1')).toEqual(
    createHmac('sha256', PEPPER).update('sign\0kid\x001').digest(),
  );
});

test('digits come from fair bytes only: 248 and above would favour the first eight', () => {
  const key = makeKey('rm', 'live', (bytes) =>
    Buffer.from(Array.from({ length: bytes }, (_, i) => (i % 2 ? 61 : 250))),
  );
  expect(key.id).toBe('z'.repeat(12));
});

test('a key matches its own digest under its own pepper, and nothing else', () => {
  const key = makeKey('rm', 'live');
  const digest = digestOf(PEPPER, key);
  expect(digest).toHaveLength(32);
  expect(matches(PEPPER, key, { digest })).toBe(true);
  expect(matches(`${PEPPER}.`, key, { digest })).toBe(false);
  expect(matches(PEPPER, makeKey('rm', 'live'), { digest })).toBe(false);
  for (const at of [0, 15, 31]) {
    const changed = Buffer.from(digest);
    changed[at]! ^= 1;
    expect(matches(PEPPER, key, { digest: changed })).toBe(false);
  }
  // timingSafeEqual throws for other lengths; a digest that was cut is only wrong.
  expect(matches(PEPPER, key, { digest: digest.subarray(0, 31) })).toBe(false);
});

test('a prefix that could not be read back is refused', () => {
  for (const prefix of ['', 'RM', '1a', 'a_b', 'abcdefghijk']) expect(() => makeKey(prefix, 'live')).toThrow(TypeError);
});

test('a pepper that is too short is refused, and never shown', () => {
  const load = (pepper: string) => loadConfig([accessConfig], { env: { KEY_PEPPER: pepper } });
  expect(load(PEPPER).values.access.keyPepper).toBe(PEPPER);
  expect(() => load('short-secret')).toThrow(/KEY_PEPPER must be a string of at least 32 characters/);
  expect(() => load('short-secret')).not.toThrow(/short-secret/);
});
