/** Metrics of limits. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

export const limitMetrics = defineMetrics({
  ringmain_gateway_redis_away: gauge({
    help: 'Acceptors that cannot reach Redis now and limit by themselves; 0 without REDIS_ADDR.',
  }),
  ringmain_gateway_limit_decisions_total: counter({
    help:
      'Decisions about limits where REDIS_ADDR is set: by Redis; refused at once, because Redis had said how long a ' +
      'window is full; by the process alone, because Redis was away.',
    labels: { by: ['redis', 'known', 'process'] },
  }),
});
