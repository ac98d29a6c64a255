/**
 * Waiting line: requests of a thread that wait for a place at a backend, the oldest first. A free place belongs to the
 * thread whose oldest has waited longest (tickets, in memory that all share); another thread takes it only after a
 * moment in which that thread did not come for it.
 *
 * A thread that gives a place back serves its own line at once; that another thread did, it sees at its next look. No
 * thread blocks on a word of memory, for it has an event loop.
 */
import { gatewayErrors } from '../errors.ts';
import { type BackendTable, Head } from './backend-table.ts';
import type { Lease } from './balancer.ts';

/** Between two looks while somebody waits. */
const LOOK_MS = 1;
/** A busy thread may come a little late for what is its own. */
const PATIENCE_MS = 5;

export interface LineOptions {
  /** Waiting requests of all threads. */
  readonly queue: number;
  readonly queueMs: number;
}

interface Waiter {
  readonly ticket: number;
  readonly untilMs: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (lease: Lease) => void;
  readonly reject: (error: Error) => void;
  readonly onAbort: () => void;
}

export class WaitingLine {
  readonly #table: BackendTable;
  readonly #take: () => Lease | undefined;
  readonly #options: LineOptions;
  readonly #seat: number;
  /** In the order of their tickets. */
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;
  /** Since when this thread has left free places to another one. */
  #leftSince: number | undefined;

  /** `take`: a place, when there is one. */
  constructor(table: BackendTable, take: () => Lease | undefined, options: LineOptions) {
    this.#table = table;
    this.#take = take;
    this.#options = options;
    this.#seat = table.sitDown();
  }

  get length(): number {
    return this.#waiters.size;
  }

  /** Whether anybody waits, on any thread. */
  get anywhere(): boolean {
    return Atomics.load(this.#table.words, Head.WAITING) > 0;
  }

  /** Waits for a place. Rejects with BACKENDS_BUSY when there is no room to wait, or when the time is over. */
  join(signal: AbortSignal | undefined): Promise<Lease> {
    const { words } = this.#table;
    if (Atomics.add(words, Head.WAITING, 1) >= this.#options.queue) {
      Atomics.sub(words, Head.WAITING, 1);
      return Promise.reject(gatewayErrors.BACKENDS_BUSY({}));
    }
    return new Promise((resolve, reject) => {
      // 0 means that nobody waits.
      const ticket = Atomics.add(words, Head.TICKET, 2) | 1 | 0;
      const onAbort = (): void => {
        this.#leave(waiter);
        reject(signal!.reason as Error);
      };
      const untilMs = performance.now() + this.#options.queueMs;
      const waiter: Waiter = { ticket, untilMs, signal, resolve, reject, onAbort };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (this.#waiters.size === 1) this.#table.wait(this.#seat, ticket);
      this.serve();
    });
  }

  #oldest(): Waiter | undefined {
    for (const waiter of this.#waiters) return waiter;
    return undefined;
  }

  #leave(waiter: Waiter): void {
    if (!this.#waiters.delete(waiter)) return;
    waiter.signal?.removeEventListener('abort', waiter.onAbort);
    Atomics.sub(this.#table.words, Head.WAITING, 1);
    this.#table.wait(this.#seat, this.#oldest()?.ticket ?? 0);
  }

  /** Gives free places to those who wait, and looks again later when some still do. */
  serve(): void {
    const now = performance.now();
    for (let waiter = this.#oldest(); waiter !== undefined; waiter = this.#oldest()) {
      if (now >= waiter.untilMs) {
        this.#leave(waiter);
        waiter.reject(gatewayErrors.BACKENDS_BUSY({}));
        continue;
      }
      if (!this.#mayTake(waiter.ticket, now)) break;
      const lease = this.#take();
      if (lease === undefined) break;
      this.#leave(waiter);
      waiter.resolve(lease);
    }
    if (this.#waiters.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.serve();
    }, LOOK_MS);
  }

  #mayTake(ticket: number, now: number): boolean {
    if (!this.#table.othersBefore(this.#seat, ticket)) {
      this.#leftSince = undefined;
      return true;
    }
    this.#leftSince ??= now;
    return now - this.#leftSince >= PATIENCE_MS;
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const waiter of this.#waiters) {
      this.#leave(waiter);
      waiter.reject(gatewayErrors.NO_BACKEND({}));
    }
    this.#table.standUp(this.#seat);
  }
}
