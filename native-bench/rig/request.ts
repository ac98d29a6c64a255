/**
 * The requests that all subjects are asked: what a browser sends, as raw bytes, from one seeded source, so that wrk, our
 * generator and autocannon send the same. A file of requests is a sequence of {u32 little-endian length, bytes}.
 *
 * There are 1,024 different ones, sent in turn: a server must not profit from seeing the same string twice.
 */
import { writeFileSync } from 'node:fs';

export interface PixelOptions {
  /** A trusted proxy in front: X-Forwarded-For carries the client's address. */
  readonly forwarded?: boolean;
  /** false: a first visit, the server has to issue the sid. */
  readonly cookie?: boolean;
  /** Bytes to add to one parameter, to vary the event's size. */
  readonly padding?: number;
  /** Only path and Host: about the smallest event there is. */
  readonly bare?: boolean;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
}

export const variety = 1024;

/** Mulberry32: small, seeded, good enough to spread ids. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pick = <T>(next: () => number, values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
const hex = (next: () => number, digits: number): string =>
  Array.from({ length: digits }, () => Math.floor(next() * 16).toString(16)).join('');
const address = (next: () => number): string =>
  [203, 0, 113, 0].map((part) => part || 1 + Math.floor(next() * 254)).join('.');

const userAgents = ['129.0.0.0', '130.0.0.0', '131.0.0.0'].map(
  (version) =>
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version} Safari/537.36`,
);
const pages = ['/', '/pricing', '/blog/how-a-log-works', '/docs/start?lang=en', '/product/42?colour=dark%20blue'];

function chromeHeaders(next: () => number, page: string): Record<string, string> {
  return {
    Host: 'collect.example.com',
    Connection: 'keep-alive',
    'sec-ch-ua-platform': '"Windows"',
    'User-Agent': pick(next, userAgents),
    'sec-ch-ua': '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    'sec-ch-ua-mobile': '?0',
    Accept: 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8',
    'Sec-Fetch-Site': 'cross-site',
    'Sec-Fetch-Mode': 'no-cors',
    'Sec-Fetch-Dest': 'image',
    Referer: page,
    'Accept-Encoding': 'gzip, deflate, br, zstd',
    'Accept-Language': 'en-GB,en;q=0.9,de;q=0.8',
  };
}

/** A pixel as our snippet sends it: ten parameters, Chrome's headers, the sid cookie of an earlier visit. */
export function pixelRequest(next: () => number, options: PixelOptions = {}): HttpRequest {
  if (options.bare) return { method: 'GET', path: '/px.gif', headers: { Host: 'collect.example.com' } };
  const page = `https://shop.example.com${pick(next, pages)}`;
  const query = new URLSearchParams({
    e: pick(next, ['pageview', 'click', 'add_to_cart', 'purchase']),
    uid: `u_${hex(next, 10)}`,
    url: page,
    ref: pick(next, ['https://www.google.com/', 'https://news.example.org/item?id=8863']),
    utm_source: pick(next, ['newsletter', 'google', 'partner']),
    utm_medium: pick(next, ['email', 'cpc']),
    utm_campaign: pick(next, ['autumn sale', 'launch-2026']),
    screen: '1920x1080',
    plan: pick(next, ['free', 'team', 'größe']),
    v: `${Math.floor(next() * 1000)}${options.padding ? 'x'.repeat(options.padding) : ''}`,
  });
  const headers = chromeHeaders(next, page);
  if (options.forwarded) headers['X-Forwarded-For'] = address(next);
  if (options.cookie ?? true) headers['Cookie'] = `_ga=GA1.1.${hex(next, 10)}; sid=s_${hex(next, 32)}; theme=dark`;
  return { method: 'GET', path: `/px.gif?${query}`, headers };
}

/** One event as a server-side SDK posts it; 20 of them are about 8.7 KB. */
export function collectEvent(next: () => number): Record<string, unknown> {
  const day = String(1 + Math.floor(next() * 28)).padStart(2, '0');
  return {
    event_id: `${hex(next, 8)}-${hex(next, 4)}-4${hex(next, 3)}-a${hex(next, 3)}-${hex(next, 12)}`,
    ts: `2026-11-${day}T08:15:30.${String(Math.floor(next() * 1000)).padStart(3, '0')}Z`,
    e: pick(next, ['pageview', 'order', 'signup']),
    uid: `u_${hex(next, 10)}`,
    sid: `s_${hex(next, 32)}`,
    url: `https://shop.example.com${pick(next, pages)}`,
    ua: pick(next, userAgents),
    utm: { source: 'newsletter', medium: 'email' },
    props: { plan: pick(next, ['free', 'team']), amount: Math.floor(next() * 10_000) / 100, sku: hex(next, 8) },
  };
}

export function collectRequest(next: () => number, events: number, forwarded = true): HttpRequest {
  const items = Array.from({ length: events }, () => collectEvent(next));
  const body = JSON.stringify(events === 1 ? items[0] : items);
  const headers: Record<string, string> = {
    Host: 'collect.example.com',
    'User-Agent': 'shop-backend/3.2',
    Accept: '*/*',
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(body)),
  };
  if (forwarded) headers['X-Forwarded-For'] = address(next);
  return { method: 'POST', path: '/collect', headers, body };
}

/** The same as an event of analytics, under the names that POST /events has for it. */
function eventOf(
  site: unknown,
  { e, uid, sid: _, ts, ua, utm, ...event }: Record<string, unknown>,
): Record<string, unknown> {
  const { source, medium } = utm as { readonly source: string; readonly medium: string };
  return {
    ...event,
    event_type: e,
    user_id: uid,
    site_id: site,
    timestamp: ts,
    title: ua,
    utm_source: source,
    utm_medium: medium,
  };
}

/**
 * What collectRequests() makes, for POST /events: the same values, and bodies of nearly the same size. Those of a body
 * have one site, as most clients do.
 */
export function eventsRequests(events: number, seed = 1): HttpRequest[] {
  return collectRequests(events, seed).map(({ method, headers, body }) => {
    const items = JSON.parse(body!) as Record<string, unknown> | Record<string, unknown>[];
    const list = [items].flat();
    const mapped = list.map((item) => eventOf(list[0]!['sid'], item));
    const text = JSON.stringify(Array.isArray(items) ? mapped : mapped[0]);
    return {
      method,
      path: '/events',
      headers: { ...headers, 'Content-Length': String(Buffer.byteLength(text)) },
      body: text,
    };
  });
}

export function rawRequest(request: HttpRequest): Buffer {
  const head = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${request.method} ${request.path} HTTP/1.1\r\n${head.join('')}\r\n${request.body ?? ''}`);
}

export function writeRequests(path: string, requests: readonly HttpRequest[]): void {
  const parts: Buffer[] = [];
  for (const request of requests) {
    const raw = rawRequest(request);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(raw.length);
    parts.push(length, raw);
  }
  writeFileSync(path, Buffer.concat(parts));
}

export function pixelRequests(options: PixelOptions = {}, seed = 1): HttpRequest[] {
  const next = random(seed);
  return Array.from({ length: variety }, () => pixelRequest(next, options));
}

export function collectRequests(events: number, seed = 1): HttpRequest[] {
  const next = random(seed);
  return Array.from({ length: Math.max(64, Math.ceil(variety / events)) }, () => collectRequest(next, events));
}
