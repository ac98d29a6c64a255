/**
 * Job ledger: which process runs a job of the scheduler, and which times have had their run.
 *
 *   lock    a session advisory lock, held while the job runs; when the process dies, the server frees it, and within
 *           half a minute when its host has vanished
 *   table   ringmain_jobs, one row per service and job: the newest time that has had its run, the outcome of the last
 *           run, and when a run that threw is repeated, by whichever process comes first
 *
 * The row is read and written only under the lock. Times come from the clocks of the processes: a row that is ahead of
 * this process by more than one interval was written by a clock that was wrong, and counts for nothing. The lock
 * belongs to the session: a pooler in transaction mode must not stand between.
 */
import { hostname } from 'node:os';
import { connect, type PostgresLink } from './connection.ts';
import { createOnce } from './create.ts';
import { type Dsn, parseDsn } from './dsn.ts';
import { silentHost } from './vanishing.ts';

/** The answer to a process that wants to run a job for a time. */
export type LedgerEntry =
  | {
      /** It runs the job, then calls leave(). */
      readonly kind: 'mine';
      /** Runs in a row that failed, in whichever process. */
      readonly failures: number;
      /** Fires when the session of the lock is lost: another process may run the job from then on. */
      readonly lost: AbortSignal;
      leave(end: LedgerEnd): Promise<void>;
    }
  /** The time has had its run; `dueMs` is the newest one that has. */
  | { readonly kind: 'done'; readonly dueMs: number }
  /** Another process runs it, or a job with the same lock. */
  | { readonly kind: 'busy' }
  /** Its last run failed; it is repeated at this time. */
  | { readonly kind: 'later'; readonly atMs: number };

/** How a run has ended. given_up: the process drains, or the lock was lost; the time has not had its run. */
export type LedgerEnd =
  | { readonly outcome: 'ok'; readonly dueMs: number; readonly beganMs: number; readonly durationMs: number }
  | { readonly outcome: 'failed'; readonly retryAtMs: number; readonly beganMs: number; readonly reason: string }
  | { readonly outcome: 'given_up' };

interface Row {
  readonly due: Date | null;
  readonly failures: number;
  readonly retry_at: Date | null;
}

const TIMEOUT_MS = 10_000;
const TABLE = 'ringmain_jobs';
const CREATE =
  `CREATE TABLE IF NOT EXISTS ${TABLE} (service text, job text, due timestamptz, outcome text NOT NULL,` +
  ' began_at timestamptz NOT NULL, duration_ms bigint, failures int NOT NULL, retry_at timestamptz, reason text,' +
  ' host text NOT NULL, PRIMARY KEY (service, job))';

export class PostgresJobLedger {
  readonly #dsn: Dsn;
  readonly #service: string;
  readonly #retryMsMax: number;
  /** Sessions without a lock. */
  readonly #idle: PostgresLink[] = [];
  #made = false;
  #closed = false;

  /** `retryMsMax`: no repeat is further away. */
  constructor(dsn: string, service: string, retryMsMax: number) {
    this.#dsn = parseDsn(dsn);
    this.#service = service;
    this.#retryMsMax = retryMsMax;
  }

  /** Asks for the right to run the job for the time `dueMs`. */
  async enter(job: string, lock: string, dueMs: number, intervalMs: number, nowMs: number): Promise<LedgerEntry> {
    const link = await this.#take();
    try {
      const key = `ringmain job ${this.#service} ${lock}`;
      const { rows } = await link.query<{ mine: boolean }>(
        'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS mine',
        [key],
      );
      if (!rows[0]!.mine) {
        this.#give(link);
        return { kind: 'busy' };
      }
      const row = await this.#read(link, job);
      const doneMs = row?.due?.getTime();
      const retryMs = row?.retry_at?.getTime();
      const done = doneMs !== undefined && doneMs >= dueMs && doneMs <= dueMs + intervalMs;
      const later = retryMs !== undefined && retryMs > nowMs && retryMs <= nowMs + this.#retryMsMax;
      if (done || later) {
        await this.#unlock(link, key);
        return done ? { kind: 'done', dueMs: doneMs } : { kind: 'later', atMs: retryMs! };
      }
      return this.#mine(link, key, job, row?.failures ?? 0);
    } catch (error) {
      await link.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#idle.splice(0).map((link) => link.close()));
  }

  #mine(link: PostgresLink, key: string, job: string, failures: number): LedgerEntry {
    const lost = new AbortController();
    link.onLost = (error) => lost.abort(error);
    const leave = async (end: LedgerEnd): Promise<void> => {
      link.onLost = () => {};
      try {
        await this.#write(link, job, end);
        await this.#unlock(link, key);
      } catch (error) {
        await link.close();
        throw error;
      }
    };
    return { kind: 'mine', failures, lost: lost.signal, leave };
  }

  async #read(link: PostgresLink, job: string): Promise<Row | undefined> {
    const { rows } = await link.query<Row>(
      `SELECT due, failures, retry_at FROM ${TABLE} WHERE service = $1 AND job = $2`,
      [this.#service, job],
    );
    return rows[0];
  }

  async #write(link: PostgresLink, job: string, end: LedgerEnd): Promise<void> {
    if (end.outcome === 'given_up') return;
    const ok = end.outcome === 'ok';
    await link.query(
      `INSERT INTO ${TABLE} AS old (service, job, outcome, began_at, host, due, duration_ms, retry_at, reason, failures)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
       ON CONFLICT (service, job) DO UPDATE SET outcome = $3, began_at = $4, host = $5, due = coalesce($6, old.due),
         duration_ms = $7, retry_at = $8, reason = $9, failures = CASE WHEN $10 = 0 THEN 0 ELSE old.failures + 1 END`,
      [
        this.#service,
        job,
        end.outcome,
        new Date(end.beganMs),
        hostname(),
        ok ? new Date(end.dueMs) : null,
        ok ? Math.round(end.durationMs) : null,
        ok ? null : new Date(end.retryAtMs),
        ok ? null : end.reason,
        ok ? 0 : 1,
      ],
    );
  }

  async #unlock(link: PostgresLink, key: string): Promise<void> {
    await link.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [key]);
    this.#give(link);
  }

  async #take(): Promise<PostgresLink> {
    for (let link = this.#idle.pop(); link !== undefined; link = this.#idle.pop()) {
      if (link.broken === undefined) return link;
      await link.close();
    }
    const link = await connect(this.#dsn, {
      connectTimeoutMs: TIMEOUT_MS,
      settings: silentHost,
      queryTimeoutMs: TIMEOUT_MS,
      applicationName: 'ringmain jobs',
    });
    if (this.#made) return link;
    try {
      await createOnce(link, () => link.query(CREATE));
    } catch (error) {
      await link.close();
      throw error;
    }
    this.#made = true;
    return link;
  }

  #give(link: PostgresLink): void {
    if (this.#closed) void link.close();
    else this.#idle.push(link);
  }
}
