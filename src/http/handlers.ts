/**
 * Handlers: what a route's handler is given, and what becomes of its exceptions. An exception that left a handler would
 * end the acceptor, and with it the process: the router turns each into one 500 and one line in the log, at most one
 * line a second.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { errors } from '../kernel/errors.ts';
import { answerProblem, type Wire } from './answer.ts';
import type { Cors } from './cors.ts';
import type { Framing } from './guards.ts';
import type { Tally } from './tally.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/**
 * Answers a request. Strings of `req` (headers, query, parameters) must be read before the first await: the addon's
 * request is gone when the handler returns. A handler that answers later is made by `later` of reply.ts.
 */
export type Handler = (res: HttpResponse, req: HttpRequest, at: MountedRoute) => void;

/** One method of a route, as it is mounted. All but `framing` is constant, so a request allocates nothing for it. */
export interface MountedRoute {
  readonly name: string;
  readonly path: string;
  readonly method: Method;
  /** The answer has no body. */
  readonly head: boolean;
  /** Of the route; a handler that answers pages of other sites writes its headers. */
  readonly cors: Cors | undefined;
  readonly tally: Tally;
  readonly wire: Wire;
  readonly faults: Faults;
  /** How the body of this request is framed, also where the route takes none. Borrowed until the handler returns. */
  framing: Framing;
}

export interface Faults {
  /** An exception was answered 500. `requestId`: of the request, where its service gives it one. */
  report(error: unknown, requestId?: string): void;
}

/** Reports at most one fault a second: a bug that every request meets must not fill the disk with its trace. */
export class FaultLog implements Faults {
  readonly #log: (error: unknown, more: number, requestId: string | undefined) => void;
  /** Ms of a clock that is never set: one that is set back would keep it quiet. */
  readonly #now: () => number;
  #nextMs = Number.NEGATIVE_INFINITY;
  #unsaid = 0;

  constructor(
    log: (error: unknown, more: number, requestId: string | undefined) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#log = log;
    this.#now = now;
  }

  report(error: unknown, requestId?: string): void {
    const now = this.#now();
    if (now < this.#nextMs) {
      this.#unsaid += 1;
      return;
    }
    this.#nextMs = now + 1000;
    this.#log(error, this.#unsaid, requestId);
    this.#unsaid = 0;
  }
}

/**
 * Ends a response with 500 after an exception. False: it was answered or aborted before, and cannot be answered any
 * more.
 */
export function answerFault(res: HttpResponse, head = false): boolean {
  try {
    res.cork(() => answerProblem(res, errors.INTERNAL, {}, { close: true, head }));
    return true;
  } catch {
    // The addon throws on any use of a response that has ended.
    return false;
  }
}
