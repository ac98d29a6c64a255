/** The encoder of POST /events: rows for each rule, and random bodies against the slow reference. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { ANALYTICS_KIND, eventKeys } from '../../../src/analytics/event.ts';
import { EventsEncoder, type EventsOptions, type EventsResult } from '../../../src/analytics/intake/events-encoder.ts';
import type { EventOrigin } from '../../../src/analytics/intake/origin.ts';
import { recordBytesMax } from '../../../src/events/line-writer.ts';
import * as record from '../../../src/events/record.ts';
import { KEYED, keyOf } from '../../../src/events/record-key.ts';
import { putServiceRecord } from '../../../src/events/service-record.ts';
import { UuidMaker } from '../../../src/kernel/ids.ts';
import { propertyOf, seed } from '../../events/seed.ts';
import { TestDraft } from '../../events/test-draft.ts';
import { referenceEvents } from './reference.ts';

const RECEIVED = '2026-11-21T08:00:00.123Z';
const RECEIVED_MS = Date.parse(RECEIVED);
const ID = '0190d2a0-7b5c-7abc-8def-000000000001';
const VERSION = record.EVENT_VERSION | KEYED;
const DAY_MS = 86_400_000;

const newEncoder = (options: Partial<EventsOptions> = {}): EventsEncoder =>
  new EventsEncoder({
    eventBytesMax: 65_536,
    batchBytesMax: 1 << 20,
    ageMs: Number.POSITIVE_INFINITY,
    ids: new UuidMaker(),
    ...options,
  });

/** 32 hex digits that tell the site and the day apart. */
const visitorOf = (site: string, day: number): string =>
  Buffer.from(`${day}:${site}`).toString('hex').padEnd(32, '0').slice(0, 32);

const originOf = (more: Partial<EventOrigin> = {}): EventOrigin => ({
  receivedMs: RECEIVED_MS,
  anonymous: false,
  traits: Buffer.alloc(0),
  grant: undefined,
  visitorOf,
  ...more,
});

/** The line with received_at cut to its ms: the digits behind are checked by a test of their own. */
const withoutSequence = (line: string): string => line.replace(/("received_at":"[^"]{23})\d{6}Z"/, '$1Z"');

interface Encoded {
  readonly result: EventsResult;
  readonly lines: string[];
  readonly keys: string[];
  readonly draft: TestDraft;
}

function encode(body: string | Buffer, origin: Partial<EventOrigin> = {}, encoder = newEncoder()): Encoded {
  const draft = new TestDraft(ANALYTICS_KIND, VERSION);
  const result = { ...encoder.encode(draft, Buffer.from(body), originOf(origin)) };
  draft.checkCanaries();
  return { result, lines: draft.lines.map(withoutSequence), keys: draft.records.map(keyText), draft };
}

/** A record as it stands in a lane. */
function inLane(one: Buffer): Buffer {
  const whole = Buffer.alloc((one.length + 7) & ~7);
  one.copy(whole);
  whole.writeUInt32LE(one.length, record.at.length);
  whole.writeUInt16LE(ANALYTICS_KIND, record.at.kind);
  whole.writeUInt16LE(VERSION, record.at.version);
  return whole;
}
const keyText = (one: Buffer): string => keyOf(inLane(one), 0)!.toString();

const HEAD = `{"event_id":"${ID}","site_id":"s","event_type":"t"`;
const TIMES = `"timestamp":"${RECEIVED}","received_at":"${RECEIVED}"`;
const VISITOR = `"visitor":"${visitorOf('s', Math.floor(RECEIVED_MS / DAY_MS))}"`;
const item = (members: string): string =>
  `{"event_id":"${ID}","site_id":"s","event_type":"t"${members && `,${members}`}}`;

/** The line of one event with these members: what stands before the times, and behind the visitor. */
function lineOf(members: string, origin: Partial<EventOrigin> = {}): string {
  const { result, lines } = encode(item(members), origin);
  assert.equal(result.code, 'OK', result.reason);
  assert.deepEqual(result.errors, []);
  return lines[0]!;
}
const expected = (before: string, behind: string): string =>
  `${HEAD}${before && `,${before}`},${TIMES},${VISITOR}${behind && `,${behind}`},"via":"events"}`;

test("the document's own example, byte for byte", () => {
  const body = `{
  "site_id": "site-abc-123",
  "event_type": "page_view",
  "path": "/home",
  "user_id": "user-001",
  "timestamp": "2025-11-15T05:00:00Z"
}`;
  const { result, lines, keys } = encode(body, { traits: Buffer.from('"country":"DE","bot":"x"') });
  assert.deepEqual([result.code, result.one, result.accepted, result.rejected], ['OK', true, 1, 0]);
  const id = lines[0]!.slice(13, 49);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(
    lines[0],
    `{"event_id":"${id}","site_id":"site-abc-123","event_type":"page_view","path":"/home","user_id":"user-001",` +
      `"timestamp":"2025-11-15T05:00:00.000Z","received_at":"${RECEIVED}","country":"DE","bot":"x","via":"events"}`,
  );
  assert.deepEqual(keys, ['site-abc-123:user-001']);
});

const x = (count: number, unit = 'x'): string => unit.repeat(count);
const props = (count: number): string => Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join();
const rows: readonly [what: string, members: string, before: string, behind: string, mended?: string][] = [
  ['nothing else', '', '', ''],
  [
    'members in the order of the line, others are dropped',
    '"props":{"a":1},"utm_term":"t","utm_source":"s","title":"i","referrer":"r","country":"XX","visitor":"0","path":"/"',
    '"path":"/"',
    '"referrer":"r","title":"i","props":{"a":1},"utm_source":"s","utm_term":"t"',
  ],
  ['null and empty texts are absent', '"path":null,"title":"","user_id":""', '', '', 'path'],
  [
    'numbers are taken by their digits',
    '"path":12345678901234567890,"title":-1.50e+2',
    '"path":"12345678901234567890"',
    '"title":"-1.50e+2"',
    'path title',
  ],
  [
    'other values of a text are absent',
    '"path":true,"title":{"a":[]},"referrer":[1],"utm_source":false',
    '',
    '',
    'path referrer title utm_source',
  ],
  [
    'the last of two equal keys counts',
    '"path":5,"p\\u0061th":"/x","props":{"a":[]},"props":{"b":1}',
    '"path":"/x"',
    '"props":{"b":1}',
  ],
  [
    'escapes are those of JSON.stringify',
    '"title":"\\u00e9\\/\\ud83d\\ude00\\u0009\\u0001\\""',
    '',
    '"title":"é/😀\\t\\u0001\\""',
  ],
  [
    'U+0000 and halves become U+FFFD',
    '"path":"/\\u0000","title":"\\ud800x\\u0000\\u0000y"',
    '"path":"/\ufffd"',
    '"title":"\ufffdx\ufffd\ufffdy"',
    'path title',
  ],
  ['a backslash before u0000 is no U+0000', '"title":"\\\\u0000"', '', '"title":"\\\\u0000"'],
  ['long texts are cut at 2,000 characters', `"title":"${x(1999)}😀y"`, '', `"title":"${x(1999)}😀"`, 'title'],
  ['props that are no object are absent', '"props":[1]', '', '', 'props'],
  ['empty props are absent', '"props":{ }', '', ''],
  ['white space between tokens goes', '"props" : { "a" :\n1 ,\t"b": "x  y" } ', '', '"props":{"a":1,"b":"x  y"}'],
  [
    'objects, arrays and null in props are dropped',
    '"props":{"a":{},"b":[[1]],"c":null,"d":false}',
    '',
    '"props":{"d":false}',
    'props',
  ],
  ['props of nothing else are absent', '"props":{"a":{"b":1}}', '', '', 'props'],
  [
    'of equal names in props the last one stays',
    '"props":{"a":1,"b":2,"\\u0061":3,"c":[],"c":4,"d":1,"d":null}',
    '',
    '"props":{"b":2,"a":3,"c":4}',
    'props',
  ],
  ['30 props are taken', `"props":{${props(30)}}`, '', `"props":{${props(30)}}`],
  ['further ones are dropped', `"props":{${props(32)}}`, '', `"props":{${props(30)}}`, 'props'],
  ['values of 500 characters are taken', `"props":{"a":"${x(500, 'é')}"}`, '', `"props":{"a":"${x(500, 'é')}"}`],
  [
    'longer ones are cut',
    `"props":{"a":"${x(501, '😀')}","b":1}`,
    '',
    `"props":{"a":"${x(500, '😀')}","b":1}`,
    'props',
  ],
  [
    'names of more than 100 characters are dropped',
    `"props":{"${x(101)}":1,"${x(100, 'ü')}":2}`,
    '',
    `"props":{"${x(100, 'ü')}":2}`,
    'props',
  ],
  [
    'numbers keep their digits',
    '"props":{"a":-9007199254740991,"b":1.50,"c":-0,"d":1E22,"e":1e-7}',
    '',
    '"props":{"a":-9007199254740991,"b":1.50,"c":-0,"d":1E22,"e":1e-7}',
  ],
  [
    'whole numbers that JavaScript does not hold are texts',
    '"props":{"a":9007199254740993,"b":-12345678901234567890}',
    '',
    '"props":{"a":"9007199254740993","b":"-12345678901234567890"}',
    'props',
  ],
  [
    'numbers that nobody can hold are texts',
    '"props":{"a":1e999,"b":-1e-99999}',
    '',
    '"props":{"a":"1e999","b":"-1e-99999"}',
    'props',
  ],
  ['U+0000 in props', '"props":{"a\\u0000":"\\u0000"}', '', '"props":{"a\ufffd":"\ufffd"}'],
  [
    'names of Object.prototype',
    '"props":{"__proto__":1,"constructor":"x"}',
    '',
    '"props":{"__proto__":1,"constructor":"x"}',
  ],
  [
    'path and utm from url',
    '"url":"https://h:1/a%20b?x=1&utm_source=n%20l&utm_campaign=+&utm_source=2&utm_x=1#f?utm_term=t"',
    '"path":"/a%20b"',
    '"url":"https://h:1/a%20b?x=1&utm_source=n%20l&utm_campaign=+&utm_source=2&utm_x=1#f?utm_term=t","utm_source":"n l","utm_campaign":" "',
  ],
  [
    'what is given wins',
    '"url":"/a?utm_source=u","path":"p","utm_source":"g"',
    '"path":"p"',
    '"url":"/a?utm_source=u","utm_source":"g"',
  ],
  [
    'odd bytes of a query',
    '"url":"/?utm_source=%00%ff%22&utm_term=%01"',
    '"path":"/"',
    '"url":"/?utm_source=%00%ff%22&utm_term=%01","utm_source":"\ufffd\ufffd\\"","utm_term":"\\u0001"',
  ],
  ['a host alone has the path /', '"url":"https://h?a"', '"path":"/"', '"url":"https://h?a"'],
  ['a url without scheme', '"url":"//h/p"', '"path":"/p"', '"url":"//h/p"'],
  ['a url without path', '"url":"mailto:a/b"', '', '"url":"mailto:a/b"'],
  ['a relative url', '"url":"a/b"', '', '"url":"a/b"'],
];
for (const [what, members, before, behind, mended = ''] of rows) {
  test(`event: ${what}`, () => {
    assert.equal(lineOf(members), expected(before, behind));
    const { result } = encode(item(members));
    const counted = eventKeys.filter((_, field) => result.mended[field] === 1);
    assert.equal(counted.join(' '), mended);
    assert.equal(
      result.mendedSet,
      counted.reduce((set, key) => set | (1 << eventKeys.indexOf(key)), 0),
    );
  });
}

test('lengths are characters, not bytes or UTF-16 units', () => {
  const body = (site: number, type: number, user: number) =>
    `{"site_id":"${x(site, '😀')}","event_type":"${x(type, 'é')}","user_id":"${x(user, '\\ud83d\\ude00')}"}`;
  assert.equal(encode(body(100, 50, 100)).result.accepted, 1);
  for (const [lengths, message] of [
    [[101, 50, 100], 'site_id must be 1 to 100 characters: found=101'],
    [[100, 51, 100], 'event_type must be 1 to 50 characters: found=51'],
    [[100, 50, 101], 'user_id must be at most 100 characters: found=101'],
  ] as const) {
    const { result } = encode(body(...(lengths as [number, number, number])));
    assert.deepEqual([result.accepted, result.errors[0]!.message], [0, message]);
  }
});

const bad: readonly [members: string, message: string][] = [
  ['"event_type":"t"', 'site_id must be 1 to 100 characters: found=none'],
  ['"site_id":"s"', 'event_type must be 1 to 50 characters: found=none'],
  ['"site_id":null,"event_type":"t"', 'site_id must be 1 to 100 characters: found=none'],
  ['"site_id":"","event_type":"t"', 'site_id must be 1 to 100 characters: found=0'],
  ['"site_id":7,"event_type":"t"', 'site_id must be a string: found=a number'],
  ['"site_id":"s","event_type":["t"]', 'event_type must be a string: found=an array'],
  [
    '"site_id":"a\\u0000","event_type":"t"',
    'site_id must be without U+0000 and halves of surrogate pairs: found="a\ufffd"',
  ],
  [
    '"site_id":"s","event_type":"\\ud800"',
    'event_type must be without U+0000 and halves of surrogate pairs: found="\ufffd"',
  ],
  ['"site_id":"s","event_type":"t","timestamp":""', 'timestamp must be an RFC 3339 time from year 1 on: found=""'],
  [
    '"site_id":"s","event_type":"t","timestamp":"2025-02-30T00:00:00Z"',
    'timestamp must be an RFC 3339 time from year 1 on: found="2025-02-30T00:00:00Z"',
  ],
  [
    '"site_id":"s","event_type":"t","timestamp":"0000-12-31T23:59:59Z"',
    'timestamp must be an RFC 3339 time from year 1 on: found="0000-12-31T23:59:59Z"',
  ],
  ['"site_id":"s","event_type":"t","timestamp":1764000000', 'timestamp must be a string: found=a number'],
  ['"site_id":"s","event_type":"t","event_id":"nope"', 'event_id must be a UUID: found="nope"'],
  ['"site_id":"s","event_type":"t","event_id":7', 'event_id must be a string: found=a number'],
];
for (const [members, message] of bad) {
  test(`rejected alone: ${members}`, () => {
    const { result, lines } = encode(`[${item('"path":"/1"')},{${members}},${item('"path":"/2"')}]`);
    assert.deepEqual([result.code, result.accepted, result.rejected, lines.length], ['OK', 2, 1, 2]);
    assert.deepEqual(
      [result.errors[0]!.index, result.errors[0]!.code, result.errors[0]!.message],
      [1, 'INVALID_EVENT', message],
    );
    assert.equal(result.errors[0]!.event_id, members.includes('nope') ? 'nope' : undefined);
  });
}

test('timestamp: any offset is kept as UTC; far ahead becomes receipt; too old is an error', () => {
  const timestampOf = (text: string): string => JSON.parse(lineOf(`"timestamp":"${text}"`)).timestamp;
  assert.equal(timestampOf('2026-01-02T03:04:05.6789+05:30'), '2026-01-01T21:34:05.678Z');
  assert.equal(timestampOf('0001-01-01T00:00:00Z'), '0001-01-01T00:00:00.000Z');
  assert.equal(timestampOf('2026-11-21T08:05:00.123Z'), '2026-11-21T08:05:00.123Z', '5 minutes ahead');
  assert.equal(timestampOf('2026-11-21T08:05:00.124Z'), RECEIVED, 'one ms more');
  const mended = (text: string) => encode(item(`"timestamp":"${text}"`)).result.mended[eventKeys.indexOf('timestamp')];
  assert.deepEqual([mended('2026-11-21T08:05:00.123Z'), mended('2026-11-21T08:05:00.124Z')], [0, 1], 'it is counted');
  assert.equal(timestampOf('9999-12-31T23:59:59.999Z'), RECEIVED);
  assert.equal(timestampOf('2026-11-21T08:00:00.\\u0031Z'), '2026-11-21T08:00:00.100Z');
  const encoder = newEncoder({ ageMs: 2 * DAY_MS });
  const old = (text: string) => encode(item(`"timestamp":"${text}"`), {}, encoder).result;
  assert.equal(old('2026-11-19T08:00:00.123Z').accepted, 1);
  const { errors } = old('2026-11-19T08:00:00.122Z');
  assert.equal(errors[0]!.message, 'timestamp must be at most 2 days old: found="2026-11-19T08:00:00.122Z"');
});

test('the visitor belongs to the UTC day of the timestamp and to the site, and is asked for once for each', () => {
  const asked: string[] = [];
  const origin = {
    visitorOf: (site: string, day: number) => {
      asked.push(`${site} ${day}`);
      return visitorOf(site, day);
    },
  };
  const at = (site: string, time: string) => `{"site_id":"${site}","event_type":"t","timestamp":"${time}"}`;
  const items = [
    at('a', '2026-11-20T23:59:59Z'),
    at('a', '2026-11-21T00:00:00Z'),
    at('a', '2026-11-21T00:00:01Z'),
    '{"site_id":"a","event_type":"t","user_id":"u"}',
    at('b', '2026-11-21T00:00:00Z'),
    at('\\u0062', '2026-11-21T00:00:00Z'),
  ];
  const { lines, keys } = encode(`[${items.join()}]`, origin);
  const day = Math.floor(Date.parse('2026-11-21') / DAY_MS);
  assert.deepEqual(asked, [`a ${day - 1}`, `a ${day}`, `b ${day}`]);
  const visitors = lines.map((line) => JSON.parse(line).visitor as string | undefined);
  assert.deepEqual(visitors, [
    visitorOf('a', day - 1),
    visitorOf('a', day),
    visitorOf('a', day),
    undefined,
    visitorOf('b', day),
    visitorOf('b', day),
  ]);
  assert.deepEqual(
    keys,
    visitors.map((visitor, i) => `${i < 4 ? 'a' : 'b'}:${visitor ?? 'u'}`),
  );
});

test('a request asks anew, although its site is that of the one before', () => {
  const encoder = newEncoder();
  encode(item(''), {}, encoder);
  const { lines } = encode(item(''), { visitorOf: () => x(32, 'f') }, encoder);
  assert.equal(JSON.parse(lines[0]!).visitor, x(32, 'f'));
});

test('do not track: neither user nor visitor, and a key of its own', () => {
  const { lines, keys } = encode(item('"user_id":"u"'), { anonymous: true });
  assert.equal(lines[0], `${HEAD},${TIMES},"via":"events"}`);
  assert.deepEqual(keys, [`s:${ID}`]);
});

test('without a visitor there is none', () => {
  const { lines, keys } = encode(item(''), { visitorOf: () => '' });
  assert.equal(lines[0], `${HEAD},${TIMES},"via":"events"}`);
  assert.deepEqual(keys, [`s:${ID}`]);
});

test('a site that the request may not write is an error of its items, in the words of the grant', () => {
  const asked: string[] = [];
  const grant = {
    admits: (site: string) => {
      asked.push(site);
      return site === 'mine';
    },
    refusal: (site: string) => ({ code: 'KEY_FORBIDDEN', message: `not ${site}` }) as const,
    retentionDays: () => Number.POSITIVE_INFINITY,
  };
  const items = ['mine', 'other', 'other', 'mine'].map((site) => `{"site_id":"${site}","event_type":"t"}`);
  const { result, lines } = encode(`[${items.join()}]`, { grant });
  assert.deepEqual([result.accepted, result.rejected], [2, 2]);
  assert.deepEqual(
    result.errors,
    [1, 2].map((index) => ({ index, code: 'KEY_FORBIDDEN', message: 'not other' })),
  );
  assert.ok(lines.every((line) => line.includes('"site_id":"mine"')));
  assert.deepEqual(asked, ['mine', 'other', 'mine'], 'once while the site stays');
});

test('an event that is older than its site keeps them is an error of its item', () => {
  const retentionDays = (site: string) => (site === 'short' ? 3 : Number.POSITIVE_INFINITY);
  const grant = { admits: () => true, refusal: () => ({ code: 'KEY_FORBIDDEN', message: '' }) as const, retentionDays };
  const at = (site: string, timestamp: string) => `{"site_id":"${site}","event_type":"t","timestamp":"${timestamp}"}`;
  const [kept, old] = ['2026-11-18T00:00:00Z', '2026-11-17T23:59:59.999Z'];
  const items = [at('short', kept), at('short', old), at('long', old), '{"site_id":"short","event_type":"t"}'];
  const { result, lines } = encode(`[${items.join()}]`, { grant });
  assert.equal(lines.length, 3);
  assert.deepEqual(
    result.errors.map(({ index, code, message }) => [index, code, message]),
    [[1, 'INVALID_EVENT', `timestamp must be at most 3 days old: found="${old}"`]],
  );
});

// A path of url stands in the line twice, and a control character takes six bytes there.
test('a url of control characters gets the room that its path takes', () => {
  const url = `/${'\\u0001'.repeat(1900)}`;
  for (const given of [url, `https://h${url}?utm_source=${'%01'.repeat(500)}`]) {
    const line = JSON.parse(encode(item(`"url":"${given}"`)).lines[0]!) as { path: string };
    assert.equal(line.path, `/${'\u0001'.repeat(1900)}`);
  }
});

test('received_at is of one record alone: its digits behind the ms count on, also over bodies and failed items', () => {
  const encoder = newEncoder();
  const good = '{"site_id":"s","event_type":"t"}';
  const bodies = [`[${good},${good},{},${good}]`, good];
  const lines = bodies.flatMap((body) => encode(body, {}, encoder).draft.lines);
  const texts = lines.map((line) => (JSON.parse(line) as { received_at: string }).received_at);
  for (const text of texts) assert.match(text, new RegExp(`^${RECEIVED.slice(0, -1)}\\d{6}Z$`));
  const digits = texts.map((text) => Number(text.slice(23, 29)));
  assert.deepEqual(
    digits.map((each) => (each - digits[0]! + 1e6) % 1e6),
    [0, 1, 2, 3],
  );
  // Where they begin is not foreseeable: another encoder begins elsewhere.
  const begins = Array.from({ length: 5 }, () => encode(good).draft.lines[0]!.replace(/.*"received_at":"|".*/g, ''));
  assert.ok(new Set(begins).size > 1);
});

test('a record is the one that commitRecord would write', () => {
  const { draft, keys } = encode(item('"user_id":"ü\\"","props":{"a":1}'));
  const one = draft.records[0]!;
  const whole = Buffer.alloc(1024);
  const fields = {
    kind: ANALYTICS_KIND,
    key: Buffer.from(keys[0]!),
    line: Buffer.from(draft.lines[0]!),
    receivedMs: RECEIVED_MS,
  };
  const end = putServiceRecord(whole, 0, fields);
  assert.equal(keys[0], 's:ü"');
  assert.deepEqual(inLane(one), whole.subarray(0, end));
});

test('bodies: an array, an empty one, a mark, what is no event, what is no JSON', () => {
  assert.deepEqual([encode('[]').result.code, encode('[]').result.one, encode('[]').result.accepted], ['OK', false, 0]);
  assert.equal(encode(`\ufeff [${item('')}, ${item('')}] `).result.accepted, 2);
  for (const [body, found] of [
    ['5', 'a number'],
    ['null', 'null'],
    ['"x"', 'a string'],
  ] as const) {
    const { result } = encode(body);
    assert.deepEqual([result.code, result.found], ['INVALID_BODY', found]);
  }
  assert.equal(encode('[7]').result.errors[0]!.message, 'event must be an object: found=a number');
  for (const [body, offset] of [
    ['', 0],
    [item('"a":1,'), item('"a":1,').length - 1],
    [`[${item('')}`, item('').length + 1],
    [item('"props":{"a":01}'), item('"props":{"a":01}').indexOf('1}')],
    [item('"props":{a:1}'), item('"props":{a:1}').indexOf('a:1')],
    [item('"props":{"a" 1}'), item('"props":{"a" 1}').indexOf('1}')],
    [item('"props":{"a":1,}'), item('"props":{"a":1,}').indexOf('}}')],
    [item('"props":{"a":1 "b":2}'), item('"props":{"a":1 "b":2}').indexOf('"b"')],
    [Buffer.from([0x7b, 0xff, 0x7d]), 1],
  ] as const) {
    const { result } = encode(body as string);
    assert.deepEqual(
      [result.code, result.offset, result.accepted, result.errors],
      ['INVALID_JSON', offset, 0, []],
      String(body),
    );
  }
});

test('nesting counts from the event, in props and in keys that are dropped', () => {
  const nested = (key: string, depth: number) =>
    item(
      `"${key}":${key === 'props' ? `{"a":${x(depth - 2, '[')}${x(depth - 2, ']')}}` : x(depth - 1, '[') + x(depth - 1, ']')}`,
    );
  for (const key of ['props', 'other']) {
    const encoder = newEncoder({ depthMax: 5 });
    assert.deepEqual(encode(nested(key, 5), {}, encoder).result.errors, []);
    for (const depth of [6, 100_000]) {
      const { result } = encode(nested(key, depth), {}, encoder);
      assert.equal(result.errors[0]!.message, 'event must be nested at most 5 levels deep: found=more');
    }
  }
});

test('an event over the limit is rejected alone; one of exactly the limit is taken', () => {
  const of = (chars: number) => item(`"title":"${x(chars)}","other":"${x(9000)}"`);
  const limit = lineOf(`"title":"${x(1000)}"`).length + 6;
  const { result, draft } = encode(`[${of(1000)},${of(1001)}]`, {}, newEncoder({ eventBytesMax: limit }));
  assert.deepEqual([result.accepted, result.rejected], [1, 1]);
  assert.deepEqual(result.errors[0], {
    index: 1,
    event_id: ID,
    code: 'EVENT_TOO_LARGE',
    message: `event exceeds the limit: bytes=${limit + 1}, limit=${limit}`,
  });
  assert.ok(draft.askedMax <= recordBytesMax(limit) + 816, 'a key beside the line');
});

test('a batch over the limit ends as a whole, and early; errors are listed up to the limit', () => {
  const small = '{"site_id":"s","event_type":"t"},';
  const { result, draft } = encode(`[${small.repeat(100_000)}1]`, {}, newEncoder({ batchBytesMax: 100_000 }));
  assert.equal(result.code, 'BATCH_TOO_LARGE');
  assert.ok(draft.records.length < 500, `records=${draft.records.length}`);
  const listed = encode(`[${'1,'.repeat(498)}{},${small.slice(0, -1)}]`, {}, newEncoder({ errorsMax: 7 })).result;
  assert.deepEqual([listed.accepted, listed.rejected, listed.errors.length], [1, 499, 7]);
});

/** CPU of a call, us: other processes on the machine do not count. */
function cpuOf(call: () => unknown): number {
  const before = process.cpuUsage();
  call();
  const { user, system } = process.cpuUsage(before);
  return Math.max(1, user + system);
}

test('thousands of props, of twins and of queries cost no more than their bytes', () => {
  for (const bodyOf of [
    (count: number) =>
      item(`"props":{${Array.from({ length: count }, (_, i) => `"\\u006b${i % (count / 2)}":"\\u0000"`).join()}}`),
    (count: number) => `[${Array.from({ length: count }, () => item('"url":"/a"')).join()}]`,
    (count: number) => item(`"url":"/?${Array.from({ length: count }, (_, i) => `utm_${i}=%41`).join('&')}"`),
  ]) {
    const cost = (count: number): number => {
      const encoder = newEncoder({ eventBytesMax: 1 << 20, batchBytesMax: 1 << 24 });
      const body = Buffer.from(bodyOf(count));
      const draft = new TestDraft(ANALYTICS_KIND, VERSION);
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0; round < 8; round += 1) {
        draft.clear();
        best = Math.min(
          best,
          cpuOf(() => encoder.encode(draft, body, originOf())),
        );
      }
      assert.ok(draft.records.length > 0);
      return best;
    };
    cost(250);
    const ratio = cost(4000) / cost(250);
    assert.ok(ratio < 64, `16 times as much costs ${ratio.toFixed(1)} times; quadratic would be 256: ${bodyOf(2)}`);
  }
});

const quoted = (text: string): string => JSON.stringify(text);
const spelled = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }).map(quoted) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ...[
        '""',
        '"\\u0000"',
        '"a\\u0000\\ud800"',
        '"\\ud83d\\ude00\\/"',
        '"\ufffd"',
        `"${ID}"`,
        `"${ID.toUpperCase()}"`,
      ],
      ...[
        '"/a/b"',
        '"https://h/p?utm_source=a&utm_term=%F0%9F%98%80+%00#?"',
        '"//h?utm_medium=x"',
        '"x:y"',
        '"h"',
        '":/"',
      ],
      ...[
        '"2025-11-15T05:00:00Z"',
        '"2026-11-21T10:05:00.123+02:00"',
        '"2026-02-30T00:00:00Z"',
        '"9999-01-01T00:00:00Z"',
      ],
      ...[
        quoted(x(101)),
        quoted(x(60, 'é')),
        quoted(x(2100, '😀')),
        quoted(`/${x(3000, '%20')}?utm_source=${x(800, '%e9')}`),
      ],
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'null',
      'true',
      'false',
      '0',
      '-0',
      '1.50',
      '1e999',
      '1e-400',
      '12345678901234567890',
      '1E5',
    ),
  },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }).map((value) => JSON.stringify(value)) },
);
const space = fc.constantFrom('', '', '', ' ', '\n\t');
const propName = fc.oneof(
  fc.constantFrom(
    '"a"',
    '"\\u0061"',
    '"b"',
    '""',
    '"__proto__"',
    '"\\u0000"',
    '"item_1_price"',
    '"item_1_PRICE"',
    quoted(x(101)),
    quoted(x(70, 'ü')),
  ),
  fc.string({ unit: 'grapheme', maxLength: 6 }).map(quoted),
);
const propsText = fc
  .array(fc.tuple(propName, space, spelled, space), { maxLength: 8 })
  .map(
    (members) => `{${members.map(([name, before, value, after]) => `${name}:${before}${value}${after}`).join(',')}}`,
  );
const member = fc.oneof(
  fc.tuple(
    fc.constantFrom(
      ...eventKeys.filter((name) => name !== 'props').map(quoted),
      '"p\\u0061th"',
      '"utm_x"',
      '"other"',
      '"country"',
    ),
    spelled,
  ),
  fc.tuple(fc.constant('"props"'), fc.oneof({ weight: 5, arbitrary: propsText }, { weight: 1, arbitrary: spelled })),
);
const event = fc
  .tuple(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant('"site_id":"s","event_type":"page_view"') },
      { weight: 1, arbitrary: fc.constant('"site_id":"s"') },
    ),
    fc.array(fc.tuple(member, space), { maxLength: 7 }),
  )
  .map(
    ([first, more]) =>
      `{${[first, ...more.map(([[name, value], blank]) => `${name}${blank}:${blank}${value}`)].join(',')}}`,
  );
const body = fc.oneof(
  event,
  fc
    .array(fc.oneof({ weight: 8, arbitrary: event }, { weight: 1, arbitrary: spelled }), { maxLength: 4 })
    .map((items) => `[${items.join(' ,')}]`),
);

/** The order of equal names and of names like 0 is that of JSON.parse in the reference, and of the text in the line. */
const withoutProps = (line: string): string =>
  line.replace(/"props":\{(?:"(?:[^"\\]|\\.)*":(?:"(?:[^"\\]|\\.)*"|[^",}]*),?)*\},/s, '');

test(`any body becomes the events that the reference makes of it (seed ${seed})`, () => {
  const depthMax = 4;
  const limits = { depthMax, ageMs: 400 * DAY_MS };
  const encoder = newEncoder(limits);
  let events = 0;
  fc.assert(
    fc.property(body, fc.boolean(), fc.boolean(), (text, anonymous, knowsTraits) => {
      const origin = { anonymous, traits: Buffer.from(knowsTraits ? '"os":"iOS"' : '') };
      const { result, lines, keys } = encode(text, origin, encoder);
      const made = lines.map((line) => ({ eventId: line.slice(13, 49) }));
      const outcomes = referenceEvents(text, originOf(origin), made, limits);
      assert.ok(typeof outcomes !== 'string' || result.code === 'INVALID_BODY', `${outcomes}: ${text}`);
      if (typeof outcomes === 'string') return;
      assert.equal(result.code, 'OK', result.reason);
      const good = outcomes.flatMap((outcome) => ('line' in outcome ? [outcome] : []));
      assert.deepEqual(
        lines.map(withoutProps),
        good.map(({ line }) => withoutProps(line)),
        text,
      );
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)),
        good.map(({ line }) => JSON.parse(line)),
        text,
      );
      assert.deepEqual(
        keys,
        good.map(({ key }) => key),
      );
      const wrong = outcomes.flatMap((outcome, index) => ('bad' in outcome ? [`${index} ${outcome.bad}`] : []));
      assert.deepEqual(
        result.errors.map(({ index, message }) => `${index} ${message.split(' ')[0]}`),
        wrong,
        text,
      );
      const counts = eventKeys.map((name) => good.filter(({ mended }) => mended.includes(name)).length);
      assert.deepEqual([...result.mended], counts, text);
      events += good.length;
    }),
    propertyOf(3000),
  );
  assert.ok(events > 1500, `events were met: ${events}`);
});

// Goal: no bytes from a client break the scanner's bounds or make a line that is no JSON. Method: good bodies with random bytes put in.
test(`damaged bodies are refused as JSON.parse refuses them (seed ${seed})`, () => {
  const encoder = newEncoder();
  const bytes = fc.oneof(
    fc.constantFrom(...'"\\{}[],:u0 '),
    fc.nat(255).map((byte) => String.fromCharCode(byte)),
  );
  fc.assert(
    fc.property(body, fc.nat(), bytes, fc.boolean(), (text, place, put, replace) => {
      const at = place % (text.length + 1);
      const damaged = text.slice(0, at) + put + text.slice(replace ? at + 1 : at);
      const { result, lines } = encode(damaged, {}, encoder);
      let valid = true;
      try {
        JSON.parse(damaged.replace(/^\ufeff/, ''));
      } catch {
        valid = false;
      }
      assert.equal(result.code !== 'INVALID_JSON', valid, damaged);
      for (const line of lines) JSON.parse(line);
    }),
    propertyOf(4000),
  );
});
