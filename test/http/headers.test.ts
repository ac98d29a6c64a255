import assert from 'node:assert/strict';
import { test } from 'vitest';
import { CookieWriter, cookieValue, isCookieDomain, isCookieName } from '../../src/http/cookies.ts';
import { Cors, originProblem } from '../../src/http/cors.ts';
import { encodingOf } from '../../src/http/decompress.ts';
import { formatEndpoint, parseEndpoint } from '../../src/http/endpoint.ts';
import { judgeFraming } from '../../src/http/guards.ts';

test('a cookie is found by its whole name; of several the first good one', () => {
  const cases: readonly (readonly [header: string, value: string])[] = [
    ['sid=abc', 'abc'],
    ['a=1; sid=abc; b=2', 'abc'],
    ['a=1;sid=abc', 'abc'],
    ['xsid=no; sid=abc', 'abc'],
    ['sid2=no; sid=abc', 'abc'],
    ['a=sid=no; sid=abc', 'abc'],
    ['sid=first; sid=second', 'first'],
    ['sid="no"; sid=abc', 'abc'],
    ['sid=; sid=abc', 'abc'],
    ['sid; sid=abc', 'abc'],
    ['sid=abc  ; b=2', 'abc'],
    ['sid=', ''],
    ['sid', ''],
    ['a=1', ''],
    ['', ''],
    ['SID=abc', ''],
    ['sid=a=b', 'a=b'],
    [';;sid=abc;;', 'abc'],
  ];
  const good = (value: string) => /^[a-z=]+$/.test(value);
  for (const [header, value] of cases) assert.equal(cookieValue(header, 'sid', good), value, header);
});

test('Set-Cookie says everything; Secure over TLS, and always where browsers drop the cookie without it', () => {
  const options = { name: 'sid', domain: '', maxAgeS: 60, sameSite: 'Lax', partitioned: false } as const;
  const start = 'sid=x; Path=/; Max-Age=60; HttpOnly; SameSite';
  const writer = new CookieWriter({ ...options, domain: 'example.com' });
  assert.equal(writer.line('x', false), `${start}=Lax; Domain=example.com`);
  assert.equal(writer.line('x', true), `${start}=Lax; Domain=example.com; Secure`);
  const none = new CookieWriter({ ...options, sameSite: 'None', partitioned: true });
  assert.equal(none.line('x', false), `${start}=None; Partitioned; Secure`);
  assert.equal(none.line('x', true), `${start}=None; Partitioned; Secure`);
  for (const name of ['__Host-sid', '__Secure-sid', '__host-sid', '__Host-Http-sid'])
    assert.match(new CookieWriter({ ...options, name }).line('x', false), /; Secure$/, name);
});

test('names and domains of cookies are those that browsers take', () => {
  for (const good of ['sid', '__Host-sid', "a!#$%&'*+.^_`|~-b"]) assert.equal(isCookieName(good), true, good);
  for (const bad of ['', 'a b', 'a;b', 'a=b', 'ä', 'a\n', 'x'.repeat(65)]) assert.equal(isCookieName(bad), false, bad);
  for (const good of ['example.com', '.example.com', 'a.b.Example.COM', 'xn--bcher-kva.example', 'localhost'])
    assert.equal(isCookieDomain(good), true, good);
  const labels = ['-a.com', 'a-.com', `${'x'.repeat(64)}.com`, `${'a.'.repeat(130)}com`];
  for (const bad of [
    '',
    'com',
    '..com',
    'a..com',
    'example.com.',
    'a_b.com',
    '10.0.0.1',
    '[::1]',
    'bücher.de',
    ...labels,
  ])
    assert.equal(isCookieDomain(bad), false, bad);
});

test('origins: * takes every page, with credentials on intake routes alone; a list takes its own', () => {
  const judged = (cors: Cors, origins: readonly string[]) => origins.map((origin) => cors.judge(origin));
  const pages = ['', 'null', 'https://a.example', `https://${'a'.repeat(300)}.example`];
  assert.deepEqual(judged(new Cors(['*']), pages), ['none', 'any', 'any', 'any']);
  assert.deepEqual(judged(new Cors(['*'], { intake: true }), pages), ['none', 'listed', 'listed', 'any']);

  const items = ['https://A.example', 'http://b.example:80', 'https://c.example:8443', 'capacitor://localhost', 'null'];
  const rows: readonly (readonly [origin: string, verdict: string])[] = [
    ['https://a.example', 'listed'],
    ['http://b.example', 'listed'],
    ['https://c.example:8443', 'listed'],
    ['capacitor://localhost', 'listed'],
    ['https://c.example', 'foreign'],
    ['http://a.example', 'foreign'],
    ['https://a.example.evil.example', 'foreign'],
    ['', 'none'],
  ];
  for (const [origin, verdict] of rows) {
    assert.equal(new Cors(items).judge(origin), verdict, origin);
    assert.equal(new Cors(items, { intake: true }).judge(origin), verdict, origin);
  }
  // Any page can have the origin null, so it reads no answer that may hold something of somebody.
  assert.equal(new Cors(items, { intake: true }).judge('null'), 'listed');
  assert.equal(new Cors(items).judge('null'), 'foreign');
  assert.equal(new Cors(['https://a.example'], { intake: true }).judge('null'), 'foreign');
});

test('origins: a star takes every host below its domain, of its scheme and port, and nothing that only looks like one', () => {
  const cors = new Cors(['https://*.Example.com', 'http://*.b.example:8080', 'https://*.bücher.example']);
  for (const page of [
    'https://a.example.com',
    'https://a-1.b_2.example.com',
    'http://a.b.example:8080',
    'https://shop.xn--bcher-kva.example',
  ])
    assert.equal(cors.judge(page), 'listed', page);
  for (const page of [
    'https://example.com',
    'https://.example.com',
    'https://evilexample.com',
    'https://a.example.com.evil.example',
    'http://a.example.com',
    'https://a.example.com:8443',
    'http://a.b.example',
    'https://evil.example/.example.com',
    'https://evil.example:80@.example.com',
    'https://a..example.com',
    `https://${'a.'.repeat(200)}example.com`,
    'null',
  ])
    assert.equal(cors.judge(page), 'foreign', page);
});

test('origins: an item that matches no page, or far too many, is refused with its reason', () => {
  const good = [
    '*',
    'null',
    'https://a.example',
    'http://[::1]:8080',
    'https://*.a.example',
    'http://*.localhost:5173',
  ];
  for (const item of good) assert.equal(originProblem(item), undefined, item);
  const bad: readonly (readonly [item: string, reason: RegExp])[] = [
    ['a.example', /begins with a scheme/],
    ['*.a.example', /begins with a scheme/],
    ['**', /begins with a scheme/],
    ['//a.example', /begins with a scheme/],
    ['https:a.example', /begins with a scheme/],
    ['https://a.example/', /neither a path nor a trailing slash/],
    ['https://a.example/path', /neither a path nor a trailing slash/],
    ['https://a.example?b', /neither a path nor a trailing slash/],
    ['https://a b', /neither a path nor a trailing slash/],
    ['https://', /has a host/],
    ['https://a.example:99999', /has a host/],
    ['https://u:p@a.example', /has no user/],
    ['https://*', /a star stands alone or/],
    ['https://a*.example', /a star stands alone or/],
    ['https://a.*.example', /a star stands alone or/],
    ['https://*.*.example', /a star stands alone or/],
    ['https://a.example:*', /a star stands alone or/],
    ['https://*.com', /two names or more/],
    ['https://*.', /has a host|two names or more/],
    ['file://host', /no origin of their own/],
    ['wss://a.example', /no origin of their own/],
  ];
  for (const [item, reason] of bad) assert.match(originProblem(item) ?? '', reason, item);
});

test('framing: one Content-Length in digits, or Transfer-Encoding: chunked alone', () => {
  const good: readonly (readonly [Parameters<typeof judgeFraming>, boolean, number])[] = [
    [[0, '', 0, ''], false, 0],
    [[1, '5', 0, ''], false, 5],
    [[1, '005', 0, ''], false, 5],
    [[0, '', 1, 'chunked'], true, 0],
    [[0, '', 1, 'Chunked'], true, 0],
  ];
  for (const [given, chunked, bytes] of good)
    assert.deepEqual(judgeFraming(...given), { bad: undefined, chunked, bytes });
  const bad: readonly Parameters<typeof judgeFraming>[] = [
    [2, '5', 0, ''],
    [1, '5', 1, 'chunked'],
    [0, '', 2, 'chunked'],
    [0, '', 1, 'xchunked'],
    [0, '', 1, 'gzip, chunked'],
    [0, '', 1, 'identity'],
    [0, '', 1, ''],
    ...['', '+5', '-5', '5,5', '0x5', '5 5', '1e3', '9'.repeat(20), '٣'].map((length) => [1, length, 0, ''] as const),
  ].map((row) => row as Parameters<typeof judgeFraming>);
  for (const given of bad) assert.equal(typeof judgeFraming(...given).bad, 'string', JSON.stringify(given));
});

test('content encodings in any spelling; what is none is not guessed at', () => {
  const given = ['', 'identity', 'gzip', 'GZIP', ' x-gzip ', 'deflate', 'br', 'zstd', 'gzip, gzip', 'gzip,br', '*'];
  assert.deepEqual(
    given.map((header) => encodingOf(header)),
    ['identity', 'identity', 'gzip', 'gzip', 'gzip', 'deflate', 'br', undefined, undefined, undefined, undefined],
  );
});

test('an endpoint is host:port, :port or [v6]:port', () => {
  assert.deepEqual(parseEndpoint(':19890'), { host: '', port: 19890 });
  assert.deepEqual(parseEndpoint('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(parseEndpoint('localhost:80'), { host: 'localhost', port: 80 });
  for (const text of ['', '80', ':0', ':65536', ':x', '::1:80', '[::1]', 'a b:80', 'http://a:80']) {
    assert.equal(parseEndpoint(text), undefined, text);
  }
  for (const text of [':19890', '[::1]:80', '0.0.0.0:80']) assert.equal(formatEndpoint(parseEndpoint(text)!), text);
});
