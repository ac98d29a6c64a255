/**
 * Janitor worker: keeps the disk tier below CACHE_DISK_BYTES by throwing out what was used longest ago, and takes away
 * what a crash has left in its temporary folder.
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from '../../service/contract.ts';
import type { GatewayValues } from '../gateway.ts';
import type { GatewayShared } from '../shared.ts';
import { hashIn, TEMPORARY } from './disk.ts';
import { DiskIndex } from './disk-index.ts';
import { Flights } from './flights.ts';
import { cacheMetrics } from './metrics.ts';

const LOOK_MS = 1000;
const SCAN_MS = 60_000;
/** It stops below this share, so that it need not begin again at the next file. */
const LOW_WATER = 0.9;
/** No write takes so long. */
const LEFTOVER_MS = 300_000;

interface Kept {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly usedMs: number;
}

async function filesOf(folder: string): Promise<readonly Kept[]> {
  const found: Kept[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    // Somebody may have taken it away meanwhile.
    const file = await stat(path).catch(() => undefined);
    if (file?.isFile() === true) found.push({ name, path, bytes: file.size, usedMs: file.mtimeMs });
  }
  return found;
}

/** Bytes that are left, and how many files went. `nowMs`: for leftovers. `stays`: told of each file that was left. */
export async function sweep(
  folder: string,
  bytesMax: number,
  nowMs: number,
  stays: (name: string) => void = () => undefined,
): Promise<{ readonly bytes: number; readonly evicted: number }> {
  const files: Kept[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (/^[0-9a-f]{2}$/.test(name)) for (const file of await filesOf(join(folder, name))) files.push(file);
    else if (name === TEMPORARY)
      for (const { path, usedMs } of await filesOf(join(folder, name)))
        if (nowMs - usedMs > LEFTOVER_MS) await rm(path, { force: true });
  }
  let bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const wanted = bytes <= bytesMax ? bytes : bytesMax * LOW_WATER;
  if (bytes > wanted) files.sort((a, b) => a.usedMs - b.usedMs);
  let evicted = 0;
  for (const file of files) {
    if (bytes <= wanted) {
      stays(file.name);
      continue;
    }
    await rm(file.path, { force: true });
    bytes -= file.bytes;
    evicted++;
  }
  return { bytes, evicted };
}

export default {
  async run({ values, shared, signal, ready, log, meters }) {
    const { cacheDir, cacheDiskBytes } = values.gateway;
    const flights = new Flights(shared.flights, 0);
    const index = new DiskIndex(shared.diskIndex);
    const cells = meters(cacheMetrics);
    const size = cells.ringmain_gateway_cache_disk_bytes.at();
    const evictions = cells.ringmain_gateway_cache_evictions_total.at({ tier: 'disk' });
    // Without the folder pictures are kept in memory alone; nothing else depends on it.
    await mkdir(join(cacheDir, TEMPORARY), { recursive: true }).catch((error: unknown) =>
      log.warn({ error }, 'the folder of the cache cannot be made'),
    );
    ready();
    let scanAtMs = 0;
    while (!signal.aborted) {
      const now = performance.now();
      if (now >= scanAtMs || flights.diskKib * 1024 > cacheDiskBytes) {
        try {
          const scan = index.scan();
          const { bytes, evicted } = await sweep(cacheDir, cacheDiskBytes, Date.now(), (name) => {
            const hash = hashIn(name);
            if (hash !== undefined) scan.found(hash);
          });
          scan.end();
          flights.diskKib = Math.ceil(bytes / 1024);
          evictions.add(evicted);
        } catch (error) {
          log.warn({ error }, 'the folder of the cache cannot be swept');
        }
        scanAtMs = performance.now() + SCAN_MS;
      }
      size.set(flights.diskKib * 1024);
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  },
} satisfies Worker<GatewayValues, GatewayShared>;
