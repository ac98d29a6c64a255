/** Event-loop delay of a thread: how late a timer comes. For threads that must not block; the keeper and the file sink may. */
import { attachBoard } from './cells.ts';
import { defineMetrics, gauge } from './declare.ts';

export const loopMetrics = defineMetrics({
  ringmain_event_loop_delay_seconds: gauge({
    help: 'Longest delay of the event loop of a thread within the last ten to twenty seconds.',
    threads: 'each',
  }),
});

const CHECK_MS = 100;
const WINDOW_MS = 10_000;

/** Measures this thread's loop from now on; `slot` is the thread's on the board. Returns what stops it. */
export function watchLoop(board: SharedArrayBuffer, slot: number): () => void {
  const cell = attachBoard(loopMetrics, board, slot).ringmain_event_loop_delay_seconds.at();
  let expected = performance.now() + CHECK_MS;
  let worst = 0;
  let before = 0;
  let windowEnd = performance.now() + WINDOW_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - expected);
    expected = now + CHECK_MS;
    cell.set(Math.max(worst, before) / 1000);
    if (now < windowEnd) return;
    // Two windows: a delay stays visible for a scrape interval at least.
    before = worst;
    worst = 0;
    windowEnd = now + WINDOW_MS;
  }, CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
