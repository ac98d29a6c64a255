/** Taker: a thread that takes leases of the shared backends and counts them, for shared-balancer.test.ts. */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Slot } from '../../../src/gateway/balance/backend-table.ts';
import { type BalancerOptions, SharedBalancer } from '../../../src/gateway/balance/shared-balancer.ts';

export interface TakerWork {
  readonly memory: SharedArrayBuffer;
  readonly options: BalancerOptions;
  readonly leases: number;
  /** Requests of this thread at once. */
  readonly parallel: number;
  readonly holdMs: number;
}
export interface TakerResult {
  readonly shares: Readonly<Record<number, number>>;
  /** The most requests at once that were seen at one backend, of all threads. */
  readonly most: number;
  readonly failed: number;
  /** Longest wait for a place. */
  readonly waitMs: number;
}

const { memory, options, leases, parallel, holdMs } = workerData as TakerWork;
const balancer = new SharedBalancer(memory, options, {
  leased: () => undefined,
  ejected: () => undefined,
  refused: () => undefined,
});
const shares: Record<number, number> = {};
const { signal } = new AbortController();
let most = 0;
let failed = 0;
let waitMs = 0;
let left = leases;

async function take(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const since = performance.now();
    try {
      const lease = await balancer.acquire({ signal });
      waitMs = Math.max(waitMs, performance.now() - since);
      const at = balancer.table.placed.find(({ id }) => id === lease.backendId)!.at;
      most = Math.max(most, Atomics.load(balancer.table.words, at + Slot.IN_FLIGHT));
      shares[lease.backendId] = (shares[lease.backendId] ?? 0) + 1;
      await (holdMs === 0 ? turn() : delay(holdMs));
      lease.release('answered');
    } catch {
      failed += 1;
    }
  }
}

parentPort!.once('message', () => {
  void Promise.all(Array.from({ length: parallel }, take)).then(() => {
    balancer.close();
    parentPort!.postMessage({ shares, most, failed, waitMs } satisfies TakerResult);
  });
});
parentPort!.postMessage('there');
