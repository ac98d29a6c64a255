/** What the tests of the Postgres sink share: a target on a real server, and questions to that server. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { TestContext } from 'vitest';
import type { CursorMoved, ErrorClass, SinkContext } from '../../../src/delivery/contract.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { PostgresConfig } from '../../../src/sinks/postgres/config.ts';
import { PostgresTarget, postgresSink } from '../../../src/sinks/postgres/sink.ts';
import type { TestEvent } from '../lane.ts';

export { deliver, event, events, TestLane } from '../lane.ts';

export function config(dsn: string, more: Partial<PostgresConfig> = {}): PostgresConfig {
  return {
    pgDsn: dsn,
    pgTable: 'events_json',
    pgBatchSize: 5000,
    pgBatchBytes: 8 << 20,
    pgFlushMs: 10,
    pgCopy: true,
    pgConnections: 2,
    pgCreateTable: true,
    pgGin: 'ops',
    pgConnectTimeoutMs: 2000,
    pgStatementTimeoutMs: 5000,
    ...more,
  };
}

export interface TestTarget extends PostgresTarget {
  readonly moves: CursorMoved[];
  /** When a session ended between two writes. */
  readonly losses: number[];
  readonly classify: (error: unknown) => ErrorClass;
}

/** A target, closed with the test. Targets with the same `logId` fight for the same cursors; `life`: who claims them. */
export function open(
  t: TestContext,
  settings: PostgresConfig,
  logId: string = randomUUID(),
  life?: SinkContext['life'],
): TestTarget {
  const moves: CursorMoved[] = [];
  const losses: number[] = [];
  const log = createLog({ level: 'silent', destination: 2, name: 'test' });
  const signal = new AbortController().signal;
  const moved = (move: CursorMoved) => void moves.push(move);
  const target = new PostgresTarget(settings, {
    name: 'postgres',
    logId,
    ...(life === undefined ? {} : { life }),
    journal: true,
    state: undefined,
    log,
    signal,
    ended: () => false,
    moved,
    lost: () => void losses.push(performance.now()),
  });
  t.onTestFinished(() => target.close());
  return Object.assign(target, { moves, losses, classify: (error: unknown) => postgresSink.classify(error) });
}

/** Runs SQL as the owner of the server. */
export async function sql<R extends pg.QueryResultRow>(
  dsn: string,
  text: string,
  values: unknown[] = [],
): Promise<R[]> {
  const client = new pg.Client({ connectionString: dsn });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<R>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Every event exactly once, by count and by id: nothing missing, nothing invented. */
export async function assertStored(dsn: string, list: readonly TestEvent[], table = 'events_json'): Promise<void> {
  const rows = await sql<{ event_id: string }>(dsn, `SELECT event_id FROM ${table} ORDER BY id`);
  const stored = new Set(rows.map(({ event_id }) => event_id));
  const wanted = new Set(list.map(({ id }) => id));
  const missing = list.filter(({ id }) => !stored.has(id)).length;
  const invented = rows.filter(({ event_id }) => !wanted.has(event_id)).length;
  if (rows.length !== wanted.size || missing > 0 || invented > 0) {
    throw new Error(`rows=${rows.length}, wanted=${wanted.size}, missing=${missing}, invented=${invented}`);
  }
}
