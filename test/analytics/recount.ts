/**
 * Brute force: what the tables must hold after these events, counted from scratch, in the plainest way. It shares no
 * code with src/analytics/rollup/ but the numbers of dimensions and grains. Events may come in any order, none twice.
 */
import { type Dimension, dimensions, grains } from '../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../src/analytics/event.ts';
import { gapKinds, type Measures } from '../../src/analytics/rollup/measures.ts';

export interface RecountOptions {
  readonly sessionTimeoutMs: number;
  /**
   * Whether the day has a place for the value; all others count under OTHER_TEXT, those of a property that has a place
   * under [event type, key]. Unset: every value has one.
   */
  readonly admitted?: (site: number, day: number, dimension: Dimension, text: string) => boolean;
}

/** Stands where a text would, for "(other)". */
export const OTHER_TEXT = '\0other';

export interface ExpectedRow extends Measures {
  readonly site: number;
  readonly dimension: number;
  readonly grain: number;
  readonly t: number;
  /** '' for dimension site. */
  readonly text: string;
  /** Visitors with a user id: what the sketch estimates the number of. */
  readonly signedIn: Set<string>;
}

export interface Expected {
  /** By rowKey(). Rows whose measures are all 0 are left out. */
  readonly rollups: Map<string, ExpectedRow>;
  /** By gapKey(). */
  readonly gaps: Map<string, number>;
}

export const rowKey = (site: number, dimension: number, grain: number, t: number, text: string): string =>
  `${site}|${dimension}|${grain}|${t}|${text}`;
export const gapKey = (site: number, kind: number, slot: number, gap: number): string =>
  `${site}|${kind}|${slot}|${gap}`;

export const measureNames = [
  'events',
  'views',
  'visits',
  'bounces',
  'duration_ms',
  'engaged_ms',
  'firsts',
  'lasts',
  'users',
] as const satisfies (keyof Measures)[];

const ofProperty = (text: string): string => JSON.stringify((JSON.parse(text) as unknown[]).slice(0, 2));
const slotOf = (ms: number): number => Math.floor(ms / (15 * 60_000));
const dayOf = (ms: number): number => Math.floor(ms / (24 * 3_600_000));
const isView = (event: CountedEvent): boolean => event.event.eventType === 'page_view';

const visitKeys = [
  ...(['referrer', 'utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'] as const),
  ...(['country', 'region', 'device', 'browser', 'os'] as const),
];

/** Says how long somebody looked at a page, and is nothing else. */
export function isEngagement({ event }: CountedEvent): boolean {
  const [[key, ms] = [], ...others] = Object.entries(event.props ?? {});
  const measures = key === 'ms' && typeof ms === 'number' && ms > 0 && others.length === 0;
  return event.eventType === 'engagement' && measures && event.bot === undefined;
}

export function recount(every: readonly CountedEvent[], options: RecountOptions): Expected {
  const events = every.filter((counted) => !isEngagement(counted));
  const rows = new Map<string, ExpectedRow>();
  const mapped = (site: number, day: number, dimension: Dimension, text: string): string =>
    dimension === 'site' || options.admitted?.(site, day, dimension, text) !== false
      ? text
      : dimension === 'prop' && options.admitted(site, day, dimension, ofProperty(text))
        ? ofProperty(text)
        : OTHER_TEXT;

  function row(site: number, dimension: Dimension, grain: number, t: number, text: string): ExpectedRow {
    const key = rowKey(site, dimensions[dimension].id, grain, t, text);
    let found = rows.get(key);
    if (found === undefined) {
      found = { site, dimension: dimensions[dimension].id, grain, t, text, signedIn: new Set(), ...nothing() };
      rows.set(key, found);
    }
    return found;
  }
  /** Adds to a slot, its day and its month. */
  function add(site: number, dimension: Dimension, text: string, ms: number, change: (row: ExpectedRow) => void): void {
    const date = new Date(ms);
    const month = date.getUTCFullYear() * 12 + date.getUTCMonth();
    const value = mapped(site, dayOf(ms), dimension, text);
    change(row(site, dimension, grains.slot, slotOf(ms), value));
    change(row(site, dimension, grains.day, dayOf(ms), value));
    change(row(site, dimension, grains.month, month, value));
  }

  for (const { event, site } of every.filter(isEngagement)) {
    const engaged = Math.round(event.props!['ms'] as number);
    const look = (at: ExpectedRow) => {
      at.engaged_ms += engaged;
    };
    add(site, 'site', '', event.timestampMs, look);
    if (event.path) add(site, 'path', event.path, event.timestampMs, look);
  }
  const people = events.filter(({ event }) => event.bot === undefined);
  for (const counted of events) {
    const { event, site } = counted;
    for (const [dimension, text] of ownValues(counted)) {
      add(site, dimension, text, event.timestampMs, (at) => {
        at.events += 1;
        if (isView(counted)) at.views += 1;
      });
    }
  }
  // When each visitor was under each value of a day, in ms: once for every event, or for every visit.
  const times = new Map<string, { counted: CountedEvent; dimension: Dimension; text: string; at: number[] }>();
  function present(counted: CountedEvent, dimension: Dimension, text: string, ms: number): void {
    const value = mapped(counted.site, dayOf(ms), dimension, text);
    const key = JSON.stringify([counted.site, counted.visitor, dayOf(ms), dimension, value]);
    const found = times.get(key);
    if (found === undefined) times.set(key, { counted, dimension, text: value, at: [ms] });
    else found.at.push(ms);
  }
  for (const counted of people) {
    if (counted.visitor === undefined) continue;
    for (const [dimension, text] of ownValues(counted)) present(counted, dimension, text, counted.event.timestampMs);
  }
  for (const visit of visitsOf(people, options.sessionTimeoutMs)) {
    const [first] = visit;
    const begin = first!.event.timestampMs;
    const views = visit.filter(isView).length;
    const count = (at: ExpectedRow) => {
      at.visits += 1;
      if (visit.length === 1) at.bounces += 1;
      at.duration_ms += visit.at(-1)!.event.timestampMs - begin;
    };
    add(first!.site, 'site', '', begin, count);
    for (const [dimension, text] of valuesOfVisit(visit)) {
      add(first!.site, dimension, text, begin, (at) => {
        count(at);
        at.events += visit.length;
        at.views += views;
      });
      present(first!, dimension, text, begin);
    }
  }
  for (const { counted, dimension, text, at } of times.values()) {
    const [first, last] = [Math.min(...at), Math.max(...at)];
    const date = new Date(first);
    const month = date.getUTCFullYear() * 12 + date.getUTCMonth();
    const { site } = counted;
    if (counted.signedIn) {
      row(site, dimension, grains.day, dayOf(first), text).users += 1;
      for (const ms of at) row(site, dimension, grains.slot, slotOf(ms), text).signedIn.add(counted.visitor!);
      row(site, dimension, grains.day, dayOf(first), text).signedIn.add(counted.visitor!);
      row(site, dimension, grains.month, month, text).signedIn.add(counted.visitor!);
    } else {
      row(site, dimension, grains.slot, slotOf(first), text).firsts += 1;
      row(site, dimension, grains.slot, slotOf(last), text).lasts += 1;
      row(site, dimension, grains.day, dayOf(first), text).firsts += 1;
      row(site, dimension, grains.month, month, text).firsts += 1;
    }
  }
  for (const [key, found] of rows) if (measureNames.every((name) => found[name] === 0)) rows.delete(key);
  return { rollups: rows, gaps: recountGaps(people) };
}

const nothing = (): Measures => ({
  events: 0,
  views: 0,
  visits: 0,
  bounces: 0,
  duration_ms: 0,
  engaged_ms: 0,
  firsts: 0,
  lasts: 0,
  users: 0,
});

/** Values that the event itself counts under. */
function ownValues({ event }: CountedEvent): [Dimension, string][] {
  if (event.bot !== undefined) return event.bot === '' ? [] : [['bot', event.bot]];
  const values: [Dimension, string][] = [
    ['site', ''],
    ['event_type', event.eventType],
  ];
  if (event.path) values.push(['path', event.path]);
  for (const [key, value] of Object.entries(event.props ?? {})) {
    values.push(['prop', JSON.stringify([event.eventType, key, value])]);
  }
  return values;
}

/** Visits, the events of each in order. */
export function visitsOf(events: readonly CountedEvent[], sessionTimeoutMs: number): CountedEvent[][] {
  const days = Map.groupBy(
    events.filter((counted) => counted.visitor !== undefined && !isEngagement(counted)),
    ({ site, visitor, event }) => `${site}|${visitor}|${dayOf(event.timestampMs)}`,
  );
  const visits: CountedEvent[][] = [];
  for (const list of days.values()) {
    list.sort(({ event: a }, { event: b }) => a.timestampMs - b.timestampMs || (a.eventId < b.eventId ? -1 : 1));
    list.forEach((counted, index) => {
      const before = list[index - 1];
      const near = before && counted.event.timestampMs - before.event.timestampMs <= sessionTimeoutMs;
      if (near) visits.at(-1)!.push(counted);
      else visits.push([counted]);
    });
  }
  return visits;
}

function valuesOfVisit(visit: readonly CountedEvent[]): [Dimension, string][] {
  const { event, source } = visit[0]!;
  const values: [Dimension, string][] = [['source', source]];
  for (const key of visitKeys) if (event[key]) values.push([key, event[key]]);
  const pages = visit.filter((counted) => isView(counted) && counted.event.path);
  if (pages.length > 0) values.push(['entry_page', pages[0]!.event.path!], ['exit_page', pages.at(-1)!.event.path!]);
  return values;
}

function recountGaps(people: readonly CountedEvent[]): Map<string, number> {
  const gaps = new Map<string, number>();
  for (const kind of [gapKinds.viewers, gapKinds.visitors]) {
    const counted = people.filter((one) => one.signedIn && (kind === gapKinds.visitors || isView(one)));
    for (const list of Map.groupBy(counted, ({ site, visitor }) => `${site}|${visitor}`).values()) {
      const slots = [...new Set(list.map(({ event }) => slotOf(event.timestampMs)))].sort((a, b) => a - b);
      slots.forEach((slot, index) => {
        const gap = Math.min(index === 0 ? 101 : slot - slots[index - 1]!, 101);
        const key = gapKey(list[0]!.site, kind, slot, gap);
        gaps.set(key, (gaps.get(key) ?? 0) + 1);
      });
    }
  }
  return gaps;
}

/** Distinct signed-in visitors of a site in [from, to), in ms: of its page_view events, or of all its events. */
export function distinctUsers(
  events: readonly CountedEvent[],
  site: number,
  kind: keyof typeof gapKinds,
  from: number,
  to: number,
): number {
  const users = new Set<string>();
  for (const counted of events) {
    const { event, visitor, signedIn } = counted;
    if (counted.site !== site || !signedIn || event.bot !== undefined || isEngagement(counted)) continue;
    if (event.timestampMs < from || event.timestampMs >= to) continue;
    if (kind === 'visitors' || isView(counted)) users.add(visitor!);
  }
  return users.size;
}
