/**
 * Settle: gives back what the start of a thread has left. Loading modules and a first reading of the database leave 3 to
 * 12 MiB of garbage in each heap. V8 collects it only when as much again was allocated, which takes a thread that mostly
 * waits hours; and pages that are a tenth full stay with the process until a collection moves what lives in them.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { threadId } from 'node:worker_threads';

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/** After it a start is over: what was read first is read, and code that ran once runs no more. */
const SETTLE_MS = 5000;
/** Threads settle one after the other: all at once they would take every core from those who answer. */
const APART_MS = 250;
const TURNS = 16;

/**
 * Collects once, and moves what lives together. Takes 50 to 100 ms, in which the thread does nothing else; 400 ms where
 * twenty threads wanted two cores.
 */
export function settle(): void {
  setFlagsFromString('--expose-gc');
  // The flag reaches contexts that are made after it.
  const collect = runInNewContext('gc') as Collect;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** Settles when the start is over. For event-loop threads that nobody waits for by the millisecond. */
export function settleLater(): void {
  setTimeout(settle, SETTLE_MS + (threadId % TURNS) * APART_MS).unref();
}
