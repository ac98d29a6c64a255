/**
 * Sessions: connections to the one engine of the process. A session answers one query at a time; several of them run
 * side by side. Whoever finds all of them busy waits in line.
 */
import type { ChdbSession } from './contract.ts';

/** Enough for the ingest, the sums, a page and an export at once. */
const SESSIONS_MAX = 6;
const WAITING_MAX = 256;

export class Sessions {
  readonly #open: () => Promise<ChdbSession>;
  readonly #idle: ChdbSession[] = [];
  readonly #waiting: PromiseWithResolvers<ChdbSession>[] = [];
  #count = 0;

  constructor(open: () => Promise<ChdbSession>) {
    this.#open = open;
  }

  /** Runs `work` with a session of its own. Throws when too many wait. */
  async use<T>(work: (session: ChdbSession) => Promise<T>): Promise<T> {
    const session = await this.#take();
    try {
      return await work(session);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(session);
      else next.resolve(session);
    }
  }

  async #take(): Promise<ChdbSession> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#count < SESSIONS_MAX) {
      this.#count += 1;
      try {
        return await this.#open();
      } catch (error) {
        this.#count -= 1;
        throw error;
      }
    }
    if (this.#waiting.length >= WAITING_MAX)
      throw new Error(`Code: 202. DB::Exception: at most ${WAITING_MAX} queries may wait`);
    const waiting = Promise.withResolvers<ChdbSession>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }
}
