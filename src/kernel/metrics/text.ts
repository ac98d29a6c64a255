/**
 * Text: the answer of /metrics, read from the slabs of all threads without asking them. The numbers are not of one
 * moment: a histogram's sum may be one observation ahead of its buckets. Buckets only grow.
 */
import { SetCells } from './board.ts';
import { combinations, labelsAt, type Metric, type MetricSet, type MetricType, stride } from './declare.ts';

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

/** Metrics that are computed at each scrape, from rings or from /proc. */
export type Collector = () => readonly Collected[];

export interface TextOptions {
  /** Names of the slots, for `threads: 'each'`; default: their numbers. */
  readonly slotNames?: readonly string[];
}

let library: Promise<typeof import('prom-client')> | undefined;

/**
 * Loads prom-client, which metricsText() needs and which takes 40 ms to load. Threads that are scraped call this before
 * they serve, so that no request waits for it; the others never load it.
 */
export function prepareMetricsText(): Promise<typeof import('prom-client')> {
  library ??= import('prom-client');
  return library;
}

/** The text of all sets and collectors in the format of Prometheus. */
export async function metricsText(
  sets: readonly MetricSet[],
  board: SharedArrayBuffer,
  extra: readonly Collector[] = [],
  options: TextOptions = {},
): Promise<string> {
  const { Registry } = await prepareMetricsText();
  const registry = new Registry();
  const collected = [
    ...sets.flatMap((set) => readSet(set, board, options.slotNames ?? [])),
    ...extra.flatMap((collect) => collect()),
  ];
  for (const metric of collected) {
    // prom-client's registry calls only `get()` of a metric; its own metric classes would count everything twice.
    const shared = { name: metric.name, get: async () => metric };
    registry.registerMetric(shared as unknown as Parameters<typeof registry.registerMetric>[0]);
  }
  return registry.metrics();
}

/** Content type of /metrics: the text format of Prometheus, version 0.0.4, which prom-client writes. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

function readSet(set: MetricSet, board: SharedArrayBuffer, slotNames: readonly string[]): readonly Collected[] {
  const setCells = new SetCells(board, set);
  const slots = Array.from({ length: setCells.slots }, (_, slot) => slot).filter((slot) => setCells.attached(slot));
  const slabs = slots.map((slot) => ({ name: slotNames[slot] ?? String(slot), cells: setCells.cells(slot) }));
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
