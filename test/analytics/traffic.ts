/**
 * Traffic that looks like that of a shop and of a blog, for the demo and for pictures: visits with pages, sources, devices and
 * some signed-in visitors, more of them at noon than at night and fewer on weekends. The same seed gives the same traffic.
 */

/** What one visitor sends in one visit: the headers of its requests, and its events in their order. */
export interface TrafficVisit {
  readonly atMs: number;
  readonly address: string;
  readonly userAgent: string;
  readonly events: readonly Readonly<Record<string, unknown>>[];
}

export interface TrafficSite {
  readonly siteId: string;
  readonly visitsPerDay: number;
  readonly pages: readonly string[];
  /** An event that some visits end with. */
  readonly goal: {
    readonly eventType: string;
    readonly share: number;
    readonly props: () => Readonly<Record<string, unknown>>;
  };
  /** A page that is one as well, by its path. */
  readonly goalPath: string;
  /** Share of visitors with a user id. */
  readonly signedIn: number;
}

/** Mulberry32 (Tommy Ettinger, public domain): enough for traffic. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

const agents = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0',
];
const bot = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
const referrers = [
  '',
  '',
  '',
  'https://www.google.com/',
  'https://www.google.com/',
  'https://duckduckgo.com/',
  'https://news.ycombinator.com/item?id=1',
  'https://www.reddit.com/r/selfhosted/',
  'https://github.com/',
  'https://t.co/x',
];
const campaigns = [
  '',
  '',
  '',
  '',
  '?utm_source=newsletter&utm_medium=email&utm_campaign=november',
  '?utm_source=ads&utm_medium=cpc&utm_campaign=brand',
];

/** Hour of the day to its share of visits, the highest 1. */
const byHour = (hour: number): number => 0.15 + 0.85 * Math.max(0, Math.sin(((hour - 5) / 19) * Math.PI)) ** 1.5;

/** Visits of the UTC day that begins at `dayMs`, in the order of their begin. */
export function visitsOf(site: TrafficSite, dayMs: number, seed: number): readonly TrafficVisit[] {
  const next = random(seed ^ Math.floor(dayMs / 86_400_000));
  const pick = <T>(list: readonly T[], power = 1): T => list[Math.floor(next() ** power * list.length)]!;
  const weekend = [0, 6].includes(new Date(dayMs).getUTCDay());
  const count = Math.round(site.visitsPerDay * (weekend ? 0.6 : 1) * (0.9 + 0.2 * next()));
  const visits: TrafficVisit[] = [];
  while (visits.length < count) {
    const hour = next() * 24;
    if (next() > byHour(hour)) continue;
    let atMs = dayMs + Math.floor(hour * 3_600_000);
    const signedIn = next() < site.signedIn;
    const person = Math.floor(next() ** 2 * site.visitsPerDay);
    const referrer = pick(referrers);
    const query = pick(campaigns);
    const isBot = next() < 0.02;
    const views = next() < 0.45 ? 1 : 2 + Math.floor(next() ** 2 * 9);
    const common = { site_id: site.siteId, ...(signedIn ? { user_id: `u${person}` } : {}) };
    const events: Record<string, unknown>[] = [];
    for (let i = 0; i < views; i++) {
      const path = pick(site.pages, 2);
      const url = `https://${site.siteId}${path}${i === 0 ? query : ''}`;
      const first = i === 0 && referrer !== '' ? { referrer } : {};
      events.push({ ...common, event_type: 'page_view', path, url, timestamp: new Date(atMs).toISOString(), ...first });
      const stayMs = 5000 + Math.floor(next() ** 2 * 240_000);
      atMs += stayMs;
      // As the tracker tells it when a page is left: the time for which it was looked at.
      const engaged = { ms: Math.floor(stayMs * (0.3 + 0.6 * next())) };
      if (!isBot)
        events.push({
          ...common,
          event_type: 'engagement',
          path,
          timestamp: new Date(atMs).toISOString(),
          props: engaged,
        });
    }
    if (!isBot && next() < site.goal.share) {
      const { eventType, props } = site.goal;
      events.push({ ...common, event_type: eventType, timestamp: new Date(atMs).toISOString(), props: props() });
    }
    const address = `10.${Math.floor(next() * 256)}.${person >> 8}.${person & 255}`;
    visits.push({
      atMs: dayMs + Math.floor(hour * 3_600_000),
      address,
      userAgent: isBot ? bot : pick(agents, 1.4),
      events,
    });
  }
  return visits.sort((a, b) => a.atMs - b.atMs);
}

const products = ['lamp', 'chair', 'table', 'shelf', 'rug', 'mirror', 'clock', 'vase'];
const posts = ['rings', 'journals', 'exactly-once', 'time-zones', 'backpressure', 'sketches', 'kill-dash-nine'];

export const trafficSites: readonly TrafficSite[] = [
  {
    siteId: 'shop.example',
    visitsPerDay: 900,
    pages: ['/', '/products', ...products.map((name) => `/products/${name}`), '/cart', '/checkout', '/about', '/help'],
    goal: { eventType: 'purchase', share: 0.06, props: () => ({ plan: 'standard', amount: 49 }) },
    goalPath: '/checkout',
    signedIn: 0.35,
  },
  {
    siteId: 'blog.example',
    visitsPerDay: 500,
    pages: ['/', ...posts.map((name) => `/posts/${name}`), '/archive', '/feed'],
    goal: { eventType: 'signup', share: 0.03, props: () => ({ list: 'weekly' }) },
    goalPath: '/posts/**',
    signedIn: 0,
  },
];
