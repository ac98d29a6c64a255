/** chdb, the engine of ClickHouse 26.7, fetched once by npm into the cache. */
import { rmSync } from 'node:fs';
import { CHDB_VERSION, provideChdb } from '../../src/sms/reports/chdb/library.ts';
import { once } from './cache.ts';

/** The folder for CHDB_DIR. */
export const chdbFolder = (): Promise<string> =>
  once(`chdb-${CHDB_VERSION}`, async (folder) => {
    rmSync(folder, { recursive: true });
    await provideChdb(folder, AbortSignal.timeout(600_000), () => undefined);
  });
