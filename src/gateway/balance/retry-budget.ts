/**
 * Retry budget: retries are a share of the requests, so that they cannot multiply the load of backends that fail
 * because of it. A token bucket as in Finagle's RetryBudget (percentCanRetry) and Envoy's retry_budget
 * (budget_percent), of all threads: each request puts its share in, a retry takes a whole one out. A bound stands in
 * place of Finagle's ten seconds of life, as in gRPC's retry throttling (maxTokens, proposal A6).
 */
import { type BackendTable, Head } from './backend-table.ts';

const WHOLE = 100;
/** So many retries at once after a quiet time; the first requests have a tenth of it. */
const TOKENS_MAX = 100 * WHOLE;
const TOKENS_FIRST = 10 * WHOLE;

export class RetryBudget {
  readonly #words: Int32Array;
  readonly #percent: number;

  constructor(table: BackendTable, percent: number) {
    this.#words = table.words;
    this.#percent = percent;
  }

  /** A request, the first attempt of it. */
  deposit(): void {
    if (Atomics.load(this.#words, Head.RETRY_TOKENS) < TOKENS_MAX - TOKENS_FIRST)
      Atomics.add(this.#words, Head.RETRY_TOKENS, this.#percent);
  }

  /** False: there is nothing left for a retry. */
  withdraw(): boolean {
    if (this.#percent === 0) return false;
    // The word begins at 0, so the tokens of the beginning are what it may go below that.
    if (Atomics.sub(this.#words, Head.RETRY_TOKENS, WHOLE) - WHOLE >= -TOKENS_FIRST) return true;
    this.putBack();
    return false;
  }

  /** The retry does not take place. */
  putBack(): void {
    Atomics.add(this.#words, Head.RETRY_TOKENS, WHOLE);
  }
}
