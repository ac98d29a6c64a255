/**
 * Start order: of two batches of a strand, the earlier one begins its transaction first.
 *
 * Behind a pooler a transaction occupies one of few server sessions from BEGIN to COMMIT. Suppose a later batch took
 * the last session: it would wait for the earlier batch to commit, and the earlier batch would wait for a session, both
 * for ever. Begun in order, the earlier batch has its session whenever a later one waits for it.
 */
export interface Turn {
  /** Resolves when every earlier batch of the strand has begun or ended. */
  readonly come: Promise<void>;
  /** This batch has begun, or ended. To be called in any case. */
  done(): void;
}

export class StartOrder {
  readonly #last = new Map<string, Promise<void>>();

  /** Lines up. Calls for one strand must be made in the order of its batches. */
  turn(strand: string): Turn {
    const { promise, resolve } = Promise.withResolvers<void>();
    const come = this.#last.get(strand) ?? Promise.resolve();
    const both = come.then(() => promise);
    this.#last.set(strand, both);
    void both.then(() => {
      if (this.#last.get(strand) === both) this.#last.delete(strand);
    });
    return { come, done: resolve };
  }
}
