/**
 * Metrics: counters, gauges and histograms in shared memory; the text by prom-client. A thread adds to its own slab with plain
 * stores, a scrape reads all slabs: nobody waits, nobody is asked.
 *
 *   board (one SharedArrayBuffer)
 *     0     magic u32, slots u32, sets u32, slab bytes u32
 *     16    per set: fingerprint of its layout u32, first cell in the slab u32
 *     ...   per slot and set: attached u32 (how often a thread has attached it)
 *     then  one slab of float64 cells per slot, padded to 128 bytes, so that two threads never write to one cache line or its
 *           neighbour (an adjacent-line prefetch pulls pairs)
 *
 * Always true:
 *   - A slot has one writer, so `cell += n` needs no atomics. An aligned float64 is stored in one piece on every machine that
 *     Node 22 runs on with 64 bits: a reader sees the old or the new number, never half of one.
 *   - Label values come from closed lists, their product is laid out once: no label, however hostile, allocates anything.
 *   - Counters and histograms outlive the thread in the slot: its successor goes on. Gauges begin at 0 again.
 * A scrape is not a moment: a histogram's sum may be one observation ahead of its buckets. Buckets only ever grow.
 */
import { Registry } from 'prom-client';

const MAGIC = 0x52_4d_42_31;
const HEAD_BYTES = 16;
const LINE = 128;
const CELL_BYTES = 8;

type Labels = Readonly<Record<string, readonly string[]>>;
type LabelValues<L> = { readonly [K in keyof L]: L[K] extends readonly (infer V)[] ? V : never };

/** How the numbers of several threads become one: their sum, the largest, or a line each with the label `thread`. */
export type Across = 'sum' | 'max' | 'each';

interface Spec<L extends Labels> {
  readonly help: string;
  readonly labels?: L;
  /** Default: sum. */
  readonly threads?: Across;
}

type MetricType = 'counter' | 'gauge' | 'histogram';

export interface Metric<T extends MetricType = MetricType, L extends Labels = Labels> {
  readonly type: T;
  readonly help: string;
  readonly labels: L;
  readonly threads: Across;
  /** Upper bounds, ascending; empty unless a histogram. */
  readonly buckets: readonly number[];
}

type NoLabels = Record<never, never>;

/** A number that only grows. */
export function counter<const L extends Labels = NoLabels>(
  spec: Spec<L> & { readonly threads?: 'sum' | 'each' },
): Metric<'counter', L> {
  return made('counter', spec, []);
}

/** A number that goes up and down. */
export function gauge<const L extends Labels = NoLabels>(spec: Spec<L>): Metric<'gauge', L> {
  return made('gauge', spec, []);
}

/** Observations counted by size. */
export function histogram<const L extends Labels = NoLabels>(
  spec: Spec<L> & { readonly threads?: 'sum' | 'each'; readonly buckets: readonly number[] },
): Metric<'histogram', L> {
  const { buckets } = spec;
  if (
    buckets.length === 0 ||
    buckets.some((bound, i) => !Number.isFinite(bound) || bound <= (buckets[i - 1] ?? -Infinity))
  ) {
    throw new TypeError(`buckets must be finite and ascending: buckets=${buckets.join(',')}`);
  }
  return made('histogram', spec, buckets);
}

function made<T extends MetricType, L extends Labels>(
  type: T,
  spec: Spec<L>,
  buckets: readonly number[],
): Metric<T, L> {
  return { type, help: spec.help, labels: spec.labels ?? ({} as L), threads: spec.threads ?? 'sum', buckets };
}

export type Metrics = Readonly<Record<string, Metric>>;

/** A room's metrics with their places. */
export interface MetricSet<M extends Metrics = Metrics> {
  readonly metrics: M;
  /** First cell of each metric within the set. */
  readonly firstCells: ReadonlyMap<string, number>;
  readonly cells: number;
  /** The same in every thread that runs the same code; how a thread finds its set on a board. */
  readonly fingerprint: number;
}

/** Declares metrics; the key is the name in the text. Throws a TypeError for a name or label that Prometheus would refuse. */
export function defineMetrics<const M extends Metrics>(metrics: M): MetricSet<M> {
  const firstCells = new Map<string, number>();
  let cells = 0;
  for (const [name, metric] of Object.entries(metrics)) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new TypeError(`a metric's name is lower snake case: name=${name}`);
    for (const [label, values] of Object.entries(metric.labels)) {
      const reserved = label === 'le' || (label === 'thread' && metric.threads === 'each');
      if (!/^[a-z][a-z0-9_]*$/.test(label) || reserved) throw new TypeError(`${name}: no label may be called ${label}`);
      if (values.length === 0 || new Set(values).size !== values.length) {
        throw new TypeError(`${name}: values of ${label} must be there and differ: values=${values.join(',')}`);
      }
    }
    firstCells.set(name, cells);
    cells += combinations(metric.labels) * stride(metric);
  }
  return { metrics, firstCells, cells, fingerprint: fnv1a(JSON.stringify(metrics)) };
}

/** Cells that one combination of labels takes: a histogram has one per bucket, one above the last, and the sum. */
function stride(metric: Metric): number {
  return metric.type === 'histogram' ? metric.buckets.length + 2 : 1;
}

function combinations(labels: Labels): number {
  return Object.values(labels).reduce((product, values) => product * values.length, 1);
}

/** The labels of combination `index`; the last label turns fastest. */
function labelsAt(labels: Labels, index: number): Record<string, string> {
  const found: [string, string][] = [];
  let rest = index;
  for (const [label, values] of Object.entries(labels).reverse()) {
    found.unshift([label, values[rest % values.length]!]);
    rest = Math.floor(rest / values.length);
  }
  return Object.fromEntries(found);
}

function indexOf(name: string, labels: Labels, given: Readonly<Record<string, string>>): number {
  let index = 0;
  for (const [label, values] of Object.entries(labels)) {
    const at = values.indexOf(given[label]!);
    if (at < 0) throw new RangeError(`${name}: ${label} must be one of ${values.join(', ')}: ${label}=${given[label]}`);
    index = index * values.length + at;
  }
  const strange = Object.keys(given).find((label) => !Object.hasOwn(labels, label));
  if (strange !== undefined) throw new RangeError(`${name} has no label ${strange}`);
  return index;
}

function fnv1a(words: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(words)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / LINE) * LINE;
}

/** Makes a board with a slot per thread. Names of metrics must differ between sets: a TypeError. */
export function createBoard(sets: readonly MetricSet[], slots: number): SharedArrayBuffer {
  const names = sets.flatMap((set) => Object.keys(set.metrics));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new TypeError(`metric ${twice} is declared twice`);
  const slabBytes = padded(sets.reduce((cells, set) => cells + set.cells, 0) * CELL_BYTES);
  const headBytes = padded(HEAD_BYTES + sets.length * 8 + slots * sets.length * 4);
  const board = new SharedArrayBuffer(headBytes + slots * slabBytes);
  const head = new Uint32Array(board);
  head.set([MAGIC, slots, sets.length, slabBytes]);
  let cell = 0;
  for (const [i, set] of sets.entries()) {
    head.set([set.fingerprint, cell], HEAD_BYTES / 4 + i * 2);
    cell += set.cells;
  }
  return board;
}

/** A set's place on a board. */
class Place {
  readonly slots: number;
  private readonly board: SharedArrayBuffer;
  private readonly set: MetricSet;
  private readonly head: Uint32Array;
  private readonly index: number;

  constructor(board: SharedArrayBuffer, set: MetricSet) {
    this.board = board;
    this.set = set;
    this.head = new Uint32Array(board);
    if (this.head[0] !== MAGIC) throw new TypeError('the buffer must be a board of metrics');
    this.slots = this.head[1]!;
    this.index = 0;
    while (this.index < this.head[2]! && this.head[HEAD_BYTES / 4 + this.index * 2] !== set.fingerprint)
      this.index += 1;
    if (this.index === this.head[2]) {
      throw new TypeError(`the set must be on the board: metrics=${Object.keys(set.metrics).join(',')}`);
    }
  }

  /** The set's cells in a slot. */
  cells(slot: number): Float64Array {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.slots) {
      throw new RangeError(`slot must be below ${this.slots}: slot=${slot}`);
    }
    const sets = this.head[2]!;
    const headBytes = padded(HEAD_BYTES + sets * 8 + this.slots * sets * 4);
    const first = this.head[HEAD_BYTES / 4 + this.index * 2 + 1]!;
    return new Float64Array(this.board, headBytes + slot * this.head[3]! + first * CELL_BYTES, this.set.cells);
  }

  private attachedAt(slot: number): number {
    return HEAD_BYTES / 4 + this.head[2]! * 2 + slot * this.head[2]! + this.index;
  }

  attach(slot: number): void {
    Atomics.add(this.head, this.attachedAt(slot), 1);
  }

  attached(slot: number): boolean {
    return Atomics.load(this.head, this.attachedAt(slot)) > 0;
  }
}

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

/** Inside defineMetrics a metric without labels is inferred with the widest type, whose keys are any string. */
type Unlabelled<L> = keyof L extends never ? true : string extends keyof L ? true : false;

/** A metric in one thread. Resolve cells once, outside of the hot path. */
export interface Meter<T extends MetricType, L extends Labels> {
  /** The cell of one combination of labels. A value outside of its closed list is a RangeError. */
  at(...labels: Unlabelled<L> extends true ? [] | [NoLabels] : [LabelValues<L>]): Cells[T];
}

export type Meters<S> =
  S extends MetricSet<infer M>
    ? { readonly [K in keyof M]: M[K] extends Metric<infer T, infer L> ? Meter<T, L> : never }
    : never;

/** The meters of a set in this thread. The slot must be this thread's alone. */
export function attachBoard<S extends MetricSet>(set: S, board: SharedArrayBuffer, slot: number): Meters<S> {
  const place = new Place(board, set);
  const cells = place.cells(slot);
  const meters = Object.entries(set.metrics).map(([name, metric]) => {
    const first = set.firstCells.get(name)!;
    if (metric.type === 'gauge') cells.fill(0, first, first + combinations(metric.labels));
    const at = (labels: Readonly<Record<string, string>> = {}) => {
      const cell = first + indexOf(name, metric.labels, labels) * stride(metric);
      if (metric.type === 'counter') return new CounterCell(cells, cell);
      return metric.type === 'gauge' ? new GaugeCell(cells, cell) : new HistogramCell(cells, cell, metric.buckets);
    };
    return [name, { at }];
  });
  place.attach(slot);
  return Object.fromEntries(meters) as Meters<S>;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** For the parts of a histogram: `name_bucket`, `name_sum`, `name_count`. */
  readonly metricName?: string;
}

export interface Collected {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly values: readonly Sample[];
}

/** Metrics computed when asked: from rings, from /proc. */
export type Collector = () => readonly Collected[];

export interface TextOptions {
  /** Names of the slots, for `threads: 'each'`; default: their numbers. */
  readonly slotNames?: readonly string[];
}

/** The text of all sets and collectors in the format of Prometheus. */
export function metricsText(
  sets: readonly MetricSet[],
  board: SharedArrayBuffer,
  extra: readonly Collector[] = [],
  options: TextOptions = {},
): Promise<string> {
  const registry = new Registry();
  const collected = [
    ...sets.flatMap((set) => readSet(set, board, options.slotNames ?? [])),
    ...extra.flatMap((collect) => collect()),
  ];
  for (const metric of collected) {
    // prom-client's registry asks a metric only for its name and `get()`; its own classes would keep a second set of books.
    const shared = { name: metric.name, get: async () => metric };
    registry.registerMetric(shared as unknown as Parameters<Registry['registerMetric']>[0]);
  }
  return registry.metrics();
}

/** What /metrics is served as. */
export const metricsContentType: string = Registry.PROMETHEUS_CONTENT_TYPE;

function readSet(set: MetricSet, board: SharedArrayBuffer, slotNames: readonly string[]): readonly Collected[] {
  const place = new Place(board, set);
  const slots = Array.from({ length: place.slots }, (_, slot) => slot).filter((slot) => place.attached(slot));
  const slabs = slots.map((slot) => ({ name: slotNames[slot] ?? String(slot), cells: place.cells(slot) }));
  return Object.entries(set.metrics).map(([name, metric]) => {
    const values: Sample[] = [];
    for (let i = 0; i < combinations(metric.labels); i += 1) {
      const labels = labelsAt(metric.labels, i);
      const from = set.firstCells.get(name)! + i * stride(metric);
      const read = (cells: Float64Array) => cells.slice(from, from + stride(metric));
      if (metric.threads === 'each') {
        for (const slab of slabs)
          values.push(...samples(name, metric, { ...labels, thread: slab.name }, read(slab.cells)));
      } else {
        const across = slabs.map((slab) => read(slab.cells));
        values.push(...samples(name, metric, labels, together(metric, across)));
      }
    }
    return { name, help: metric.help, type: metric.type, values };
  });
}

function together(metric: Metric, across: readonly Float64Array[]): Float64Array {
  const result = new Float64Array(stride(metric));
  if (metric.threads === 'max' && across.length > 0) result[0] = Math.max(...across.map((cells) => cells[0]!));
  else for (const cells of across) for (const [i, value] of cells.entries()) result[i]! += value;
  return result;
}

function samples(name: string, metric: Metric, labels: Record<string, string>, cells: Float64Array): readonly Sample[] {
  if (metric.type !== 'histogram') return [{ labels, value: cells[0]! }];
  const parts: Sample[] = [];
  let count = 0;
  for (const [i, bound] of [...metric.buckets, Infinity].entries()) {
    count += cells[i]!;
    const le = bound === Infinity ? '+Inf' : String(bound);
    parts.push({ labels: { ...labels, le }, value: count, metricName: `${name}_bucket` });
  }
  parts.push({ labels, value: cells[metric.buckets.length + 1]!, metricName: `${name}_sum` });
  parts.push({ labels, value: count, metricName: `${name}_count` });
  return parts;
}

export { processMetrics } from './metrics-process.ts';
