/**
 * Goal: requests are shared by weight among the backends that work, by all threads together; a backend that fails is
 * taken out and comes back, the last one never is; nobody waits for longer than BACKEND_QUEUE_MS.
 * Method: the balancer over memory of the test, alone and on two threads; no network.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Head, Slot } from '../../../src/gateway/balance/backend-table.ts';
import type { Lease } from '../../../src/gateway/balance/balancer.ts';
import { RetryBudget } from '../../../src/gateway/balance/retry-budget.ts';
import type { BalancerOptions } from '../../../src/gateway/balance/shared-balancer.ts';
import { balanced, options } from './table.ts';
import type { TakerResult, TakerWork } from './taker.ts';

const never = new AbortController().signal;

function sequence(take: () => Lease, count: number): string {
  let text = '';
  for (let i = 0; i < count; i++) {
    const lease = take();
    text += 'abcdef'[lease.backendId - 1];
    lease.release('answered');
  }
  return text;
}

async function threads(
  memory: SharedArrayBuffer,
  work: Omit<TakerWork, 'memory' | 'options'>,
  wishes: Partial<BalancerOptions> = {},
  count = 2,
): Promise<readonly TakerResult[]> {
  const workers = Array.from({ length: count }, () => {
    const workerData: TakerWork = { memory, options: { ...options, ...wishes }, ...work };
    return new Worker(new URL('taker.ts', import.meta.url), { workerData });
  });
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  for (const worker of workers) worker.postMessage('go');
  const results = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as TakerResult));
  await Promise.all(workers.map((worker) => worker.terminate()));
  return results;
}

test('weights 5, 1, 1 give the smooth order of nginx', () => {
  const { take } = balanced([{ weight: 5 }, {}, {}]);
  expect(sequence(take, 14)).toBe('aabacaaaabacaa');
});

test('two threads share one state: the shares are within 1 % over 10,000 requests', async () => {
  const { memory } = balanced([{ weight: 70 }, { weight: 20 }, { weight: 10 }]);
  const results = await threads(memory, { leases: 5000, parallel: 20, holdMs: 0 });
  for (const [id, share] of [
    [1, 0.7],
    [2, 0.2],
    [3, 0.1],
  ] as const) {
    const taken = results.reduce((sum, { shares }) => sum + (shares[id] ?? 0), 0);
    expect(Math.abs(taken / 10_000 - share)).toBeLessThan(0.01);
  }
  expect(results.map(({ failed }) => failed)).toEqual([0, 0]);
});

test('the places of a backend are those of all threads, and no thread starves for them', async () => {
  const { memory, standing } = balanced([{}, {}]);
  const work = { leases: 300, parallel: 20, holdMs: 2 };
  const begin = performance.now();
  const results = await threads(memory, work, { concurrency: 3, queueMs: 20_000 });
  const whole = performance.now() - begin;
  for (const { most, failed, shares } of results) {
    expect(most).toBeLessThanOrEqual(3);
    expect(failed).toBe(0);
    expect(Object.values(shares).reduce((sum, n) => sum + n, 0)).toBe(300);
  }
  // 40 requests at once, 6 places of 2 ms: a fair wait is some 15 ms, one that starved would wait for all the others.
  for (const { waitMs } of results) expect(waitMs).toBeLessThan(Math.max(300, whole / 2));
  expect([standing(1).in_flight, standing(2).in_flight]).toEqual([0, 0]);
});

test('weights and draining change without a restart; weight 0 takes nothing', () => {
  const { take, place } = balanced([{ weight: 1 }, { weight: 1 }]);
  expect(sequence(take, 4)).toBe('abab');
  place([{ weight: 1, draining: true }, { weight: 1 }]);
  expect(sequence(take, 4)).toBe('bbbb');
  place([{ weight: 1 }, { weight: 0 }]);
  expect(sequence(take, 4)).toBe('aaaa');
});

test('a backend that is removed finishes its requests, and its slot is not given away meanwhile', () => {
  const { take, place, table } = balanced([{}]);
  const lease = take();
  place([]);
  expect(table.placed).toEqual([]);
  table.place([{ id: 9, url: 'http://127.0.0.1:9', weight: 1, draining: false }]);
  const next = take();
  expect(next.backendId).toBe(9);
  lease.release('answered');
  lease.release('answered');
  next.release('answered');
  const words = table.words;
  expect(Atomics.load(words, table.placed[0]!.at + Slot.IN_FLIGHT)).toBe(0);
});

test('failures in a row eject a backend; a probe closes the breaker, a probe that fails opens it for longer', async () => {
  const { take, standing, counts } = balanced([{}, {}], { failures: 3, ejectMs: 60, slowStartMs: 40 });
  const fail = () => {
    for (let i = 0; i < 6; i++) {
      const lease = take();
      lease.release(lease.backendId === 1 ? 'failed' : 'answered');
    }
  };
  fail();
  expect(standing(1)).toMatchObject({ state: 'ejected', breaker: 'open', reason: 'it failed several times in a row' });
  expect(sequence(take, 4)).toBe('bbbb');
  await expect.poll(() => standing(1).breaker, { interval: 5 }).toBe('half_open');

  const probe = take();
  expect(probe.backendId).toBe(1);
  const other = take();
  expect(other.backendId, 'one probe at a time').toBe(2);
  other.release('answered');
  probe.release('failed');
  expect(standing(1)).toMatchObject({ breaker: 'open', reason: 'the probe after its ejection failed' });

  await expect.poll(() => standing(1).breaker, { interval: 5 }).toBe('half_open');
  const gone = take();
  gone.release('given_up');
  const second = take();
  expect([gone.backendId, second.backendId], 'a client that goes away says nothing').toEqual([1, 1]);
  second.release('answered');
  expect(standing(1)).toMatchObject({ state: 'slow_start', breaker: 'closed', reason: null });
  const later = () => {
    sequence(take, 2);
    return standing(1).state;
  };
  await expect.poll(later, { interval: 5 }).toBe('up');
  expect(counts.ejected).toEqual([1, 1]);
});

test('half of its requests failing ejects a backend, though never many in a row', () => {
  const { take, standing } = balanced([{}, {}], { failures: 1000 });
  for (let i = 0; i < 60; i++) {
    const lease = take();
    lease.release(lease.backendId === 1 && i % 4 < 2 ? 'failed' : 'answered');
  }
  expect(standing(1)).toMatchObject({ state: 'ejected', reason: 'too many of its requests failed' });
});

test('the last backend that takes requests is never ejected', () => {
  const { take, standing, place } = balanced([{}, {}, {}], { failures: 2, ejectMs: 60_000 });
  for (let i = 0; i < 30; i++) take().release('failed');
  const states = [1, 2, 3].map((id) => standing(id).state);
  expect(states.filter((state) => state !== 'ejected')).toHaveLength(1);
  // The last one drains: an ejected one is better than none.
  place([1, 2, 3].map((id) => ({ draining: states[id - 1] !== 'ejected' })));
  expect(states[take().backendId - 1]).toBe('ejected');
});

test('a backend that comes back takes a share that grows', () => {
  const { take, table } = balanced([{}, {}], { slowStartMs: 600_000 });
  Atomics.store(table.words, table.placed[0]!.at + Slot.SLOW_SINCE, table.now());
  Atomics.store(table.words, table.placed[0]!.at + Slot.SLOW, 1);
  const early = sequence(take, 110).replaceAll('b', '').length;
  Atomics.store(table.words, table.placed[0]!.at + Slot.SLOW_SINCE, (table.now() - 300_000) | 0);
  const later = sequence(take, 300).replaceAll('b', '').length;
  expect([early, later]).toEqual([10, 100]);
});

test('a full backend is passed over; without a free place requests wait in their order, or are refused in time', async () => {
  const { take, balancer, counts } = balanced([{}], { concurrency: 1, queue: 2, queueMs: 80 });
  const held = take();
  const order: string[] = [];
  const first = balancer.acquire({ signal: never }) as Promise<Lease>;
  const second = balancer.acquire({ signal: never }) as Promise<Lease>;
  void first.then(() => order.push('first'));
  void second.then(() => order.push('second'));
  await expect(balancer.acquire({ signal: never })).rejects.toMatchObject({ code: 'BACKENDS_BUSY' });
  held.release('answered');
  (await first).release('answered');
  const last = await second;
  expect(order).toEqual(['first', 'second']);

  const since = performance.now();
  await expect(balancer.acquire({ signal: never })).rejects.toMatchObject({ code: 'BACKENDS_BUSY' });
  expect(performance.now() - since).toBeGreaterThanOrEqual(78);
  await expect(balancer.acquire({ signal: never, not: new Set([7]) })).rejects.toMatchObject({ code: 'BACKENDS_BUSY' });

  const gone = new AbortController();
  const given = balancer.acquire({ signal: gone.signal }) as Promise<Lease>;
  gone.abort(new Error('the client has gone'));
  await expect(given).rejects.toThrow('the client has gone');
  expect(balancer.waiting).toBe(0);
  last.release('answered');
  take().release('answered');
  expect(counts.refused).toEqual(['busy', 'busy']);
});

test('who would wait for longer than the deadline is refused at once', async () => {
  const { take, balancer, table } = balanced([{}], { concurrency: 1, queueMs: 10_000 });
  // Places were held for 5.6 s on average.
  Atomics.store(table.words, Head.HOLD_MS_16, 5600 * 16);
  const held = take();
  const waiting = [1, 2].map(() => balancer.acquire({ signal: never }) as Promise<Lease>);
  const since = performance.now();
  await expect(balancer.acquire({ signal: never })).rejects.toMatchObject({ code: 'BACKENDS_BUSY' });
  expect(performance.now() - since).toBeLessThan(5000);
  held.release('answered');
  for (const lease of waiting) (await lease).release('answered');
});

test('a retry goes to none that is ejected', () => {
  const { take } = balanced([{}, {}], { failures: 1, ejectMs: 60_000 });
  const lease = take();
  lease.release('failed');
  expect(() => take([3 - lease.backendId])).toThrow('there is no place now');
});

test('the budget of retries is ten and a share of the requests, and has a bound', () => {
  const { table } = balanced([{}]);
  const budget = new RetryBudget(table, 20);
  const withdrawn = () => {
    let count = 0;
    while (budget.withdraw()) count += 1;
    return count;
  };
  expect(withdrawn()).toBe(10);
  for (let i = 0; i < 50; i++) budget.deposit();
  expect(withdrawn()).toBe(10);
  for (let i = 0; i < 100_000; i++) budget.deposit();
  expect(withdrawn()).toBe(100);
  expect(new RetryBudget(table, 0).withdraw()).toBe(false);
});

test('no backend is another answer than none that is free', async () => {
  const { balancer, counts } = balanced([{ weight: 0 }, { draining: true }]);
  await expect(balancer.acquire({ signal: never })).rejects.toMatchObject({ code: 'NO_BACKEND' });
  expect(counts.refused).toEqual(['none']);
});
