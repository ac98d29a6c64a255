/**
 * Answering: how a worker answers what acceptors ask of the database (questions.ts), each question on a session for
 * itself, of a bounded pool. While the database is away, questions get DATABASE_UNAVAILABLE. A statement that takes too
 * long ends in the server as well: it is not left running for nobody.
 */
import type { Logger } from '../../kernel/log.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { LinkPool } from '../../store/postgres/pool.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { serviceErrors } from '../errors.ts';
import type { Answers, Question } from './questions.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 10_000;
/** Below QUERY_MS_MAX, so that the session outlasts it. */
const STATEMENT_MS_MAX = 9000;

export interface AnsweringOptions {
  readonly dsn: string;
  /** What the server calls the sessions. */
  readonly applicationName: string;
  /** Sessions at most. */
  readonly sessions: number;
  /** Of them, those that stay open while nobody asks. Default: all. */
  readonly idle?: number;
  /** Questions that wait for a session at most. Default: that of the pool. */
  readonly waiting?: number;
  /** The tables of answers, by area. */
  readonly areas: Readonly<Record<string, Answers>>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

export interface Answering {
  /** Answers a Question. Rejects with what the answer throws, or with DATABASE_UNAVAILABLE. */
  answer(asked: unknown): Promise<unknown>;
  /** Waits for what is under way. */
  close(): Promise<void>;
}

export function openAnswering(options: AnsweringOptions): Answering {
  const { dsn, applicationName, sessions, idle, waiting, areas, log } = options;
  const pool = new LinkPool({
    open: () =>
      openLink(dsn, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName,
        settings: { statement_timeout: STATEMENT_MS_MAX, ...vanishing(QUERY_MS_MAX) },
        // Money that was added, a key that was revoked: nobody says it again.
        durable: true,
      }),
    sessions,
    ...(idle === undefined ? {} : { idle }),
    ...(waiting === undefined ? {} : { waiting }),
    away: (cause) => serviceErrors.DATABASE_UNAVAILABLE({}, cause),
    told(away) {
      if (away === undefined) log.info('the database answers again');
      else log.warn({ reason: away }, 'the database cannot be reached: what needs it is answered with 503');
    },
  });
  const answers = new Map<string, Answers[string]>();
  for (const [area, table] of Object.entries(areas))
    for (const [what, answer] of Object.entries(table)) answers.set(`${area}/${what}`, answer);
  return {
    async answer(asked) {
      const { area, what, input } = asked as Question;
      const answer = answers.get(`${area}/${what}`);
      if (answer === undefined)
        throw new TypeError(`the database worker must know the question: found=${area}/${what}`);
      return pool.use((link) => answer(link, input as never));
    },
    close: () => pool.close(),
  };
}
