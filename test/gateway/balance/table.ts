/** Backends in shared memory, for tests: placed, and balanced by one thread. */
import { onTestFinished } from 'vitest';
import { BackendTable, createBackendMemory } from '../../../src/gateway/balance/backend-table.ts';
import type { Lease } from '../../../src/gateway/balance/balancer.ts';
import { type BackendStanding, standingOf } from '../../../src/gateway/balance/health.ts';
import { type BalancerOptions, SharedBalancer } from '../../../src/gateway/balance/shared-balancer.ts';

export const options: BalancerOptions = {
  concurrency: 100,
  queue: 100,
  queueMs: 2000,
  failures: 5,
  ejectMs: 100,
  slowStartMs: 1,
};

export interface Given {
  readonly url?: string;
  readonly weight?: number;
  readonly draining?: boolean;
}

export const rowsOf = (given: readonly Given[]) =>
  given.map(({ url, weight = 1, draining = false }, i) => ({
    id: i + 1,
    url: url ?? `http://127.0.0.1:${i + 1}`,
    weight,
    draining,
  }));

export interface Balanced {
  readonly memory: SharedArrayBuffer;
  readonly table: BackendTable;
  readonly balancer: SharedBalancer;
  readonly counts: { readonly refused: string[]; readonly ejected: number[]; readonly leased: string[] };
  place(given: readonly Given[]): void;
  /** A place that is free now. */
  take(not?: readonly number[]): Lease;
  standing(id: number): BackendStanding;
}

export function balanced(given: readonly Given[], wishes: Partial<BalancerOptions> = {}): Balanced {
  const memory = createBackendMemory();
  const table = new BackendTable(memory);
  table.place(rowsOf(given));
  const counts = { refused: [] as string[], ejected: [] as number[], leased: [] as string[] };
  const balancer = new SharedBalancer(
    memory,
    { ...options, ...wishes },
    {
      leased: (id, outcome) => void counts.leased.push(`${id} ${outcome}`),
      ejected: (id) => void counts.ejected.push(id),
      refused: (code) => void counts.refused.push(code),
    },
  );
  onTestFinished(() => balancer.close());
  const never = new AbortController().signal;
  return {
    memory,
    table,
    balancer,
    counts,
    place: (rows) => void table.place(rowsOf(rows)),
    take(not) {
      const lease = balancer.acquire({ signal: never, ...(not === undefined ? {} : { not: new Set(not) }) });
      if (!(lease instanceof Promise)) return lease;
      lease.catch(() => undefined);
      throw new Error('there is no place now');
    },
    standing: (id) => standingOf(table, table.placed.find((one) => one.id === id)!.at),
  };
}
