/**
 * Tally: counts the answers of one route by class of status. 429 stands apart: it says that the server is full, not
 * that the client erred.
 */
import type { CounterCell } from '../kernel/metrics.ts';

export const statusClasses = ['2xx', '3xx', '4xx', '429', '5xx'] as const;
export type StatusClass = (typeof statusClasses)[number];

/** Names that the router counts its own answers under: preflights; 404, 405 and what else has no route. */
export const routerNames = ['preflight', 'other'] as const;

export interface Tally {
  /** An answer of this status leaves. */
  answered(status: number): void;
}

export class CellTally implements Tally {
  readonly #ok: CounterCell;
  readonly #redirect: CounterCell;
  readonly #clientError: CounterCell;
  readonly #tooMany: CounterCell;
  readonly #serverError: CounterCell;

  /** `cell`: the counter of a class; each is asked for once. */
  constructor(cell: (status: StatusClass) => CounterCell) {
    this.#ok = cell('2xx');
    this.#redirect = cell('3xx');
    this.#clientError = cell('4xx');
    this.#tooMany = cell('429');
    this.#serverError = cell('5xx');
  }

  answered(status: number): void {
    if (status < 300) this.#ok.add(1);
    else if (status === 429) this.#tooMany.add(1);
    else if (status >= 500) this.#serverError.add(1);
    else if (status >= 400) this.#clientError.add(1);
    else this.#redirect.add(1);
  }
}
