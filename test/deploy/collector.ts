/** The real collector as a process, for what stands around it: proxies, Prometheus, service managers. Built by `npm test` before the tests run. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { runProgram, ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';

export const main: string = join(import.meta.dirname, '..', '..', 'dist', 'main.js');

export interface CollectorOptions {
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  /** A folder with a journal of before; default: a new one, gone with the test. */
  readonly folder?: string;
}

export interface Collector {
  readonly url: string;
  /** Holds journal, dead letters and events.ndjson. */
  readonly folder: string;
  readonly process: ServerProcess;
  /** Asks for an end in order; resolves with the exit code as text. */
  stop(): Promise<string>;
}

/** Starts a collector that listens and is ready for intake; it ends with the test. */
export async function startCollector(t: TestScope, { port, env = {}, folder }: CollectorOptions): Promise<Collector> {
  const home = folder ?? collectorFolder();
  const url = `http://127.0.0.1:${port}`;
  await assertFree(port);
  const process = new ServerProcess('node', [main, 'pixel'], { cwd: home, env: collectorEnv(home, port, env) }, '');
  t.onTestFinished(() => process.end('SIGTERM'));
  await process.until(() => isReady(url), 20_000);
  return {
    url,
    folder: home,
    process,
    stop: async () => {
      await process.end('SIGTERM', 30_000);
      return process.exited;
    },
  };
}

/** Throws when something listens on the port: what another run has started there would pass for ours. */
export async function assertFree(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(port, '127.0.0.1', resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}

/** A folder for one collector, gone when this process exits: `t.after` would take it from under collectors that still run. */
export function collectorFolder(): string {
  return temporaryFolder('ringmain-deploy-').folder;
}

/** What a collector of tests gets: everything in its own folder, nothing of the caller's options. */
export function collectorEnv(home: string, port: number, env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG } = process.env;
  return {
    PATH,
    HOME,
    LANG,
    SERVER_ADDR: `127.0.0.1:${port}`,
    JOURNAL_DIR: join(home, 'journal'),
    DEAD_LETTER_DIR: join(home, 'dead-letters'),
    LOG_PATH: join(home, 'events.ndjson'),
    JOURNAL_MAX_BYTES: '64MiB',
    SEGMENT_BYTES: '4MiB',
    RING_BYTES: '4MiB',
    MAX_CONNECTIONS: '1000',
    // The drain waits a part of this for idle keep-alive connections, which fetch leaves behind.
    DRAIN_TIMEOUT_MS: '2000',
    ...env,
  };
}

/** Runs `ringmain <words>` in a collector's folder and returns what it printed. */
export function ringmain(
  home: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return runProgram('node', [main, ...words], { cwd: home, env: collectorEnv(home, 0, env) });
}

export async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz?sinks=ignore`, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** The events of a collector's file, in its order. */
export function eventsIn(home: string): { event_id: string; ip?: string; props: Record<string, string> }[] {
  const file = join(home, 'events.ndjson');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { event_id: string; ip?: string; props: Record<string, string> });
}

/** Waits until `holds`, looking every 50 ms; throws `what` when it does not in time. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  waitMsMax = 20_000,
): Promise<void> {
  const deadline = performance.now() + waitMsMax;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`did not come true within ${waitMsMax} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
