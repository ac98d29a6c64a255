/** Memory that all threads of a gateway share; main makes it before the first one starts. */
import { createBackendMemory } from './balance/backend-table.ts';
import { DiskIndex } from './cache/disk-index.ts';
import { createFlights } from './cache/flights.ts';
import type { GatewayConfig } from './config.ts';
import { createLimits, type LimitsShared } from './limits/local.ts';
import { UsageTable } from './quota/usage-table.ts';

export interface GatewayShared {
  /** limits/local.ts */
  readonly limits: LimitsShared;
  /** quota/usage-table.ts */
  readonly usage: SharedArrayBuffer;
  /** balance/backend-table.ts */
  readonly backends: SharedArrayBuffer;
  /** cache/flights.ts */
  readonly flights: SharedArrayBuffer;
  /** cache/disk-index.ts */
  readonly diskIndex: SharedArrayBuffer;
}

export const createShared = ({ rateLimitEntries, cacheDiskBytes }: GatewayConfig): GatewayShared => ({
  limits: createLimits(rateLimitEntries),
  usage: UsageTable.create(),
  backends: createBackendMemory(),
  flights: createFlights(),
  diskIndex: DiskIndex.create(cacheDiskBytes),
});
