/**
 * Handlers: what stands around every route. An exception that left a handler would end the acceptor, and with it the process (facts.md):
 * each one costs one 500 and one line in the log, however often it comes per second.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { answerProblem } from './answer.ts';

export type Handler = (res: HttpResponse, req: HttpRequest) => void;

export interface Faults {
  /** An exception was answered 500. */
  report(error: unknown): void;
}

/** Reports at most one fault a second: a bug that every request meets must not fill the disk with its trace. */
export class FaultLog implements Faults {
  readonly #log: (error: unknown, more: number) => void;
  readonly #now: () => number;
  #nextMs = 0;
  #unsaid = 0;

  constructor(log: (error: unknown, more: number) => void, now: () => number = Date.now) {
    this.#log = log;
    this.#now = now;
  }

  report(error: unknown): void {
    const now = this.#now();
    if (now < this.#nextMs) {
      this.#unsaid += 1;
      return;
    }
    this.#nextMs = now + 1000;
    this.#log(error, this.#unsaid);
    this.#unsaid = 0;
  }
}

/** Ends a response with 500 after an exception, if it can still be answered. */
export function answerFault(res: HttpResponse): void {
  try {
    res.cork(() => answerProblem(res, 'INTERNAL', {}, { close: true }));
  } catch {
    // Answered, or aborted, before the exception: the addon throws on any use of such a response.
  }
}

/** A handler whose exceptions cost one 500. */
export function guarded(handler: Handler, faults: Faults): Handler {
  return (res, req) => {
    try {
      handler(res, req);
    } catch (error) {
      faults.report(error);
      answerFault(res);
    }
  };
}
