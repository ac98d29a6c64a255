/** Tokens, the guard against forged requests, and the limit on attempts. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { networkOf, RateLimit } from '../../src/access/rate-limit.ts';
import { isSameOrigin } from '../../src/access/same-origin.ts';
import { csrfOf, isToken, makeToken, sameText, tokenDigest } from '../../src/access/token.ts';

test('a token has 256 random bits, and what is kept of it is another text', () => {
  const tokens = Array.from({ length: 100 }, makeToken);
  expect(new Set(tokens).size).toBe(100);
  for (const token of tokens) {
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(isToken(token)).toBe(true);
    expect(csrfOf(token)).toMatch(/^[\w-]{43}$/);
    expect(csrfOf(token)).not.toBe(token);
    expect(tokenDigest(token).toString('base64url')).not.toBe(token);
  }
  for (const text of ['', 'x', `${tokens[0]}=`, tokens[0]!.slice(1), `${tokens[0]!.slice(1)}+`])
    expect(isToken(text), text).toBe(false);
});

test('texts are compared whole, whatever their lengths', () => {
  expect(sameText('', '')).toBe(true);
  fc.assert(fc.property(fc.string(), fc.string(), (a, b) => sameText(a, b) === (a === b)));
});

test.each([
  [true, { fetchSite: 'same-origin', origin: 'https://other.example' }],
  [true, { fetchSite: 'same-origin', origin: '' }],
  [true, { fetchSite: '', origin: 'https://a.example:8080' }],
  [true, { fetchSite: '', origin: 'http://A.EXAMPLE:8080' }],
  [true, { fetchSite: '', origin: '' }],
  [false, { fetchSite: 'cross-site', origin: 'https://a.example:8080' }],
  [false, { fetchSite: 'same-site', origin: 'https://a.example:8080' }],
  [false, { fetchSite: 'none', origin: '' }],
  [false, { fetchSite: '', origin: 'null' }],
  [false, { fetchSite: '', origin: 'https://a.example' }],
  [false, { fetchSite: '', origin: 'https://a.example:8080.evil.example' }],
  [false, { fetchSite: '', origin: 'https://x@a.example:8080' }],
  [false, { fetchSite: '', origin: 'ftp://a.example:8080' }],
] as const)('%s: %j', (ours, headers) => {
  expect(isSameOrigin({ ...headers, host: 'a.example:8080' })).toBe(ours);
});

test('within a time t, burst + floor(t / interval) attempts pass, whatever their order', () => {
  fc.assert(
    fc.property(
      fc.record({ burst: fc.integer({ min: 1, max: 5 }), intervalMs: fc.integer({ min: 1, max: 50 }) }),
      fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 }),
      (limit, steps) => {
        const held = new RateLimit(limit);
        // The oracle: a bucket that fills by one each interval, counted in ms.
        let level = limit.burst * limit.intervalMs;
        let now = 1000;
        for (const step of steps) {
          now += step;
          level = Math.min(limit.burst * limit.intervalMs, level + step);
          const wait = held.take('somebody', now);
          expect(wait).toBe(Math.max(0, limit.intervalMs - level));
          if (wait === 0) level -= limit.intervalMs;
        }
      },
    ),
  );
});

test('an attempt is given back, names are apart, and their number is bounded', () => {
  const limit = new RateLimit({ burst: 2, intervalMs: 100 }, 3);
  for (let i = 0; i < 10; i += 1) {
    expect(limit.take('good', 0)).toBe(0);
    limit.giveBack('good');
  }
  limit.giveBack('nobody');
  expect([limit.take('bad', 0), limit.take('bad', 0), limit.take('bad', 0)]).toEqual([0, 0, 100]);
  for (let i = 0; i < 50; i += 1) limit.take(`other ${i}`, 0);
  expect(limit.size).toBe(3);
  // Who has tried most is remembered longest.
  expect(limit.take('bad', 0)).toBe(100);
  expect(limit.take('bad', 100)).toBe(0);
});

test.each([
  ['203.0.113.9', '203.0.113.9'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['', ''],
] as const)('the network of %s is %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});
