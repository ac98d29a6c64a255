/**
 * Load: what one batch changes in the database. The transaction around it moves the cursor, so whatever a load changes
 * (rows, rollups, balances) is changed once per record, also across kill -9, lost answers and a failover.
 *
 *   prepare   once per session, before its first batch: checks tables, makes temporary ones
 *   load      once per try: the transaction may be rolled back and the batch come again, whole or in halves
 *   classify  what a failure of load means; undefined leaves it to SQLSTATE (store/postgres/fault.ts)
 *
 * A load that keeps something in memory (a counter, a buffer) changes it in onCommit(), never in load().
 */
import type { ErrorClass, SinkBatch } from '../../delivery/contract.ts';
import type { LaneId } from '../../engine/segment.ts';
import type { Logger } from '../../kernel/log.ts';
import type { Meters, MetricSet } from '../../kernel/metrics.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { Transaction } from './transaction.ts';

export interface Load {
  prepare?(link: PostgresLink): Promise<void>;
  /** Called with at least one record. Every statement goes through `transaction`, one after the other. */
  load(transaction: Transaction, batch: SinkBatch): Promise<void>;
  classify?(error: unknown): ErrorClass | undefined;
  /** The try has failed: buffers that were handed to the session may still be read by its socket. */
  abandon?(): void;
  /** The target closes: lets go of connections of the load's own. Never throws. */
  close?(): Promise<void>;
}

export interface LoadContext<V = unknown, Shared = unknown> {
  /** Name of the output. */
  readonly output: string;
  /** The values of the service. */
  readonly values: V;
  /** What the role has prepared (service/contract.ts); undefined in tools. */
  readonly shared: Shared | undefined;
  /** The life of this process in its log; undefined in tools, and where the records come from a topic. */
  readonly life: Omit<LaneId, 'lane'> | undefined;
  readonly log: Logger;
  /** Cells of a set that the role names among its metrics, for this thread. */
  meters<M extends MetricSet>(set: M): Meters<M>;
}

/**
 * Default export of an output's `load` module: called once per output, and what it returns once per session
 * (PG_CONNECTIONS). Sessions load side by side, and share what was made before.
 */
export type MakeLoad<V = unknown, Shared = unknown> = (context: LoadContext<V, Shared>) => () => Load;
