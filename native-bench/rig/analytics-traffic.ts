/**
 * Traffic of one site for the questions about analytics: a day's events in the order of the columns, made one by one from a
 * seed. Few values are frequent and many are rare (Zipf), a fifth of the visitors has signed in and comes on many days, and a
 * visitor has one visit or several, of one event or several, at the hours when people are awake.
 */
import type { RawEvent } from '../../src/analytics/columns/build.ts';
import { attributes } from '../../src/analytics/columns/format.ts';
import { DAY_MS } from '../../src/analytics/dimensions.ts';

/** How many values a dimension has, and the share of visits without one. */
export const variety: Readonly<Record<(typeof attributes)[number] | 'path', readonly [values: number, none: number]>> =
  {
    path: [2000, 0],
    referrer: [2000, 0.4],
    source: [40, 0.4],
    utm_source: [20, 0.8],
    utm_medium: [6, 0.8],
    utm_campaign: [100, 0.8],
    utm_term: [200, 0.9],
    utm_content: [100, 0.9],
    country: [80, 0.02],
    region: [600, 0.05],
    device: [3, 0],
    browser: [8, 0.01],
    os: [6, 0.01],
  };
export const SIGNED_IN = 0.2;
const USERS = 300_000;
export const EVENTS_PER_VISITOR = 3.4;

/** Text of the n-th most frequent value. */
export const textAt = (dimension: string, rank: number): string =>
  dimension === 'path' ? `/section-${rank % 40}/article-about-something-${rank}` : `${dimension}-${rank}`;

/** Marsaglia's xorshift, 32 bits: [0, 1). */
export function randomOf(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}

/** Shares of ranks 0 .. n-1, 1 in all. */
export function zipf(n: number): Float64Array {
  const shares = Float64Array.from({ length: n }, (_, rank) => 1 / (rank + 2));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

const DRAWS = 1 << 16;

function drawsOf(dimension: keyof typeof variety): string[] {
  const [values, none] = variety[dimension];
  const shares = zipf(values);
  const draws = new Array<string>(DRAWS).fill('');
  let at = Math.round(none * DRAWS);
  let sum = none;
  for (let rank = 0; rank < values; rank++) {
    sum += shares[rank]! * (1 - none);
    const text = textAt(dimension, rank);
    while (at < Math.min(DRAWS, sum * DRAWS)) draws[at++] = text;
  }
  draws.fill(textAt(dimension, 0), at);
  return draws;
}

const paths = drawsOf('path');
const values = attributes.map(drawsOf);

class Made implements RawEvent {
  visitor = '';
  signedIn = false;
  timestampMs = 0;
  eventType = '';
  path = '';
  props: readonly string[] = [];
  readonly engagedMs = 0;
  readonly drawn = new Uint16Array(attributes.length);
  /** Number of the user, when signed in. */
  user = 0;

  attribute(index: number): string {
    return values[index]![this.drawn[index]!]!;
  }
}

function visitorOf(high: number, low: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(high, 0);
  bytes.writeUInt32BE(low, 4);
  return bytes.toString('latin1');
}

/** Calls for about `events` events of a UTC day. The event is the same object each time. */
export function makeDay(day: number, events: number, call: (event: Made) => void): void {
  const random = randomOf(day);
  const visitors = Math.round(events / EVENTS_PER_VISITOR);
  const event = new Made();
  const users = Math.round(visitors * SIGNED_IN);
  event.signedIn = true;
  for (let user = 0; user < USERS; user++) {
    if (random() * USERS >= users) continue;
    event.user = user;
    // Ascending, and the low half is as good as random.
    event.visitor = visitorOf(Math.floor((user / USERS) * 0xffff_ffff), Math.imul(user + 1, 0x9e37_79b1) >>> 0);
    makeVisitor(event, day, random, call);
  }
  event.signedIn = false;
  for (let i = users; i < visitors; i++) {
    event.visitor = visitorOf(Math.floor((i / visitors) * 0xffff_ffff), day);
    makeVisitor(event, day, random, call);
  }
}

function makeVisitor(event: Made, day: number, random: () => number, call: (event: Made) => void): void {
  const end = (day + 1) * DAY_MS;
  // Two rolls: the middle of the day is busier than the night.
  let ms = day * DAY_MS + Math.floor(((random() + random()) / 2) * (DAY_MS - 1));
  do {
    for (let i = 0; i < attributes.length; i++) event.drawn[i] = Math.floor(random() * DRAWS);
    do {
      if (ms >= end) return;
      event.timestampMs = ms;
      const kind = random();
      event.eventType = kind < 0.9 ? 'page_view' : kind < 0.98 ? 'click' : 'signup';
      event.path = paths[Math.floor(random() * DRAWS)]!;
      event.props = kind < 0.98 ? [] : [JSON.stringify(['signup', 'plan', kind < 0.99 ? 'free' : 'pro'])];
      call(event);
      ms += 1000 + Math.floor(random() * 120_000);
    } while (random() < 0.6);
    ms += 1_800_000 + Math.floor(random() * 7_200_000);
  } while (random() < 0.28);
}
