/**
 * Checks worker: checks the backends (checks.ts), and writes what it has found to their rows now and then, for people
 * who look into the table; nothing is decided by that.
 */
import { once } from 'node:events';
import type { Worker } from '../../service/contract.ts';
import { openLink } from '../../store/postgres/connection.ts';
import type { GatewayValues } from '../gateway.ts';
import type { GatewayShared } from '../shared.ts';
import { BackendTable } from './backend-table.ts';
import { Checks } from './checks.ts';
import { BackendHealth } from './health.ts';
import { RoundRobin } from './round-robin.ts';

const LOOKS_PER_INTERVAL = 10;
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 250;
const WRITE_MS = 60_000;
const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 5000;

const WRITE = `UPDATE backends b SET is_healthy = f.up, last_health_check = now()
  FROM unnest($1::bigint[], $2::boolean[]) AS f (id, up) WHERE b.id = f.id`;

export default {
  async run({ values, shared, signal, ready, log }) {
    const { gateway, postgres } = values;
    const table = new BackendTable(shared.backends);
    const options = {
      concurrency: gateway.backendConcurrency,
      slowStartMs: gateway.backendSlowStartMs,
      failures: gateway.backendFailures,
      ejectMs: gateway.backendEjectMs,
    };
    const round = new RoundRobin(table, options);
    const health = new BackendHealth(table, round, options);
    const intervalMs = gateway.backendCheckIntervalMs;
    const checks = new Checks(table, health, { intervalMs, timeoutMs: gateway.backendCheckTimeoutMs }, log);

    let written = '';
    let writeAtMs = performance.now() + intervalMs;
    let writing = Promise.resolve();
    const write = async (): Promise<void> => {
      const { found } = checks;
      const text = JSON.stringify(found);
      const now = performance.now();
      // A change is written at the next interval, what stays as it was once a minute.
      if (found.length === 0 || now < writeAtMs || (text === written && now < writeAtMs + WRITE_MS)) return;
      writeAtMs = now + intervalMs;
      try {
        const link = await openLink(postgres.pgDsn!, {
          connectTimeoutMs: CONNECT_MS_MAX,
          queryTimeoutMs: QUERY_MS_MAX,
          applicationName: 'ringmain-gateway-checks',
        });
        await link.query(WRITE, [found.map(({ id }) => id), found.map(({ up }) => up)]).finally(() => link.close());
        written = text;
      } catch {
        // The database is away, as the registry worker says; the next interval tries again.
      }
    };
    let busy = false;
    const look = (): void => {
      checks.look();
      round.settle();
      if (busy) return;
      busy = true;
      writing = write().finally(() => {
        busy = false;
      });
    };
    look();
    const timer = setInterval(
      look,
      Math.min(LOOK_MS_MAX, Math.max(LOOK_MS_MIN, Math.round(intervalMs / LOOKS_PER_INTERVAL))),
    );
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    clearInterval(timer);
    await checks.close();
    await writing;
  },
} satisfies Worker<GatewayValues, GatewayShared>;
