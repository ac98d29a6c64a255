/**
 * Look-ups: opens what the options ask for. Both files are imported only when their option is on, because loading their
 * libraries takes some 40 ms of an acceptor's start.
 */
import type { VisitorConfig } from './config.ts';
import type { CacheMeters, Lookup } from './enrich.ts';
import type { GeoNamed } from './geo.ts';
import type { VisitorMeters } from './metrics.ts';

export interface Lookups {
  readonly geo: Lookup | undefined;
  readonly device: Lookup | undefined;
  close(): void;
}

export const noLookups: Lookups = { geo: undefined, device: undefined, close: () => {} };

/**
 * Rejects with CONFIG when GEOIP_DB is no database. `onProblem` hears when a changed file cannot be read: the last good
 * one stays in use. `named` hears what the regions of addresses are called.
 */
export async function openLookups(
  { geoipDb, uaParse }: Pick<VisitorConfig, 'geoipDb' | 'uaParse'>,
  meters: VisitorMeters,
  onProblem: (error: unknown) => void,
  checkEveryMs?: number,
  named?: GeoNamed,
): Promise<Lookups> {
  const cells = (cache: 'geo' | 'device'): CacheMeters => ({
    hits: meters.ringmain_cache_hits_total.at({ cache }),
    misses: meters.ringmain_cache_misses_total.at({ cache }),
  });
  const geo =
    geoipDb === undefined
      ? undefined
      : await (await import('./geo.ts')).GeoLookup.open(geoipDb, cells('geo'), onProblem, checkEveryMs, named);
  const device = uaParse ? new (await import('./device.ts')).DeviceLookup(cells('device')) : undefined;
  return { geo, device, close: () => geo?.close() };
}
