/** Metrics of the backends, as the balancer sees them. */
import { type CounterCell, counter, defineMetrics, gauge, type Meters } from '../../kernel/metrics.ts';
import { backendLabel, backendLabels } from '../metrics.ts';
import type { RetryResult } from '../proxy/pool-upstream.ts';
import { Head, Slot } from './backend-table.ts';
import type { LeaseOutcome } from './balancer.ts';
import { standingOf } from './health.ts';
import type { BalancerCounts, SharedBalancer } from './shared-balancer.ts';

export const balanceMetrics = defineMetrics({
  ringmain_gateway_backend_requests_total: counter({
    help: 'Requests to backends, each attempt, by how they ended; given_up: the client went away.',
    labels: { backend: backendLabels, outcome: ['answered', 'failed', 'given_up'] },
  }),
  ringmain_gateway_backend_refusals_total: counter({
    help: 'Requests that got no place at a backend. none: none may be used; busy: no place is free in time.',
    labels: { reason: ['none', 'busy'] },
  }),
  ringmain_gateway_backend_ejections_total: counter({
    help: 'Times that a backend was taken out because its requests failed.',
    labels: { backend: backendLabels },
    told: { level: 'warn', sentence: 'a backend was taken out because its requests failed' },
  }),
  ringmain_gateway_backend_retries_total: counter({
    help: 'Requests that failed and could be tried at another backend, by whether they were.',
    labels: { result: ['retried', 'no_budget', 'no_backend'] },
  }),
  ringmain_gateway_backend_in_flight: gauge({
    help: 'Requests under way at a backend, of all threads.',
    labels: { backend: backendLabels },
    threads: 'max',
  }),
  ringmain_gateway_backend_available: gauge({
    help: '1: the backend takes requests. 0: it is down, ejected or drains, or there is none of this id.',
    labels: { backend: backendLabels },
    threads: 'max',
  }),
  ringmain_gateway_backend_waiting: gauge({
    help: 'Requests that wait for a place at a backend, of all threads.',
    threads: 'max',
  }),
});

export class BalanceMeters implements BalancerCounts {
  readonly #meters: Meters<typeof balanceMetrics>;
  /** By backend and outcome, each looked up once. */
  readonly #leases = new Map<string, Readonly<Record<LeaseOutcome, CounterCell>>>();

  constructor(meters: Meters<typeof balanceMetrics>) {
    this.#meters = meters;
    const requests = meters.ringmain_gateway_backend_requests_total;
    for (const backend of backendLabels) {
      const cell = (outcome: LeaseOutcome) => requests.at({ backend, outcome });
      this.#leases.set(backend, {
        answered: cell('answered'),
        failed: cell('failed'),
        given_up: cell('given_up'),
      });
    }
  }

  leased(id: number, outcome: LeaseOutcome): void {
    this.#leases.get(backendLabel(id))![outcome].add(1);
  }

  ejected(id: number): void {
    this.#meters.ringmain_gateway_backend_ejections_total.at({ backend: backendLabel(id) }).add(1);
  }

  refused(reason: 'busy' | 'none'): void {
    this.#meters.ringmain_gateway_backend_refusals_total.at({ reason }).add(1);
  }

  readonly retried = (result: RetryResult): void => {
    this.#meters.ringmain_gateway_backend_retries_total.at({ result }).add(1);
  };

  /** Puts what stands in shared memory on the board; ids that are no more go back to 0. */
  gauges({ table }: Pick<SharedBalancer, 'table'>): void {
    const inFlight = new Map<string, number>();
    const available = new Map<string, number>();
    for (const { id, at } of table.placed) {
      const backend = backendLabel(id);
      const { state } = standingOf(table, at);
      const takes = Atomics.load(table.words, at + Slot.WEIGHT) > 0 && (state === 'up' || state === 'slow_start');
      inFlight.set(backend, (inFlight.get(backend) ?? 0) + Atomics.load(table.words, at + Slot.IN_FLIGHT));
      available.set(backend, (available.get(backend) ?? 0) + (takes ? 1 : 0));
    }
    for (const backend of backendLabels) {
      this.#meters.ringmain_gateway_backend_in_flight.at({ backend }).set(inFlight.get(backend) ?? 0);
      this.#meters.ringmain_gateway_backend_available.at({ backend }).set(available.get(backend) ?? 0);
    }
    this.#meters.ringmain_gateway_backend_waiting.at().set(Atomics.load(table.words, Head.WAITING));
  }
}
