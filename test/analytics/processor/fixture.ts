/** What the tests of the load share: the schema, a target with the load, batches of a topic, and questions to Postgres. */
import { randomUUID } from 'node:crypto';
import { onTestFinished } from 'vitest';
import { ANALYTICS_KIND, type CountedEvent } from '../../../src/analytics/event.ts';
import { EventLoad, type EventLoadParts } from '../../../src/analytics/processor/event-load.ts';
import { Visitors } from '../../../src/analytics/processor/visitors.ts';
import { lockSites } from '../../../src/analytics/rollup/tables.ts';
import type { ErrorClass, SinkBatch } from '../../../src/delivery/contract.ts';
import type { Mark } from '../../../src/engine/checkpoint.ts';
import { foreignBytes, putForeign } from '../../../src/events/foreign.ts';
import { putServiceRecord } from '../../../src/events/service-record.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { DeadRecord } from '../../../src/sinks/kafka/dead-topic.ts';
import { PostgresTarget, postgresSink } from '../../../src/sinks/postgres/sink.ts';
import { config, sql } from '../../sinks/postgres/fixture.ts';
import { schema } from '../schema.ts';

export { sql };

/** 2026-11-20T10:00:00Z: when the events of the tests were received, unless they say otherwise. */
export const RECEIVED = Date.UTC(2026, 10, 20, 10);
export const HOUR = Math.floor(RECEIVED / 3_600_000);

export async function migrate(dsn: string): Promise<void> {
  await sql(dsn, schema);
}

export const uuid = (n: number): string => `0193a000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

export type Fields = Readonly<Record<string, unknown>>;

/** The line of a record of ours. */
export const ours = (n: number, more: Fields = {}): string =>
  JSON.stringify({
    event_id: uuid(n),
    site_id: 'site',
    event_type: 'page_view',
    path: `/p${n % 10}`,
    user_id: `user-${n % 7}`,
    timestamp: new Date(RECEIVED + n).toISOString(),
    received_at: new Date(RECEIVED + n).toISOString().replace('Z', '000000Z'),
    via: 'events',
    ...more,
  });

/** The same event, taken once more: another acceptance for each number. */
export const taken = (n: number, acceptance: number, more: Fields = {}): string =>
  ours(n, { received_at: `2026-11-20T10:00:00.000${String(acceptance).padStart(6, '0')}Z`, ...more });

/** A record in the shape of the contract, by somebody else. */
export const theirs = (n: number, more: Fields = {}): string =>
  JSON.stringify({
    site_id: 'site',
    event_type: 'page_view',
    path: `/p${n}`,
    user_id: `user-${n}`,
    timestamp: new Date(RECEIVED).toISOString(),
    ...more,
  });

export interface BatchOptions {
  readonly partition?: number;
  /** Offset of the first record. */
  readonly from?: number;
  readonly commit?: boolean;
  readonly key?: string;
  readonly brokerTime?: boolean;
}

/** A batch of a partition, as the runner hands it over; the broker took its records at RECEIVED. null: a tombstone. */
export function batchOf(values: readonly (string | null)[], options: BatchOptions = {}): SinkBatch {
  const { partition = 0, from = 0, commit = true, key, brokerTime = true } = options;
  const lines = values.map((value) => (value === null ? undefined : Buffer.from(value)));
  const keyBytes = key === undefined ? undefined : Buffer.from(key);
  const buffer = Buffer.alloc(lines.reduce((sum, line) => sum + foreignBytes(line, keyBytes), 0));
  const offsets = new Int32Array(lines.length);
  let end = 0;
  for (const [i, line] of lines.entries()) {
    offsets[i] = end;
    end = putForeign(buffer, end, line, keyBytes, RECEIVED, { topic: 0, partition, offset: from + i }, brokerTime);
  }
  const mark = (position: number): Mark => ({ position, record: position });
  return {
    lane: { life: 1, lane: partition },
    count: lines.length,
    buffer,
    offsets,
    positions: Float64Array.from(lines, (_, i) => from + i),
    from: mark(from),
    to: mark(from + lines.length),
    commit,
  };
}

/** A batch of a lane, as the runner hands it over; a process of ours took its records at RECEIVED. */
export function laneBatch(values: readonly string[]): SinkBatch {
  const batch = batchOf(values);
  const buffer = Buffer.alloc(2 * batch.buffer.length);
  const offsets = new Int32Array(values.length);
  let end = 0;
  for (const [i, value] of values.entries()) {
    offsets[i] = end;
    const fields = { kind: ANALYTICS_KIND, key: Buffer.from('key'), line: Buffer.from(value), receivedMs: RECEIVED };
    end = putServiceRecord(buffer, end, fields);
  }
  return { ...batch, buffer, offsets };
}

/** Records [at, at + count) of a batch, as the runner halves it. */
export const piece = (batch: SinkBatch, at: number, count: number): SinkBatch => ({
  ...batch,
  count,
  offsets: batch.offsets.subarray(at),
  positions: batch.positions.subarray(at),
  commit: false,
});

export interface TestLoad {
  readonly target: PostgresTarget;
  readonly letters: DeadRecord[];
  readonly counted: CountedEvent[];
  readonly classify: (error: unknown) => ErrorClass;
  write(batch: SinkBatch): Promise<void>;
}

/** Counts nothing, and locks the sites as what counts does. `counted` has the events of committed batches. */
const lockOnly = (counted: CountedEvent[]): EventLoadParts['rollups'] => ({
  prepare: () => {
    let all: CountedEvent[] = [];
    return {
      add: (event) => void all.push(event),
      leaveOut: (numbers) => {
        all = all.filter((_, number) => !numbers.has(number));
      },
      apply: async (transaction) => {
        await lockSites(transaction, [...new Set(all.map(({ site }) => site))]);
        transaction.onCommit(() => counted.push(...all));
      },
    };
  },
  forget: () => {},
});

/** A processor: a target with the load. Those with the same `group` have the same cursors. */
export async function processor(
  dsn: string,
  parts: Partial<EventLoadParts> = {},
  { group = randomUUID() as string, sessions = 1 } = {},
): Promise<TestLoad> {
  const letters: DeadRecord[] = [];
  const counted: CountedEvent[] = [];
  const target = new PostgresTarget(
    config(dsn, { pgConnections: sessions, pgGin: 'off' }),
    {
      name: 'store',
      logId: group,
      journal: true,
      state: undefined,
      log: createLog({ level: 'silent', destination: 2, name: 'test' }),
      signal: new AbortController().signal,
      ended: () => false,
    },
    () =>
      new EventLoad({
        topics: ['events'],
        lineBytesMax: 100_000,
        ageMsMax: Number.POSITIVE_INFINITY,
        retentionDays: undefined,
        rollups: lockOnly(counted),
        ensureMonths: async () => {},
        visitors: new Visitors(),
        sourceOf: () => '',
        letters: {
          put: async (list) =>
            void letters.push(...list.map((one) => ({ ...one, value: one.value && Buffer.from(one.value) }))),
          classify: () => undefined,
          close: async () => {},
        },
        told: {
          stored: () => {},
          duplicates: () => {},
          repeats: () => {},
          rejected: () => {},
        },
        now: () => RECEIVED + 5000,
        ...parts,
      }),
  );
  onTestFinished(() => target.close());
  await target.cursors([0, 1].map((lane) => ({ life: 1, lane })));
  return {
    target,
    letters,
    counted,
    classify: (error) => postgresSink.classify(error),
    write: (batch) => target.write(batch, Promise.resolve()),
  };
}

export interface Outcomes {
  readonly site_id: string;
  readonly hour: number;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
}

export const outcomesOf = (dsn: string): Promise<Outcomes[]> =>
  sql<Outcomes & Record<string, unknown>>(
    dsn,
    `SELECT site_id, hour, coalesce(accepted, 0)::int AS accepted, stored::int, duplicates::int, rejected::int
     FROM outcome_hours LEFT JOIN accepted_hours USING (site_id, hour) ORDER BY site_id, hour`,
  );
