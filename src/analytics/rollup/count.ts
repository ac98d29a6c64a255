/** What a change of a visitor day changes in the sums: the new state's part minus the old one's. */
import { dimensions, SLOTS_PER_DAY, slotOf } from '../dimensions.ts';
import { type Cell, type SiteCells, sketchIn } from './cells.ts';
import { NONE } from './ids.ts';
import { attributeDimensions, type Visit, type VisitorDay } from './visitor-day.ts';

const SITE = dimensions.site.id;
/** Dimensions that visits count under, besides the site. */
const ofVisits: readonly number[] = [...attributeDimensions, dimensions.entry_page.id, dimensions.exit_page.id];
const ENTRY_INDEX = attributeDimensions.length;
/** No slot. */
const NEVER = -1;

export interface DayOf {
  readonly day: number;
  /** What sketches keep of a signed-in visitor (sketch.ts: entryOf); undefined: the visitor has no user id. */
  readonly entry: number | undefined;
}

export function countDay(cells: SiteCells, of: DayOf, before: VisitorDay, after: VisitorDay): void {
  const [was, is] = [before.visits[0], after.visits[0]!];
  const one = before.visits.length <= 1 && after.visits.length === 1;
  if (one && was === undefined) countOnlyVisit(cells, of, is);
  else if (one && slotOf(was!.firstMs) === slotOf(is.firstMs)) countGrownVisit(cells, of, was!, is);
  else countVisits(cells, of, before, after);
  // Values keep their places; new ones are at the end.
  for (let index = 0; index < after.values.length; index += 1) {
    const was = before.values[index];
    const is = after.values[index]!;
    if (was === is) continue;
    presence(cells, of, is.dimension, is.value, was?.first ?? NEVER, was?.last ?? NEVER, is.first, is.last);
  }
}

/** The common case, with one look for each cell: the visitor's first visit of the day. */
function countOnlyVisit(cells: SiteCells, of: DayOf, visit: Visit): void {
  const base = of.day * SLOTS_PER_DAY;
  const slot = base + slotOf(visit.firstMs);
  eachValue(visit, (dimension, value) => {
    const cell = cells.slot(dimension, slot, value);
    countVisit(cell, dimension, visit, 1);
    if (of.entry === undefined) {
      cell.firsts += 1;
      if (dimension === SITE) cells.slot(SITE, base + slotOf(visit.lastMs), NONE).lasts += 1;
      else cell.lasts += 1;
    } else {
      sketchIn(cell, of.entry);
      countUser(cells.day(dimension, of.day, value), of.entry);
    }
  });
}

/** The next common case: the only visit goes on, and begins in the slot in which it began. */
function countGrownVisit(cells: SiteCells, of: DayOf, was: Visit, is: Visit): void {
  const base = of.day * SLOTS_PER_DAY;
  const first = slotOf(is.firstMs);
  const bounces = (is.events === 1 ? 1 : 0) - (was.events === 1 ? 1 : 0);
  const duration = is.lastMs - is.firstMs - (was.lastMs - was.firstMs);
  const site = cells.slot(SITE, base + first, NONE);
  site.bounces += bounces;
  site.duration_ms += duration;
  presence(cells, of, SITE, NONE, first, slotOf(was.lastMs), first, slotOf(is.lastMs));
  for (let index = 0; index < ofVisits.length; index += 1) {
    const dimension = ofVisits[index]!;
    const left = valueAt(was, index);
    const come = valueAt(is, index);
    if (left === come) {
      if (come === NONE) continue;
      const cell = cells.slot(dimension, base + first, come);
      cell.bounces += bounces;
      cell.duration_ms += duration;
      cell.events += is.events - was.events;
      cell.views += is.views - was.views;
      continue;
    }
    if (left !== NONE) {
      countVisit(cells.slot(dimension, base + first, left), dimension, was, -1);
      presence(cells, of, dimension, left, first, first, NEVER, NEVER);
    }
    if (come !== NONE) {
      const cell = cells.slot(dimension, base + first, come);
      countVisit(cell, dimension, is, 1);
      if (of.entry !== undefined) sketchIn(cell, of.entry);
      presence(cells, of, dimension, come, NEVER, NEVER, first, first);
    }
  }
}

function countVisits(cells: SiteCells, of: DayOf, before: VisitorDay, after: VisitorDay): void {
  const base = of.day * SLOTS_PER_DAY;
  const left = before.visits.filter((visit) => !after.visits.includes(visit));
  const come = after.visits.filter((visit) => !before.visits.includes(visit));
  for (const visit of left) {
    const slot = base + slotOf(visit.firstMs);
    eachValue(visit, (dimension, value) => countVisit(cells.slot(dimension, slot, value), dimension, visit, -1));
  }
  for (const visit of come) {
    const slot = base + slotOf(visit.firstMs);
    eachValue(visit, (dimension, value) => {
      const cell = cells.slot(dimension, slot, value);
      countVisit(cell, dimension, visit, 1);
      if (of.entry !== undefined) sketchIn(cell, of.entry);
    });
  }
  if (come.length === 0) return;
  const [was, is] = [before.visits, after.visits];
  const [wasFirst, wasLast] = was.length === 0 ? [NEVER, NEVER] : [slotOf(was[0]!.firstMs), slotOf(was.at(-1)!.lastMs)];
  presence(cells, of, SITE, NONE, wasFirst, wasLast, slotOf(is[0]!.firstMs), slotOf(is.at(-1)!.lastMs));
  // Only values of visits that have changed can begin elsewhere.
  const changed = [...left, ...come];
  for (let index = 0; index < ofVisits.length; index += 1) {
    for (let at = 0; at < changed.length; at += 1) {
      const value = valueAt(changed[at]!, index);
      if (value === NONE || changed.findIndex((visit) => valueAt(visit, index) === value) < at) continue;
      const first = firstSlotOf(was, index, value);
      const last = first === NEVER ? NEVER : lastSlotOf(was, index, value);
      const nowFirst = firstSlotOf(is, index, value);
      const nowLast = nowFirst === NEVER ? NEVER : lastSlotOf(is, index, value);
      presence(cells, of, ofVisits[index]!, value, first, last, nowFirst, nowLast);
    }
  }
}

/** The value that a visit has under a dimension of visits, or NONE. */
function valueAt(visit: Visit, index: number): number {
  if (index < ENTRY_INDEX) return visit.attributes[index]!;
  const page = index === ENTRY_INDEX ? visit.entry : visit.exit;
  return page === undefined ? NONE : page.value;
}

/** Where the first visit with a value begins. */
function firstSlotOf(visits: readonly Visit[], index: number, value: number): number {
  for (const visit of visits) if (valueAt(visit, index) === value) return slotOf(visit.firstMs);
  return NEVER;
}

/** Where the last visit with a value begins. */
function lastSlotOf(visits: readonly Visit[], index: number, value: number): number {
  for (let at = visits.length - 1; at >= 0; at -= 1) {
    if (valueAt(visits[at]!, index) === value) return slotOf(visits[at]!.firstMs);
  }
  return NEVER;
}

/** Calls for the site, and for each value that the visit counts under. */
function eachValue(visit: Visit, call: (dimension: number, value: number) => void): void {
  call(SITE, NONE);
  for (let index = 0; index < ofVisits.length; index += 1) {
    const value = valueAt(visit, index);
    if (value !== NONE) call(ofVisits[index]!, value);
  }
}

function countVisit(cell: Cell, dimension: number, visit: Visit, sign: 1 | -1): void {
  cell.visits += sign;
  if (visit.events === 1) cell.bounces += sign;
  cell.duration_ms += sign * (visit.lastMs - visit.firstMs);
  // An event counts for its site in its own slot.
  if (dimension === SITE) return;
  cell.events += sign * visit.events;
  cell.views += sign * visit.views;
}

/**
 * Counts a visitor under a value from where the first and the last slot were to where they are. NEVER, twice: the visitor
 * was not, or is no longer, there.
 */
function presence(
  cells: SiteCells,
  of: DayOf,
  dimension: number,
  value: number,
  wasFirst: number,
  wasLast: number,
  first: number,
  last: number,
): void {
  if (of.entry !== undefined) {
    if (wasFirst === first || (wasFirst !== NEVER && first !== NEVER)) return;
    const day = cells.day(dimension, of.day, value);
    if (first === NEVER) day.users -= 1;
    else countUser(day, of.entry);
    return;
  }
  const base = of.day * SLOTS_PER_DAY;
  if (wasFirst !== first) {
    if (wasFirst !== NEVER) cells.slot(dimension, base + wasFirst, value).firsts -= 1;
    if (first !== NEVER) cells.slot(dimension, base + first, value).firsts += 1;
  }
  if (wasLast !== last) {
    if (wasLast !== NEVER) cells.slot(dimension, base + wasLast, value).lasts -= 1;
    if (last !== NEVER) cells.slot(dimension, base + last, value).lasts += 1;
  }
}

function countUser(day: Cell, entry: number): void {
  day.users += 1;
  sketchIn(day, entry);
}
