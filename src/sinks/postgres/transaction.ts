/**
 * Exactly once into Postgres: one batch is one transaction on one of several sessions, around a load of the caller's.
 *
 *   BEGIN | statements of the load | wait until the batch before has committed | UPDATE of the cursor | COMMIT
 *
 *   delivery  the load's changes and the cursor commit together
 *   order     batches load side by side; their cursors move one after the other, so a crash leaves no hole
 *   progress  the database's cursor is the truth, also when it goes back (cursor.ts)
 *   bad row   the transaction fails; the runner halves the batch until the record stands alone
 *   outage    the source keeps what is not delivered; every wait is bounded; a failed session is opened anew
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  CursorMoved,
  type ErrorClass,
  type SinkBatch,
  type SinkContext,
  type SinkTarget,
} from '../../delivery/contract.ts';
import type { Mark } from '../../engine/checkpoint.ts';
import { type LaneId, laneKey } from '../../engine/segment.ts';
import { RingmainError } from '../../kernel/errors.ts';
import { connect, type PostgresLink } from '../../store/postgres/connection.ts';
import { copyIn } from '../../store/postgres/copy.ts';
import type { Dsn } from '../../store/postgres/dsn.ts';
import { faultOf } from '../../store/postgres/fault.ts';
import type { TableName } from '../../store/postgres/names.ts';
import { Cursors, prepareCursors, StrandTaken } from './cursor.ts';
import type { Load } from './load.ts';
import { StartOrder, type Turn } from './start-order.ts';

/** The client waits this much longer than the server is told to run a statement; at most as long again. */
const DEADLINE_SLACK_MS_MAX = 5000;
/** A batch that waits for the batch before it looks this often whether that batch waits for it. */
const LOOK_MS = 200;

/** The batch before waits for this one, which must step back. */
class GaveWay extends Error {
  override readonly name = 'GaveWay';
}

/** The batch before has failed, so this one was taken back although nothing is wrong with it. */
class PreviousFailed extends Error {
  override readonly name = 'PreviousFailed';
}

/** What loads have said of their own errors. */
const verdicts = new WeakMap<object, ErrorClass>();

export function classify(error: unknown): ErrorClass {
  if (error instanceof CursorMoved || error instanceof PreviousFailed || error instanceof StrandTaken) return 'retry';
  const verdict = typeof error === 'object' && error !== null ? verdicts.get(error) : undefined;
  if (verdict !== undefined) return verdict;
  // Tables that do not fit, a fence, a bug: the fault is ours, not the data's, and no retry mends it.
  if (error instanceof RingmainError || isBug(error)) return 'stop';
  const fault = faultOf(error);
  if (fault === 'setup') return 'stop';
  return fault === 'row' ? 'split' : 'retry';
}

function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

export interface TransactionOptions {
  /** Name of the output: part of the key of its cursors. */
  readonly output: string;
  /** Id of the log, or of a topic's source: part of the key of the cursors. */
  readonly source: string;
  /** The life of this process in the log: who claims its cursors. */
  readonly life?: Omit<LaneId, 'lane'>;
  readonly dsn: Dsn;
  /** Sessions that load at the same time. */
  readonly sessions: number;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  /** Table of the cursors. */
  readonly cursors: TableName;
  readonly createCursors: boolean;
  /** True: transactions begin in the order of their batches, for a pooler in transaction mode (start-order.ts). */
  readonly ordered: boolean;
  /** Makes the load of one session. */
  readonly load: () => Load;
}

/** The open transaction that a load writes through. It begins with the load's first statement. */
export class Transaction {
  readonly #link: PostgresLink;
  readonly #begin: string;
  readonly #turn: Turn | undefined;
  readonly #before: () => Promise<void>;
  readonly #onCommit: (() => void)[] = [];
  #begun = false;

  /** `turn`: the transaction begins when it comes. `before`: waits for the batch before. */
  constructor(
    link: PostgresLink,
    begin: string,
    turn: Turn | undefined,
    before: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.#link = link;
    this.#begin = begin;
    this.#turn = turn;
    this.#before = before;
  }

  /**
   * Waits until the batch before has committed. A load whose batches wait for each other anyway calls it before it asks
   * for their common lock: else the later batch may get that first, and must be taken back. Rejects when the batch
   * before has failed, or waits for something that this one has changed already: then this batch is taken back and
   * comes again.
   */
  inOrder(): Promise<void> {
    return this.#before();
  }

  /** Begins the transaction, unless it has begun. */
  async begin(): Promise<void> {
    if (this.#begun) return;
    await this.#turn?.come;
    await this.#link.query(this.#begin);
    this.#begun = true;
    this.#turn?.done();
  }

  /** Runs a statement, or several without parameters. The result is the last one's. */
  async query<R extends Record<string, unknown> = Record<string, unknown>>(
    sql: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: R[]; readonly rowCount: number | null }> {
    await this.begin();
    return this.#link.query<R>(sql, values);
  }

  /**
   * Runs COPY ... FROM STDIN with these bytes, which belong to the session until the promise has resolved. As the first
   * statement it shares a round trip with BEGIN. Returns the number of rows that the server has taken.
   */
  async copy(sql: string, bytes: Buffer): Promise<number> {
    // At once: the caller works on while the server takes the rows.
    if (this.#begun) return copyIn(this.#link, sql, bytes);
    if (this.#turn !== undefined) {
      await this.begin();
      return copyIn(this.#link, sql, bytes);
    }
    this.#begun = true;
    return copyIn(this.#link, `${this.#begin}; ${sql}`, bytes);
  }

  /**
   * Runs `work` behind a savepoint. When it throws, everything that it has changed is taken back, calls of onCommit()
   * too, and the transaction can go on.
   */
  async attempt(work: () => Promise<void>): Promise<void> {
    await this.query('SAVEPOINT attempt');
    const calls = this.#onCommit.length;
    try {
      await work();
      await this.query('RELEASE SAVEPOINT attempt');
    } catch (error) {
      this.#onCommit.length = calls;
      // On a lost connection this fails as well; what happened first says more.
      await this.query('ROLLBACK TO SAVEPOINT attempt').catch(() => {});
      throw error;
    }
  }

  /** `call` runs when the transaction has committed, and never when it has not. */
  onCommit(call: () => void): void {
    this.#onCommit.push(call);
  }

  async commit(): Promise<void> {
    const { command } = await this.#link.query('COMMIT');
    // A transaction that has failed answers COMMIT with ROLLBACK, and no error.
    if (command !== 'COMMIT') throw new Error(`COMMIT must be answered by COMMIT: found=${command}`);
    for (const call of this.#onCommit) call();
  }
}

interface Session {
  link: PostgresLink | undefined;
  /** The tables are checked and the cursors are where we left them. */
  ready: boolean;
  readonly load: Load;
}

export class TransactionTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #options: TransactionOptions;
  readonly #context: Pick<SinkContext, 'moved' | 'lost'>;
  readonly #cursors: Cursors;
  readonly #order = new StartOrder();
  readonly #free: Session[] = [];
  /** Writes that found no session free, because a probe holds one. */
  readonly #waiting: ((session: Session) => void)[] = [];
  readonly #sessions: readonly Session[];
  readonly #begin: string;
  #closed = false;

  constructor(
    options: TransactionOptions,
    context: Pick<SinkContext, 'moved' | 'lost'> & Partial<Pick<SinkContext, 'log'>>,
  ) {
    this.#options = options;
    this.#context = context;
    this.#cursors = new Cursors(options.source, options.output, options.life, ({ lane, lifeId }, position) =>
      context.log?.warn(
        { partition: lane, topicId: lifeId, position },
        'the topic was deleted and made anew: its records are stored from the beginning, behind those of the one before',
      ),
    );
    this.inFlightMax = options.sessions;
    this.#sessions = Array.from({ length: options.sessions }, () => ({
      link: undefined,
      ready: false,
      load: options.load(),
    }));
    this.#free.push(...this.#sessions);
    // LOCAL: behind a pooler the next transaction has another session. The idle limit frees the rows of a transaction
    // whose client has vanished: without it a retry would wait for them as long as TCP does.
    const timeout = options.statementTimeoutMs;
    const idle = `SET LOCAL idle_in_transaction_session_timeout = ${2 * timeout}`;
    // A load asks for locks and then reads what others committed before: a database may have another default.
    this.#begin = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = ${timeout}; ${idle}`;
  }

  /**
   * Claims the cursors for this process and returns them; a strand without one has nothing stored. `lanes`: only the
   * cursors of these, for a source that shares its strands with other processes.
   */
  cursors(lanes?: readonly LaneId[]): Promise<ReadonlyMap<string, Mark>> {
    const table = this.#options.cursors.sql;
    return this.#withSession(async (session) => {
      const link = await this.#ready(session);
      return lanes === undefined ? this.#cursors.claim(link, table) : this.#cursors.hold(link, table, lanes);
    });
  }

  /** Stores a batch. Resolved: committed. `previous` is the write before this one; cursors move in that order. */
  write(batch: SinkBatch, previous: Promise<void>): Promise<void> {
    const before = previous.catch((cause: unknown) => {
      throw new PreviousFailed('the batch before was not stored', { cause });
    });
    before.catch(() => {}); // it may fail long before anybody waits for it
    const table = this.#options.cursors.sql;
    const turn = this.#order.turn(laneKey(batch.lane));
    const stored = this.#withSession(async (session) => {
      if (batch.commit) this.#cursors.assertMine();
      const link = await this.#ready(session);
      const inOrder = async () => {
        if (batch.commit && (await this.#mustGiveWay(link, before))) throw new GaveWay('the batch before waits for it');
      };
      let transaction: Transaction;
      try {
        transaction = await this.#load(session, link, batch, turn, inOrder);
        await inOrder();
      } catch (error) {
        if (!(error instanceof GaveWay)) throw error;
        session.load.abandon?.();
        await link.query('ROLLBACK');
        await before;
        transaction = await this.#load(session, link, batch, turn, inOrder);
      }
      if (batch.commit) {
        if (!(await this.#cursors.move(link, table, batch))) {
          await link.query('ROLLBACK');
          await this.#cursors.explain(link, table, batch);
          return;
        }
      }
      await transaction.commit();
      if (batch.commit) this.#cursors.committed(batch);
    });
    return stored.finally(turn.done);
  }

  /** Connects when no session is open. So a failover that lost commits is noticed without an event. */
  async probe(): Promise<void> {
    try {
      await this.#withSession(async (session) => {
        const link = await this.#ready(session);
        await link.query('SELECT 1');
      });
    } catch (error) {
      if (!(error instanceof CursorMoved)) throw error;
      this.#context.moved?.(error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#sessions.flatMap(({ link, load }) => [link?.close(), load.close?.()]));
  }

  /** Opens a transaction with the batch's changes in it. */
  async #load(
    { load }: Session,
    link: PostgresLink,
    batch: SinkBatch,
    turn: Turn,
    inOrder: () => Promise<void>,
  ): Promise<Transaction> {
    const transaction = new Transaction(link, this.#begin, this.#options.ordered ? turn : undefined, inOrder);
    if (batch.count > 0) {
      try {
        await load.load(transaction, batch);
      } catch (error) {
        const verdict = load.classify?.(error);
        if (verdict !== undefined && typeof error === 'object' && error !== null) verdicts.set(error, verdict);
        throw error;
      }
    }
    await transaction.begin();
    return transaction;
  }

  /**
   * Waits for the batch before. True: that batch waits for this one, for both change the same row (an event id, a
   * rollup) and this one was first. The server cannot see the circle, because half of it is in this process; so this
   * batch steps back.
   */
  async #mustGiveWay(link: PostgresLink, before: Promise<void>): Promise<boolean> {
    const cancel = new AbortController();
    try {
      for (;;) {
        const timer = delay(LOOK_MS, false, { signal: cancel.signal }).catch(() => false);
        if (await Promise.race([before.then(() => true), timer])) return false;
        const { rows } = await link.query<{ blocking: boolean }>(
          `SELECT EXISTS (SELECT FROM pg_locks
             WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))) AS blocking`,
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

  /**
   * A session that is connected, if there is one: a server that allows fewer connections than we want serves the first.
   */
  #take(): Session | undefined {
    const at = this.#free.findIndex(({ link }) => link !== undefined && link.broken === undefined);
    return this.#free.splice(Math.max(at, 0), 1)[0];
  }

  /** After a failure: an open session without a transaction, or none. */
  async #recover(session: Session, error: unknown): Promise<void> {
    session.load.abandon?.();
    const { link } = session;
    if (link === undefined) return;
    // After these errors the session is as good as before. After others it is opened anew and looks at the tables.
    const innocent = error instanceof PreviousFailed || error instanceof CursorMoved || error instanceof StrandTaken;
    const fault = faultOf(error);
    const keep = innocent || fault === 'row' || fault === 'busy' || verdicts.has(error as object);
    if (keep && link.broken === undefined) {
      try {
        await link.query('ROLLBACK');
        return;
      } catch {
        // The session is of no use either: it is closed below.
      }
    }
    session.link = undefined;
    session.ready = false;
    await link.close();
  }

  /** A session that is connected, with its tables checked and the cursors where we left them. */
  async #ready(session: Session): Promise<PostgresLink> {
    if (session.link !== undefined && session.ready && session.link.broken === undefined) return session.link;
    await session.link?.close();
    session.ready = false;
    const { dsn, connectTimeoutMs, statementTimeoutMs, cursors, createCursors } = this.#options;
    const link = await connect(dsn, {
      connectTimeoutMs,
      queryTimeoutMs: statementTimeoutMs + Math.min(statementTimeoutMs, DEADLINE_SLACK_MS_MAX),
      applicationName: 'ringmain',
    });
    session.link = link;
    link.onLost = () => this.#lost();
    await session.load.prepare?.(link);
    await prepareCursors(link, cursors, createCursors);
    session.ready = true;
    await this.#cursors.verify(link, cursors.sql);
    return link;
  }

  #lost(): void {
    // A session in use is written to: that write fails, and the runner's next one connects.
    const idle = this.#free.length === this.#sessions.length;
    if (!this.#closed && this.#cursors.claimed && idle) this.#context.lost?.();
  }
}
