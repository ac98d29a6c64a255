/** Loop: event-loop delay, how late a timer fires. For threads that must not block; keeper and file sink may block. */
import { attachBoard } from './cells.ts';
import { defineMetrics, gauge } from './declare.ts';

export const loopMetrics = defineMetrics({
  ringmain_event_loop_delay_seconds: gauge({
    help: 'Maximum event loop delay of a thread over the last ten to twenty seconds.',
    threads: 'each',
  }),
});

const CHECK_MS = 100;
const WINDOW_MS = 10_000;

/**
 * Starts measuring this thread's loop; `slots` are those of the seats of the thread on the board. Returns a function
 * that stops it.
 */
export function watchLoop(board: SharedArrayBuffer, ...slots: readonly number[]): () => void {
  const cells = slots.map((slot) => attachBoard(loopMetrics, board, slot).ringmain_event_loop_delay_seconds.at());
  let expected = performance.now() + CHECK_MS;
  let worst = 0;
  let before = 0;
  let windowEnd = performance.now() + WINDOW_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - expected);
    expected = now + CHECK_MS;
    for (const cell of cells) cell.set(Math.max(worst, before) / 1000);
    if (now < windowEnd) return;
    // Two windows keep a delay visible for at least one scrape interval.
    before = worst;
    worst = 0;
    windowEnd = now + WINDOW_MS;
  }, CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
