/**
 * Partition watch: a worker's life that looks whether the partitions of this month (or day) and the next are there, and
 * what lies in the default ones. /readyz is red while one is missing, for then the rows of a whole month (or day) would
 * go where only a move gets them out. A job makes partitions ahead of time; what is missing nevertheless, or lies
 * astray, was taken away or restored by somebody, and is mended here at once.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Transitions } from '../kernel/log.ts';
import { openLink, type PostgresLink } from '../store/postgres/connection.ts';
import { describeFault } from '../store/postgres/fault.ts';
import type { PartitionState, TimePartitions } from '../store/postgres/time-partitions.ts';
import { passing } from '../store/postgres/vanishing.ts';
import type { WorkerFrame } from './contract.ts';

const LOOK_MS = 30_000;
/** While something is missing or Postgres is away. */
const LOOK_AGAIN_MS = 1000;
/** Between two tries to mend, doubled from the first to the last: each may lock the tables for as long as a move takes. */
const MEND_MS = 2000;
const MEND_MAX_MS = 10 * 60_000;
/** Longest statement of the session; a move has a limit of its own below it. */
const QUERY_MS = 60_000;

export interface PartitionWatch<T extends string> {
  readonly dsn: string;
  readonly applicationName: string;
  readonly partitions: TimePartitions<T>;
  /** Makes what is missing: the partitions, and what the service has beside them. */
  make(link: PostgresLink): Promise<void>;
  /** Puts what was seen on the metrics board; may look at more. */
  seen(state: PartitionState<T>, link: PostgresLink): void | Promise<void>;
}

/** Resolves when the signal has fired. */
export async function watchPartitions<T extends string>(
  { signal, log, ready, away }: Pick<WorkerFrame, 'signal' | 'log' | 'ready' | 'away'>,
  { dsn, applicationName, partitions, make, seen }: PartitionWatch<T>,
): Promise<void> {
  const told = new Transitions(log);
  let link: PostgresLink | undefined;
  let notBefore = Number.NEGATIVE_INFINITY;
  let pause = MEND_MS;
  const mend = async (link: PostgresLink): Promise<void> => {
    if (performance.now() < notBefore) return;
    notBefore = performance.now() + pause;
    pause = Math.min(2 * pause, MEND_MAX_MS);
    try {
      await make(link);
      told.up('mend', 'partitions can be made again');
    } catch (error) {
      if (link.broken !== undefined) throw error;
      told.down('mend', 'partitions cannot be made now; it is tried again', { reason: describeFault(error) });
    }
  };
  const look = async (): Promise<boolean> => {
    // What it mends locks the tables.
    link ??= await openLink(dsn, { applicationName, queryTimeoutMs: QUERY_MS, settings: passing });
    const state = await partitions.state(link);
    await seen(state, link);
    const { missing, strays } = state;
    const astray = Object.values<number>(strays).reduce((sum, rows) => sum + rows, 0);
    const stray = 'rows lie in a default partition although their month or day has or should have its own';
    if (astray > 0) told.down('strays', stray, strays);
    else told.up('strays', 'the default partitions hold no such row any more');
    if (missing.length === 0) ready();
    else away(`partitions are missing: ${missing.join(', ')}; they are made now`);
    const well = missing.length + astray === 0;
    if (well) pause = MEND_MS;
    else await mend(link);
    return well;
  };
  let known = false;
  while (!signal.aborted) {
    let well = false;
    try {
      well = await look();
      known = true;
    } catch (error) {
      // A database that is away makes its outputs red; what was seen before holds on.
      if (!known) away(`the partitions cannot be looked at: ${describeFault(error)}`);
      await link?.close();
      link = undefined;
    }
    await delay(well ? LOOK_MS : LOOK_AGAIN_MS, undefined, { signal }).catch(() => {});
  }
  await link?.close();
}
