/**
 * Live hub: what is going on at the sites that somebody looks at. It holds nothing of others, and forgets a site when
 * nobody has looked for a while; `watched` says whether there is any.
 *
 * Bounded: SITES_MAX sites, VISITORS_MAX visitors of a site (beyond, their number stands still), RECENT_MAX events.
 */
import type { LiveEvent, LiveTick } from '../api/contract.ts';
import { type Seen, WINDOW_MS } from './live-event.ts';

/** A rate is the mean of so many seconds. */
const RATE_S = 10;
/** Rates that whoever begins to look is told of: one a second. */
const RATES_MAX = 90;
/** For so long after a site is looked at for the first time what was there before may still come in. */
const FILLING_MS = 12_000;
/** A page that is loaded again comes back within this time and finds what was there. */
const LINGER_MS = 5000;
const SITES_MAX = 1000;
const VISITORS_MAX = 200_000;
const RECENT_MAX = 20;

/** Who looks: at the site by all of its names, and what he has seen of it. */
export interface Look {
  readonly names: readonly string[];
  /** Number of the last event that he has; -1: none. */
  readonly since: number;
}

export interface Looked extends LiveTick {
  /** Number of the newest event. */
  readonly newest: number;
}

const eventOf = ({ atMs, eventType, path, country, device }: Seen): LiveEvent => ({
  at: new Date(atMs).toISOString(),
  event_type: eventType,
  path,
  country,
  device,
});

/** What was there before somebody looked. Lanes are read one after the other, so its events come in no order. */
export class Past {
  readonly visitors = new Map<string, number>();
  readonly seconds = new Map<number, number>();
  #recent: Seen[] = [];

  add(seen: Seen): void {
    const { who, atMs } = seen;
    const last = this.visitors.get(who) ?? 0;
    if (who !== '' && (last > 0 || this.visitors.size < VISITORS_MAX)) this.visitors.set(who, Math.max(last, atMs));
    if (seen.sign) return;
    const second = Math.floor(atMs / 1000);
    this.seconds.set(second, (this.seconds.get(second) ?? 0) + 1);
    this.#recent.push(seen);
    if (this.#recent.length > 50 * RECENT_MAX) this.#cut();
  }

  #cut(): void {
    this.#recent = this.#recent.sort((a, b) => a.atMs - b.atMs).slice(-RECENT_MAX);
  }

  /** The newest events, the last one last. */
  newest(): readonly LiveEvent[] {
    this.#cut();
    return this.#recent.map(eventOf);
  }
}

interface Recent {
  /** 0: it was there before anybody looked; only who has seen nothing yet is told of it. */
  readonly number: number;
  readonly event: LiveEvent;
}

export class SiteNow {
  readonly #visitors = new Map<string, number>();
  /** Events by second. */
  readonly #seconds = new Map<number, number>();
  #recent: Recent[] = [];
  #newest = 0;
  /** From when on it knows all. */
  sinceMs: number;
  lookedMs: number;
  readonly #filledMs: number;

  constructor(sinceMs: number, nowMs: number) {
    this.sinceMs = sinceMs;
    this.lookedMs = nowMs;
    this.#filledMs = nowMs + FILLING_MS;
  }

  /** Counts who it was, as often as it comes. */
  meet({ who, atMs }: Pick<Seen, 'who' | 'atMs'>): void {
    if (who === '') return;
    const last = this.#visitors.get(who) ?? 0;
    // Partitions of a topic are read one after the other: what comes later may be older.
    if (last > 0 || this.#visitors.size < VISITORS_MAX) this.#visitors.set(who, Math.max(last, atMs));
  }

  add(seen: Seen): void {
    this.meet(seen);
    if (seen.sign) return;
    const second = Math.floor(seen.atMs / 1000);
    this.#seconds.set(second, (this.#seconds.get(second) ?? 0) + 1);
    this.#newest += 1;
    this.#recent.push({ number: this.#newest, event: eventOf(seen) });
    if (this.#recent.length > RECENT_MAX) this.#recent.shift();
  }

  /** Takes over what was there before it was looked at, from `sinceMs` on. */
  recall(before: Past, sinceMs: number): void {
    for (const [who, atMs] of before.visitors) this.meet({ who, atMs });
    for (const [second, some] of before.seconds) this.#seconds.set(second, (this.#seconds.get(second) ?? 0) + some);
    this.#recent = [...before.newest().map((event) => ({ number: 0, event })), ...this.#recent].slice(-RECENT_MAX);
    this.sinceMs = Math.min(this.sinceMs, sinceMs);
  }

  look(since: number, nowMs: number): Looked {
    this.lookedMs = nowMs;
    const windowMs = Math.min(WINDOW_MS, nowMs - this.sinceMs);
    const nowS = Math.floor(nowMs / 1000);
    const known = Math.min(RATES_MAX, Math.max(1, Math.ceil(windowMs / 1000)));
    return {
      visitors: this.#visitors.size,
      window_s: Math.round(windowMs / 1000),
      events_per_second: this.#rate(nowS),
      ...((since < 0 || nowMs < this.#filledMs) && {
        rates: Array.from({ length: known }, (_, i) => this.#rate(nowS - known + 1 + i)),
      }),
      last: this.#recent
        .filter(({ number }) => number > since)
        .map(({ event }) => event)
        .reverse(),
      newest: this.#newest,
    };
  }

  /** Events per second of the seconds up to this one, to a tenth. */
  #rate(second: number): number {
    let events = 0;
    for (let at = second - RATE_S + 1; at <= second; at += 1) events += this.#seconds.get(at) ?? 0;
    return Math.round((events / RATE_S) * 10) / 10;
  }

  /** Lets go of visitors who have gone, and of seconds that no rate is made of any more. */
  forget(nowMs: number): void {
    for (const [who, atMs] of this.#visitors) if (atMs <= nowMs - WINDOW_MS) this.#visitors.delete(who);
    const oldest = nowMs / 1000 - RATE_S - RATES_MAX;
    for (const second of this.#seconds.keys()) if (second <= oldest) this.#seconds.delete(second);
  }
}

export class LiveHub {
  readonly #sites = new Map<string, SiteNow>();
  readonly #now: () => number;

  /** `now`: the clock that events have their times by. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get watched(): boolean {
    return this.#sites.size > 0;
  }

  add(seen: Seen): boolean {
    const site = this.#sites.get(seen.siteId);
    site?.add(seen);
    return site !== undefined;
  }

  /** An event of before somebody looked, which may have been added: its visitor counts, and nothing else. */
  meet(seen: Seen): void {
    this.#sites.get(seen.siteId)?.meet(seen);
  }

  /** A site that somebody looks at, or has just looked at. */
  find(names: readonly string[]): SiteNow | undefined {
    return names.map((name) => this.#sites.get(name)).find((found) => found !== undefined);
  }

  /** `fromMs`: from when on the events of a site come that nobody has looked at before. */
  look({ names, since }: Look, fromMs: number): Looked | undefined {
    const nowMs = this.#now();
    let site = this.find(names);
    if (site === undefined) {
      if (this.#sites.size >= SITES_MAX) return undefined;
      site = new SiteNow(fromMs, nowMs);
    }
    for (const name of names) this.#sites.set(name, site);
    return site.look(since, nowMs);
  }

  /** Called every second or so: forgets sites that nobody looks at. */
  tick(): void {
    const nowMs = this.#now();
    for (const [name, site] of this.#sites) {
      if (site.lookedMs < nowMs - LINGER_MS) this.#sites.delete(name);
      else site.forget(nowMs);
    }
  }
}
