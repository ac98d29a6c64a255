/**
 * Start order: of two batches of a lane, the earlier one begins its transaction first.
 *
 * Behind a pooler a transaction occupies one of few server sessions from BEGIN to COMMIT. Were a later batch to take the last one, it
 * would wait for the earlier batch to commit, and that one for a session: for ever. Begun in order, the earlier one has
 * its session whenever a later one waits for it.
 */
export interface Turn {
  /** Resolves when every earlier batch of the lane has begun or ended. */
  readonly come: Promise<void>;
  /** This batch has begun, or ended. To be called in any case. */
  done(): void;
}

export class StartOrder {
  readonly #last = new Map<string, Promise<void>>();

  /** Lines up. Calls for one lane must be made in the order of its batches. */
  turn(lane: string): Turn {
    const { promise, resolve } = Promise.withResolvers<void>();
    const come = this.#last.get(lane) ?? Promise.resolve();
    const both = come.then(() => promise);
    this.#last.set(lane, both);
    void both.then(() => {
      if (this.#last.get(lane) === both) this.#last.delete(lane);
    });
    return { come, done: resolve };
  }
}
