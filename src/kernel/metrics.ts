/**
 * Metrics: counters, gauges and histograms in shared memory; prom-client makes the text. A thread adds to its own slab
 * with plain stores, and a scrape reads all slabs, so no thread waits for another.
 *
 *   export const pixelMetrics = defineMetrics({
 *     requests_total: counter({ help: '...', labels: { route: ['px', 'collect'] } }),
 *   });
 *   const board = createBoard([pixelMetrics, ...], threads);                  // main; the board goes to the threads
 *   const { requests_total } = attachBoard(pixelMetrics, board, slot);        // a thread; no other uses its slot
 *   const requests = requests_total.at({ route: 'px' });                      // once
 *   requests.add(1);                                                          // hot: 3 ns
 *   await metricsText([pixelMetrics, ...], board, collectors);                // any thread, at any time
 *
 * Counters and histograms outlive the thread in a slot: the next thread there continues them. Gauges restart at 0.
 *
 * metrics/declare  types, closed labels, sets      metrics/board    layout of the shared memory
 * metrics/cells    add, set, observe               metrics/text     the text, and collectors for computed values
 * metrics/process  CPU, memory, open files, build  metrics/loop     event-loop delay
 */
export { Announcer, type Growing, growingIn } from './metrics/announcer.ts';
export { createBoard } from './metrics/board.ts';
export { attachBoard, CounterCell, GaugeCell, HistogramCell, type Meter, type Meters } from './metrics/cells.ts';
export {
  type Across,
  counter,
  defineMetrics,
  gauge,
  histogram,
  type Metric,
  type MetricSet,
} from './metrics/declare.ts';
export { loopMetrics, watchLoop } from './metrics/loop.ts';
export { processMetrics } from './metrics/process.ts';
export {
  type Collected,
  type Collector,
  metricsContentType,
  metricsText,
  prepareMetricsText,
  type TextOptions,
} from './metrics/text.ts';
