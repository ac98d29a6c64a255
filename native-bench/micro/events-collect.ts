/** What does an event of a /collect batch cost: 20 events in 8.7 KB, validated and made into finished lines? */
import { isUtf8 } from 'node:buffer';
import { CollectEncoder } from '../../src/events/collect-encoder.ts';
import type { Draft } from '../../src/events/draft.ts';
import { JsonScanner } from '../../src/events/json-scanner.ts';
import { SLACK, viewOf } from '../../src/events/json-text.ts';
import type { Origin } from '../../src/events/origin.ts';
import { SidMaker, UuidMaker } from '../../src/kernel/ids.ts';
import { type Case, micro } from '../rig/micro.ts';

const EVENTS = 20;
const BODIES = 64;
const bodies = Array.from({ length: BODIES }, (_, n) =>
  Buffer.from(
    JSON.stringify(
      Array.from({ length: EVENTS }, (_, i) => ({
        event_id: `0190d2a0-7b5c-7000-8000-${(n * EVENTS + i).toString(16).padStart(12, '0')}`,
        ts: new Date(1_764_000_000_000 + n * 977 + i).toISOString(),
        e: ['pageview', 'click', 'add_to_cart', 'purchase'][(n + i) % 4],
        uid: `user-${n * 131 + i}`,
        sid: `s_${n.toString(16).padStart(32, '0')}`,
        url: `https://shop.example.com/products/${i * 7}?color=red`,
        ref: 'https://www.google.com/',
        utm: { source: 'newsletter', medium: n % 2 ? 'email' : 'social', campaign: `spring-${i}` },
        props: {
          plan: 'pro',
          button: 'buy now',
          price: 19.99 + i,
          count: n,
          tags: ['a', 'b'],
          nested: { deep: i % 3 === 0 },
        },
      })),
    ),
  ),
);
const origin: Origin = {
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0',
  ip: '203.0.113.7',
  cookieSid: '',
  mintSid: true,
  anonymous: false,
  geo: undefined,
  device: undefined,
  receivedMs: Date.now(),
  source: 0,
};

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
const encoder = new CollectEncoder({
  eventBytesMax: 65_536,
  batchBytesMax: 1 << 22,
  ids: new UuidMaker(),
  sids: new SidMaker(),
});
const scanner = new JsonScanner(64);
const padded = bodies.map((body) => Buffer.concat([body, Buffer.alloc(SLACK)]));
const views = padded.map(viewOf);

interface Item {
  readonly [key: string]: unknown;
}
const each = (work: (body: Buffer, index: number) => unknown) => (): number => {
  bodies.forEach(work);
  return BODIES * EVENTS;
};
const cases: Case[] = [
  { name: 'copy of the body', kind: 'limit', run: each((body) => body.copy(draft.buffer)) },
  { name: 'isUtf8', kind: 'limit', run: each((body) => isUtf8(body)) },
  {
    name: 'JsonScanner, nothing kept',
    run: each((_, index) => {
      scanner.use(padded[index]!, views[index]!);
      scanner.value(0);
    }),
  },
  { name: 'CollectEncoder', run: each((body) => encoder.encode(draft, body, origin)) },
  { name: 'JSON.parse, nothing kept', kind: 'peer', run: each((body) => JSON.parse(body.toString())) },
  {
    name: 'JSON.parse, object, JSON.stringify',
    kind: 'peer',
    run: each((body) => {
      for (const { event_id, ts, e, uid, sid, url, ref, utm, props } of JSON.parse(body.toString()) as Item[]) {
        const { userAgent: ua, ip } = origin;
        draft.buffer.write(JSON.stringify({ event_id, ts, e, uid, sid, url, ref, ua, ip, utm, geo: {}, props }));
      }
    }),
  },
];
await micro({ asks: 'What does an event of a batch of 20 cost?', unit: 'event', cases });
