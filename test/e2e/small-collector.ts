/** A collector for the tests of its HTTP side: little memory, quick flushes, all interfaces, on the first free port from `from` on. */
import { freePort } from '../http/raw.ts';
import { Collector } from '../servers/collector.ts';
import type { TestScope } from '../servers/process.ts';

const small = {
  RING_BYTES: '4MiB',
  SEGMENT_BYTES: '4MiB',
  JOURNAL_MAX_BYTES: '256MiB',
  FLUSH_INTERVAL_MS: '5',
  DRAIN_TIMEOUT_MS: '5000',
};

export async function startSmall(
  t: TestScope,
  from: number,
  options: Readonly<Record<string, string>> = {},
  folder?: string,
): Promise<Collector> {
  const port = await freePort(from);
  // With TLS, or with an address of its own, /readyz cannot be asked here.
  const ready = 'TLS_CERT' in options || 'ADMIN_ADDR' in options ? '' : '/readyz';
  const env = { ...small, SERVER_ADDR: `:${port}`, ...options };
  return Collector.start(t, { port, env, ready, ...(folder !== undefined && { folder }) });
}
