/**
 * Scan: answers a question from the columns of its days, one day after the other.
 *
 *   filters   those of level `visit` keep whole visits. Those of level `event` keep events; a visit counts when it has
 *             kept one, anywhere on its UTC day, and its bounce and duration are those of the whole visit
 *   clock     grouped by a dimension of level `visit`, everything lies in the slot where its visit begins. Otherwise
 *             events, views and visitors lie in the slot of an event, and visits in that of their begin
 *   visits    of a dimension of level `event` there are none: a visit has many paths
 *   visitors  those with a kept event. Without a user id they stand on one UTC day only, so days add up; users are told
 *             apart by a hash, over several days by user-set.ts
 *   engaged   by time and by path, in the slot of the `engagement` event: where its path passes the filters of paths
 *             and its visit counts. One without a visit counts where no filter asks for more than a path
 *   nobody    events that no visitor is known for have no visit: they count as events and views, and only where
 *             neither a filter nor the group asks for a visit
 */
import { DAY_MS, dimensions, SLOT_MS, SLOTS_PER_DAY } from '../dimensions.ts';
import {
  type AskedDimension,
  type Condition,
  type Filter,
  filtersOf,
  isFilter,
  type ScanQuestion,
} from '../query/types.ts';
import { isNegative, markValues } from './filter.ts';
import { type ColumnName, type Day, dictionaryOf, FLAG, type Numbers } from './format.ts';
import { NONE, Tally } from './tally.ts';

const levelOf = (dimension: AskedDimension): 'event' | 'visit' => dimensions[dimension].level;

/** Columns that a question reads. */
export function columnsOf({ filters, group }: Pick<ScanQuestion, 'filters' | 'group'>): ReadonlySet<ColumnName> {
  const names = new Set<ColumnName>(['begin', 'visit_events', 'user']);
  const add = (dimension: AskedDimension): void => {
    names.add(dimension).add(dictionaryOf(dimension));
    if (dimension === 'prop') names.add('prop_count');
  };
  for (const { dimension } of filters.flatMap(filtersOf)) add(dimension);
  if (group.by === 'dimension') add(group.dimension);
  if (group.by === 'values') for (const dimension of group.dimensions) add(dimension);
  const byVisit = group.by === 'values' || (group.by === 'dimension' && levelOf(group.dimension) === 'visit');
  const keepsEvents = filters.some(isAboutEvents);
  if (byVisit && !keepsEvents) names.add('visit_views');
  else names.add('slot');
  if (byVisit || group.by !== 'dimension') names.add('duration');
  if (group.by === 'all' || group.by === 'time' || (group.by === 'dimension' && group.dimension === 'path')) {
    names.add('engaged_slot').add('engaged_path').add('engaged_ms').add('engaged_visit').add('d.path');
  }
  return names;
}

export class DayScan {
  readonly #question: ScanQuestion;
  readonly #tally: Tally;
  /** Users may come on several days. */
  readonly #mergesUsers: boolean;
  /** Visitors of the days before. */
  #visitors = 0;

  constructor(question: ScanQuestion) {
    this.#question = question;
    const { group, range } = question;
    const keys =
      group.by === 'all' ? [''] : group.by === 'time' ? group.edges.slice(0, -1).map((edge) => String(edge)) : [];
    this.#tally = new Tally(keys);
    this.#mergesUsers = Math.floor(range.fromMs / DAY_MS) !== Math.floor((range.toMs - 1) / DAY_MS);
  }

  get tally(): Tally {
    return this.#tally;
  }

  /** `number`: the UTC day since 1970. */
  add(number: number, day: Day): void {
    const { filters, group } = this.#question;
    const visitFilters = filters.filter((condition) => !isAboutEvents(condition));
    const eventFilters = filters.filter(isAboutEvents);
    const context: Context = {
      tally: this.#tally,
      buckets: this.#buckets(number),
      visitEvents: day.numbers('visit_events'),
      begin: day.numbers('begin'),
      keptVisits: keptVisits(day, visitFilters),
      keptEvents: keptEvents(day, eventFilters),
      countsNobody: visitFilters.length === 0,
      day,
      seen: seer(this.#tally, day, this.#visitors, this.#mergesUsers),
    };
    if (group.by === 'values') countVisits(context, groupByValues(context, group.dimensions));
    else if (group.by !== 'dimension') {
      countTime(context);
      countEngaged(context, eventFilters, (bucket) => bucket);
    } else if (group.dimension === 'path') {
      countEvents(context, 'path');
      const groupOf = groupsOf(context, 'path');
      countEngaged(context, eventFilters, (_, path) => groupOf(path));
    } else if (levelOf(group.dimension) === 'visit') countVisits(context, groupByValue(context, group.dimension));
    else if (group.dimension === 'prop') countProps(context);
    else countEvents(context, group.dimension);
    this.#visitors += day.counts.visitors;
  }

  /** Group of each slot of the day, or 0 within the range when groups are values; NONE outside. */
  #buckets(number: number): Int32Array {
    const { group, range } = this.#question;
    const edges = group.by === 'time' ? group.edges : [range.fromMs, range.toMs];
    const buckets = new Int32Array(SLOTS_PER_DAY).fill(NONE);
    let bucket = 0;
    for (let slot = 0; slot < SLOTS_PER_DAY; slot++) {
      const ms = number * DAY_MS + slot * SLOT_MS;
      if (ms < edges[0]! || ms >= edges.at(-1)!) continue;
      while (ms >= edges[bucket + 1]!) bucket += 1;
      buckets[slot] = bucket;
    }
    return buckets;
  }
}

interface Context {
  readonly tally: Tally;
  readonly buckets: Int32Array;
  readonly visitEvents: Numbers;
  readonly begin: Numbers;
  /** 1 for those that the filters keep; undefined: all. */
  readonly keptVisits: Uint8Array | undefined;
  readonly keptEvents: Uint8Array | undefined;
  readonly countsNobody: boolean;
  readonly day: Day;
  /** A visitor of the day (by its number) has a kept event in a group. */
  readonly seen: (group: number, visitor: number) => void;
}

function seer(tally: Tally, day: Day, before: number, merges: boolean): Context['seen'] {
  const hashes = day.numbers('user');
  const users = merges ? day.counts.users : 0;
  return (group, visitor) => {
    const id = before + visitor + 1;
    if (tally.lastVisitor[group] === id) return;
    tally.lastVisitor[group] = id;
    if (visitor < users) tally.users.add(group, hashes[2 * visitor]!, hashes[2 * visitor + 1]!);
    else tally.visitors[group]! += 1;
  };
}

/** It keeps events and not whole visits: one of its filters is about events. */
function isAboutEvents(condition: Condition): boolean {
  if (isFilter(condition)) return levelOf(condition.dimension) === 'event';
  return 'of' in condition && condition.of.some(isAboutEvents);
}

function keptVisits(day: Day, conditions: readonly Condition[]): Uint8Array | undefined {
  return conditions.length === 0 ? undefined : maskOf({ op: 'all', of: conditions }, (one) => visitMask(day, one));
}

function visitMask(day: Day, filter: Leaf): Uint8Array {
  if ('what' in filter) {
    const found = visitsWithKept(day.numbers('visit_events'), keptEvents(day, [filter.what])!);
    if (filter.op === 'not_done') for (let visit = 0; visit < found.length; visit++) found[visit]! ^= 1;
    return found;
  }
  const kept = new Uint8Array(day.counts.visits).fill(1);
  keep(kept, codesOf(day, filter.dimension), tableOf(filter, day));
  return kept;
}

function keptEvents(day: Day, conditions: readonly Condition[]): Uint8Array | undefined {
  return conditions.length === 0 ? undefined : maskOf({ op: 'all', of: conditions }, (one) => eventMask(day, one));
}

/** What is about visits keeps all events of the visits that it keeps, and none without a visit. */
function eventMask(day: Day, filter: Leaf): Uint8Array {
  if ('what' in filter || levelOf(filter.dimension) === 'visit') {
    const kept = new Uint8Array(day.counts.events);
    const visits = visitMask(day, filter);
    const sizes = day.numbers('visit_events');
    let event = 0;
    for (let visit = 0; visit < visits.length; visit++) {
      const end = event + sizes[visit]!;
      kept.fill(visits[visit]!, event, end);
      event = end;
    }
    return kept;
  }
  const { dimension } = filter;
  const kept = new Uint8Array(day.counts.events).fill(1);
  if (dimension === 'prop') keepProps(kept, day, filter);
  else keep(kept, day.numbers(dimension), tableOf(filter, day));
  return kept;
}

/** A condition that is not put together of others of its kind. */
type Leaf = Exclude<Condition, { readonly of: unknown }>;

function maskOf(condition: Condition, leaf: (condition: Leaf) => Uint8Array): Uint8Array {
  if (!('of' in condition)) return leaf(condition);
  const [first, ...more] = condition.of.map((one) => maskOf(one, leaf));
  for (const mask of more) {
    if (condition.op === 'any') for (let i = 0; i < mask.length; i++) first![i]! |= mask[i]!;
    else for (let i = 0; i < mask.length; i++) first![i]! &= mask[i]!;
  }
  return first!;
}

/** 1 for each code that the filter keeps. */
function tableOf(filter: Filter, day: Day): Uint8Array {
  const table = markValues(filter, day.dictionary(filter.dimension));
  if (isNegative(filter)) for (let code = 0; code < table.length; code++) table[code]! ^= 1;
  return table;
}

function keep(kept: Uint8Array, codes: Numbers, table: Uint8Array): void {
  for (let i = 0; i < kept.length; i++) kept[i]! &= table[codes[i]!]!;
}

/** An event has any number of props: a filter names it when it names one of them; without props it has the value ''. */
function keepProps(kept: Uint8Array, day: Day, filter: Filter): void {
  const named = markValues(filter, day.dictionary('prop'));
  const flip = isNegative(filter) ? 1 : 0;
  const counts = day.numbers('prop_count');
  const codes = day.numbers('prop');
  let at = 0;
  for (let event = 0; event < kept.length; event++) {
    const end = at + counts[event]!;
    let found = at === end ? named[0]! : 0;
    for (; at < end; at++) found |= named[codes[at]!]!;
    kept[event]! &= found ^ flip;
  }
}

/** All together, or by time. */
function countTime(context: Context): void {
  const { tally, buckets, visitEvents, begin, keptVisits, keptEvents, seen, day } = context;
  const { events, views, visits, bounces, durationMs } = tally;
  const slots = day.numbers('slot');
  const durations = day.numbers('duration');
  let event = 0;
  let visitor = -1;
  for (let visit = 0; visit < begin.length; visit++) {
    const from = begin[visit]!;
    const size = visitEvents[visit]!;
    const end = event + size;
    visitor += from >> 7;
    if (keptVisits !== undefined && keptVisits[visit] === 0) {
      event = end;
      continue;
    }
    let any = false;
    let last = NONE;
    for (; event < end; event++) {
      if (keptEvents !== undefined && keptEvents[event] === 0) continue;
      any = true;
      const slot = slots[event]!;
      const group = buckets[slot & (FLAG - 1)]!;
      if (group < 0) continue;
      events[group]! += 1;
      views[group]! += slot >> 7;
      if (group !== last) seen(group, visitor);
      last = group;
    }
    const group = buckets[from & (FLAG - 1)]!;
    if (!any || group < 0) continue;
    visits[group]! += 1;
    if (size === 1) bounces[group]! += 1;
    durationMs[group]! += durations[visit]!;
  }
  if (!context.countsNobody) return;
  for (; event < slots.length; event++) {
    const slot = slots[event]!;
    const group = buckets[slot & (FLAG - 1)]!;
    if (group < 0 || (keptEvents !== undefined && keptEvents[event] === 0)) continue;
    events[group]! += 1;
    views[group]! += slot >> 7;
  }
}

const UNKNOWN = -2;

/** The group of each code of a day, looked up when the code first counts. */
function groupsOf(context: Context, dimension: AskedDimension): (code: number) => number {
  const dictionary = context.day.dictionary(dimension);
  const groups = new Int32Array(dictionary.size).fill(UNKNOWN);
  // A value that is missing is not counted, but that of `source` says that the visit came by itself.
  if (dimension !== 'source') groups[0] = NONE;
  return (code) => {
    if (groups[code] === UNKNOWN) groups[code] = context.tally.group(dictionary.text(code));
    return groups[code]!;
  };
}

function codesOf(day: Day, dimension: AskedDimension): Numbers {
  if (dimension === 'prop') throw new TypeError('prop must be a dimension of events');
  return day.numbers(dimension);
}

/** The group of a visit, by its value. */
function groupByValue(context: Context, dimension: AskedDimension): (visit: number) => number {
  const codes = codesOf(context.day, dimension);
  const groupOf = groupsOf(context, dimension);
  return (visit) => groupOf(codes[visit]!);
}

/** The group of a visit, by its values of several dimensions. */
function groupByValues({ day, tally }: Context, dimensions: readonly AskedDimension[]): (visit: number) => number {
  const columns = dimensions.map((name) => ({ codes: codesOf(day, name), dictionary: day.dictionary(name) }));
  const groups = new Map<string, number>();
  return (visit) => {
    const codes = columns.map((column) => column.codes[visit]!);
    const key = codes.join();
    let group = groups.get(key);
    if (group === undefined) {
      group = tally.group(JSON.stringify(columns.map(({ dictionary }, i) => dictionary.text(codes[i]!))));
      groups.set(key, group);
    }
    return group;
  };
}

/** By dimensions of level `visit`: all of a visit lies where it begins. */
function countVisits(context: Context, groupOf: (visit: number) => number): void {
  const { tally, buckets, visitEvents, begin, keptVisits, keptEvents, seen, day } = context;
  const durations = day.numbers('duration');
  const slots = keptEvents === undefined ? undefined : day.numbers('slot');
  const visitViews = keptEvents === undefined ? day.numbers('visit_views') : undefined;
  let event = 0;
  let visitor = -1;
  for (let visit = 0; visit < begin.length; visit++) {
    const from = begin[visit]!;
    const size = visitEvents[visit]!;
    const first = event;
    event += size;
    visitor += from >> 7;
    if (keptVisits !== undefined && keptVisits[visit] === 0) continue;
    if (buckets[from & (FLAG - 1)]! < 0) continue;
    let events = size;
    let views = 0;
    if (keptEvents === undefined) {
      views = visitViews![visit]!;
    } else {
      events = 0;
      for (let at = first; at < event; at++) {
        events += keptEvents[at]!;
        views += keptEvents[at]! & (slots![at]! >> 7);
      }
      if (events === 0) continue;
    }
    const group = groupOf(visit);
    if (group < 0) continue;
    tally.events[group]! += events;
    tally.views[group]! += views;
    tally.visits[group]! += 1;
    if (size === 1) tally.bounces[group]! += 1;
    tally.durationMs[group]! += durations[visit]!;
    seen(group, visitor);
  }
}

/** Calls for each kept event within the range; the visitor is NONE for events that nobody is known for. */
function eachEvent(context: Context, call: (event: number, view: number, visitor: number) => void): void {
  const { buckets, visitEvents, begin, keptVisits, keptEvents, day } = context;
  const slots = day.numbers('slot');
  let event = 0;
  let visitor = -1;
  for (let visit = 0; visit < begin.length; visit++) {
    const end = event + visitEvents[visit]!;
    visitor += begin[visit]! >> 7;
    if (keptVisits !== undefined && keptVisits[visit] === 0) {
      event = end;
      continue;
    }
    for (; event < end; event++) {
      const slot = slots[event]!;
      if (keptEvents !== undefined && keptEvents[event] === 0) continue;
      if (buckets[slot & (FLAG - 1)]! >= 0) call(event, slot >> 7, visitor);
    }
  }
  if (!context.countsNobody) return;
  for (; event < slots.length; event++) {
    const slot = slots[event]!;
    if (keptEvents !== undefined && keptEvents[event] === 0) continue;
    if (buckets[slot & (FLAG - 1)]! >= 0) call(event, slot >> 7, NONE);
  }
}

function countEvents(context: Context, dimension: AskedDimension): void {
  if (dimension !== 'path' && dimension !== 'event_type')
    throw new TypeError(`a dimension of events with one value must be asked for: found=${dimension}`);
  const { tally, seen, day } = context;
  const codes = day.numbers(dimension);
  const groupOf = groupsOf(context, dimension);
  eachEvent(context, (event, view, visitor) => {
    const group = groupOf(codes[event]!);
    if (group < 0) return;
    tally.events[group]! += 1;
    tally.views[group]! += view;
    if (visitor >= 0) seen(group, visitor);
  });
}

function countProps(context: Context): void {
  const { tally, seen, day } = context;
  const counts = day.numbers('prop_count');
  const codes = day.numbers('prop');
  const groupOf = groupsOf(context, 'prop');
  const ends = new Uint32Array(counts.length);
  for (let event = 0, end = 0; event < counts.length; event++) {
    end += counts[event]!;
    ends[event] = end;
  }
  eachEvent(context, (event, view, visitor) => {
    const end = ends[event]!;
    for (let at = end - counts[event]!; at < end; at++) {
      const group = groupOf(codes[at]!);
      if (group < 0) continue;
      tally.events[group]! += 1;
      tally.views[group]! += view;
      if (visitor >= 0) seen(group, visitor);
    }
  });
}

/** How long somebody looked, for the groups of their buckets or paths. */
function countEngaged(
  { tally, buckets, keptVisits, keptEvents, visitEvents, countsNobody, day }: Context,
  conditions: readonly Condition[],
  groupOf: (bucket: number, path: number) => number,
): void {
  const slots = day.numbers('engaged_slot');
  if (slots.length === 0) return;
  const paths = day.numbers('engaged_path');
  const ms = day.numbers('engaged_ms');
  const visits = day.numbers('engaged_visit');
  const filters = conditions.filter(isFilter).filter(({ dimension }) => dimension === 'path');
  const tables = filters.map((filter) => tableOf(filter, day));
  const nobody = countsNobody && filters.length === conditions.length;
  const counting = keptEvents === undefined ? undefined : visitsWithKept(visitEvents, keptEvents);
  for (let at = 0; at < slots.length; at++) {
    const bucket = buckets[slots[at]!]!;
    if (bucket < 0 || tables.some((table) => table[paths[at]!] === 0)) continue;
    const visit = visits[at]! - 1;
    if (visit < 0 ? !nobody : keptVisits?.[visit] === 0 || counting?.[visit] === 0) continue;
    const group = groupOf(bucket, paths[at]!);
    if (group >= 0) tally.engagedMs[group]! += ms[at]!;
  }
}

function visitsWithKept(visitEvents: Numbers, keptEvents: Uint8Array): Uint8Array {
  const found = new Uint8Array(visitEvents.length);
  let event = 0;
  for (let visit = 0; visit < found.length; visit++) {
    for (const end = event + visitEvents[visit]!; event < end; event++) found[visit]! |= keptEvents[event]!;
  }
  return found;
}
