/**
 * Database: typed SQL for questions, and the sessions that it runs on.
 *
 * Kysely builds the SQL, checked against tables.generated.ts, and runs nothing: links of store/postgres do, so hosts,
 * TLS and deadlines of DATABASE_URL are as everywhere. bigint columns arrive as texts, as kysely-codegen types them;
 * sums are cast to double precision, which holds every count below 2^53 exactly.
 */
import {
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
} from 'kysely';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { faultOf, sqlState } from '../../store/postgres/fault.ts';
import { LinkPool } from '../../store/postgres/pool.ts';
import { analyticsErrors } from '../errors.ts';
import type { DB } from '../tables.generated.ts';

/** Builds queries; has no connection. */
export const db = new Kysely<DB>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (kysely) => new PostgresIntrospector(kysely),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** What a question reads from: all of its queries see one moment. */
export interface Snapshot {
  rows<O>(query: Query<O>): Promise<O[]>;
  /** Lets something read that needs the session itself. */
  use<T>(work: (link: PostgresLink) => Promise<T>): Promise<T>;
}

/** A query of the builder, or a text made with `sql`. */
type Query<O> = { compile(): CompiledQuery<O> } | RawBuilder<O>;

const compiled = <O>(query: Query<O>): CompiledQuery<O> => (query as RawBuilder<O>).compile(db);

/** What may be asked of a session whose transaction is open. `tell`: sees what fails. */
export function snapshotOf(
  link: PostgresLink,
  tell: <T>(asked: Promise<T>) => Promise<T> = (asked) => asked,
): Snapshot {
  return {
    rows: async <O>(query: Query<O>): Promise<O[]> => {
      const { sql, parameters } = compiled(query);
      return (await tell(link.query<O & Record<string, unknown>>(sql, parameters))).rows;
    },
    use: (work) => tell(work(link)),
  };
}

/** Ours, and no word of the server or of the way to it. */
function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

/** The server ends a statement after this time. */
const STATEMENT_MS_MAX = 8000;
const CONNECT_MS_MAX = 3000;
/** A process that stands still within an answer keeps its snapshot, and what is deleted since then, for so long. */
const IDLE_MS_MAX = 30_000;
/** SQLSTATE query_canceled: by the limit above, for nobody else cancels. */
const CANCELED = '57014';

// LOCAL: behind a pooler in transaction mode the next transaction has another session. Questions take milliseconds: to
// start parallel workers, or to compile, takes longer than what they are started for.
const BEGIN = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = ${STATEMENT_MS_MAX};
  SET LOCAL idle_in_transaction_session_timeout = ${IDLE_MS_MAX};
  SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off`;

export interface DatabaseOptions {
  readonly dsn: string;
  /** Sessions at most; they are opened when they are needed. */
  readonly sessions: number;
  /** Told once when the database goes away, and once when it is back. */
  told(away: string | undefined): void;
}

export class Database {
  readonly #pool: LinkPool;

  constructor({ dsn, sessions, told }: DatabaseOptions) {
    this.#pool = new LinkPool({
      open: () =>
        openLink(dsn, {
          connectTimeoutMs: CONNECT_MS_MAX,
          queryTimeoutMs: STATEMENT_MS_MAX + 1000,
          applicationName: 'ringmain-query',
        }),
      sessions,
      away: (cause) => analyticsErrors.STORE_AWAY({}, cause),
      told,
    });
  }

  /** Answers within one read-only transaction. */
  read<T>(answer: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    return this.#pool.use(async (link) => {
      try {
        await link.query(BEGIN);
        const found = await answer(snapshotOf(link, tell));
        await link.query('COMMIT');
        return found;
      } catch (error) {
        if (link.broken === undefined) await link.query('ROLLBACK').catch(() => undefined);
        throw error;
      }
    });
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

/** What the server refuses because the question asks too much, or because it cannot do it now, has errors of its own. */
async function tell<R>(asked: Promise<R>): Promise<R> {
  try {
    return await asked;
  } catch (error) {
    if (isBug(error)) throw error;
    if (sqlState(error) === CANCELED) throw analyticsErrors.QUERY_TOO_SLOW({ limitMs: STATEMENT_MS_MAX }, error);
    const fault = faultOf(error);
    if (fault === 'row' || fault === 'setup') throw error;
    throw analyticsErrors.STORE_AWAY({}, error);
  }
}
