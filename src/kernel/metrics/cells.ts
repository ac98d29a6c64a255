/**
 * Cells: what a thread keeps and adds to. A slot has one writer, so `cell += n` needs no atomics. 64-bit machines, the
 * only ones that the addon supports, store an aligned float64 in one piece, so a reader sees the old or the new number
 * and never half of one.
 */
import { SetCells } from './board.ts';
import {
  combinationOf,
  combinations,
  type Labels,
  type LabelValues,
  type Metric,
  type MetricSet,
  type MetricType,
  type NoLabels,
  stride,
} from './declare.ts';

export class CounterCell {
  private readonly cells: Float64Array;
  private readonly at: number;
  constructor(cells: Float64Array, at: number) {
    this.cells = cells;
    this.at = at;
  }
  add(count: number): void {
    this.cells[this.at]! += count;
  }
  get value(): number {
    return this.cells[this.at]!;
  }
}

export class GaugeCell {
  private readonly cells: Float64Array;
  private readonly at: number;
  constructor(cells: Float64Array, at: number) {
    this.cells = cells;
    this.at = at;
  }
  set(value: number): void {
    this.cells[this.at] = value;
  }
  add(change: number): void {
    this.cells[this.at]! += change;
  }
  get value(): number {
    return this.cells[this.at]!;
  }
}

export class HistogramCell {
  private readonly cells: Float64Array;
  private readonly at: number;
  private readonly bounds: Float64Array;
  private readonly sumAt: number;
  constructor(cells: Float64Array, at: number, buckets: readonly number[]) {
    this.cells = cells;
    this.at = at;
    this.bounds = Float64Array.from(buckets);
    this.sumAt = at + buckets.length + 1;
  }
  /** Counts `count` observations of one value. */
  observe(value: number, count = 1): void {
    const bounds = this.bounds;
    const last = bounds.length;
    let i = 0;
    // Few buckets, and most values fall into the low ones: a walk beats a search.
    while (i < last && value > bounds[i]!) i += 1;
    this.cells[this.at + i]! += count;
    this.cells[this.sumAt]! += value * count;
  }
  /** Observations so far. */
  get count(): number {
    let count = 0;
    for (let i = this.at; i < this.sumAt; i += 1) count += this.cells[i]!;
    return count;
  }
}

interface Cells {
  counter: CounterCell;
  gauge: GaugeCell;
  histogram: HistogramCell;
}

/** Without labels TypeScript infers the widest label type inside defineMetrics, whose keys are any string. */
type Unlabelled<L> = keyof L extends never ? true : string extends keyof L ? true : false;

/** A metric in one thread. Look up cells once, outside of the hot path. */
export interface Meter<T extends MetricType, L extends Labels> {
  /** The cell of one combination of labels. A value outside of its closed list throws a RangeError. */
  at(...labels: Unlabelled<L> extends true ? [] | [NoLabels] : [LabelValues<L>]): Cells[T];
}

export type Meters<S> =
  S extends MetricSet<infer M>
    ? { readonly [K in keyof M]: M[K] extends Metric<infer T, infer L> ? Meter<T, L> : never }
    : never;

/** The meters of a set in this thread. The slot must be this thread's alone. */
export function attachBoard<S extends MetricSet>(set: S, board: SharedArrayBuffer, slot: number): Meters<S> {
  const setCells = new SetCells(board, set);
  const cells = setCells.cells(slot);
  const meters = Object.entries(set.metrics).map(([name, metric]) => {
    const first = set.firstCells.get(name)!;
    if (metric.type === 'gauge') cells.fill(0, first, first + combinations(metric.labels));
    const at = (labels: Readonly<Record<string, string>> = {}) => {
      const cell = first + combinationOf(name, metric.labels, labels) * stride(metric);
      if (metric.type === 'counter') return new CounterCell(cells, cell);
      return metric.type === 'gauge' ? new GaugeCell(cells, cell) : new HistogramCell(cells, cell, metric.buckets);
    };
    return [name, { at }];
  });
  setCells.attach(slot);
  return Object.fromEntries(meters) as Meters<S>;
}
