/**
 * Pool upstream: requests to backends, over connections that a thread keeps for each of them (connection-pool.ts). What
 * fails before the head of an answer, and answers that say "not now" (429 of imgproxy's full queue, 502, 503, 504), go
 * to another backend within the retry budget.
 */
import { Deadline, Deadlines } from '../../http/deadlines.ts';
import type { Balancer, Lease } from '../balance/balancer.ts';
import type { RetryBudget } from '../balance/retry-budget.ts';
import { gatewayErrors } from '../errors.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import type { ConnectionLimits, ConnectionShared } from './connection.ts';
import { ConnectionPool } from './connection-pool.ts';
import { requestText } from './request-text.ts';
import type { Upstream, UpstreamAnswer, UpstreamRequest } from './upstream.ts';

export interface UpstreamOptions extends ConnectionLimits {
  /** From the request to the last byte of its answer, over all attempts. */
  readonly wholeMs: number;
}

export type RetryResult = 'retried' | 'no_budget' | 'no_backend';

export interface UpstreamParts {
  readonly balancer: Balancer;
  readonly budget: RetryBudget;
  retried(result: RetryResult): void;
}

/** Of one request; more help nobody, for its time is over soon. */
const RETRIES_MAX = 2;
/** Idle connections end before a backend ends them (imgproxy: 10 s). */
const KEEP_ALIVE_MS = 4000;
const FULL = 429;
const notNow = new Set([FULL, 502, 503, 504]);

export class PoolUpstream implements Upstream {
  readonly #parts: UpstreamParts;
  readonly #shared: ConnectionShared;
  readonly #wholes: Deadlines;
  readonly #wholeMs: number;
  readonly #pools = new Map<string, ConnectionPool>();
  #closed = false;

  constructor(parts: UpstreamParts, options: UpstreamOptions) {
    this.#parts = parts;
    const { connectMs, headMs, bodyMs, wholeMs } = options;
    this.#shared = {
      limits: { connectMs, headMs, bodyMs },
      connecting: new Deadlines(connectMs),
      waiting: new Deadlines(headMs),
      reading: new Deadlines(bodyMs),
      idling: new Deadlines(KEEP_ALIVE_MS),
    };
    this.#wholes = new Deadlines(wholeMs);
    this.#wholeMs = wholeMs;
  }

  get(request: UpstreamRequest): Promise<UpstreamAnswer> {
    const { balancer, budget } = this.#parts;
    budget.deposit();
    const lease = balancer.acquire(request.signal === undefined ? {} : { signal: request.signal });
    const call = new Call(this.#parts, request, this, this.#wholes, this.#wholeMs);
    return lease instanceof Promise ? lease.then((one) => call.run(one)) : call.run(lease);
  }

  /** The connections to a backend. Throws when this is closed. */
  pool(origin: string): ConnectionPool {
    let pool = this.#pools.get(origin);
    if (pool === undefined) {
      if (this.#closed) throw gatewayErrors.NO_BACKEND({});
      pool = new ConnectionPool(origin, this.#shared);
      this.#pools.set(origin, pool);
    }
    return pool;
  }

  /** Ends the connections to backends that are no more; their requests under way are finished. */
  keep(origins: ReadonlySet<string>): void {
    for (const [origin, pool] of this.#pools) {
      if (origins.has(origin)) continue;
      this.#pools.delete(origin);
      pool.retire();
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
    return Promise.resolve();
  }
}

/** One request, over all its attempts. */
class Call extends Deadline implements AttemptOwner {
  readonly method: 'GET' | 'HEAD';
  readonly #parts: UpstreamParts;
  readonly #request: UpstreamRequest;
  readonly #upstream: PoolUpstream;
  readonly #wholes: Deadlines;
  readonly #wholeMs: number;
  readonly #onAbort: (() => void) | undefined;
  #tried: Set<number> | undefined;
  #attempt: Attempt | undefined;
  #answered = false;
  #resolve!: (answer: UpstreamAnswer) => void;
  #reject!: (error: Error) => void;

  constructor(
    parts: UpstreamParts,
    request: UpstreamRequest,
    upstream: PoolUpstream,
    wholes: Deadlines,
    wholeMs: number,
  ) {
    super();
    this.#parts = parts;
    this.#request = request;
    this.method = request.method;
    this.#upstream = upstream;
    this.#wholes = wholes;
    this.#wholeMs = wholeMs;
    const { signal } = request;
    this.#onAbort = signal === undefined ? undefined : () => this.#abort(signal.reason as Error);
  }

  run(lease: Lease): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      const { signal } = this.#request;
      if (signal?.aborted === true) {
        lease.release('given_up');
        reject(signal.reason as Error);
        return;
      }
      if (signal !== undefined) signal.addEventListener('abort', this.#onAbort!, { once: true });
      this.#wholes.add(this);
      this.#try(lease);
    });
  }

  /** The time for the whole of it is over. */
  override expire(): void {
    this.#abort(gatewayErrors.BACKEND_TIMEOUT({ limitMs: this.#wholeMs }));
  }

  #abort(reason: Error): void {
    this.#attempt?.stop('given_up', reason);
    this.#end();
    this.#reject(reason);
  }

  #try(lease: Lease): void {
    const attempt = new Attempt(this, lease);
    this.#attempt = attempt;
    try {
      const pool = this.#upstream.pool(lease.origin);
      attempt.send(pool, requestText(this.#request, pool.host));
    } catch (error) {
      // It cannot be sent to anybody, or the pools are closed.
      attempt.cancel();
      this.#end();
      this.#reject(error as Error);
    }
  }

  retries(status: number, attempt: Attempt): boolean {
    const next = notNow.has(status) ? this.#next() : undefined;
    if (next === undefined) return false;
    // A full queue is no failure: who has much to do must not be ejected for it.
    attempt.stop(status === FULL ? 'answered' : 'failed');
    this.#try(next);
    return true;
  }

  answered(answer: UpstreamAnswer): void {
    this.#answered = true;
    this.#resolve(answer);
  }

  failed(error: Error): void {
    const next = this.#next();
    if (next !== undefined) {
      this.#try(next);
      return;
    }
    this.#end();
    this.#reject(error);
  }

  /** Until its answer is over, signal and time end the request, whether somebody reads or not. */
  over(): void {
    if (this.#answered) this.#end();
  }

  /** A place at another backend, when there is one at once and the budget allows it. */
  #next(): Lease | undefined {
    const { balancer, budget, retried } = this.#parts;
    const { signal } = this.#request;
    this.#tried ??= new Set();
    this.#tried.add(this.#attempt!.backendId);
    if (signal?.aborted === true || this.#tried.size > RETRIES_MAX) return undefined;
    if (!budget.withdraw()) {
      retried('no_budget');
      return undefined;
    }
    const lease = balancer.acquire({ not: this.#tried, ...(signal === undefined ? {} : { signal }) });
    if (!(lease instanceof Promise)) {
      retried('retried');
      return lease;
    }
    // Retries do not wait, so this is a refusal.
    lease.catch(() => undefined);
    budget.putBack();
    retried('no_backend');
    return undefined;
  }

  #end(): void {
    this.#wholes.remove(this);
    if (this.#onAbort !== undefined) this.#request.signal?.removeEventListener('abort', this.#onAbort);
  }
}
