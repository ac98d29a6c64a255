/** Goal: the doctor says which pages may send events, and whether the visitor's cookie comes back from them. */
import { expect, test } from 'vitest';
import { httpConfig } from '../../src/http/config.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { originConfig, visitorConfig } from '../../src/visitor/config.ts';
import { examineOrigins, examineVisitors } from '../../src/visitor/examine.ts';

function said(env: Readonly<Record<string, string>>): string[] {
  const { values } = loadConfig([httpConfig, visitorConfig], { env, argv: [] });
  return [...examineVisitors(values.visitor, values.http)].map(({ severity, text }) => `${severity}: ${text}`);
}

const EVERYONE =
  'ok: CORS_ORIGINS=*: every page may send events, with credentials; no other route gives credentials away';

test('every page may send with *, with and without cookies', () => {
  expect(said({})).toEqual([
    EVERYONE,
    'note: the cookie sid (SameSite=Lax) comes back only from pages of the same site; events of other sites have no sid',
  ]);
  expect(said({ COOKIES: 'off' })).toEqual([
    EVERYONE,
    'note: no cookies: only the sid that clients send tells visitors apart',
  ]);
});

test('a list that forgets https is a warning, unless a pattern, another entry or a port covers it', () => {
  const warned = (origins: string) =>
    said({ CORS_ORIGINS: origins, COOKIES: 'off' }).filter((text) => text.startsWith('warning'));
  expect(warned('http://shop.example')).toEqual([
    'warning: CORS_ORIGINS has http origins only: pages of https://shop.example get 403',
  ]);
  expect(warned('http://*.shop.example,https://www.shop.example')).toEqual([
    'warning: CORS_ORIGINS has http origins only: pages of https://*.shop.example get 403',
  ]);
  for (const fine of [
    'http://shop.example,https://shop.example',
    'HTTP://www.Shop.example,https://*.shop.example',
    'http://localhost:3000',
    'http://shop.example:8080',
    'https://shop.example',
  ])
    expect(warned(fine), fine).toEqual([]);
  expect(said({ CORS_ORIGINS: 'null', COOKIES: 'off' })[1]).toMatch(/^note: CORS_ORIGINS includes null/);
});

test('a cookie that comes back from its own site only is a note when the pages are of several sites', () => {
  const one = said({ CORS_ORIGINS: 'https://shop.example,https://www.shop.example' });
  expect(one).toEqual([
    'ok: CORS_ORIGINS: pages of https://shop.example, https://www.shop.example may send events, with credentials; all others get 403',
    'ok: the cookie sid (SameSite=Lax) comes back from pages of the same site',
  ]);
  const two = said({ CORS_ORIGINS: 'https://shop.example,https://blog.example' });
  expect(two[1]).toMatch(/^note: .* events of other sites have no sid/);
});

test('SameSite=None is a warning until each site has a cookie of its own', () => {
  const env = { COOKIE_SAMESITE: 'None', TRUST_PROXY: '1' };
  expect(said(env)[1]).toMatch(
    /^warning: the cookie sid \(SameSite=None\) comes back from pages of other sites only in/,
  );
  expect(said({ ...env, COOKIE_PARTITIONED: 'true' })[1]).toMatch(/^ok: .* \(Partitioned\)$/);
});

test('addresses that two collectors hash differently are a note', () => {
  expect(said({ IP_MODE: 'hash' }).at(-1)).toMatch(/^note: IP_MODE=hash without IP_HASH_SECRET/);
});

test('a service without cookies and addresses is told of pages and the geo database alone', () => {
  const { values } = loadConfig([httpConfig, originConfig], { env: { GEOIP_DB: '/nowhere.mmdb' }, argv: [] });
  const found = [...examineOrigins(values.visitor, values.http)].map(({ severity, text }) => `${severity}: ${text}`);
  expect(found).toEqual([expect.stringMatching(/^error: GEOIP_DB must be a MaxMind database/), EVERYONE]);
});

test('the options of such a service have the names of the collector, and none that it would ignore', () => {
  expect(Object.keys(originConfig.options)).toEqual(['dntRespect', 'dntMode', 'geoipDb']);
  for (const key of Object.keys(originConfig.options)) expect(visitorConfig.options).toHaveProperty(key);
  expect(() => loadConfig([httpConfig, originConfig], { env: {}, argv: ['--ip-mode=none'] })).toThrow(/ip-mode/);
});
