import { expect, test } from 'vitest';
import { ANALYTICS_KIND } from '../../../src/analytics/event.ts';
import { type Converted, convert, type Unconvertible, type Via } from '../../../src/analytics/intake/conversion.ts';
import { Receipts } from '../../../src/analytics/intake/receipts.ts';
import type { SentOrigin } from '../../../src/analytics/intake/sender.ts';
import { RecordReader } from '../../../src/analytics/processor/record-line.ts';
import { putServiceRecord } from '../../../src/events/service-record.ts';

const receivedMs = Date.UTC(2026, 10, 15, 12);
const id = '0190a6b8-5c3e-7000-8000-000000000001';
const origin: SentOrigin = {
  receivedMs,
  anonymous: false,
  traits: Buffer.from('"country":"DE","device":"mobile"'),
  grant: undefined,
  visitorOf: (siteId, day) => `${siteId}@${day}`,
  traitsBy: (agent) => Buffer.from(`"browser":"${agent}"`),
  visitorBy: (agent, siteId, day) => `${agent}:${siteId}@${day}`,
};
const day = Math.floor(receivedMs / 86_400_000);

interface Given {
  readonly via?: Via;
  readonly tsMs?: number;
  readonly ageMs?: number;
  readonly origin?: Partial<SentOrigin>;
}
function run(event: object, given: Given = {}): Converted | Unconvertible {
  const { via = 'collect', tsMs = receivedMs, ageMs = Number.POSITIVE_INFINITY } = given;
  const line = JSON.stringify({ event_id: id, ts: 'x', e: 'pageview', ...event });
  return convert(line, tsMs, via, { ...origin, ...given.origin }, ageMs, new Receipts(41));
}
const made = (event: object, given: Given = {}) => {
  const converted = run(event, given);
  if ('reason' in converted) throw new Error(converted.message);
  return JSON.parse(converted.line) as Record<string, unknown>;
};
const refused = (event: object, given: Given = {}) => run(event, given) as Unconvertible;
const url = 'https://www.Example.com:8443/a%20b/c?utm_source=mail&x=1#top';

test('a page view of the collector becomes one of analytics, its keys in the order of event.ts', () => {
  const event = {
    uid: 'u1',
    sid: 's_1',
    url,
    ref: 'https://news.example/',
    ip: '192.0.2.1',
    utm: { medium: 'email', id: '7' },
    geo: { country: 'AT' },
    props: { site_id: 'shop', title: 'Hi', n: 1, yes: true, text: 'x', deep: { a: 1 }, list: [1], nil: null },
    device: { type: 'bot' },
  };
  expect(Object.entries(made(event))).toEqual([
    ['event_id', id],
    ['site_id', 'shop'],
    ['event_type', 'page_view'],
    ['path', '/a%20b/c'],
    ['user_id', 'u1'],
    ['timestamp', '2026-11-15T12:00:00.000Z'],
    ['received_at', '2026-11-15T12:00:00.000000042Z'],
    ['url', url],
    ['referrer', 'https://news.example/'],
    ['title', 'Hi'],
    ['props', { n: 1, yes: true, text: 'x', utm_id: '7' }],
    ['utm_source', 'mail'],
    ['utm_medium', 'email'],
    ['country', 'DE'],
    ['device', 'mobile'],
    ['via', 'collect'],
  ]);
});

test('the site is props.site_id, else exactly the host of url', () => {
  expect(made({ url })['site_id']).toBe('www.example.com');
  expect(made({ url, props: { site_id: 'shop' } })['site_id']).toBe('shop');
  expect(made({ url, props: { site_id: 7 } })['site_id']).toBe('7');
  expect(made({ url, props: { site_id: '' } })['site_id']).toBe('www.example.com');
  expect(made({ url, props: { site_id: 'ü'.repeat(100) } })['site_id']).toBe('ü'.repeat(100));
  for (const event of [
    {},
    { url: '/a' },
    { url: 'about:blank' },
    { props: { site_id: '' } },
    { props: { site_id: {} } },
  ])
    expect(refused(event)).toMatchObject({ reason: 'no_site', message: /^props\.site_id must be 1 to 100 characters/ });
  expect(refused({ props: { site_id: 'x'.repeat(101) } })).toMatchObject({ reason: 'no_site' });
  expect(refused({ props: { site_id: 'a\u0000' } })).toMatchObject({ reason: 'bad_event' });
});

test('other events keep their name; a name that no column takes is refused', () => {
  expect(made({ url, e: 'sign up' })['event_type']).toBe('sign up');
  expect(made({ url, e: 'page_view' })['event_type']).toBe('page_view');
  expect(refused({ url, e: 'x'.repeat(51) })).toMatchObject({ reason: 'bad_event' });
  expect(refused({ url, e: '\ud800' })).toMatchObject({ reason: 'bad_event' });
  expect(refused({ url, uid: 'x'.repeat(101) })).toMatchObject({ reason: 'bad_event' });
});

test('an event without a user has the visitor of the day of its timestamp; the key keeps a visitor in order', () => {
  const tsMs = receivedMs - 86_400_000;
  expect(made({ url }, { tsMs })['visitor']).toBe(`www.example.com@${day - 1}`);
  expect(run({ url })).toMatchObject({ key: `www.example.com:www.example.com@${day}` });
  expect(run({ url, uid: 'u1' })).toMatchObject({ key: 'www.example.com:u1' });
  expect(run({ url }, { origin: { visitorOf: () => '' } })).toMatchObject({ key: `www.example.com:${id}` });
});

test('a server that reports for a browser is not that browser', () => {
  expect(made({ url, ua: 'Firefox' })).toMatchObject({
    visitor: `Firefox:www.example.com@${day}`,
    browser: 'Firefox',
  });
});

test('an anonymous event has neither user nor visitor', () => {
  const event = made({ url, uid: 'u1', ua: 'Firefox' }, { origin: { anonymous: true, visitorOf: () => '' } });
  expect(event).not.toHaveProperty('user_id');
  expect(event).not.toHaveProperty('visitor');
  expect(event).toMatchObject({ device: 'mobile' });
});

test('times follow the rules of the clock', () => {
  const ahead = receivedMs + 3_600_000;
  expect(made({ url }, { tsMs: ahead })['timestamp']).toBe('2026-11-15T12:00:00.000Z');
  expect(made({ url }, { tsMs: Date.UTC(1999, 0, 1) })['timestamp']).toBe('1999-01-01T00:00:00.000Z');
  const old = { tsMs: receivedMs - 3 * 86_400_000, ageMs: 2 * 86_400_000 };
  expect(refused({ url }, old)).toMatchObject({ reason: 'too_old', message: /^ts must be at most 2 days old/ });
  expect(refused({ url }, { tsMs: -62_167_219_200_000 })).toMatchObject({ reason: 'bad_event' });
});

test('a site that the request may not write is refused', () => {
  const refusal = (siteId: string) => ({ code: 'SITE_UNKNOWN' as const, message: `not ${siteId}` });
  const retentionDays = () => 3;
  const grant = { admits: (siteId: string) => siteId === 'mine', refusal, retentionDays };
  expect(refused({ url }, { origin: { grant } })).toMatchObject({
    reason: 'forbidden',
    code: 'SITE_UNKNOWN',
    message: 'not www.example.com',
  });
  const mine = { url, props: { site_id: 'mine' } };
  expect(made(mine, { origin: { grant } })['site_id']).toBe('mine');
  // It keeps three days: this one and those before it.
  expect(made(mine, { origin: { grant }, tsMs: Date.UTC(2026, 10, 12) })['site_id']).toBe('mine');
  const old = refused(mine, { origin: { grant }, tsMs: Date.UTC(2026, 10, 12) - 1 });
  expect(old).toMatchObject({ reason: 'too_old', message: /^ts must be at most 3 days old/ });
});

test('an image repeats parameters and carries a key: the last value counts, the key is not kept', () => {
  const props = { a: ['1', '2'], key: 'secret', title: ['x', 'y'], site_id: ['one', 'two'] };
  const event = made({ url, props }, { via: 'px' });
  expect(event).toMatchObject({ site_id: 'two', title: 'y', props: { a: '2' }, via: 'px' });
  expect(JSON.stringify(event)).not.toContain('secret');
});

test('paths', () => {
  const pathOf = (text: string) => made({ url: text, props: { site_id: 's' } })['path'];
  expect(pathOf('https://example.com')).toBe('/');
  expect(pathOf('https://example.com?x')).toBe('/');
  expect(pathOf('//example.com/x#y')).toBe('/x');
  expect(pathOf('/only/path?q')).toBe('/only/path');
  expect(pathOf('words')).toBeUndefined();
});

test('props and texts stay within the limits, and what JSON or Postgres could trip over stays text', () => {
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`k${i}`, i]));
  expect(Object.keys(made({ url, props: many })['props'] as object)).toHaveLength(30);
  const props = JSON.parse('{"constructor":"c","quote\\"":"\\"}","\\u0000":"\\u0000\\ud800"}') as object;
  const event = made({ url, props: { ...props, ['__proto__x']: '💥'.repeat(600), ['n'.repeat(101)]: 1 } });
  expect(event['props']).toEqual({
    constructor: 'c',
    'quote"': '"}',
    '\ufffd': '\ufffd\ufffd',
    __proto__x: '💥'.repeat(500),
  });
  expect(made({ url, ref: 'x'.repeat(3000) })['referrer']).toHaveLength(2000);
  const proto = convert(
    `{"event_id":"${id}","e":"x","url":"https://a.b/","props":{"__proto__":"p"}}`,
    0,
    'px',
    origin,
    1e15,
    new Receipts(),
  );
  expect(proto).toMatchObject({ line: expect.stringContaining('"props":{"__proto__":"p"}') as string });
});

test('the processor reads every line as an event of ours', () => {
  const reader = new RecordReader({ topics: [], lineBytesMax: 65_536, ageMsMax: Number.POSITIVE_INFINITY });
  const visitor = 'ab'.repeat(16);
  for (const event of [{ url }, { url, uid: 'u', props: { a: 1 } }, { url, utm: { source: 's' } }]) {
    const converted = run(event, { origin: { visitorOf: () => visitor } }) as Converted;
    const fields = {
      kind: ANALYTICS_KIND,
      key: Buffer.from(converted.key),
      line: Buffer.from(converted.line),
      receivedMs,
    };
    const buffer = Buffer.alloc(2048);
    putServiceRecord(buffer, 0, fields);
    const read = reader.read(buffer, 0, receivedMs + 5);
    expect(read).toMatchObject({
      foreign: false,
      event: { eventId: id, siteId: 'www.example.com', eventType: 'page_view', timestampMs: receivedMs, receivedMs },
    });
    expect(read).toMatchObject({ event: 'uid' in event ? { userId: 'u' } : { visitor } });
  }
});
