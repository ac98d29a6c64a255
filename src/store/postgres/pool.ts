/**
 * Link pool: sessions of Postgres that many share, opened when they are needed and again when they are lost; after a
 * failed attempt nobody tries for a moment. Work has a session for itself, and is never done twice: a session that has
 * stood idle is asked for a sign of life first, since it dies with a restart of its server.
 */
import type { PostgresLink } from './connection.ts';
import { describeFault, faultOf, sqlState } from './fault.ts';

const PAUSE_MS = 500;
/** A session that has stood idle for longer is asked whether it lives. */
const IDLE_MS = 500;
const WAITING_MAX = 1000;

export interface PoolOptions {
  readonly open: () => Promise<PostgresLink>;
  /** Sessions at most. */
  readonly sessions: number;
  /** Sessions that stay open while nobody needs them. Default: all. */
  readonly idle?: number;
  /** Pieces of work that wait for a session at most. Default: WAITING_MAX. */
  readonly waiting?: number;
  /** The error for who asks while the database is away or busy, or too many wait. */
  away(cause: unknown): Error;
  /** Told once when the database goes away, and once when it is back (undefined). */
  told?(away: string | undefined): void;
}

interface Idle {
  readonly link: PostgresLink;
  readonly since: number;
}

export class LinkPool {
  readonly #options: PoolOptions;
  /** The one that was used last is the last. */
  readonly #idle: Idle[] = [];
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #isAway = false;
  #cause: unknown;
  #pauseEnds = 0;
  #closed: (() => void) | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Rejects with the error of `away` when the database cannot be reached, or cannot do it now. */
  async use<T>(work: (link: PostgresLink) => Promise<T>): Promise<T> {
    const { sessions, away, waiting = WAITING_MAX } = this.#options;
    if (this.#busy < sessions) this.#busy += 1;
    else {
      if (this.#waiting.length >= waiting) throw away(new Error(`${waiting} questions wait for the database`));
      await new Promise<void>((turn) => this.#waiting.push(turn));
    }
    try {
      return await this.#attempt(work);
    } finally {
      // Whoever waits longest takes the place over.
      const next = this.#waiting.shift();
      if (next !== undefined) next();
      else {
        this.#busy -= 1;
        if (this.#busy === 0) this.#closed?.();
      }
    }
  }

  async #attempt<T>(work: (link: PostgresLink) => Promise<T>): Promise<T> {
    const link = (await this.#living()) ?? (await this.#open());
    let lost = false;
    try {
      return await work(link);
    } catch (error) {
      // The server says good-bye before the socket closes.
      const fault = sqlState(error) === undefined ? undefined : faultOf(error);
      lost = fault === 'network' || fault === 'moved';
      if (link.broken === undefined && !lost && fault !== 'busy') throw error;
      // What the work throws by itself is about what it was asked.
      throw error instanceof Error && 'kind' in error ? error : this.#options.away(error);
    } finally {
      const { idle = Number.POSITIVE_INFINITY } = this.#options;
      const enough = this.#waiting.length === 0 && this.#idle.length >= idle;
      if (lost || link.broken !== undefined || enough) await link.close();
      else this.#idle.push({ link, since: performance.now() });
    }
  }

  async #living(): Promise<PostgresLink | undefined> {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      const { link, since } = idle;
      if (link.broken === undefined) {
        if (performance.now() - since < IDLE_MS) return link;
        try {
          await link.query('SELECT 1');
          return link;
        } catch {
          // The next one, or a new one, tells what is wrong.
        }
      }
      await link.close();
    }
    return undefined;
  }

  async #open(): Promise<PostgresLink> {
    const { open, away, told } = this.#options;
    if (performance.now() < this.#pauseEnds) throw away(this.#cause);
    try {
      const link = await open();
      if (this.#isAway) told?.(undefined);
      this.#isAway = false;
      return link;
    } catch (error) {
      this.#pauseEnds = performance.now() + PAUSE_MS;
      this.#cause = error;
      if (!this.#isAway) told?.(describeFault(error));
      this.#isAway = true;
      throw away(error);
    }
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    if (this.#busy > 0) await new Promise<void>((done) => (this.#closed = done));
    await Promise.all(this.#idle.splice(0).map(({ link }) => link.close()));
  }
}
