/** The collector as the tests of what stands around it want it: all of its places in its own folder, by name. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Collector, main } from '../servers/collector.ts';
import { runProgram, type TestScope, temporaryFolder } from '../servers/process.ts';

export interface DeployedOptions {
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  /** A folder with a journal of before; a new one when left out. */
  readonly folder?: string;
}

/** Starts a collector that listens and is ready for intake; it ends with the test. */
export function startCollector(
  t: TestScope,
  { port, env = {}, folder = collectorFolder() }: DeployedOptions,
): Promise<Collector> {
  return Collector.start(t, { port, folder, env: collectorEnv(folder, port, env), ready: READY });
}

/** Ready for intake, whatever the sinks do. */
export const READY = '/readyz?sinks=ignore';

/** A folder for one collector, gone when this process exits: the next collector of a test goes on in it. */
export function collectorFolder(): string {
  return temporaryFolder('ringmain-deploy-').folder;
}

/** What a collector of tests gets: everything in its own folder, nothing of the caller's options. */
export function collectorEnv(
  home: string,
  port: number,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  const { PATH = '', HOME = '', LANG = 'C' } = process.env;
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

/** Runs `ringmain <words>` in a collector's folder and returns what it printed. Tools check the address and do not listen. */
export function ringmain(
  home: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return runProgram('node', [main, ...words], { cwd: home, env: collectorEnv(home, 19_890, env) });
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
