/**
 * Cells: what a batch adds to `rollups`. Everything but `users` is counted by slot; days and months are sums of them
 * (fold()). One cell per row, so that a batch writes each row once.
 */
import { DIMENSIONS_MAX, grains, monthOf, SLOTS_PER_DAY } from '../dimensions.ts';
import type { Ids } from './ids.ts';
import type { Measures } from './measures.ts';

export class Cell implements Measures {
  readonly group: Group;
  /** Number of the value's id. */
  readonly value: number;
  events = 0;
  views = 0;
  visits = 0;
  bounces = 0;
  duration_ms = 0;
  engaged_ms = 0;
  firsts = 0;
  lasts = 0;
  users = 0;
  /** Entries for the sketch; undefined: nobody signed in. */
  entries: number[] | undefined;
  /** The sketch as it is stored, once it was read. */
  stored: Uint8Array | undefined;
  /** The sketch as it shall be stored; undefined: as it is. */
  sketch: Uint8Array | undefined;

  constructor(group: Group, value: number) {
    this.group = group;
    this.value = value;
  }

  get changed(): boolean {
    return (
      this.events !== 0 ||
      this.views !== 0 ||
      this.visits !== 0 ||
      this.bounces !== 0 ||
      this.duration_ms !== 0 ||
      this.engaged_ms !== 0 ||
      this.firsts !== 0 ||
      this.lasts !== 0 ||
      this.users !== 0 ||
      this.sketch !== undefined
    );
  }
}

/** The rows of one dimension, grain and time of a site. */
export interface Group {
  readonly site: number;
  readonly dimension: number;
  readonly grain: number;
  readonly t: number;
  readonly cells: Map<number, Cell>;
}

type Groups = Map<number, Group>;

/** The cells of one site. */
export class SiteCells {
  readonly site: number;
  readonly #slots: Groups = new Map();
  readonly #days: Groups = new Map();
  readonly #months: Groups = new Map();

  constructor(site: number) {
    this.site = site;
  }

  slot(dimension: number, slot: number, value: number): Cell {
    return this.#cell(this.#slots, grains.slot, dimension, slot, value);
  }

  /** For what is counted by day only: users, and sketches of days. */
  day(dimension: number, day: number, value: number): Cell {
    return this.#cell(this.#days, grains.day, dimension, day, value);
  }

  /** Adds slots to their days, and days to their months. Called once, when everything is counted. */
  fold(): void {
    for (const { dimension, t, cells } of this.#slots.values()) {
      const day = this.#group(this.#days, grains.day, dimension, Math.floor(t / SLOTS_PER_DAY));
      for (const cell of cells.values()) addTo(day, cell);
    }
    for (const { dimension, t, cells } of this.#days.values()) {
      const month = this.#group(this.#months, grains.month, dimension, monthOf(t));
      for (const cell of cells.values()) {
        const sum = addTo(month, cell);
        sum.entries = joined(sum, cell);
      }
    }
  }

  *groups(): Generator<Group> {
    yield* this.#slots.values();
    yield* this.#days.values();
    yield* this.#months.values();
  }

  #cell(groups: Groups, grain: number, dimension: number, t: number, value: number): Cell {
    return cellOf(this.#group(groups, grain, dimension, t), value);
  }

  #group(groups: Groups, grain: number, dimension: number, t: number): Group {
    const key = t * DIMENSIONS_MAX + dimension;
    let group = groups.get(key);
    if (group === undefined) {
      group = { site: this.site, dimension, grain, t, cells: new Map() };
      groups.set(key, group);
    }
    return group;
  }
}

function cellOf(group: Group, value: number): Cell {
  let cell = group.cells.get(value);
  if (cell === undefined) {
    cell = new Cell(group, value);
    group.cells.set(value, cell);
  }
  return cell;
}

function addTo(group: Group, from: Cell): Cell {
  const cell = cellOf(group, from.value);
  cell.events += from.events;
  cell.views += from.views;
  cell.visits += from.visits;
  cell.bounces += from.bounces;
  cell.duration_ms += from.duration_ms;
  cell.engaged_ms += from.engaged_ms;
  cell.firsts += from.firsts;
  return cell;
}

function joined(into: Cell, from: Cell): number[] | undefined {
  if (from.entries === undefined) return into.entries;
  return into.entries === undefined ? [...from.entries] : into.entries.concat(from.entries);
}

/** Puts a visitor's entry into the cell's sketch. */
export function sketchIn(cell: Cell, entry: number): void {
  if (cell.entries === undefined) cell.entries = [entry];
  else cell.entries.push(entry);
}

/** In the order of the primary key, so that a batch goes through the index once. */
export function sorted(sites: Iterable<SiteCells>, ids: Ids): Cell[] {
  const groups = [...sites].flatMap((site) => [...site.groups()]);
  groups.sort((a, b) => a.site - b.site || a.dimension - b.dimension || a.grain - b.grain || a.t - b.t);
  const numbers = ids.ordered();
  const ranks = new Int32Array(numbers.length);
  for (let rank = 0; rank < numbers.length; rank += 1) ranks[numbers[rank]!] = rank;
  const rows: Cell[] = [];
  const places = new Int32Array(numbers.length);
  for (const { cells } of groups) {
    let count = 0;
    for (const value of cells.keys()) {
      places[count] = ranks[value]!;
      count += 1;
    }
    const part = places.subarray(0, count).sort();
    for (let at = 0; at < count; at += 1) rows.push(cells.get(numbers[part[at]!]!)!);
  }
  return rows;
}
