/**
 * Postgres sink: one batch is one transaction on one of PG_CONNECTIONS sessions.
 *
 *   BEGIN; COPY into the session's temporary table | INSERT ... SELECT ... ON CONFLICT (event_id) DO NOTHING |
 *   wait until the batch before has committed | UPDATE of the cursor | COMMIT
 *
 *   delivery  exactly once: rows and cursor commit together; the unique event id makes a client's retry harmless
 *   order     batches load side by side; their cursors move one after the other, so a crash leaves no hole
 *   progress  the database's cursor is the truth, also when it goes back (cursor.ts)
 *   bad row   the transaction fails; the runner halves the batch until the row stands alone
 *   outage    the journal keeps what is not delivered; every wait is bounded, every failure leaves a fresh start
 *
 * PG_COPY=false loads by one INSERT of one jsonb parameter and keeps nothing in the session, as PgBouncer in transaction
 * mode demands.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Batching,
  CursorMoved,
  type ErrorClass,
  type SinkBatch,
  type SinkContext,
  type SinkKind,
  type SinkTarget,
} from '../../delivery/contract.ts';
import type { Mark } from '../../engine/checkpoint.ts';
import { laneKey } from '../../engine/segment.ts';
import { RingmainError } from '../../kernel/errors.ts';
import { connect, type PostgresLink } from '../../store/postgres/connection.ts';
import { copyIn } from '../../store/postgres/copy.ts';
import { type Dsn, parseDsn } from '../../store/postgres/dsn.ts';
import { faultOf } from '../../store/postgres/fault.ts';
import { parseTableName } from '../../store/postgres/names.ts';
import { type PostgresConfig, postgresConfig } from './config.ts';
import { Cursors } from './cursor.ts';
import { BatchEncoder, type Records } from './encode.ts';
import { StartOrder, type Turn } from './start-order.ts';
import { type EventTable, prepareTables, SetupError, STAGE } from './table.ts';

/** The client gives an answer up this much later than the server is told to end the statement, or at twice that time if shorter. */
const DEADLINE_SLACK_MS_MAX = 5000;
/** A batch that waits for the one before looks after this time whether it is itself what the other one waits for. */
const LOOK_MS = 200;
/** An idle sink whose session was lost looks for the server again, so that a failover is noticed without traffic. */
const RECONNECT_MS_MIN = 1000;
const RECONNECT_MS_MAX = 30_000;

/** The batch before has failed, so this one was taken back although nothing is wrong with it. */
export class PreviousFailed extends Error {
  override readonly name = 'PreviousFailed';
}

interface Session {
  link: PostgresLink | undefined;
  table: EventTable | undefined;
  readonly encoder: BatchEncoder;
}

export class PostgresTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #config: PostgresConfig;
  readonly #context: SinkContext;
  readonly #dsn: Dsn;
  readonly #cursors: Cursors;
  readonly #order = new StartOrder();
  readonly #free: Session[] = [];
  /** Writes that found no session free, because the look for a lost server holds one. */
  readonly #waiting: ((session: Session) => void)[] = [];
  readonly #sessions: readonly Session[];
  readonly #begin: string;
  #closed = false;
  #watch: AbortController | undefined;
  /** Rows that were there already: a client's retry, or a repeated batch. */
  duplicates = 0;

  constructor(config: PostgresConfig, context: SinkContext) {
    if (config.pgDsn === undefined) throw new Error('PG_DSN must be set when OUTPUTS names postgres');
    this.#config = config;
    this.#context = context;
    this.#dsn = parseDsn(config.pgDsn);
    this.#cursors = new Cursors(context.logId, context.name);
    this.inFlightMax = config.pgConnections;
    this.#sessions = Array.from({ length: config.pgConnections }, () => ({
      link: undefined,
      table: undefined,
      encoder: new BatchEncoder(),
    }));
    this.#free.push(...this.#sessions);
    // LOCAL, for a session behind PgBouncer is another one after the transaction. The idle limit frees the rows of a
    // transaction whose client has vanished: without it a retry would wait for them as long as TCP does.
    const timeout = config.pgStatementTimeoutMs;
    this.#begin = `BEGIN; SET LOCAL statement_timeout = ${timeout}; SET LOCAL idle_in_transaction_session_timeout = ${2 * timeout}`;
  }

  /** Claims the cursors of this log for this process and returns them; a lane without one has nothing stored. */
  cursors(): Promise<ReadonlyMap<string, Mark>> {
    return this.#withSession(async (session) => {
      const { link, table } = await this.#ready(session);
      return this.#cursors.claim(link, table.cursors);
    });
  }

  /** Stores a batch. Resolved: committed. `previous` is the write before this one; cursors move in that order. */
  write(batch: SinkBatch, previous: Promise<void>): Promise<void> {
    const before = previous.catch((cause: unknown) => {
      throw new PreviousFailed('the batch before was not stored', { cause });
    });
    before.catch(() => {}); // it may fail long before anybody waits for it
    const turn = this.#order.turn(laneKey(batch.lane));
    const stored = this.#withSession(async (session) => {
      if (batch.commit) this.#cursors.assertMine();
      const { link, table } = await this.#ready(session);
      let fresh = await this.#load(session, link, table, batch, turn);
      if (batch.commit) {
        if (await this.#mustGiveWay(link, before)) {
          await link.query('ROLLBACK');
          await before;
          fresh = await this.#load(session, link, table, batch, turn);
        }
        if (!(await this.#cursors.move(link, table.cursors, batch))) {
          await link.query('ROLLBACK');
          await this.#cursors.explain(link, table.cursors, batch);
          return;
        }
      }
      const { command } = await link.query('COMMIT');
      // A transaction that has failed answers COMMIT with ROLLBACK, and no error.
      if (command !== 'COMMIT') throw new Error(`COMMIT must be answered by COMMIT: found=${command}`);
      if (batch.commit) this.#cursors.committed(batch);
      this.duplicates += batch.count - fresh;
    });
    return stored.finally(turn.done);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watch?.abort();
    await Promise.all(this.#sessions.map((session) => session.link?.close()));
    if (this.duplicates > 0)
      this.#context.log.info({ duplicates: this.duplicates }, 'events that Postgres had already');
  }

  /** Opens a transaction with the batch's rows in it; returns how many were new. */
  async #load(session: Session, link: PostgresLink, table: EventTable, batch: Records, turn: Turn): Promise<number> {
    const { encoder } = session;
    if (batch.count === 0) {
      await link.query(this.#begin);
      return 0;
    }
    const conflict = `ON CONFLICT (${table.conflict}) DO NOTHING`;
    if (this.#config.pgCopy) {
      await copyIn(link, `${this.#begin}; COPY ${STAGE} FROM STDIN (FORMAT binary)`, encoder.rows(batch));
      encoder.done();
      const { rowCount } = await link.query(
        `INSERT INTO ${table.events} (event_id, ts, payload) SELECT event_id, ts, payload FROM ${STAGE} ${conflict}`,
      );
      return rowCount ?? 0;
    }
    await turn.come;
    await link.query(this.#begin);
    turn.done();
    const { rowCount } = await link.query(
      `INSERT INTO ${table.events} (event_id, ts, payload)
       SELECT (e->>'event_id')::uuid, (e->>'ts')::timestamptz, e FROM jsonb_array_elements($1::jsonb) AS e ${conflict}`,
      [encoder.array(batch)],
    );
    encoder.done();
    return rowCount ?? 0;
  }

  /**
   * Waits for the batch before. True: it waits for us, for both hold the same event id, and ours was inserted first. The
   * server cannot see that circle, for half of it is in this process; so we step back.
   */
  async #mustGiveWay(link: PostgresLink, before: Promise<void>): Promise<boolean> {
    const cancel = new AbortController();
    try {
      for (;;) {
        const timer = delay(LOOK_MS, false, { signal: cancel.signal }).catch(() => false);
        if (await Promise.race([before.then(() => true), timer])) return false;
        const { rows } = await link.query<{ blocking: boolean }>(
          `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
             AND transactionid = pg_current_xact_id()::xid) AS blocking`,
        );
        if (rows[0]!.blocking) return true;
      }
    } finally {
      cancel.abort();
    }
  }

  async #withSession<T>(use: (session: Session) => Promise<T>): Promise<T> {
    const session = this.#take() ?? (await new Promise<Session>((resolve) => this.#waiting.push(resolve)));
    try {
      return await use(session);
    } catch (error) {
      await this.#recover(session, error);
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(session);
      else next(session);
    }
  }

  /** One that is connected, if there is one: a server that allows fewer connections than we want serves the head of the line. */
  #take(): Session | undefined {
    const at = this.#free.findIndex(({ link }) => link !== undefined && link.broken === undefined);
    return this.#free.splice(Math.max(at, 0), 1)[0];
  }

  /** After a failure: an open session without a transaction, or none. */
  async #recover(session: Session, error: unknown): Promise<void> {
    session.encoder.abandon();
    const { link } = session;
    if (link === undefined) return;
    const fault = error instanceof SetupError ? 'setup' : faultOf(error);
    const innocent = error instanceof PreviousFailed || error instanceof CursorMoved;
    // Only after these is the session surely as good as before; all others begin again with a look at the tables.
    const keep = innocent || fault === 'row' || fault === 'busy';
    if (keep && link.broken === undefined) {
      try {
        await link.query('ROLLBACK');
        return;
      } catch {
        // then it is not
      }
    }
    session.link = undefined;
    session.table = undefined;
    await link.close();
  }

  /** A session that is connected, with its tables checked and the cursors where we left them. */
  async #ready(session: Session): Promise<{ link: PostgresLink; table: EventTable }> {
    if (session.link !== undefined && session.table !== undefined && session.link.broken === undefined) {
      return { link: session.link, table: session.table };
    }
    await session.link?.close();
    session.table = undefined;
    const { pgTable, pgCreateTable, pgGin, pgCopy, pgConnectTimeoutMs, pgStatementTimeoutMs } = this.#config;
    const link = await connect(this.#dsn, {
      connectTimeoutMs: pgConnectTimeoutMs,
      queryTimeoutMs: pgStatementTimeoutMs + Math.min(pgStatementTimeoutMs, DEADLINE_SLACK_MS_MAX),
      applicationName: 'ringmain',
    });
    session.link = link;
    link.onLost = (error) => this.#lost(error);
    const name = parseTableName(pgTable);
    const table = await prepareTables(link, { name, create: pgCreateTable, gin: pgGin, copy: pgCopy });
    session.table = table;
    this.#watch?.abort();
    await this.#cursors.verify(link, table.cursors);
    return { link, table };
  }

  #lost(error: Error): void {
    // Somebody is writing: that write fails, and the runner's next one connects.
    if (
      this.#closed ||
      this.#watch !== undefined ||
      !this.#cursors.claimed ||
      this.#free.length < this.#sessions.length
    )
      return;
    this.#context.connection?.(error);
    const watch = new AbortController();
    this.#watch = watch;
    void this.#lookAgain(watch.signal).finally(() => {
      this.#watch = undefined;
    });
  }

  async #lookAgain(signal: AbortSignal): Promise<void> {
    for (let wait = RECONNECT_MS_MIN; ; wait = Math.min(2 * wait, RECONNECT_MS_MAX)) {
      try {
        await delay(wait, undefined, { signal, ref: false });
      } catch {
        return; // a write was faster, or the sink closes
      }
      try {
        await this.#withSession(async (session) => void (await this.#ready(session)));
        this.#context.connection?.(undefined);
        return;
      } catch (error) {
        if (error instanceof CursorMoved) {
          this.#context.connection?.(undefined);
          this.#context.moved?.(error);
          return;
        }
      }
    }
  }
}

function classify(error: unknown): ErrorClass {
  if (error instanceof CursorMoved || error instanceof PreviousFailed) return 'retry';
  // Ours: tables that do not fit, a fence, a bug. Nothing of it is the data's fault, and no retry mends it by itself.
  if (error instanceof SetupError || error instanceof RingmainError || isBug(error)) return 'stop';
  const fault = faultOf(error);
  if (fault === 'setup') return 'stop';
  return fault === 'row' ? 'split' : 'retry';
}

function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

function batching({ pgBatchSize, pgBatchBytes, pgFlushMs }: PostgresConfig): Batching {
  return { records: pgBatchSize, bytes: pgBatchBytes, flushMs: pgFlushMs };
}

export const postgresSink: SinkKind<PostgresConfig> = {
  name: 'postgres',
  config: postgresConfig,
  waits: 'event-loop',
  batching,
  // Connects with the first call: the runner's back-off is then the only one.
  open: async (config, context) => new PostgresTarget(config, context),
  classify,
};
