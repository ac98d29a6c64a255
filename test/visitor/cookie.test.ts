/**
 * Goal: a sid is made only where its cookie can come back, so that a page view is not a new visitor each time.
 * Method: the routes on a real server, asked with the headers that Chromium sends (test/e2e/http-browser.test.ts has the browser itself).
 */
import '../collect/head-limit.ts';
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { httpConfig } from '../../src/http/config.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { visitorConfig } from '../../src/visitor/config.ts';
import { type Rig, startRig } from '../collect/rig.ts';
import { freePort, request } from '../http/raw.ts';
import { fileScope } from '../servers/scope.ts';

const file = fileScope();
const rigs = new Map<string, Promise<Rig>>();
type Options = Readonly<Record<string, string>>;

function rigFor(env: Options): Promise<Rig> {
  const key = JSON.stringify(env);
  const rig = rigs.get(key) ?? freePort(21400 + rigs.size).then((port) => startRig(file, port, { env }));
  rigs.set(key, rig);
  return rig;
}

/** The one event that a pixel made, and the cookie of its answer. */
async function visit(env: Options, headers: readonly string[]) {
  const { port, events } = await rigFor(env);
  const before = events().length;
  const answer = await request(port, '/px.gif', { headers });
  assert.equal(answer.status, 200);
  assert.equal(events().length, before + 1);
  return { event: events().at(-1)!, cookie: answer.headers['set-cookie'] };
}

const ours = `s_${'0123456789abcdef'.repeat(2)}`;
const link = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'];
const image = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'];
const frame = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe'];
const nested = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: image', 'Sec-Fetch-Storage-Access: none'];
const near = ['Sec-Fetch-Site: same-site', 'Sec-Fetch-Dest: image'];
const access = (value: string) => [...image, `Sec-Fetch-Storage-Access: ${value}`];
const plain = ['X-Forwarded-Proto: http'];
const proxied = { TRUST_PROXY: 'true' };
const strict = { COOKIE_SAMESITE: 'Strict' };
const none = { ...proxied, COOKIE_SAMESITE: 'None' };
const chips = { ...none, COOKIE_PARTITIONED: 'true' };
const host = { ...proxied, COOKIE_NAME: '__Host-sid' };

const rows: readonly (readonly [name: string, headers: readonly string[], options: Options, made: boolean])[] = [
  ['a client that says nothing', [], {}, true],
  ['an image on a page of the same site', near, {}, true],
  ['an image on a page of another site', image, {}, false],
  ['a link on a page of another site', link, {}, true],
  ['a frame in a page of another site', frame, {}, false],
  ['an image in a frame of ours in a page of another site', nested, {}, false],
  ['an address that was typed in', ['Sec-Fetch-Site: none', 'Sec-Fetch-Dest: document'], {}, true],
  ['an image on a page of the same site', near, strict, true],
  ['an image on a page of another site', image, strict, false],
  ['a link on a page of another site', link, strict, false],
  ['an image on a page of another site', image, none, true],
  ['an image where cookies of other sites are allowed', access('active'), none, true],
  ['an image where they are blocked', access('none'), none, false],
  ['an image where a page must ask for them', access('inactive'), none, false],
  ['an image where they are blocked', access('none'), chips, true],
  ['a client that speaks plain HTTP to the proxy', plain, proxied, true],
  ['a client that speaks plain HTTP to the proxy', plain, none, false],
  ['a client that speaks plain HTTP to the proxy', plain, host, false],
  ['a client that speaks TLS to the proxy', ['X-Forwarded-Proto: https'], host, true],
];
for (const [name, headers, options, made] of rows) {
  test(`${JSON.stringify(options)}: ${name} gets ${made ? 'a' : 'no'} sid, in event and cookie alike`, async () => {
    const { event, cookie } = await visit(options, headers);
    assert.equal('sid' in event, made);
    assert.equal(cookie !== undefined, made);
    if (made) assert.equal(/=(s_[0-9a-f]{32});/.exec(cookie!)?.[1], event['sid']);
    // A cookie that comes all the same counts.
    const again = await visit(options, [...headers, `Cookie: ${options['COOKIE_NAME'] ?? 'sid'}=${ours}`]);
    assert.deepEqual([again.event['sid'], again.cookie], [ours, undefined]);
  });
}

test('the cookie is Secure when the client spoke TLS to a trusted proxy, in any spelling of X-Forwarded-Proto', async () => {
  for (const [proto, secure] of [
    ['https', true],
    ['HTTPS', true],
    ['https,http', true],
    ['https , http', true],
    ['http,https', false],
    ['http', false],
    ['', false],
  ] as const) {
    const { cookie } = await visit(proxied, [`X-Forwarded-Proto: ${proto}`]);
    assert.equal(/; Secure$/.test(cookie!), secure, proto);
  }
  assert.doesNotMatch((await visit({}, ['X-Forwarded-Proto: https'])).cookie!, /Secure/, 'nobody is trusted');
  const forwarded = 'Forwarded: for="[2001:db8::7]:4711";proto=HTTPS, for=10.0.0.2;proto=http';
  const { event, cookie } = await visit({ ...proxied, CLIENT_IP_HEADER: 'Forwarded' }, [forwarded]);
  assert.equal(event['ip'], '2001:db8::7');
  assert.match(cookie!, /; Secure$/);
});

test('a partitioned cookie says so', async () => {
  const { event, cookie } = await visit(chips, image);
  const rest = 'Path=/; Max-Age=31536000; HttpOnly; SameSite=None; Partitioned; Secure';
  assert.equal(cookie, `sid=${event['sid']}; ${rest}`);
});

test('options of a cookie that every browser drops are refused, with what they need', () => {
  const problem = (env: Options): string => {
    try {
      loadConfig([httpConfig, visitorConfig], { env, argv: [] });
      return '';
    } catch (error) {
      return String((error as Error).message);
    }
  };
  const tls = { TLS_CERT: 'a', TLS_KEY: 'b' };
  const good: readonly Options[] = [
    none,
    chips,
    host,
    { ...tls, COOKIE_SAMESITE: 'None' },
    { ...tls, COOKIE_NAME: '__Secure-sid', COOKIE_DOMAIN: 'example.com' },
    { PROXY_PROTOCOL: 'true', COOKIE_SAMESITE: 'None' },
    { COOKIES: 'off', COOKIE_SAMESITE: 'None' },
  ];
  for (const env of good) assert.equal(problem(env), '', JSON.stringify(env));
  const bad: readonly (readonly [env: Options, reason: RegExp])[] = [
    [{ COOKIE_SAMESITE: 'None' }, /requires TLS_CERT and TLS_KEY, or TRUST_PROXY/],
    [{ COOKIE_NAME: '__Host-sid' }, /requires TLS_CERT/],
    [{ COOKIE_NAME: '__secure-sid' }, /requires TLS_CERT/],
    [{ ...tls, COOKIE_NAME: '__Host-sid', COOKIE_DOMAIN: 'example.com' }, /COOKIE_DOMAIN must be empty/],
    [{ ...tls, COOKIE_PARTITIONED: 'true' }, /COOKIE_PARTITIONED requires COOKIE_SAMESITE=None: found=Lax/],
    [{ COOKIE_DOMAIN: 'com' }, /COOKIE_DOMAIN must be/],
    [{ COOKIE_DOMAIN: '10.0.0.1' }, /COOKIE_DOMAIN must be/],
    [{ COOKIE_NAME: 'a=b' }, /COOKIE_NAME must be/],
  ];
  for (const [env, reason] of bad) assert.match(problem(env), reason, JSON.stringify(env));
});
