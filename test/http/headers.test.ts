import assert from 'node:assert/strict';
import { test } from 'vitest';
import { CookieWriter, cookieValue, isCookieName } from '../../src/http/cookies.ts';
import { Cors, originProblem } from '../../src/http/cors.ts';
import { encodingOf } from '../../src/http/decompress.ts';
import { formatEndpoint, parseEndpoint } from '../../src/http/endpoint.ts';
import { judgeFraming } from '../../src/http/guards.ts';

test('a cookie is found by its whole name, the first one wins', () => {
  const cases: readonly (readonly [header: string, value: string])[] = [
    ['sid=abc', 'abc'],
    ['a=1; sid=abc; b=2', 'abc'],
    ['a=1;sid=abc', 'abc'],
    ['xsid=no; sid=abc', 'abc'],
    ['sid2=no; sid=abc', 'abc'],
    ['a=sid=no; sid=abc', 'abc'],
    ['sid=first; sid=second', 'first'],
    ['sid=abc  ; b=2', 'abc'],
    ['sid=', ''],
    ['sid', ''],
    ['a=1', ''],
    ['', ''],
    ['SID=abc', ''],
    ['sid=a=b', 'a=b'],
    [';;sid=abc;;', 'abc'],
  ];
  for (const [header, value] of cases) assert.equal(cookieValue(header, 'sid'), value, header);
});

test('Set-Cookie says everything, and Secure only over TLS', () => {
  const writer = new CookieWriter({ name: 'sid', domain: 'example.com', maxAgeS: 60, sameSite: 'Lax' });
  assert.equal(writer.line('x', false), 'sid=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Domain=example.com');
  assert.match(writer.line('x', true), /; Secure$/);
  for (const bad of ['', 'a b', 'a;b', 'a=b', 'ä', 'a\n']) assert.equal(isCookieName(bad), false, bad);
});

test('origins: * takes every page without credentials, a list takes its own', () => {
  const any = new Cors(['*']);
  assert.deepEqual(
    ['', 'null', 'https://a.example'].map((o) => any.judge(o)),
    ['none', 'any', 'any'],
  );
  const listed = new Cors(['https://A.example', 'http://b.example:80', 'https://c.example:8443']);
  const verdicts = [
    'https://a.example',
    'http://b.example',
    'https://c.example:8443',
    'https://c.example',
    'http://a.example',
    'null',
    '',
  ];
  assert.deepEqual(
    verdicts.map((o) => listed.judge(o)),
    ['listed', 'listed', 'listed', 'foreign', 'foreign', 'foreign', 'none'],
  );
  for (const bad of ['a.example', 'https://a.example/', 'https://', 'https://a.example/path', 'https://a b', '**']) {
    assert.match(originProblem(bad)!, /found=/, bad);
  }
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
