/** What a change of a visitor day changes in the sums: the new state's part minus the old one's. */
import { ALL, dimensions, SLOTS_PER_DAY, slotOf } from '../dimensions.ts';
import { type Cell, type SiteCells, sketchIn } from './cells.ts';
import { attributeDimensions, keyOf, NONE, type SeenValue, type Visit, type VisitorDay } from './visitor-day.ts';

const SITE = dimensions.site.id;
const ENTRY = dimensions.entry_page.id;
const EXIT = dimensions.exit_page.id;

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
    const [was, is] = [before.values[index], after.values[index]!];
    if (was !== is) presence(cells, of, was, is);
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
      if (dimension === SITE) cells.slot(SITE, base + slotOf(visit.lastMs), ALL).lasts += 1;
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
  const site = cells.slot(SITE, base + first, ALL);
  site.bounces += bounces;
  site.duration_ms += duration;
  presence(cells, of, spanOf(was, was), spanOf(is, is));
  const change = (dimension: number, left: bigint, come: bigint) => {
    if (left === come) {
      if (come === NONE) return;
      const cell = cells.slot(dimension, base + first, come);
      cell.bounces += bounces;
      cell.duration_ms += duration;
      cell.events += is.events - was.events;
      cell.views += is.views - was.views;
      return;
    }
    if (left !== NONE) {
      countVisit(cells.slot(dimension, base + first, left), dimension, was, -1);
      presence(cells, of, { dimension, value: left, first, last: first }, undefined);
    }
    if (come !== NONE) {
      const cell = cells.slot(dimension, base + first, come);
      countVisit(cell, dimension, is, 1);
      if (of.entry !== undefined) sketchIn(cell, of.entry);
      presence(cells, of, undefined, { dimension, value: come, first, last: first });
    }
  };
  for (let index = 0; index < attributeDimensions.length; index += 1) {
    change(attributeDimensions[index]!, was.attributes[index]!, is.attributes[index]!);
  }
  change(ENTRY, was.entry?.value ?? NONE, is.entry?.value ?? NONE);
  change(EXIT, was.exit?.value ?? NONE, is.exit?.value ?? NONE);
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
  presence(cells, of, span(before), span(after));
  const old = valuesOfVisits(before.visits);
  for (const [key, seen] of valuesOfVisits(after.visits)) {
    presence(cells, of, old.get(key), seen);
    old.delete(key);
  }
  for (const seen of old.values()) presence(cells, of, seen, undefined);
}

/** Calls for the site, and for each value that the visit counts under. */
function eachValue(visit: Visit, call: (dimension: number, value: bigint) => void): void {
  call(SITE, ALL);
  for (let index = 0; index < visit.attributes.length; index += 1) {
    const value = visit.attributes[index]!;
    if (value !== NONE) call(attributeDimensions[index]!, value);
  }
  if (visit.entry !== undefined) call(ENTRY, visit.entry.value);
  if (visit.exit !== undefined) call(EXIT, visit.exit.value);
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

/** From the first to the last slot of the day, for the whole site. */
function span({ visits }: VisitorDay): SeenValue | undefined {
  return visits.length === 0 ? undefined : spanOf(visits[0]!, visits.at(-1)!);
}

function spanOf(first: Visit, last: Visit): SeenValue {
  return { dimension: SITE, value: ALL, first: slotOf(first.firstMs), last: slotOf(last.lastMs) };
}

/** In which slots visits with a value begin: the first and the last. */
function valuesOfVisits(visits: readonly Visit[]): Map<string, SeenValue> {
  const seen = new Map<string, SeenValue>();
  for (const visit of visits) {
    const slot = slotOf(visit.firstMs);
    eachValue(visit, (dimension, value) => {
      if (dimension === SITE) return;
      const key = keyOf({ dimension, value });
      const first = seen.get(key)?.first ?? slot;
      seen.set(key, { dimension, value, first, last: slot });
    });
  }
  return seen;
}

function presence(cells: SiteCells, of: DayOf, before: SeenValue | undefined, after: SeenValue | undefined): void {
  if (before === undefined && after === undefined) return;
  const { dimension, value } = (before ?? after)!;
  if (of.entry !== undefined) {
    if (before === undefined) countUser(cells.day(dimension, of.day, value), of.entry);
    else if (after === undefined) cells.day(dimension, of.day, value).users -= 1;
    return;
  }
  const base = of.day * SLOTS_PER_DAY;
  if (before === undefined && after!.first === after!.last) {
    const cell = cells.slot(dimension, base + after!.first, value);
    cell.firsts += 1;
    cell.lasts += 1;
    return;
  }
  if (before?.first !== after?.first) {
    if (before !== undefined) cells.slot(dimension, base + before.first, value).firsts -= 1;
    if (after !== undefined) cells.slot(dimension, base + after.first, value).firsts += 1;
  }
  if (before?.last !== after?.last) {
    if (before !== undefined) cells.slot(dimension, base + before.last, value).lasts -= 1;
    if (after !== undefined) cells.slot(dimension, base + after.last, value).lasts += 1;
  }
}

function countUser(day: Cell, entry: number): void {
  day.users += 1;
  sketchIn(day, entry);
}
