/**
 * Declare: a metric is a type, a help text and closed lists of label values; a set is the metrics of one room with
 * their cell numbers. All combinations of labels are laid out once, so no label from a client can allocate memory.
 */
export type Labels = Readonly<Record<string, readonly string[]>>;
export type LabelValues<L> = { readonly [K in keyof L]: L[K] extends readonly (infer V)[] ? V : never };

/** How the numbers of several threads are combined: the sum, the largest, or a line each with the label `thread`. */
export type Across = 'sum' | 'max' | 'each';

interface Spec<L extends Labels> {
  readonly help: string;
  readonly labels?: L;
  /** Default: sum. */
  readonly threads?: Across;
}

/** How main tells in the log that a counter grows (Announcer). */
export interface Told {
  readonly level: 'info' | 'warn' | 'error';
  /** One sentence; the labels and how many it were stand beside it. */
  readonly sentence: string;
}

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface Metric<T extends MetricType = MetricType, L extends Labels = Labels> {
  readonly type: T;
  readonly help: string;
  readonly labels: L;
  readonly threads: Across;
  /** Upper bounds, ascending; empty for other types than histogram. */
  readonly buckets: readonly number[];
  /** Undefined: the log is silent about it. */
  readonly told?: Told;
}

export type NoLabels = Record<never, never>;

/** A number that only grows. */
export function counter<const L extends Labels = NoLabels>(
  spec: Spec<L> & { readonly threads?: 'sum' | 'each'; readonly told?: Told },
): Metric<'counter', L> {
  const { told } = spec;
  return { ...made('counter', spec, []), ...(told === undefined ? {} : { told }) };
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

/** A room's metrics with their cell numbers. */
export interface MetricSet<M extends Metrics = Metrics> {
  readonly metrics: M;
  /** First cell of each metric within the set. */
  readonly firstCells: ReadonlyMap<string, number>;
  readonly cells: number;
  /** Equal in all threads that run the same code; a thread finds its set on a board by it. */
  readonly fingerprint: number;
}

/** Declares metrics; the key is the name in the text. Throws a TypeError for names that Prometheus would refuse. */
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

/** Cells of one combination of labels: a histogram has one per bucket, one above the last, and the sum. */
export function stride(metric: Metric): number {
  return metric.type === 'histogram' ? metric.buckets.length + 2 : 1;
}

/** How many combinations the labels have. */
export function combinations(labels: Labels): number {
  return Object.values(labels).reduce((product, values) => product * values.length, 1);
}

/** The labels of combination `index`; the last label varies fastest. */
export function labelsAt(labels: Labels, index: number): Record<string, string> {
  const found: [string, string][] = [];
  let rest = index;
  for (const [label, values] of Object.entries(labels).reverse()) {
    found.unshift([label, values[rest % values.length]!]);
    rest = Math.floor(rest / values.length);
  }
  return Object.fromEntries(found);
}

/** The index of the combination with these labels. Throws a RangeError for an unknown label or value. */
export function combinationOf(name: string, labels: Labels, given: Readonly<Record<string, string>>): number {
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
