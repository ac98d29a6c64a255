/** Site guard: what each combination of site, key and page gives, and what answers of the registry do to it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ApiKey, digestOf, makeKey } from '../../../src/access/api-key.ts';
import { EventGrant } from '../../../src/analytics/access/credentials.ts';
import { SiteGuard, type Verdict } from '../../../src/analytics/access/site-guard.ts';
import type { HeldKey, HeldSite } from '../../../src/analytics/access/site-registry.ts';
import type { Scope } from '../../../src/analytics/access/sites.ts';

const PEPPER = '0123456789abcdef0123456789abcdef';
const NOW = Date.parse('2026-01-01T00:00:00Z');

function held(key: ApiKey, scope: Scope, expires: number | null = null): HeldKey {
  return { id: key.id, scope, digest: digestOf(PEPPER, key).toString('base64'), expires };
}
let versions = 0;
const siteOf = (site: number, parts: Partial<HeldSite>): HeldSite => {
  const keys = parts.keys ?? [];
  const keyed = keys.some(({ scope }) => scope === 'ingest');
  const names = [`site-${site}`];
  const retentionDays = null;
  return { site, version: ++versions, gone: false, names, origins: [], keys, keyed, retentionDays, ...parts };
};
function guardOf(sites: readonly HeldSite[], options: { pepper?: string | undefined; now?: () => number } = {}) {
  const guard = new SiteGuard({ access: 'keys', pepper: PEPPER, now: () => NOW, ...options });
  guard.take({ base: 1, version: versions, items: sites, more: false });
  return guard;
}

const keys = {
  ingest: makeKey('rm', 'live'),
  read: makeKey('rm', 'live'),
  expired: makeKey('rm', 'live'),
  other: makeKey('rm', 'live'),
  stranger: makeKey('rm', 'live'),
};
const sites = () => [
  siteOf(1, {
    names: ['shop', 'old-shop'],
    origins: ['https://shop.example', 'https://*.shop.example'],
    keys: [held(keys.ingest, 'ingest'), held(keys.read, 'read'), held(keys.expired, 'ingest', NOW)],
  }),
  siteOf(2, { names: ['server'], keys: [held(keys.other, 'ingest')] }),
  siteOf(3, { names: ['pages'], origins: ['https://pages.example'] }),
  siteOf(4, { names: ['free'] }),
  siteOf(5, { names: ['any'], origins: ['*'] }),
  siteOf(6, { names: ['closed'], keyed: true }),
];

test('events: the key of the site or a page of it, whatever else is shown', () => {
  const guard = guardOf(sites());
  const shop = 'https://shop.example';
  const rows: readonly (readonly [siteId: string, key: string, origin: string, verdict: Verdict])[] = [
    ['shop', keys.ingest.text, '', 'ok'],
    ['old-shop', keys.ingest.text, '', 'ok'],
    ['shop', keys.ingest.text, 'https://evil.example', 'ok'],
    ['shop', '', shop, 'ok'],
    ['shop', '', 'https://www.shop.example', 'ok'],
    ['shop', '', '', 'key_required'],
    ['shop', '', 'https://evil.example', 'origin'],
    ['shop', '', 'https://shop.example.evil.example', 'origin'],
    ['shop', '', 'null', 'origin'],
    ['shop', keys.read.text, shop, 'key_forbidden'],
    ['shop', keys.other.text, shop, 'key_forbidden'],
    ['shop', keys.expired.text, shop, 'key_invalid'],
    ['shop', keys.stranger.text, shop, 'key_invalid'],
    ['shop', 'no key at all', shop, 'key_invalid'],
    ['server', keys.other.text, '', 'ok'],
    ['server', '', '', 'key_required'],
    ['server', '', shop, 'key_required'],
    ['server', keys.ingest.text, '', 'key_forbidden'],
    ['pages', '', 'https://pages.example', 'ok'],
    ['pages', '', '', 'origin'],
    ['pages', '', shop, 'origin'],
    ['free', '', '', 'ok'],
    ['free', '', shop, 'ok'],
    ['free', keys.stranger.text, '', 'key_invalid'],
    ['any', '', '', 'ok'],
    ['any', '', 'https://evil.example', 'ok'],
    ['closed', '', shop, 'key_required'],
    ['nobody', '', shop, 'unknown_site'],
    ['nobody', keys.ingest.text, '', 'unknown_site'],
    ['nobody', keys.stranger.text, '', 'key_invalid'],
  ];
  // Twice: what is remembered of a key gives the same.
  for (let round = 0; round < 2; round += 1)
    for (const [siteId, key, origin, verdict] of rows)
      expect([siteId, key, origin, guard.ingest(siteId, { key, origin })]).toEqual([siteId, key, origin, verdict]);
});

test('statistics: a read key of the site; who has none learns nothing about which sites there are', () => {
  const guard = guardOf(sites());
  expect(guard.read('shop', keys.read.text)).toBe('ok');
  expect(guard.read('old-shop', keys.read.text)).toBe('ok');
  for (const siteId of ['shop', 'server', 'nobody', 'free']) expect(guard.read(siteId, '')).toBe('key_required');
  for (const siteId of ['server', 'nobody', 'free']) expect(guard.read(siteId, keys.read.text)).toBe('key_forbidden');
  expect(guard.read('shop', keys.ingest.text)).toBe('key_forbidden');
  expect(guard.read('shop', keys.stranger.text)).toBe('key_invalid');
});

test('nothing is open before the sites are known, everything while there is none, and with ACCESS=open', () => {
  const guard = new SiteGuard({ access: 'keys', pepper: PEPPER, now: () => NOW });
  expect([guard.known, guard.open]).toEqual([false, false]);
  expect(guard.ingest('shop', { key: '', origin: '' })).toBe('unread');
  expect(guard.read('shop', keys.read.text)).toBe('unread');
  guard.take({ base: 1, version: 0, items: [], more: false });
  expect([guard.known, guard.open]).toEqual([true, true]);
  expect(guard.ingest('shop', { key: 'x', origin: '' })).toBe('ok');
  guard.take({ base: 1, version: 1, items: [siteOf(1, { names: ['shop'] })], more: false });
  expect(guard.open).toBe(false);
  expect(guard.ingest('other', { key: '', origin: '' })).toBe('unknown_site');
  const open = new SiteGuard({ access: 'open', pepper: undefined, now: () => NOW });
  expect([open.open, open.ingest('a', { key: 'x', origin: '' }), open.read('a', '')]).toEqual([true, 'ok', 'ok']);
});

test('a key ends with its revocation, its expiry and its site, also when it was in use a moment ago', () => {
  let now = NOW - 1;
  const guard = guardOf(sites(), { now: () => now });
  const judge = (key: ApiKey) => guard.ingest('shop', { key: key.text, origin: '' });
  expect([judge(keys.ingest), judge(keys.expired)]).toEqual(['ok', 'ok']);
  now = NOW;
  expect([judge(keys.ingest), judge(keys.expired)]).toEqual(['ok', 'key_invalid']);
  const before = sites()[0]!;
  const without = { ...before, keys: before.keys.filter(({ id }) => id !== keys.ingest.id) };
  guard.take({ base: 1, version: ++versions, items: [without], more: false });
  expect(judge(keys.ingest)).toBe('key_invalid');
  guard.take({ base: 1, version: ++versions, items: [before], more: false });
  expect(judge(keys.ingest)).toBe('ok');
  guard.take({ base: 1, version: ++versions, items: [siteOf(1, { gone: true, names: [] })], more: false });
  expect([judge(keys.ingest), guard.ingest('old-shop', { key: '', origin: '' })]).toEqual([
    'key_invalid',
    'unknown_site',
  ]);
});

test('without a pepper, and under another one, every key is refused', () => {
  for (const pepper of [undefined, 'another pepper of 32 characters..'])
    expect(guardOf(sites(), { pepper }).ingest('shop', { key: keys.ingest.text, origin: '' })).toBe('key_invalid');
});

test('another base replaces what was known, and only when it is complete', () => {
  const guard = guardOf([siteOf(1, { names: ['a'] }), siteOf(2, { names: ['b'] })]);
  const known = () => ['a', 'b', 'c'].filter((name) => guard.ingest(name, { key: '', origin: '' }) === 'ok');
  expect(guard.take({ base: 2, version: 90, items: [siteOf(3, { names: ['c'] })], more: true })).toBe(true);
  expect(guard.question).toEqual({ base: 2, since: 90 });
  expect(known()).toEqual(['a', 'b']);
  expect(guard.take({ base: 2, version: 91, items: [siteOf(1, { names: ['a'] })], more: false })).toBe(false);
  expect(known()).toEqual(['a', 'c']);
});

test('a name that moves from one site to another leads to the new one, in whichever order the two change', () => {
  const renamed = [siteOf(1, { names: ['new', 'old'] }), siteOf(2, { names: ['name'], keyed: true })];
  for (const order of [renamed, [...renamed].reverse()]) {
    const guard = guardOf([siteOf(1, { names: ['name'] }), siteOf(2, { names: ['second'] })]);
    guard.take({ base: 1, version: ++versions, items: order, more: false });
    expect(guard.ingest('name', { key: '', origin: '' })).toBe('key_required');
    expect(guard.ingest('new', { key: '', origin: '' })).toBe('ok');
    expect(guard.ingest('second', { key: '', origin: '' })).toBe('unknown_site');
  }
});

test('any sequence of changes ends where a guard begins that is told the end alone', () => {
  const change = fc.record({
    site: fc.integer({ min: 1, max: 5 }),
    gone: fc.boolean(),
    name: fc.integer({ min: 1, max: 2 }),
    keyed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const told = changes.map(({ site, gone, name, keyed }) =>
        siteOf(site, { gone, keyed, names: gone ? [] : [`${site}.${name}`] }),
      );
      const followed = guardOf([]);
      for (const site of told) followed.take({ base: 1, version: site.version, items: [site], more: false });
      const whole = guardOf([...new Map(told.map((site) => [site.site, site])).values()]);
      expect(followed.open).toBe(whole.open);
      for (let site = 1; site <= 5; site += 1)
        for (const name of [`${site}.1`, `${site}.2`])
          expect(followed.ingest(name, { key: '', origin: '' })).toBe(whole.ingest(name, { key: '', origin: '' }));
    }),
  );
});

test('a grant of a request says why a site is not admitted, and shows no key', () => {
  const guard = guardOf(sites());
  const grant = new EventGrant(guard, { key: keys.other.text, origin: 'https://shop.example' });
  expect([grant.admits('server'), grant.admits('shop'), grant.admits('server')]).toEqual([true, false, true]);
  const refusals = ['shop', 'nobody'].map((siteId) => grant.refusal(siteId));
  // Plain data: encoders spread it into the error of the item.
  expect(refusals.map((refusal) => ({ ...refusal }))).toEqual([
    { code: 'KEY_FORBIDDEN', message: 'the key must be of this site and have the scope ingest: site=shop' },
    { code: 'SITE_UNKNOWN', message: 'the site must be registered, since others are: site=nobody' },
  ]);
  const bad = new EventGrant(guard, { key: keys.stranger.text, origin: '' });
  expect(bad.refusal('shop').code).toBe('KEY_INVALID');
  expect(bad.refusal('shop').message).not.toContain(keys.stranger.text.split('_')[3]);
  const bare = new EventGrant(guard, { key: '', origin: '' });
  expect(bare.refusal('server').code).toBe('KEY_REQUIRED');
  expect(bare.refusal('pages').message).toBe(
    'origin must be one of those of the site, or a key be given: site=pages, origin=none',
  );
});
