/**
 * Cells: what a batch adds to `rollups`. Everything but `users` is counted by slot; days and months are sums of them
 * (fold()). One cell per row, so that a batch writes each row once.
 */
import { grains, monthOf, SLOTS_PER_DAY } from '../dimensions.ts';
import type { Measures } from './measures.ts';

export class Cell implements Measures {
  readonly value: bigint;
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

  constructor(value: bigint) {
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
  readonly cells: Map<bigint, Cell>;
}

/** Dimensions have numbers below this. */
const DIMENSIONS = 32;

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

  slot(dimension: number, slot: number, value: bigint): Cell {
    return this.#cell(this.#slots, grains.slot, dimension, slot, value);
  }

  /** For what is counted by day only: users, and sketches of days. */
  day(dimension: number, day: number, value: bigint): Cell {
    return this.#cell(this.#days, grains.day, dimension, day, value);
  }

  /** Adds slots to their days, and days to their months. Called once, when everything is counted. */
  fold(): void {
    for (const { dimension, t, cells } of this.#slots.values()) {
      const day = this.#group(this.#days, grains.day, dimension, Math.floor(t / SLOTS_PER_DAY)).cells;
      for (const cell of cells.values()) addTo(day, cell);
    }
    for (const { dimension, t, cells } of this.#days.values()) {
      const month = this.#group(this.#months, grains.month, dimension, monthOf(t)).cells;
      for (const cell of cells.values()) addTo(month, cell).entries = joined(month.get(cell.value)!, cell);
    }
  }

  *groups(): Generator<Group> {
    yield* this.#slots.values();
    yield* this.#days.values();
    yield* this.#months.values();
  }

  #cell(groups: Groups, grain: number, dimension: number, t: number, value: bigint): Cell {
    const { cells } = this.#group(groups, grain, dimension, t);
    let cell = cells.get(value);
    if (cell === undefined) {
      cell = new Cell(value);
      cells.set(value, cell);
    }
    return cell;
  }

  #group(groups: Groups, grain: number, dimension: number, t: number): Group {
    const key = t * DIMENSIONS + dimension;
    let group = groups.get(key);
    if (group === undefined) {
      group = { site: this.site, dimension, grain, t, cells: new Map() };
      groups.set(key, group);
    }
    return group;
  }
}

function addTo(cells: Map<bigint, Cell>, from: Cell): Cell {
  let cell = cells.get(from.value);
  if (cell === undefined) {
    cell = new Cell(from.value);
    cells.set(from.value, cell);
  }
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
export function sorted(sites: Iterable<SiteCells>): { readonly group: Group; readonly cell: Cell }[] {
  const groups = [...sites].flatMap((site) => [...site.groups()]);
  groups.sort((a, b) => a.site - b.site || a.dimension - b.dimension || a.grain - b.grain || a.t - b.t);
  const rows: { group: Group; cell: Cell }[] = [];
  for (const group of groups) {
    for (const value of BigInt64Array.from(group.cells.keys()).sort()) {
      rows.push({ group, cell: group.cells.get(value)! });
    }
  }
  return rows;
}
