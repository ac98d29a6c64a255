/**
 * Turn: which of the processes with the role reporting computes the sums of a ClickHouse server, for all of them. It is
 * an advisory lock of a session of Postgres: whoever dies, or loses the session, has given it back.
 *
 * While Postgres is away, who had the turn goes on, and so does a process that has never reached it. Then several may
 * compute the same sums, which costs work and changes no number (rollup.ts).
 */

import type { PostgresLink } from '../../store/postgres/connection.ts';
import { KeptLink } from '../../store/postgres/kept-link.ts';

export class Turn {
  readonly #kept: KeptLink;
  readonly #name: string;
  #mine = true;
  /** The session that holds the lock. */
  #holder: PostgresLink | undefined;

  /** `place`: of the server and its database; processes that name it alike take turns. */
  constructor(open: () => Promise<PostgresLink>, place: string) {
    this.#kept = new KeptLink(open);
    this.#name = `ringmain sms reports ${place}`;
  }

  /** Whether it is this process's now. Never rejects. */
  async mine(): Promise<boolean> {
    try {
      const link = await this.#kept.get();
      if (link !== this.#holder || link.broken !== undefined) {
        this.#holder = undefined;
        const { rows } = await link.query<{ mine: boolean }>(
          'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS mine',
          [this.#name],
        );
        this.#mine = rows[0]!.mine;
        if (this.#mine) this.#holder = link;
      }
    } catch {
      // Postgres is away: it stays as it was.
    }
    return this.#mine;
  }

  async close(): Promise<void> {
    await this.#kept.close();
  }
}
