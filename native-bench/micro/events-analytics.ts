/**
 * What does an event of POST /events cost beside one of /collect? Bodies of the same shape, one event each and arrays of 20, made into
 * finished records in one run: who it was, page, referrer, time and three properties, each under the route's own names.
 */
import { EventsEncoder } from '../../src/analytics/intake/events-encoder.ts';
import type { EventOrigin } from '../../src/analytics/intake/origin.ts';
import { CollectEncoder } from '../../src/events/collect-encoder.ts';
import type { Draft } from '../../src/events/draft.ts';
import type { Origin } from '../../src/events/origin.ts';
import { SidMaker, UuidMaker } from '../../src/kernel/ids.ts';
import { type Case, micro } from '../rig/micro.ts';

const BODIES = 640;
const BATCH = 20;
const numbers = Array.from({ length: BODIES }, (_, n) => n);
const time = (n: number): string => new Date(1_764_000_000_000 + n * 977).toISOString();
const path = (n: number): string => `/products/${n * 7}`;
const props = (n: number) => ({ plan: 'pro', button: 'buy now', price: 19.99 + n });
const type = (n: number): string => ['page_view', 'click', 'add_to_cart', 'purchase'][n % 4]!;
const page = (n: number): string => `https://shop.example.com${path(n)}?color=red`;
const referrer = 'https://www.google.com/';

const collected = numbers.map((n) => ({
  e: type(n),
  uid: `user-${n}`,
  sid: 'site-abc-123',
  ts: time(n),
  url: page(n),
  ref: referrer,
  props: props(n),
}));
const events = numbers.map((n) => ({
  event_type: type(n),
  user_id: `user-${n}`,
  site_id: 'site-abc-123',
  timestamp: time(n),
  url: page(n),
  referrer,
  props: props(n),
}));
const visits = events.map(({ user_id, ...event }) => event);
const singles = (of: readonly object[]): Buffer[] => of.map((one) => Buffer.from(JSON.stringify(one)));
const batches = (of: readonly object[]): Buffer[] =>
  Array.from({ length: BODIES / BATCH }, (_, i) => Buffer.from(JSON.stringify(of.slice(i * BATCH, (i + 1) * BATCH))));

class Discard implements Draft {
  readonly buffer = Buffer.allocUnsafeSlow(1 << 20);
  #at = 0;
  begin(): number {
    return this.#at;
  }
  commit(end: number): void {
    this.#at = end > 1 << 15 ? 0 : (end + 7) & ~7;
  }
}
const draft = new Discard();
const limits = { eventBytesMax: 65_536, batchBytesMax: 1 << 22, ids: new UuidMaker() };
const receivedMs = Date.now();
const collect = new CollectEncoder({ ...limits, sids: new SidMaker() });
const collectOrigin: Origin = {
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0',
  ip: '203.0.113.7',
  cookieSid: '',
  mintSid: false,
  anonymous: false,
  geo: undefined,
  device: undefined,
  receivedMs,
  source: 0,
};
const analytics = new EventsEncoder({ ...limits, ageMs: Number.POSITIVE_INFINITY });
const eventOrigin: EventOrigin = {
  receivedMs,
  anonymous: false,
  traits: Buffer.from('"country":"DE","region":"BE","device":"desktop","browser":"Firefox","os":"Linux"'),
  grant: undefined,
  visitorOf: () => '0123456789abcdef0123456789abcdef',
};

const each = (bodies: readonly Buffer[], encode: (body: Buffer) => unknown) => (): number => {
  for (const body of bodies) encode(body);
  return BODIES;
};
const byCollect = (body: Buffer) => collect.encode(draft, body, collectOrigin);
const byEvents = (body: Buffer) => analytics.encode(draft, body, eventOrigin);
const cases: Case[] = [
  { name: '/collect, one event a body', run: each(singles(collected), byCollect) },
  { name: '/events, one event a body', run: each(singles(events), byEvents) },
  { name: '/events, one event a body, no user id', run: each(singles(visits), byEvents) },
  { name: `/collect, ${BATCH} events a body`, run: each(batches(collected), byCollect) },
  { name: `/events, ${BATCH} events a body`, run: each(batches(events), byEvents) },
  { name: `/events, ${BATCH} events a body, no user id`, run: each(batches(visits), byEvents) },
];
await micro({ asks: 'What does an event of POST /events cost beside one of /collect?', unit: 'event', cases });
