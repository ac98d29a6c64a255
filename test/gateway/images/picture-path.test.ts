/** Paths of pictures: every form of a source is read as imgproxy reads it, and nothing is signed that was not allowed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Picture, readPicture, type Unreadable } from '../../../src/gateway/images/picture-path.ts';
import { prefixProblem, Sources } from '../../../src/gateway/images/sources.ts';

const b64 = (text: string) => Buffer.from(text).toString('base64url');
const read = (path: string) => readPicture(path) as Picture;
const refused = (path: string) => (readPicture(path) as Unreadable).forbidden;
const LOCAL = 'local:///ab/cd.jpg';

test('plain, base64 and signed forms of one picture become one path', () => {
  const path = `/rs:fit:300:200/${b64(LOCAL)}.webp`;
  const half = b64(LOCAL).slice(0, 11);
  for (const form of [
    '/rs:fit:300:200/plain/local:///ab/cd.jpg@webp',
    '/rs%3Afit%3A300%3A200/plain/local:///ab/cd.jpg@webp',
    '/rs:fit:300:200/plain/local:/ab/cd.jpg@webp',
    '/rs:fit:300:200/plain/local%3A%2F%2F%2Fab%2Fcd.jpg@webp',
    '/unsafe/rs:fit:300:200/plain/local:///ab/cd.jpg@webp',
    '/insecure/rs:fit:300:200/plain/local:///ab/cd.jpg@webp',
    `/${'A'.repeat(43)}/rs:fit:300:200/plain/local:///ab/cd.jpg@webp`,
    `/rs:fit:300:200/${b64(LOCAL)}.webp`,
    `/rs:fit:300:200/${half}/${b64(LOCAL).slice(11)}.webp`,
    `/rs:fit:300:200/${b64(LOCAL)}=.webp`,
  ])
    expect([form, readPicture(form)]).toEqual([
      form,
      {
        path,
        options: '/rs:fit:300:200',
        suffix: '.webp',
        source: LOCAL,
        formatted: true,
        expiresAtMs: Number.POSITIVE_INFINITY,
      },
    ]);
  expect(read(`/${b64(LOCAL)}`)).toMatchObject({ path: `/${b64(LOCAL)}`, source: LOCAL, formatted: false });
  expect(read('/plain/local:///ab/cd.jpg')).toMatchObject({ source: LOCAL, formatted: false });
  expect(read('/f:best/plain/local:///ab/cd.jpg').formatted).toBe(false);
  expect(read('/exp:1700000000/f:png/plain/local:///a')).toMatchObject({ expiresAtMs: 1.7e12, formatted: true });
});

test('what names a further source, or is not understood, is refused', () => {
  for (const option of ['watermark_url', 'wmu', 'fallback_image_url', 'fiu', 'style', 'st', 'msr', 'new_option', 'WMU'])
    expect([option, refused(`/${option}:${b64('http://127.0.0.1/')}/plain/${LOCAL}`)]).toEqual([option, true]);
  for (const path of [
    `/enc/${b64(LOCAL)}`,
    `/unsafe/enc/${b64(LOCAL)}`,
    `/w:10/-/h:10/plain/${LOCAL}`,
    `/info/w:10/plain/${LOCAL}`,
    `/info/${'A'.repeat(43)}/plain/${LOCAL}`,
    '/plain/local:///a%5cb',
    '/plain/local:///a%00b',
  ])
    expect([path, refused(path)]).toEqual([path, true]);
  for (const path of [
    '/',
    '/favicon.ico/',
    '/plain/',
    '/plain/local:///a@webp@png',
    '/plain/%zz',
    `/${b64(LOCAL)}.webp.png`,
    `/${b64('\u00ff').slice(0, 2)}`,
    `/w:10%2Fplain/${b64(LOCAL)}`,
    `/w:a b/${b64(LOCAL)}`,
    `/plain/local:///a@we%62p`,
  ])
    expect([path, refused(path)]).toEqual([path, false]);
});

test('sources are compared as URLs', () => {
  const sources = new Sources(['https://pics.example.com/', 'https://cdn.example.com:8443/a', 's3://bucket/x/']);
  const kind = (source: string) => sources.placeOf(source).kind;
  for (const source of [
    'https://pics.example.com/a.jpg',
    'HTTPS://PICS.example.com/a.jpg?size=1',
    'https://cdn.example.com:8443/a/b',
    's3://bucket/x/y.png',
  ])
    expect([source, kind(source)]).toEqual([source, 'allowed']);
  for (const source of [
    'https://pics.example.com.evil/a.jpg',
    'https://pics.example.com@evil/a.jpg',
    'https://user@pics.example.com/a.jpg',
    'https://pics.example.com:444/a.jpg',
    'http://pics.example.com/a.jpg',
    'https://cdn.example.com:8443/ab',
    'https://cdn.example.com:8443/a/../b',
    'https://cdn.example.com:8443/a/%2e%2e/b',
    'https://cdn.example.com:8443/a/..%2fb',
    's3://bucket/y.png',
    's3://bucket/x/../y.png',
    'file:///etc/passwd',
    'http://169.254.169.254/latest/meta-data',
    '//pics.example.com/a',
    'a.jpg',
    'local:///../etc/passwd',
    'local:///a/./b',
    'local:///a//b',
    'local:///%2e%2e/etc/passwd',
    'local:///a?b',
    'local://host/a',
    'LOCAL:///a',
    'local:/a',
    'local:///',
  ])
    expect([source, kind(source)]).toEqual([source, 'forbidden']);
  expect(sources.placeOf(LOCAL)).toEqual({ kind: 'upload', path: 'ab/cd.jpg', source: LOCAL });
  expect(new Sources(['local://']).placeOf(LOCAL).kind).toBe('allowed');
  expect(new Sources(['local:///ab']).placeOf('local:///abc/d').kind).toBe('upload');
  for (const wrong of ['pics.example.com', 'https://a@b/', 'https://a/?q', 'https:pics', 'local://host/'])
    expect([wrong, prefixProblem(wrong)]).toEqual([wrong, expect.stringContaining('ALLOWED_SOURCES')]);
  for (const right of ['https://a/', 'local://', 'local:///shared', 's3://bucket/'])
    expect(prefixProblem(right)).toBeUndefined();
});

/** How imgproxy reads a path that it has let in: a second reading, as little like the first as can be. */
function imgproxyReads(path: string): { options: string[]; source: string } {
  const parts = path.slice(1).split('/');
  const end = parts.findIndex((part) => !part.includes(':'));
  const rest = parts.slice(end);
  const source =
    rest[0] === 'plain' && rest.length > 1
      ? decodeURIComponent(rest.slice(1).join('/').split('@')[0]!)
      : Buffer.from(rest.join('').split('.')[0]!, 'base64url').toString();
  return { options: parts.slice(0, end).map((option) => option.split(':')[0]!), source };
}

test('whatever is signed has only the source that was judged, and no option that names one', () => {
  const words = fc.constantFrom(
    ...[
      'plain',
      'enc',
      'unsafe',
      'info',
      '-',
      'w:10',
      'rs:fit:1:2',
      'wmu:aHR0cDovL2V2aWw',
      'fiu%3Ax',
      'st:x',
      'raw:1',
      'exp:9',
    ],
    ...[
      'local:',
      'local:%2F%2F',
      '..',
      '.',
      '',
      '%2e%2e',
      'ab',
      'cd.jpg',
      'cd.jpg@webp',
      'http:',
      'evil',
      '%40',
      '@',
      '%3A',
      ':',
    ],
    ...[
      'https:',
      'pics.example.com',
      'pics.example.com%40evil',
      b64(LOCAL),
      b64('http://evil/'),
      `${b64(LOCAL)}.png`,
      '%252e',
      '=',
    ],
  );
  const part = fc.oneof(
    words,
    fc.string({ maxLength: 6 }).map(encodeURIComponent),
    fc.string({ maxLength: 6 }).map(b64),
  );
  const path = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: part },
      fc.tuple(part, part).map(([a, b]) => a + b),
    ),
    { maxLength: 9 },
  );
  const sources = new Sources(['https://pics.example.com/']);
  let signed = 0;
  fc.assert(
    fc.property(path, (parts) => {
      const picture = readPicture(`/${parts.join('/')}`);
      if ('reason' in picture) return;
      const place = sources.placeOf(picture.source);
      if (place.kind === 'forbidden') return;
      signed++;
      const { options, source } = imgproxyReads(picture.path);
      expect(source).toBe(picture.source);
      expect(options.filter((name) => /^(wmu|watermark_url|fiu|fallback|st$|style)/.test(name))).toEqual([]);
      // Read again it says the same.
      expect(readPicture(picture.path)).toEqual(picture);
      if (place.kind === 'upload') expect(source).toBe(`local:///${place.path}`);
      else expect(new URL(source).origin).toBe('https://pics.example.com');
      expect(decodeURIComponent(place.source)).not.toMatch(/(^|\/)\.\.(\/|$)/);
    }),
    { numRuns: 30_000 },
  );
  expect(signed).toBeGreaterThan(50);
});
