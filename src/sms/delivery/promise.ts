/**
 * Promise: whether a message was handed over in time, judged when its state changes, whoever brings the news: the answer
 * to the call, an answer to a query, a receipt. Time counts from its acceptance, or from when it was sent again; so only
 * what leaves the queue is judged, for its row knows that time.
 */
import type { Lane } from '../model.ts';
import type { WorkerConfig } from './config.ts';
import type { Changed } from './news.ts';

/** What is promised of express messages. */
export interface ExpressPromise {
  readonly deadlineMs: number;
  /** The cost of a late one is given back. */
  readonly credit: boolean;
}

export interface Judged {
  readonly lane: Lane;
  /** Ms until the first word that the operator has it; undefined: this is not the first, or says something else. */
  readonly tookMs: number | undefined;
  /** It was express, and after its deadline nobody had it, or nobody knew. */
  readonly late: boolean;
}

/** `acceptedMs`: of its row in the queue; undefined: it had none, and has been judged before. */
export function judge(row: Changed, acceptedMs: number | undefined, promise: ExpressPromise | undefined): Judged {
  const { lane, kind } = row;
  if (acceptedMs === undefined) return { lane, tookMs: undefined, late: false };
  const ms = Math.max(0, row.at.getTime() - acceptedMs);
  return {
    lane,
    tookMs: kind === 'failed' || kind === 'unknown' ? undefined : ms,
    late: lane === 'express' && promise !== undefined && ms > promise.deadlineMs,
  };
}

/** As the options say it; the API judges by its own, where a receipt is the first word. */
export const promiseOf = (config: Pick<WorkerConfig, 'expressDeadlineMs' | 'expressMiss'>): ExpressPromise => ({
  deadlineMs: config.expressDeadlineMs,
  credit: config.expressMiss === 'credit',
});
