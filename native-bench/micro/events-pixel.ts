/**
 * What does it cost to make the finished line of a pixel event of its request's strings? Ten query parameters, a browser's headers, 512
 * different requests in turn, so that no branch is learnt by heart. The strings exist already: making them is the HTTP library's cost.
 */
import { randomUUID } from 'node:crypto';
import type { Draft } from '../../src/events/draft.ts';
import { PixelEncoder, type PixelInput } from '../../src/events/pixel-encoder.ts';
import { SidMaker, UuidMaker } from '../../src/kernel/ids.ts';
import { type Case, micro } from '../rig/micro.ts';

const REQUESTS = 512;
const browsers = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0',
];
const events = ['pageview', 'click', 'add_to_cart', 'purchase'];
const inputs = Array.from({ length: REQUESTS }, (_, i): PixelInput => {
  const url = `https://shop.example.com/products/${i * 7}?color=${['red', 'green', 'blue'][i % 3]}`;
  const parameters = [
    `e=${events[i % events.length]}`,
    `uid=user-${i * 31}`,
    `sid=s_${i.toString(16).padStart(32, '0')}`,
    `url=${encodeURIComponent(url)}`,
    `ref=${encodeURIComponent('https://www.google.com/')}`,
    'utm_source=newsletter',
    `utm_medium=${i % 2 ? 'email' : 'social'}`,
    `utm_campaign=spring-${i % 13}`,
    `plan=pro${i % 5}`,
    'button=buy+now',
  ];
  return {
    query: parameters.join('&'),
    referer: url,
    userAgent: browsers[i % browsers.length]!,
    ip: `203.0.113.${i % 256}`,
    cookieSid: '',
    mintSid: true,
    anonymous: false,
    geo: undefined,
    device: undefined,
    receivedMs: Date.now() + (i >> 6),
    source: 0,
  };
});

class Discard implements Draft {
  readonly buffer = Buffer.allocUnsafeSlow(1 << 20);
  end = 0;
  begin(): number {
    return 0;
  }
  commit(end: number): void {
    this.end = end;
  }
}
const draft = new Discard();
const encoder = new PixelEncoder({ eventBytesMax: 65_536, ids: new UuidMaker(), sids: new SidMaker() });

/** The same event by the means of the language. */
function byTheBook(input: PixelInput): string {
  const utm: Record<string, string> = {};
  const props: Record<string, string> = {};
  const known: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(input.query)) {
    if (name.startsWith('utm_')) utm[name.slice(4)] = value;
    else if (['e', 'uid', 'sid', 'url', 'ref'].includes(name)) known[name] = value;
    else props[name] = value;
  }
  const ts = new Date(input.receivedMs).toISOString();
  return JSON.stringify({
    event_id: randomUUID(),
    ts,
    ...known,
    ua: input.userAgent,
    ip: input.ip,
    utm,
    geo: {},
    props,
  });
}

const each = (work: (input: PixelInput) => unknown) => (): number => {
  for (const input of inputs) work(input);
  return REQUESTS;
};
const scratch = Buffer.allocUnsafeSlow(4096);
const strings = ({ query, referer, userAgent, ip }: PixelInput): void => {
  let at = scratch.write(query, 0, 'utf8');
  at += scratch.write(referer, at, 'utf8');
  at += scratch.write(userAgent, at, 'utf8');
  scratch.write(ip, at, 'utf8');
};
const line = Buffer.alloc(480, 'x');
const cases: Case[] = [
  { name: 'copy of a finished line of 480 bytes', kind: 'limit', run: each(() => line.copy(draft.buffer)) },
  { name: 'four strings into a buffer', kind: 'limit', run: each(strings) },
  { name: 'PixelEncoder', run: each((input) => encoder.encode(draft, input)) },
  {
    name: 'URLSearchParams, object, JSON.stringify',
    kind: 'peer',
    run: each((input) => draft.buffer.write(byTheBook(input))),
  },
];
await micro({ asks: 'What does the line of a pixel event cost?', unit: 'event', cases });
