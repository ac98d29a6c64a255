/**
 * Session: the one session of Postgres on which an acceptor's groups are committed. It is opened when a group needs it,
 * and again after it was lost; after a failed attempt nobody tries for a moment, so that requests are refused at once
 * while the database is away.
 */
import type { Logger } from '../../kernel/log.ts';
import { serviceErrors } from '../../service/errors.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { byIndex } from '../by-index.ts';
import { TABLE_LOCK_MS } from './group.ts';

const CONNECT_MS_MAX = 3000;
/** Below the time in which a request must be answered (http/reply.ts), with the wait for the group before. */
export const QUERY_MS_MAX = 4000;
const PAUSE_MS = 500;

/** A session whose client has vanished must not hold its customers for long. */
export const groupSettings = {
  ...byIndex,
  lock_timeout: TABLE_LOCK_MS,
  ...vanishing(QUERY_MS_MAX),
} as const;

export class GroupSession {
  readonly #dsn: string;
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  #link: PostgresLink | undefined;
  #pauseEnds = 0;
  #away = false;

  constructor(dsn: string, log: Pick<Logger, 'info' | 'warn'>) {
    this.#dsn = dsn;
    this.#log = log;
  }

  /** The session, opened when it must be. Throws DATABASE_UNAVAILABLE. */
  async link(): Promise<PostgresLink> {
    if (this.#link !== undefined && this.#link.broken === undefined) return this.#link;
    await this.drop();
    if (performance.now() < this.#pauseEnds) throw serviceErrors.DATABASE_UNAVAILABLE();
    try {
      this.#link = await openLink(this.#dsn, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-sms-accept',
        pipeline: true,
        settings: groupSettings,
        // 200 promises it.
        durable: true,
      });
    } catch (error) {
      this.#pauseEnds = performance.now() + PAUSE_MS;
      if (!this.#away)
        this.#log.warn({ reason: describeFault(error) }, 'the database cannot be reached: sends are answered with 503');
      this.#away = true;
      throw serviceErrors.DATABASE_UNAVAILABLE({}, error);
    }
    if (this.#away) this.#log.info('the database answers again: messages are accepted');
    this.#away = false;
    return this.#link;
  }

  /** Lets go of the session: the next group gets another. */
  async drop(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    await link?.close();
  }
}
