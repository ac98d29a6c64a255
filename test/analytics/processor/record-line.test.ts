/** Goal: a line is an event exactly as intake would have made it, or is refused for the first thing that is wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AnalyticsEvent } from '../../../src/analytics/event.ts';
import { type ReadRecord, RecordReader } from '../../../src/analytics/processor/record-line.ts';
import { batchOf, ours, RECEIVED, theirs, uuid } from './fixture.ts';

const READ = RECEIVED + 777;
const reader = new RecordReader({ topics: ['events'], lineBytesMax: 10_000, ageMsMax: 86_400_000 });

function read(line: string | Buffer, options: { from?: number; brokerTime?: boolean } = {}): ReadRecord {
  const batch = batchOf([line as string], options);
  return reader.read(batch.buffer, batch.offsets[0]!, READ);
}
function eventOf(line: string, options = {}): AnalyticsEvent {
  const found = read(line, options);
  if ('reason' in found) throw new Error(found.reason);
  return found.event;
}
const reasonOf = (line: string | Buffer): string | undefined => {
  const found = read(line);
  return 'reason' in found ? found.reason : undefined;
};

test('path and utm_* that others leave out are those of url, as at intake; their own win', () => {
  const url = 'https://shop.example/a%20b?utm_source=news&x=1&utm_term=%00%ff#utm_medium=no';
  expect(eventOf(theirs(1, { url, path: undefined, utm_source: undefined }))).toMatchObject({
    path: '/a%20b',
    utm_source: 'news',
    utm_medium: undefined,
    utm_term: '\ufffd\ufffd',
    url,
  });
  expect(eventOf(theirs(1, { url, path: '/own', utm_source: 'own' }))).toMatchObject({
    path: '/own',
    utm_source: 'own',
  });
  expect(eventOf(theirs(1, { url: 'https://shop.example', path: null })).path).toBe('/');
  expect(eventOf(theirs(1, { url: 'app:start', path: '' })).path).toBeUndefined();
  // Intake has read the url of ours, and an item without a path has none.
  expect(eventOf(ours(1, { url, path: undefined })).path).toBeUndefined();
});

describe('refused', () => {
  const high = '😀';
  test.each([
    ['not_json', ''],
    ['not_json', '{"site_id":"a",'],
    ['not_json', Buffer.from([...Buffer.from('{"site_id":"a","event_type":"b","path":"'), 0xff, ...Buffer.from('"}')])],
    ['not_object', 'null'],
    ['not_object', '"text"'],
    ['not_object', '[{"site_id":"a","event_type":"b"}]'],
    ['too_large', theirs(1, { title: 'x'.repeat(10_000) })],
    ['site_id', theirs(1, { site_id: undefined })],
    ['site_id', theirs(1, { site_id: '' })],
    ['site_id', theirs(1, { site_id: 7 })],
    ['site_id', theirs(1, { site_id: high.repeat(101) })],
    ['site_id', theirs(1, { site_id: 'a\0' })],
    ['site_id', theirs(1, { site_id: '\ud800' })],
    ['event_type', theirs(1, { event_type: null })],
    ['event_type', theirs(1, { event_type: 'x'.repeat(51) })],
    ['user_id', theirs(1, { user_id: 'u'.repeat(101) })],
    ['event_id', theirs(1, { event_id: 'g'.repeat(36) })],
    ['event_id', theirs(1, { event_id: 5 })],
    ['event_id', ours(1, { event_id: undefined })],
    ['timestamp', theirs(1, { timestamp: 1_700_000_000 })],
    ['timestamp', theirs(1, { timestamp: '2026-11-20' })],
    ['timestamp', theirs(1, { timestamp: '2026-11-20T10:00:00' })],
    ['timestamp', theirs(1, { timestamp: '' })],
    ['timestamp', ours(1, { timestamp: undefined })],
    ['too_old', theirs(1, { timestamp: '2026-11-19T09:59:59.999Z' })],
  ])('%s: %s', (reason, line) => {
    expect(reasonOf(line)).toBe(reason);
  });

  test('no_value: a tombstone, whatever its key', () => {
    for (const key of [undefined, 'key']) {
      const batch = batchOf([null], key === undefined ? {} : { key });
      expect(reader.read(batch.buffer, batch.offsets[0]!, READ)).toMatchObject({ reason: 'no_value', siteId: '' });
    }
  });

  test('what is exactly at a limit is taken', () => {
    const line = theirs(1, { site_id: high.repeat(100), event_type: 'x'.repeat(50), user_id: 'u'.repeat(100) });
    expect(eventOf(line)).toMatchObject({ siteId: high.repeat(100), userId: 'u'.repeat(100) });
    expect(eventOf(theirs(1, { timestamp: '2026-11-19T10:00:00Z' })).timestampMs).toBe(RECEIVED - 86_400_000);
  });
});

describe('times', () => {
  test('of ours, whose intake has judged them', () => {
    const line = ours(1, { timestamp: '2001-01-01T00:00:00.000Z', received_at: '2026-11-20T10:00:00.001000007Z' });
    expect(eventOf(line, { brokerTime: false })).toMatchObject({
      timestampMs: Date.UTC(2001, 0, 1),
      receivedMs: RECEIVED + 1,
    });
  });

  test('of a foreign record: by the broker where it says so, else by the time of reading', () => {
    const line = theirs(1, { timestamp: undefined });
    expect(eventOf(line)).toMatchObject({ timestampMs: RECEIVED, receivedMs: RECEIVED });
    expect(eventOf(line, { brokerTime: false })).toMatchObject({ timestampMs: READ, receivedMs: READ });
    expect(eventOf(theirs(1, { received_at: 'just now' })).receivedMs).toBe(RECEIVED);
  });

  // A common name of a column; without an event_id, and with a clock that is years ahead.
  test('of a foreign record with a received_at of its own', () => {
    const own = '2031-01-01T00:00:00Z';
    for (const more of [{ received_at: own }, { received_at: `${own.slice(0, -1)}.000000000Z` }, { via: 'events' }]) {
      const found = read(theirs(1, { timestamp: own, received_at: own, ...more }));
      expect(found).toMatchObject({ foreign: true, event: { timestampMs: RECEIVED, receivedMs: RECEIVED } });
    }
  });

  test('ahead by five minutes is kept, by more is the time of receipt', () => {
    const at = (ms: number) => eventOf(theirs(1, { timestamp: new Date(RECEIVED + ms).toISOString() })).timestampMs;
    expect([at(300_000), at(300_001)]).toEqual([RECEIVED + 300_000, RECEIVED]);
  });
});

test('other fields are mended: texts cut, numbers taken by their digits, wrong types left out', () => {
  const event = eventOf(
    theirs(1, {
      user_id: 42,
      path: `/${'😀'.repeat(3000)}`.slice(0, 2401),
      title: 17,
      url: true,
      referrer: { a: 1 },
      utm_source: '',
      visitor: 'me',
      country: 'a\0b',
      props: {
        a: 'x'.repeat(600),
        b: 1.5,
        c: false,
        d: null,
        e: [1],
        f: { g: 1 },
        ['k'.repeat(101)]: 1,
        '': 'empty',
        ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`n${i}`, i])),
      },
    }),
  );
  expect(event).toMatchObject({
    userId: '42',
    title: '17',
    url: undefined,
    referrer: undefined,
    utm_source: undefined,
    visitor: undefined,
    country: 'a\ufffdb',
  });
  expect(event.props).toMatchObject({ a: 'x'.repeat(500), b: 1.5, c: false, '': 'empty', n0: 0 });
  expect(Object.keys(event.props!)).toHaveLength(30);
});

// Ids of other systems have 64 bits: read as doubles, two users would be one, and another one than at POST /events.
test('numbers that JavaScript does not hold are texts with all their digits', () => {
  const event = eventOf(
    '{"site_id":"s","event_type":"e","user_id":12345678901234567891,"path":1e400,"title":9007199254740991,' +
      '"props":{"order":9007199254740993,"huge":-1e999,"small":42,"half":1.5,"e":1e5}}',
  );
  expect(event).toMatchObject({ userId: '12345678901234567891', path: '1e400', title: '9007199254740991' });
  expect(event.props).toEqual({ order: '9007199254740993', huge: '-1e999', small: 42, half: 1.5, e: 100_000 });
  expect(reasonOf('{"site_id":12345678901234567891,"event_type":"e"}')).toBe('site_id');
  expect(reasonOf('{"site_id":"s","event_type":12345678901234567891}')).toBe('event_type');
  expect(reasonOf(`{"site_id":"s","event_type":"e","user_id":${'1'.repeat(101)}}`)).toBe('user_id');
});

test('a user_id of another type is left out, and what Postgres cannot keep of one is mended', () => {
  for (const user of [true, { a: 1 }, ['u'], null, ''])
    expect(eventOf(theirs(1, { user_id: user })).userId).toBeUndefined();
  expect(eventOf(theirs(1, { user_id: 'a\0b\udfff' })).userId).toBe('a\ufffdb\ufffd');
});

test('a record without an id gets one of its own, the same whenever it is read', () => {
  const line = theirs(1);
  const id = eventOf(line).eventId;
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(eventOf(line).eventId).toBe(id);
  expect(new Set([id, eventOf(line, { from: 1 }).eventId, eventOf(theirs(2)).eventId]).size).toBe(3);
  expect(eventOf(theirs(1, { event_id: uuid(10).toUpperCase() })).eventId).toBe(uuid(10));
});

test('whatever is in the topic, it is read without an exception, and texts fit the columns', () => {
  const key = fc.constantFrom('site_id', 'event_type', 'path', 'user_id', 'timestamp', 'event_id', 'props', 'title');
  const units = fc.oneof(fc.constantFrom(0, 0xd800, 0xdfff, 0x61), fc.integer({ min: 0, max: 0xffff }));
  const wild = fc.array(units, { maxLength: 120 }).map((list) => String.fromCharCode(...list));
  const value = fc.oneof(wild, fc.jsonValue({ maxDepth: 1 }));
  const line = fc.oneof(
    fc.dictionary(key, value).map((fields) => JSON.stringify({ site_id: 's', event_type: 'e', ...fields })),
    fc.string(),
  );
  fc.assert(
    fc.property(line, (text) => {
      const found = read(text);
      if ('reason' in found) return;
      const texts = Object.values(found.event).filter((field) => typeof field === 'string');
      expect(texts.filter((text) => !text.isWellFormed() || text.includes('\0'))).toEqual([]);
    }),
    { numRuns: 500 },
  );
});
