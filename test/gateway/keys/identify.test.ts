/** Identify: whose request it is. Keys and signatures are made by the code that an administrator's are made by. */
import { expect, test } from 'vitest';
import { Identifier, type Identity, type Shown, type Unidentified } from '../../../src/gateway/keys/identify.ts';
import { mayComeFrom } from '../../../src/gateway/keys/networks.ts';
import { parseSigned, signingKeyOf, signTarget, targetProblem } from '../../../src/gateway/keys/signing.ts';
import { PEPPER } from '../database.ts';
import { first, Known, key, second, secret, user } from './known.ts';

const HOUR = 3_600_000;
function opened(...[pepper]: readonly (string | undefined)[]) {
  const registry = new Known();
  const clock = { ms: 1_800_000_000_000 };
  const identifier = new Identifier({ registry, pepper, signedMsMax: HOUR, now: () => clock.ms });
  const nothing: Shown = { method: 'GET', path: '/', query: '', signable: true, apiKey: '', authorization: '' };
  const show = (shown: Partial<Shown>) => identifier.identify({ ...nothing, ...shown });
  /** The code of the refusal, or who it is. */
  const said = (shown: Partial<Shown>): string => {
    const found = show(shown);
    return 'refused' in found ? found.error.kind.code : `${found.user.username}${found.signed ? ' signed' : ''}`;
  };
  const shownBy = (url: string) => {
    const at = url.indexOf('?');
    return { path: at < 0 ? url : url.slice(0, at), query: at < 0 ? '' : url.slice(at + 1) };
  };
  const byUrl = (url: string, method = 'GET') => said({ method, ...shownBy(url) });
  /** What a route says that does not take signed URLs. */
  const elsewhere = (url: string, method = 'GET') => {
    const found = show({ method, signable: false, ...shownBy(url) }) as Unidentified;
    return (found.fields as { readonly reason?: string }).reason;
  };
  const inMs = (ms: number) => Math.floor((clock.ms + ms) / 1000);
  return { registry, clock, show, said, byUrl, elsewhere, inMs };
}

test('a key is taken from X-API-Key, else from Authorization: Bearer; what is shown first counts', () => {
  const { said } = opened(PEPPER);
  expect(said({ apiKey: first.text })).toBe('ada');
  expect(said({ authorization: `Bearer ${first.text}` })).toBe('ada');
  expect(said({ authorization: `bearer  ${first.text}` })).toBe('ada');
  expect(said({ apiKey: first.text, authorization: 'Bearer x' })).toBe('ada');
  expect(said({ apiKey: 'x', authorization: `Bearer ${first.text}` })).toBe('KEY_INVALID');
  expect(said({})).toBe('KEY_REQUIRED');
  for (const authorization of ['Bearer', 'Bearer ', `Basic ${first.text}`, first.text, `Bearer ${first.text} x`])
    expect(said({ authorization })).toBe('KEY_INVALID');
});

test('a typo is refused by the checksum before anything is looked up, and no other secret of the id is taken', () => {
  const { said, registry } = opened(PEPPER);
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-. ';
  for (let at = 0; at < first.text.length; at += 1) {
    for (const other of [...alphabet].filter((one) => one !== first.text[at]).slice(at % 7, (at % 7) + 9)) {
      expect(said({ apiKey: first.text.slice(0, at) + other + first.text.slice(at + 1) })).toBe('KEY_INVALID');
    }
  }
  expect(registry.looks).toBe(0);
  expect(said({ apiKey: second.text })).toBe('KEY_INVALID');
  expect(registry.looks).toBe(1);
});

test('a key that was good is refused from the moment that it is revoked, expired, or its user gone', () => {
  const { said, show, registry, clock } = opened(PEPPER);
  expect(said({ apiKey: first.text })).toBe('ada');
  registry.keys.set(key.id, { ...key, expiresAtMs: clock.ms + 1000 });
  expect(said({ apiKey: first.text })).toBe('ada');
  clock.ms += 1000;
  expect(said({ apiKey: first.text })).toBe('KEY_EXPIRED');
  expect((show({ apiKey: first.text }) as Unidentified).fields).toEqual({ expiredAt: '2027-01-15T08:00:01.000Z' });
  registry.keys.delete(key.id);
  expect(said({ apiKey: first.text })).toBe('KEY_INVALID');
  registry.keys.set(key.id, key);
  registry.users.delete(1);
  expect(said({ apiKey: first.text })).toBe('KEY_INVALID');
  registry.users.set(1, { ...user, active: false });
  // Whether the user is active is the pipeline's question: 403, and not 401.
  expect((show({ apiKey: first.text }) as Identity).user.active).toBe(false);
  registry.known = false;
  expect(said({ apiKey: first.text })).toBe('ACCESS_UNKNOWN');
});

test('during the overlap of a rotation both secrets and both signing keys are good, and then only the new ones', () => {
  const { said, byUrl, registry, clock, inMs } = opened(PEPPER);
  const url = (version: number) => signTarget(signingKeyOf(PEPPER, key.id, version), key.id, '/a.jpg', inMs(HOUR / 2));
  const [old, renewed] = [url(1), url(2)];
  expect([said({ apiKey: first.text }), byUrl(old), byUrl(renewed)]).toEqual([
    'ada',
    'ada signed',
    'SIGNATURE_INVALID',
  ]);
  registry.keys.set(key.id, { ...key, secrets: [secret(2, second.text), secret(1, first.text, clock.ms + 1000)] });
  const both = () => [said({ apiKey: first.text }), said({ apiKey: second.text }), byUrl(old), byUrl(renewed)];
  expect(both()).toEqual(['ada', 'ada', 'ada signed', 'ada signed']);
  clock.ms += 1000;
  expect(both()).toEqual(['KEY_INVALID', 'ada', 'SIGNATURE_INVALID', 'ada signed']);
  registry.keys.set(key.id, { ...key, secrets: [secret(2, second.text)] });
  expect(both()).toEqual(['KEY_INVALID', 'ada', 'SIGNATURE_INVALID', 'ada signed']);
});

test('another pepper, and none, refuse every key and every signature', () => {
  const other = opened('another pepper of thirty-two or more');
  const url = signTarget(signingKeyOf(PEPPER, key.id, 1), key.id, '/a', other.inMs(HOUR / 2));
  expect([other.said({ apiKey: first.text }), other.byUrl(url)]).toEqual(['KEY_INVALID', 'SIGNATURE_INVALID']);
  const bare = opened(undefined);
  expect([bare.said({ apiKey: first.text }), bare.byUrl(url)]).toEqual(['KEY_INVALID', 'SIGNATURE_INVALID']);
});

test('a signed URL is for GET and HEAD of its path and query alone, until it ends', () => {
  const { byUrl, elsewhere, clock, inMs, registry } = opened(PEPPER);
  const signingKey = signingKeyOf(PEPPER, key.id, 1);
  const sign = (target: string, ms = HOUR / 2) => signTarget(signingKey, key.id, target, inMs(ms));
  const target = '/rs:fit:300:200/plain/local:///ab/cd.jpg@webp';
  for (const url of [sign(target), sign(`${target}?a=1&b=%20`), sign(`${target}?`)])
    expect([byUrl(url), byUrl(url, 'HEAD')]).toEqual(['ada signed', 'ada signed']);
  const url = sign(`${target}?a=1`);
  for (const method of ['POST', 'PUT', 'DELETE']) expect(byUrl(url, method)).toBe('SIGNATURE_INVALID');
  expect([elsewhere(url, 'POST'), elsewhere(url), elsewhere('/a?b=1')]).toEqual([
    'a signed URL must be asked for by GET or HEAD',
    'a signed URL must be that of a picture: this route takes a key alone',
    'a key must be given: X-API-Key, Authorization: Bearer, or a signed URL',
  ]);
  for (const changed of [
    url.replace('300', '301'),
    url.replace('a=1', 'a=2'),
    url.replace('?a=1&', '?'),
    url.replace(/exp=(\d+)/, (_, exp: string) => `exp=${Number(exp) + 1}`),
    url.replace(/exp=(\d+)/, 'exp=0$1'),
    `${url}&utm=1`,
    `${url}=`,
    url.slice(0, -1),
    url.replace('kid=', 'kid=000000000000&kid='),
    url.replace('?a=1', `?sig=${'A'.repeat(43)}`),
    url.replace(key.id, '000000000000'),
  ])
    expect([changed, byUrl(changed)]).toEqual([changed, 'SIGNATURE_INVALID']);
  expect(byUrl(sign(target, -1000))).toBe('SIGNATURE_INVALID');
  expect(byUrl(sign(target, HOUR))).toBe('ada signed');
  expect(byUrl(sign(target, HOUR + 1000))).toBe('SIGNATURE_INVALID');
  clock.ms += HOUR / 2;
  expect(byUrl(url)).toBe('SIGNATURE_INVALID');
  clock.ms -= HOUR / 2;
  registry.keys.set(key.id, { ...key, expiresAtMs: clock.ms });
  expect(byUrl(url)).toBe('KEY_EXPIRED');
  registry.keys.delete(key.id);
  expect(byUrl(url)).toBe('SIGNATURE_INVALID');
  expect(byUrl('/a?b=1')).toBe('KEY_REQUIRED');
});

test('any target that may be signed is read back as it was signed, and no other bit of the URL is free', () => {
  let seed = 7;
  const random = (below: number) => {
    // Numerical Recipes' linear congruential generator: the same texts in each run.
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed % below;
  };
  const pieces = ['/', 'a', '?', '&', '=', '%20', 'x=1', 'kid', 'exp', ':', '@', 'local:///', '+', ';', '~', '"'];
  const signingKey = signingKeyOf(PEPPER, key.id, 1);
  const { byUrl, inMs } = opened(PEPPER);
  for (let round = 0; round < 500; round += 1) {
    const target = `/${Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join('')}`;
    if (targetProblem(target) !== undefined) {
      expect(() => signTarget(signingKey, key.id, target, 1)).toThrow(TypeError);
      continue;
    }
    const url = signTarget(signingKey, key.id, target, inMs(1000));
    const at = url.indexOf('?');
    expect(parseSigned(url.slice(0, at), url.slice(at + 1))).toMatchObject({ target, kid: key.id });
    expect(byUrl(url)).toBe('ada signed');
    const where = random(target.length - 1) + 1;
    const other = `${url.slice(0, where)}${url[where] === 'b' ? 'c' : 'b'}${url.slice(where + 1)}`;
    expect([other, byUrl(other)]).toEqual([other, expect.stringMatching(/^(SIGNATURE_INVALID|KEY_REQUIRED)$/)]);
  }
  for (const bad of ['', 'a', '/a b', '/a#b', '/ä', '/a\n', '/a?sig=1', '/a?x&kid=2'])
    expect([bad, targetProblem(bad)]).toEqual([bad, expect.any(String)]);
});

test('an address must be in a network of the user and in one of the key; thousands of them take microseconds', () => {
  const many = Array.from({ length: 10_000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/25`);
  const bound = { ...user, networks: [...many, '2001:db8::/32'] };
  expect(mayComeFrom(user, key, '203.0.113.9')).toBe(true);
  expect(mayComeFrom(bound, key, '10.1.2.127')).toBe(true);
  expect(mayComeFrom(bound, key, '10.1.2.128')).toBe(false);
  expect(mayComeFrom(bound, { ...key, networks: ['10.1.0.0/16'] }, '10.1.2.3')).toBe(true);
  expect(mayComeFrom(bound, { ...key, networks: ['10.1.0.0/16'] }, '10.2.2.3')).toBe(false);
  expect(mayComeFrom(bound, key, '2001:db8:1::1')).toBe(true);
  expect(mayComeFrom(bound, key, '2001:db9::1')).toBe(false);
  // What is no address is in no network.
  expect(mayComeFrom(bound, key, '')).toBe(false);
  const since = performance.now();
  for (let n = 0; n < 10_000; n += 1) mayComeFrom(bound, key, `10.1.${n & 255}.9`);
  expect(performance.now() - since).toBeLessThan(500);
});
