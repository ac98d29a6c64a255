/** Metrics of the cache: what it was asked, what it holds, what it has thrown out. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

export const cacheResults = ['memory', 'disk', 'stale', 'coalesced', 'revalidated', 'miss', 'passed'] as const;
export type CacheResult = (typeof cacheResults)[number];

export const cacheMetrics = defineMetrics({
  ringmain_gateway_cache_requests_total: counter({
    help: 'Pictures by where they came from: a tier, another request for the same, the backend; passed: too large to keep.',
    labels: { result: cacheResults },
  }),
  ringmain_gateway_cache_memory_bytes: gauge({ help: 'Bytes of pictures in memory.' }),
  ringmain_gateway_cache_disk_bytes: gauge({ help: 'Bytes of pictures below CACHE_DIR.' }),
  ringmain_gateway_cache_evictions_total: counter({
    help: 'Pictures that were thrown out to make room.',
    labels: { tier: ['memory', 'disk'] },
  }),
});
