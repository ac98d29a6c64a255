/** Random events for the tests of rollups: few visitors, values and moments, so that they meet. */
import { createHash } from 'node:crypto';
import type { AnalyticsEvent, CountedEvent } from '../../../src/analytics/event.ts';

export const DAY_MS = 86_400_000;
/** Begin of 2025-02-27: four days from here cross the end of a month. */
export const BEGIN = Date.UTC(2025, 1, 27);

/** Numbers in [0, 1) from a seed (mulberry32, Tommy Ettinger). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface RandomEvents {
  readonly seed: number;
  readonly count: number;
  readonly sites: readonly number[];
  readonly days: number;
  readonly visitors: number;
}

export function randomEvents({ seed, count, sites, days, visitors }: RandomEvents): CountedEvent[] {
  const random = randomFrom(seed);
  const upTo = (max: number) => Math.floor(random() * max);
  const pick = <T>(items: readonly T[]): T => items[upTo(items.length)]!;
  return Array.from({ length: count }, (_, index): CountedEvent => {
    // Half of the moments stand on a minute, so that events of a visitor share one; some stand at midnight.
    let ms = upTo(days * DAY_MS);
    if (random() < 0.5) ms -= ms % 60_000;
    if (random() < 0.05) ms = upTo(days) * DAY_MS + pick([0, 1, DAY_MS - 1]);
    const timestampMs = BEGIN + ms;
    const who = upTo(visitors);
    const kind = random();
    const signedIn = kind < 0.45;
    const anonymous = kind >= 0.45 && kind < 0.95;
    const eventType = pick(['page_view', 'page_view', 'page_view', 'signup', 'pageview', 'engagement']);
    const event: AnalyticsEvent = {
      eventId: uuidOf(`${seed}/${index}`),
      siteId: 'any',
      eventType,
      timestampMs,
      receivedMs: timestampMs,
      path: random() < 0.9 ? `/page-${upTo(7)}` : random() < 0.5 ? '' : undefined,
      userId: signedIn ? `user-${who}` : undefined,
      referrer: random() < 0.3 ? `https://${pick(['a', 'b', 'c'])}.example/` : undefined,
      utm_source: random() < 0.2 ? pick(['news', 'ad']) : undefined,
      utm_campaign: random() < 0.1 ? 'spring' : undefined,
      country: random() < 0.8 ? pick(['NP', 'DE', 'US']) : undefined,
      device: random() < 0.8 ? pick(['desktop', 'mobile']) : undefined,
      browser: random() < 0.8 ? pick(['Firefox', 'Chrome', 'Safari', 'Edge', 'Opera', 'Vivaldi']) : undefined,
      os: random() < 0.5 ? 'Linux' : undefined,
      props:
        eventType === 'engagement' && random() < 0.6
          ? { ms: upTo(9000) }
          : random() < 0.2
            ? { plan: pick(['free', 'pro']), seats: upTo(4), trial: random() < 0.5, ms: upTo(9000) }
            : undefined,
      bot: random() < 0.05 ? pick(['Googlebot', 'HeadlessChrome']) : undefined,
    };
    return {
      event,
      site: pick(sites),
      visitor: signedIn
        ? hexOf(`user-${who}`)
        : anonymous
          ? hexOf(`${Math.floor(timestampMs / DAY_MS)}|${who}`)
          : undefined,
      signedIn,
      source: pick(['', '', 'Google', 'a.example']),
    };
  });
}

/** The events shuffled, in batches of 1 to about 200. */
export function inAnyOrder(events: readonly CountedEvent[], seed: number): CountedEvent[][] {
  const random = randomFrom(seed);
  const shuffled = events
    .map((event) => ({ event, by: random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ event }) => event);
  const batches: CountedEvent[][] = [];
  for (let at = 0; at < shuffled.length; ) {
    const length = random() < 0.2 ? 1 : 1 + Math.floor(random() * 200);
    batches.push(shuffled.slice(at, at + length));
    at += length;
  }
  return batches;
}

export const hexOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);
function uuidOf(text: string): string {
  const hex = hexOf(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
