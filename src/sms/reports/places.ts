/**
 * Places of exports: how many may run at once in one acceptor, one for each customer. An export holds a session of
 * ClickHouse for as long as its client takes to read it, and ingestion and all reports need sessions, too.
 */
import { smsErrors } from '../errors.ts';

/** In each acceptor: chdb has six sessions for all. */
export const EXPORTS_MAX = 2;

export class ExportPlaces {
  readonly #running = new Set<string>();

  /** Hands on what `begin` makes, which must end by itself or be returned. Throws EXPORTS_BUSY. */
  hold<T>(who: string, begin: () => AsyncGenerator<T>): AsyncGenerator<T> {
    if (this.#running.has(who)) throw smsErrors.EXPORTS_BUSY({ reason: `an export of ${who} runs already` });
    if (this.#running.size >= EXPORTS_MAX)
      throw smsErrors.EXPORTS_BUSY({ reason: `${EXPORTS_MAX} exports run already, of other customers` });
    this.#running.add(who);
    return this.#heldUntilEnd(who, begin);
  }

  async *#heldUntilEnd<T>(who: string, begin: () => AsyncGenerator<T>): AsyncGenerator<T> {
    try {
      yield* begin();
    } finally {
      this.#running.delete(who);
    }
  }
}
