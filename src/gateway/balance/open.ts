/** Opens the balancer and the upstream of an acceptor. */
import type { AcceptorFrame } from '../../service/contract.ts';
import type { GatewayValues } from '../gateway.ts';
import { PoolUpstream } from '../proxy/pool-upstream.ts';
import type { Upstream } from '../proxy/upstream.ts';
import type { GatewayShared } from '../shared.ts';
import { BalanceMeters, balanceMetrics } from './metrics.ts';
import { RetryBudget } from './retry-budget.ts';
import { SharedBalancer } from './shared-balancer.ts';

export interface OpenedBalancer {
  readonly balancer: SharedBalancer;
  readonly upstream: Upstream;
  /** Called ten times a second. */
  gauges(): void;
  close(): void;
}

type Frame = Pick<AcceptorFrame<GatewayValues, GatewayShared>, 'values' | 'shared' | 'meters'>;

export function openBalancer({ values, shared, meters }: Frame): OpenedBalancer {
  const { gateway } = values;
  const counts = new BalanceMeters(meters(balanceMetrics));
  const balancer = new SharedBalancer(
    shared.backends,
    {
      concurrency: gateway.backendConcurrency,
      queue: gateway.backendQueue,
      queueMs: gateway.backendQueueMs,
      failures: gateway.backendFailures,
      ejectMs: gateway.backendEjectMs,
      slowStartMs: gateway.backendSlowStartMs,
    },
    counts,
  );
  const upstream = new PoolUpstream(
    { balancer, budget: new RetryBudget(balancer.table, gateway.backendRetryPercent), retried: counts.retried },
    {
      connectMs: gateway.backendConnectMs,
      headMs: gateway.backendHeadMs,
      bodyMs: gateway.backendBodyMs,
      // The head of an answer may be waited for at several backends; then its body.
      wholeMs: gateway.writeTimeoutMs,
    },
  );
  let placed = balancer.table.placed;
  return {
    balancer,
    upstream,
    gauges() {
      counts.gauges(balancer);
      if (placed === balancer.table.placed) return;
      placed = balancer.table.placed;
      upstream.keep(new Set(placed.map(({ origin }) => origin)));
    },
    close() {
      balancer.close();
      void upstream.close();
    },
  };
}
