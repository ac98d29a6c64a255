/** Visitor metrics: how often the caches of look-ups answer. */
import { counter, defineMetrics, type Meters } from '../kernel/metrics.ts';

const caches = ['geo', 'device'] as const;

export const visitorMetrics = defineMetrics({
  ringmain_cache_hits_total: counter({ help: 'Lookups answered by a cache.', labels: { cache: caches } }),
  ringmain_cache_misses_total: counter({ help: 'Lookups that a cache could not answer.', labels: { cache: caches } }),
});
export type VisitorMeters = Meters<typeof visitorMetrics>;
