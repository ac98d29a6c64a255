/**
 * Balancer: which backend takes the next request. Weights, health and the state of the smooth weighted round robin lie
 * in memory that all acceptors share.
 */
/** The worker that checks them (checks-worker.ts). */
export const CHECKS_WORKER = 'checks';

export interface Lease {
  readonly backendId: number;
  /** http://host:port */
  readonly origin: string;
  /** Gives the place back, once; says how it went, for the breaker and the passive checks. */
  release(outcome: LeaseOutcome): void;
}

/**
 * answered: with any status below 500. failed: 5xx, a time-out, or no connection. given_up: the client went away, which
 * says nothing of the backend.
 */
export type LeaseOutcome = 'answered' | 'failed' | 'given_up';

export interface Balancer {
  /**
   * A place at a backend that may be used, at once or when one is free. Rejects with NO_BACKEND when none may be used,
   * and with BACKENDS_BUSY when the queue is full, BACKEND_QUEUE_MS have gone by, or will have before a place is free.
   * With `not` (a retry) nobody waits.
   */
  acquire(options: { readonly not?: ReadonlySet<number>; readonly signal?: AbortSignal }): Lease | Promise<Lease>;
  close(): void;
}
