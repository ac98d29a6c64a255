/**
 * Visitor day: what one visitor did on one UTC day, as `visitor_days.state` holds it. From it a late event corrects
 * every sum: what the old state counts for is taken off, what the new one counts for is put on (count.ts).
 *
 *   visits   neighbours in time with more than the session timeout between them are of two visits. An event never
 *            splits a visit; it may join two
 *   values   the first and the last slot of the day under each value that events count under (path, event type, props)
 *   slots    of signed-in visitors: in which slots there was any event, and in which a page_view (gaps.ts)
 *
 * The state is a function of the set of events, whatever their order and their batches. Two limits keep it small. A
 * visitor day has VISITS_MAX visits: what comes later in the day joins the last one (a day of 24 hours has no more
 * unless the timeout is below 3 minutes). It remembers VALUES_MAX values: events under others are counted, and the
 * visitor is not counted under them.
 */
import { DIMENSIONS_MAX, dimensions } from '../dimensions.ts';
import { NONE } from './ids.ts';

export const VISITS_MAX = 500;
export const VALUES_MAX = 1000;

/** Dimensions of a visit that come from its first event. Their order is that of `Visit.attributes`; it is stored. */
export const attributeKeys = [
  ...(['referrer', 'source', 'utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'] as const),
  ...(['country', 'region', 'device', 'browser', 'os'] as const),
] as const;
export const attributeDimensions: readonly number[] = attributeKeys.map((key) => dimensions[key].id);

/** Gives the number (ids.ts) of the value that counts for another one: itself or OTHER. */
export type MapValue<V> = (dimension: number, value: V) => number;

/** An event as a visitor day takes it. Values of visits are mapped when they count, so that no other takes a place. */
export interface DayEvent<V> {
  /** Ms of the day. */
  readonly ms: number;
  /** Event id, 32 hex digits. */
  readonly id: string;
  readonly slot: number;
  readonly view: boolean;
  /** The path, of a page_view. */
  readonly page: V | undefined;
  readonly attributes: readonly (V | undefined)[];
  /** What the event counts under by itself: dimensions, and their values after mapping. */
  readonly dimensions: readonly number[];
  readonly values: readonly number[];
}

interface Page {
  readonly ms: number;
  readonly id: string;
  /** Values are numbers of ids (ids.ts), here and below. */
  readonly value: number;
}

export interface Visit {
  readonly firstMs: number;
  readonly firstId: string;
  readonly lastMs: number;
  readonly events: number;
  readonly views: number;
  readonly attributes: readonly number[];
  readonly entry: Page | undefined;
  readonly exit: Page | undefined;
}

export interface SeenValue {
  readonly dimension: number;
  readonly value: number;
  readonly first: number;
  readonly last: number;
}

/** 96 bits, one for each slot of the day. */
export type Slots = readonly [number, number, number];
export const noSlots: Slots = [0, 0, 0];

export interface VisitorDay {
  /** In order; none is changed once it is here. */
  readonly visits: readonly Visit[];
  readonly values: readonly SeenValue[];
  /** Of signed-in visitors; else without a bit. */
  readonly any: Slots;
  readonly views: Slots;
}

export const emptyDay: VisitorDay = { visits: [], values: [], any: noSlots, views: noSlots };

/** The state after these events, none of which is in `before`. */
export function addEvents<V>(
  before: VisitorDay,
  events: readonly DayEvent<V>[],
  options: { readonly sessionTimeoutMs: number; readonly signedIn: boolean },
  map: MapValue<V>,
): VisitorDay {
  return {
    visits: addToVisits(before.visits, events, options.sessionTimeoutMs, map),
    values: addToValues(before.values, events),
    any: options.signedIn ? addToSlots(before.any, events, false) : noSlots,
    views: options.signedIn ? addToSlots(before.views, events, true) : noSlots,
  };
}

// Visits -----------------------------------------------------------------------------------------------------

/** A visit that is being put together; what has `event` or `attributesOf` is not mapped yet. */
interface Draft<V> {
  firstMs: number;
  firstId: string;
  lastMs: number;
  events: number;
  views: number;
  attributes: readonly number[];
  attributesOf: DayEvent<V> | undefined;
  entry: DraftPage<V> | undefined;
  exit: DraftPage<V> | undefined;
  /** The stored visit that this one still is. */
  same: Visit | undefined;
}

interface DraftPage<V> extends Page {
  readonly event?: DayEvent<V>;
}

const noAttributes: readonly number[] = attributeKeys.map(() => NONE);

function addToVisits<V>(
  before: readonly Visit[],
  events: readonly DayEvent<V>[],
  timeout: number,
  map: MapValue<V>,
): readonly Visit[] {
  const past = pastVisits(before, events, timeout);
  const parts: Draft<V>[] = [];
  for (let index = past; index < before.length; index += 1) parts.push(draftOf(before[index]!));
  for (const event of events) parts.push(draftOfEvent(event));
  if (!areOrdered(parts)) parts.sort((a, b) => order(a.firstMs, a.firstId, b.firstMs, b.firstId));
  const visits = before.slice(0, past);
  let current: Draft<V> | undefined;
  for (const part of parts) {
    const joins =
      current !== undefined && (part.firstMs - current.lastMs <= timeout || visits.length === VISITS_MAX - 1);
    if (joins) join(current!, part);
    else {
      if (current !== undefined) visits.push(current.same ?? finish(current, map));
      current = part;
    }
  }
  if (current !== undefined) visits.push(current.same ?? finish(current, map));
  return visits;
}

/** Nearly always they are, and a sort would copy them to find out. */
function areOrdered<V>(parts: readonly Draft<V>[]): boolean {
  for (let index = 1; index < parts.length; index += 1) {
    const [a, b] = [parts[index - 1]!, parts[index]!];
    if (order(a.firstMs, a.firstId, b.firstMs, b.firstId) > 0) return false;
  }
  return true;
}

/** How many visits ended so long before the events, and the visits behind them, that they stay as they are. */
function pastVisits<V>(before: readonly Visit[], events: readonly DayEvent<V>[], timeout: number): number {
  let earliest = Number.POSITIVE_INFINITY;
  for (const { ms } of events) if (ms < earliest) earliest = ms;
  let past = 0;
  while (past < before.length && past < VISITS_MAX - 1) {
    const { lastMs } = before[past]!;
    const next = before[past + 1]?.firstMs ?? earliest;
    if (Math.min(next, earliest) - lastMs <= timeout) break;
    past += 1;
  }
  return past;
}

function draftOf<V>(visit: Visit): Draft<V> {
  return { ...visit, attributesOf: undefined, same: visit };
}

function draftOfEvent<V>(event: DayEvent<V>): Draft<V> {
  const page = event.page === undefined ? undefined : { ms: event.ms, id: event.id, value: NONE, event };
  return {
    firstMs: event.ms,
    firstId: event.id,
    lastMs: event.ms,
    events: 1,
    views: event.view ? 1 : 0,
    attributes: noAttributes,
    attributesOf: event,
    entry: page,
    exit: page,
    same: undefined,
  };
}

/** `part` does not begin before `into`. */
function join<V>(into: Draft<V>, part: Draft<V>): void {
  into.lastMs = Math.max(into.lastMs, part.lastMs);
  into.events += part.events;
  into.views += part.views;
  const { entry, exit } = part;
  if (entry !== undefined && (into.entry === undefined || order(entry.ms, entry.id, into.entry.ms, into.entry.id) < 0))
    into.entry = entry;
  if (exit !== undefined && (into.exit === undefined || order(exit.ms, exit.id, into.exit.ms, into.exit.id) > 0))
    into.exit = exit;
  into.same = undefined;
}

function finish<V>(draft: Draft<V>, map: MapValue<V>): Visit {
  const { firstMs, firstId, lastMs, events, views, attributesOf } = draft;
  const attributes =
    attributesOf === undefined
      ? draft.attributes
      : attributesOf.attributes.map((value, index) =>
          value === undefined ? NONE : map(attributeDimensions[index]!, value),
        );
  return {
    firstMs,
    firstId,
    lastMs,
    events,
    views,
    attributes,
    entry: finishPage(draft.entry, dimensions.entry_page.id, map),
    exit: finishPage(draft.exit, dimensions.exit_page.id, map),
  };
}

function finishPage<V>(page: DraftPage<V> | undefined, dimension: number, map: MapValue<V>): Page | undefined {
  if (page?.event === undefined) return page;
  return { ms: page.ms, id: page.id, value: map(dimension, page.event.page!) };
}

/** Order of a visitor's events: time, then event id. */
export function order(aMs: number, aId: string, bMs: number, bId: string): number {
  if (aMs !== bMs) return aMs - bMs;
  return aId < bId ? -1 : aId > bId ? 1 : 0;
}

// Values and slots -------------------------------------------------------------------------------------------

/** Lists of at least this length are searched by key. */
const SEARCHED_BY_KEY = 24;

function addToValues<V>(before: readonly SeenValue[], events: readonly DayEvent<V>[]): readonly SeenValue[] {
  const seen = before.slice();
  let places: Map<number, number> | undefined;
  for (const { slot, dimensions: under, values } of events) {
    for (let index = 0; index < values.length; index += 1) {
      const [dimension, value] = [under[index]!, values[index]!];
      if (places === undefined && seen.length >= SEARCHED_BY_KEY)
        places = new Map(seen.map((at, i) => [keyOf(at.dimension, at.value), i]));
      const at =
        places === undefined
          ? seen.findIndex((one) => one.value === value && one.dimension === dimension)
          : (places.get(keyOf(dimension, value)) ?? -1);
      if (at >= 0) {
        const { first, last } = seen[at]!;
        if (slot < first) seen[at] = { dimension, value, first: slot, last };
        else if (slot > last) seen[at] = { dimension, value, first, last: slot };
      } else if (seen.length < VALUES_MAX) {
        places?.set(keyOf(dimension, value), seen.length);
        seen.push({ dimension, value, first: slot, last: slot });
      }
    }
  }
  return seen;
}

const keyOf = (dimension: number, value: number): number => value * DIMENSIONS_MAX + dimension;

function addToSlots<V>(before: Slots, events: readonly DayEvent<V>[], viewsOnly: boolean): Slots {
  const [a, b, c] = before;
  const bits = [a, b, c];
  for (const { slot, view } of events) if (view || !viewsOnly) bits[slot >>> 5]! |= 1 << (slot & 31);
  return [bits[0]! >>> 0, bits[1]! >>> 0, bits[2]! >>> 0];
}
