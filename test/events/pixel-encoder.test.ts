import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { decodeEvent } from '../../src/events/decoder.ts';
import { F } from '../../src/events/line-plan.ts';
import { recordBytesMax } from '../../src/events/line-writer.ts';
import { blankOrigin } from '../../src/events/origin.ts';
import { PixelEncoder, type PixelInput } from '../../src/events/pixel-encoder.ts';
import * as record from '../../src/events/record.ts';
import type { EventLine } from '../../src/events/schema.ts';
import { SidMaker, UuidMaker } from '../../src/kernel/ids.ts';
import { formPairs, referencePixel } from './reference.ts';
import { propertyOf, seed } from './seed.ts';
import { TestDraft } from './test-draft.ts';

const RECEIVED_MS = Date.parse('2026-11-21T08:00:00.123Z');
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const EVENT_ID = '0190d2a0-7b5c-7abc-8def-000000000001';

const newEncoder = (eventBytesMax = 65_536): PixelEncoder =>
  new PixelEncoder({ eventBytesMax, ids: new UuidMaker(), sids: new SidMaker() });

const inputOf = (query: string, more: Partial<PixelInput> = {}): PixelInput => ({
  query,
  referer: '',
  ...blankOrigin(),
  receivedMs: RECEIVED_MS,
  ...more,
});

/** The event of one request, its line checked against the reference byte by byte. */
function encoded(query: string, more: Partial<PixelInput> = {}): EventLine {
  const draft = new TestDraft();
  const encoder = newEncoder(1 << 20);
  const input = inputOf(query, more);
  const result = encoder.encode(draft, input);
  draft.checkCanaries();
  assert.equal(result.code, 'OK');
  const [line] = draft.lines;
  const event = JSON.parse(line!) as EventLine;
  assert.equal(line, referencePixel(input, { eventId: event.event_id, sid: result.mintedSid }));
  return event;
}

test('a bare pixel is a pageview with a made id, the time of receipt and no objects', () => {
  const event = encoded('');
  assert.match(event.event_id, UUID7);
  assert.deepEqual(event, {
    event_id: event.event_id,
    ts: '2026-11-21T08:00:00.123Z',
    e: 'pageview',
  });
});

test('every field stands in the order of the model', () => {
  const query = 'z=1&utm_source=s&ref=r&url=u&sid=s1&uid=u1&e=click&ts=2026-01-02T03:04:05Z';
  const event = encoded(`${query}&event_id=${EVENT_ID}`, {
    userAgent: 'UA',
    ip: '203.0.113.7',
    geo: Buffer.from('{"country":"DE"}'),
    device: Buffer.from('{"bot":false}'),
  });
  const keys = 'event_id ts e uid sid url ref ua ip utm geo props device';
  assert.equal(Object.keys(event).join(' '), keys);
  assert.deepEqual(event.geo, { country: 'DE' });
  assert.deepEqual(event.device, { bot: false });
});

const queries: [what: string, query: string, expected: Partial<EventLine>][] = [
  ['plus is a space', 'a=b+c', { props: { a: 'b c' } }],
  ['percent is decoded exactly once', 'a=%252B%2B', { props: { a: '%2B+' } }],
  [
    'names are decoded before they are compared',
    '%65=click&%75tm_source=x&%61+b=1',
    { e: 'click', utm: { source: 'x' } },
  ],
  ['an invalid percent stays as it is', 'a=%&b=%4&c=%zz&d=100%', { props: { a: '%', b: '%4', c: '%zz', d: '100%' } }],
  ['a percent sign at the very end stays', 'a=x%2', { props: { a: 'x%2' } }],
  ['lower and upper case hex', 'a=%c3%A9', { props: { a: 'é' } }],
  ['raw UTF-8 is kept', 'a=é€😀', { props: { a: 'é€😀' } }],
  ['a stray continuation byte is one U+FFFD', 'a=%80x', { props: { a: '\ufffdx' } }],
  ['an overlong form is U+FFFD per byte', 'a=%C0%AF', { props: { a: '\ufffd\ufffd' } }],
  ['a coded surrogate is U+FFFD per byte', 'a=%ED%A0%80', { props: { a: '\ufffd\ufffd\ufffd' } }],
  ['beyond U+10FFFF is U+FFFD per byte', 'a=%F4%90%80%80', { props: { a: '\ufffd\ufffd\ufffd\ufffd' } }],
  ['a truncated sequence is one U+FFFD', 'a=%E2%82&b=%F0%9F%98x', { props: { a: '\ufffd', b: '\ufffdx' } }],
  ['a coded lead before a raw character', 'a=%E2é', { props: { a: '\ufffdé' } }],
  ['a lone surrogate of the string is U+FFFD', 'a=\ud800', { props: { a: '\ufffd' } }],
  ['control characters are escaped', 'a=%00%1F%0A%7F', { props: { a: '\0\x1f\n\x7f' } }],
  ['quotes and backslashes are escaped', 'a=%22%5C"\\', { props: { a: '"\\"\\' } }],
  ['the first of a known key wins', 'e=a&e=b&uid=1&uid=2', { e: 'a', uid: '1' }],
  ['an empty known value is absent, so the next one counts', 'e=&e=b&uid=', { e: 'b' }],
  ['a bare known name is empty, so absent', 'e&uid', { e: 'pageview' }],
  ['duplicate unknown keys make an array in order', 'a=1&b=x&a=2&a=', { props: { a: ['1', '2', ''], b: 'x' } }],
  ['an unknown name without a value is an empty string', 'a&b=', { props: { a: '', b: '' } }],
  ['an empty name is a name', '=v&==w', { props: { '': ['v', '=w'] } }],
  ['empty pieces are skipped', '&&a=1&&', { props: { a: '1' } }],
  ['only the first = separates', 'a=b=c', { props: { a: 'b=c' } }],
  ['utm_ alone is a plain name', 'utm_=1&utm_x=2', { utm: { x: '2' }, props: { utm_: '1' } }],
  ['the first of a utm key wins, an empty one is absent', 'utm_a=&utm_a=1&utm_a=2', { utm: { a: '1' } }],
  ['known names are case-sensitive', 'E=1&UTM_source=2', { props: { E: '1', UTM_source: '2' } }],
  ['server fields cannot be set', 'ip=1&ua=2&geo=3&props=4', { props: { ip: '1', ua: '2', geo: '3', props: '4' } }],
  ['names of Object.prototype are plain', 'toString=1&constructor=2', { props: { toString: '1', constructor: '2' } }],
];
for (const [what, query, expected] of queries) {
  test(`query: ${what}`, () => {
    const event = encoded(query);
    for (const [key, value] of Object.entries(expected)) {
      if (key === 'props' || key === 'utm') assert.deepEqual({ ...event[key] }, value);
      else assert.equal(event[key as keyof EventLine], value);
    }
  });
}

test('__proto__ is a plain key', () => {
  const { props } = encoded('__proto__=x&__proto__=y');
  assert.deepEqual(Object.getOwnPropertyDescriptor(props, '__proto__')?.value, ['x', 'y']);
});

test('event_id: any case is taken and stored in lower case, in line and record', () => {
  const draft = new TestDraft();
  newEncoder().encode(draft, inputOf(`event_id=${EVENT_ID.toUpperCase()}`));
  const [bytes] = draft.records;
  assert.equal(record.eventIdTextAt(bytes!, 0).toString(), EVENT_ID);
  assert.equal(record.eventIdAt(bytes!, 0).toString('hex'), EVENT_ID.replaceAll('-', ''));
});

test('event_id: what is no UUID is replaced by a made one and kept in props', () => {
  for (const bad of ['x', `{${EVENT_ID}}`, `${EVENT_ID}0`, EVENT_ID.replace('-', '0'), 'g'.repeat(36)]) {
    const event = encoded(`event_id=${bad}&event_id=${EVENT_ID}`);
    assert.match(event.event_id, UUID7);
    assert.deepEqual(event.props, { event_id: bad });
  }
});

test('ts: RFC 3339 with any offset becomes UTC, so do numbers since 1970; anything else is kept in props', () => {
  for (const [ts, iso] of [
    ['1764000000', '2025-11-24T16:00:00.000Z'],
    ['1764000000123', '2025-11-24T16:00:00.123Z'],
    ['1764000000.123', '2025-11-24T16:00:00.123Z'],
    ['%31764000000', '2025-11-24T16:00:00.000Z'],
  ]) {
    const event = encoded(`ts=${ts}`);
    assert.deepEqual([event.ts, event.props], [iso, undefined]);
  }
  assert.deepEqual(encoded('ts=&ts=1764000000').ts, '2025-11-24T16:00:00.000Z');
  assert.equal(encoded('ts=2026-01-02T03:04:05.6789%2B05:30').ts, '2026-01-01T21:34:05.678Z');
  for (const bad of [
    '0',
    '1',
    '-5',
    '1764',
    '0.123456789',
    '1e99',
    '99999999999999999',
    '2026-13-01T00:00:00Z',
    'now',
    '2026-01-02 03:04:05',
  ]) {
    const event = encoded(`ts=${encodeURIComponent(bad)}`);
    assert.equal(event.ts, '2026-11-21T08:00:00.123Z');
    assert.deepEqual(event.props, { ts: bad });
  }
});

test('mended keys are told: an id that is no UUID, a time that is none as RFC 3339 has it', () => {
  const encoder = newEncoder();
  const mended = (query: string): number => encoder.encode(new TestDraft(), inputOf(query)).mended;
  assert.equal(mended('event_id=x&ts=1764000000'), (1 << F.event_id) | (1 << F.ts));
  assert.equal(mended('ts=x'), 1 << F.ts);
  assert.equal(mended(`event_id=${EVENT_ID}&ts=2026-01-02T03:04:05Z`), 0);
  assert.equal(mended('event_id=&ts=&uid='), 0);
});

test('sid: the query beats the cookie beats a made one, which is told to the caller', () => {
  assert.equal(encoded('sid=q', { cookieSid: 'c', mintSid: true }).sid, 'q');
  assert.equal(encoded('sid=', { cookieSid: 'c', mintSid: true }).sid, 'c');
  assert.equal(encoded('').sid, undefined);
  const encoder = newEncoder();
  const draft = new TestDraft();
  const minted = encoder.encode(draft, inputOf('', { mintSid: true })).mintedSid;
  assert.match(minted, /^s_[0-9a-f]{32}$/);
  assert.equal(JSON.parse(draft.lines[0]!).sid, minted);
  assert.equal(encoder.encode(draft, inputOf('sid=q', { mintSid: true })).mintedSid, '', 'not told again');
});

test('url: of the query, else the Referer; the campaign of its query fills what the request lacks', () => {
  assert.equal(encoded('', { referer: 'https://a.example/?x=1' }).url, 'https://a.example/?x=1');
  const url = encodeURIComponent(
    'https://a.example/p?utm_source=u&utm_medium=m%252B&%75tm_term=a+b&x=1#utm_content=no',
  );
  const event = encoded(`url=${url}&utm_source=q`, { referer: 'https://b.example/?utm_id=no' });
  assert.deepEqual(event.utm, { source: 'q', medium: 'm%2B', term: 'a b' });
  assert.equal(event.url, decodeURIComponent(url), 'url itself is not decoded again');
  for (const referer of ['/p#?utm_source=x', '/p#utm_source=x&utm_a=1']) {
    assert.deepEqual(encoded('', { referer }).utm, undefined, 'a fragment has no query');
  }
  assert.deepEqual(encoded('', { referer: '?utm_a=1?utm_b=2&utm_b=3' }).utm, { a: '1?utm_b=2', b: '3' });
});

test('an anonymous event has no uid, sid, ua and ip, and no sid is made', () => {
  const event = encoded('uid=u&sid=s&a=1', {
    anonymous: true,
    userAgent: 'UA',
    ip: '1.2.3.4',
    cookieSid: 'c',
    mintSid: true,
  });
  assert.deepEqual(Object.keys(event), ['event_id', 'ts', 'e', 'props']);
  assert.deepEqual(event.props, { a: '1' });
  const result = newEncoder().encode(new TestDraft(), inputOf('', { anonymous: true, mintSid: true }));
  assert.equal(result.mintedSid, '');
});

test('the record tells source, clock, instant, name and user without reading the line', () => {
  const draft = new TestDraft();
  const query = 'e=%22caf%C3%A9%22&uid=u%5C1&ts=1969-12-31T23:59:59.999Z';
  newEncoder().encode(draft, inputOf(query, { source: 0xfffffffe }));
  newEncoder().encode(draft, inputOf(''));
  const [full, bare] = draft.records;
  const { event, ...rest } = decodeEvent(full!, 0);
  assert.equal(rest.source, 0xfffffffe);
  assert.equal(rest.receivedMs, RECEIVED_MS);
  assert.equal(rest.tsMs, -1);
  assert.equal(event.e, '"café"');
  assert.equal(record.eventType(full!, 0), '"café"');
  assert.equal(record.uidOf(full!, 0), 'u\\1');
  assert.equal(record.eventType(bare!, 0), 'pageview');
  assert.equal(record.uidOf(bare!, 0), undefined);
});

test('a line over the limit is told with its length and touches no draft; one of exactly the limit is taken', () => {
  const query = `a=${'%00'.repeat(50)}&e=${'x'.repeat(500)}`;
  const draft = new TestDraft();
  const { jsonBytes } = newEncoder().encode(draft, inputOf(query));
  draft.clear();
  const { begins } = draft;
  assert.deepEqual(
    { ...newEncoder(jsonBytes - 1).encode(draft, inputOf(query)) },
    { code: 'EVENT_TOO_LARGE', jsonBytes, recordBytes: 0, mintedSid: '', mended: 0 },
  );
  assert.equal(draft.records.length, 0);
  assert.equal(draft.begins, begins, 'the draft was not asked');
  const exact = newEncoder(jsonBytes);
  assert.equal(exact.encode(draft, inputOf(query)).code, 'OK');
  assert.equal(draft.lines[0]!.length, jsonBytes);
  assert.ok(draft.askedMax <= recordBytesMax(jsonBytes));
});

test('a draft is never asked for more than the event limit allows, however long the query', () => {
  const draft = new TestDraft();
  const encoder = newEncoder(4096);
  for (const length of [10, 300, 400, 3000, 3800, 32_000]) {
    encoder.encode(draft, inputOf(`a=${'x'.repeat(length)}`));
    assert.ok(draft.askedMax <= recordBytesMax(4096), `asked=${draft.askedMax}`);
  }
  assert.equal(draft.records.length, 5);
});

test('the worst growth of every text stays within the bounds', () => {
  // Controls grow most in the line, euro signs in the scratch; what stands in the query of url is written, and decoded, twice.
  for (const char of ['\u0001', '"', '€', '\ud800', '%FF', '%00', '&', '&=', '\u0001&', '€&']) {
    const many = char.repeat(3000);
    for (const query of [
      many,
      `a=${many}`,
      `url=?utm_a=${many}`,
      `url=?${many}`,
      `event_id=${many}`,
      `utm_${many}=x`,
    ]) {
      encoded(query, { referer: `?utm_b=${many}`, userAgent: many, ip: many, cookieSid: many });
      encoded('', { referer: `?utm_b=${many}` });
    }
  }
});

test('thousands of parameters are kept and cost no more than their bytes', () => {
  const cost = (count: number): number => {
    const draft = new TestDraft();
    const encoder = newEncoder(1 << 20);
    const query = Array.from({ length: count }, (_, i) => `k${i % (count / 2)}`).join('&');
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 12; round += 1) {
      draft.clear();
      const start = process.hrtime.bigint();
      encoder.encode(draft, inputOf(query));
      best = Math.min(best, Number(process.hrtime.bigint() - start));
    }
    const { props } = JSON.parse(draft.lines[0]!) as EventLine;
    assert.equal(Object.keys(props!).length, count / 2);
    assert.deepEqual(props!['k7'], ['', '']);
    return best;
  };
  cost(1000);
  const ratio = cost(16_000) / cost(1000);
  assert.ok(ratio < 64, `16 times the parameters cost ${ratio.toFixed(1)} times as much; quadratic would be 256`);
});

test('a header that comes as one character per byte is read as the UTF-8 that was sent', () => {
  const seen: string[] = [];
  const headerText = (text: string): string => {
    seen.push(text);
    return Buffer.from(text, 'latin1').toString();
  };
  const encoder = new PixelEncoder({ eventBytesMax: 65_536, ids: new UuidMaker(), sids: new SidMaker(), headerText });
  const draft = new TestDraft();
  const userAgent = Buffer.from('Bücher 😀 \xff').toString('latin1');
  encoder.encode(draft, inputOf('a=ü', { userAgent, referer: 'https://a.example/"' }));
  draft.checkCanaries();
  const { ua, url, props } = JSON.parse(draft.lines[0]!) as EventLine;
  assert.deepEqual([ua, url, props], ['Bücher 😀 \xff', 'https://a.example/"', { a: 'ü' }]);
  assert.deepEqual(seen, [userAgent], 'asked only for what is not ASCII, and not for the query');
});

test('an encoder keeps nothing of the request before', () => {
  const draft = new TestDraft();
  const encoder = newEncoder();
  encoder.encode(draft, inputOf('e=x&uid=u&sid=s&url=/?utm_a=1&ref=r&utm_b=2&c=3&c=4', { userAgent: 'UA', ip: '::1' }));
  draft.clear();
  encoder.encode(draft, inputOf('d=5'));
  const { event_id, ts, ...event } = JSON.parse(draft.lines[0]!) as EventLine;
  assert.deepEqual(event, { e: 'pageview', props: { d: '5' } });
});

const hexPair = fc.constantFrom(
  '%C3%A9',
  '%e2%82%ac',
  '%F0%9F%98%80',
  '%E2%82',
  '%ED%A0%80',
  '%80',
  '%FF',
  '%C0',
  '%00',
  '%0a',
  '%22',
  '%5C',
  '%26',
  '%3D',
  '%2B',
  '%25',
  '%2525',
  '%3F',
  '%23',
  '%',
  '%4',
  '%g1',
  '%%41',
  '+',
  '"',
  '\\',
  '\n',
  'é',
  '😀',
  '\ud800',
  '=',
  '?',
  '#',
  '.',
);
const chunk = fc.oneof(
  { weight: 4, arbitrary: hexPair },
  { weight: 3, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
);
const value = fc.array(chunk, { maxLength: 6 }).map((chunks) => chunks.join(''));
const name = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'e',
      'uid',
      'sid',
      'url',
      'ref',
      'event_id',
      'ts',
      'utm_source',
      'utm_a',
      'utm_',
      'utm',
      'a',
      'b',
      '',
      '__proto__',
      '%65',
      'ur%6C',
      'u%74m_source',
      'ip',
      'tss',
      'event_ie',
    ),
  },
  { weight: 2, arbitrary: value },
);
const knownValue = fc.constantFrom(
  EVENT_ID,
  EVENT_ID.toUpperCase(),
  '2026-02-29T00:00:00Z',
  '2024-02-29T23:59:59.9999-11:30',
  '1970-01-01t00:00:00z',
  '1764000000',
  '1764000000123.5',
  'https%3A%2F%2Fx%2F%3Futm_source%3D%2531%26utm_a%3D%252500%23y',
  '?utm_a=1&utm_a=2',
  '',
);
const piece = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(name, fc.oneof(value, knownValue)).map(([key, text]) => `${key}=${text}`) },
  { weight: 1, arbitrary: name },
  { weight: 1, arbitrary: fc.constant('') },
);
const query = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join('&'));
const header = fc.oneof(fc.constant(''), value, fc.constant('https://a.example/p?utm_source=r&utm_x=%41#f'));
const input: fc.Arbitrary<PixelInput> = fc.record({
  query,
  referer: header,
  userAgent: header,
  ip: fc.constantFrom('', '203.0.113.7', '2001:db8::1'),
  cookieSid: fc.constantFrom('', 's_0123456789abcdef0123456789abcdef'),
  mintSid: fc.boolean(),
  anonymous: fc.boolean(),
  geo: fc.constantFrom(undefined, Buffer.from('{"country":"DE","city":"Köln"}')),
  device: fc.constantFrom(undefined, Buffer.from('{"bot":true}')),
  receivedMs: fc.constantFrom(RECEIVED_MS, 0, RECEIVED_MS + 1),
  source: fc.nat(),
});

test(`any request is encoded as the reference does, within its bounds (seed ${seed})`, () => {
  const draft = new TestDraft();
  const encoder = newEncoder();
  const tight = newEncoder(400);
  fc.assert(
    fc.property(input, (request) => {
      draft.clear();
      const result = encoder.encode(draft, request);
      draft.checkCanaries();
      assert.equal(result.code, 'OK');
      const [line] = draft.lines;
      const event = JSON.parse(line!) as EventLine;
      assert.equal(line, referencePixel(request, { eventId: event.event_id, sid: result.mintedSid }));

      const [bytes] = draft.records;
      assert.equal(result.recordBytes, Math.ceil(bytes!.length / 8) * 8);
      assert.equal(record.sourceAt(bytes!, 0), request.source);
      assert.equal(record.receivedMsAt(bytes!, 0), request.receivedMs);
      assert.equal(record.tsMsAt(bytes!, 0), Date.parse(event.ts));
      assert.equal(record.eventIdAt(bytes!, 0).toString('hex'), event.event_id.replaceAll('-', ''));
      assert.equal(record.eventType(bytes!, 0), event.e);
      assert.equal(record.uidOf(bytes!, 0), event.uid);

      const small = tight.encode(draft, request);
      assert.equal(small.code, small.jsonBytes <= 400 ? 'OK' : 'EVENT_TOO_LARGE');
      assert.equal(draft.records.length, small.code === 'OK' ? 2 : 1);
      draft.checkCanaries();
    }),
    propertyOf(20_000),
  );
});

test(`the reference reads forms as URLSearchParams does (seed ${seed})`, () => {
  // Node's URLSearchParams goes astray where coded and raw non-ASCII meet, so the comparison leaves raw ones out.
  const ascii = query.filter((text) => /^[\0-\x7f]*$/.test(text));
  fc.assert(
    fc.property(ascii, (text) => {
      assert.deepEqual(formPairs(text), [...new URLSearchParams(`&${text}`)]);
    }),
    { ...propertyOf(2000), interruptAfterTimeLimit: 60_000 },
  );
});
