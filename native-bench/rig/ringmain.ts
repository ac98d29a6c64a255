/** Ringmain as a subject: the built server of a tree, as an operator starts it, with one acceptor on the server's core. */
import { readdirSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import type { Place } from './peers.ts';
import { type Subject, startPinned, stopChild, untilListening } from './subject.ts';

export type Ack = 'memory' | 'journal' | 'sync';

export interface RingmainOptions {
  readonly name?: string;
  readonly ack?: Ack;
  /** TRUST_PROXY, in any of its spellings. */
  readonly trustProxy?: boolean | string;
  readonly core?: number | string;
  readonly env?: Record<string, string>;
  /** Ready means that intake is: for a server whose sink is away on purpose. */
  readonly sinksIgnored?: boolean;
  /** Flags for node itself, before dist/main.js. */
  readonly nodeFlags?: readonly string[];
}

export interface Ringmain extends Subject {
  readonly dir: string;
  readonly log: string;
  readonly port: number;
  /** Milliseconds from spawn to the first 200 of /readyz. */
  readonly readyMs: number;
  metrics(): Promise<string>;
  kill(): Promise<void>;
}

function ringmainEnv(
  place: Place,
  { ack = 'journal', trustProxy = true, env = {} }: RingmainOptions,
): Record<string, string> {
  return {
    SERVER_ADDR: `127.0.0.1:${place.port}`,
    OUTPUTS: 'log',
    LOG_PATH: join(place.dir, 'events.ndjson'),
    LOG_ROTATE_MB: '0', // The lines of one file are counted.
    JOURNAL_DIR: join(place.dir, 'journal'),
    ACK: ack,
    TRUST_PROXY: String(trustProxy),
    ACCEPTORS: '1',
    ...env,
  };
}

export async function startRingmain(tree: string, place: Place, options: RingmainOptions = {}): Promise<Ringmain> {
  const messages = join(place.dir, 'ringmain.out');
  const started = performance.now();
  const env = ringmainEnv(place, options);
  const child = startPinned({
    command: process.execPath,
    args: [...(options.nodeFlags ?? []), join(tree, 'dist/main.js'), 'pixel'],
    env,
    cwd: place.dir,
    messages,
    ...(options.core === undefined ? {} : { core: options.core }),
  });
  await untilListening(child, place.port, messages);
  const url = `http://127.0.0.1:${place.port}`;
  await untilReady(`${url}/readyz${options.sinksIgnored ? '?sinks=ignore' : ''}`);
  const readyMs = performance.now() - started;
  return {
    name: options.name ?? `ringmain ${options.ack ?? 'journal'}`,
    pid: child.pid!,
    port: place.port,
    dir: place.dir,
    log: env['LOG_PATH']!,
    url,
    get logs() {
      return options.sinksIgnored ? [] : logFiles(env['LOG_PATH']!);
    },
    readyMs,
    metrics: async () => (await fetch(`${url}/metrics`)).text(),
    stop: async () => {
      await stopChild(child);
    },
    kill: async () => {
      await stopChild(child, 'SIGKILL');
    },
  };
}

/** The log and its rotated files, which are named after it. */
function logFiles(path: string): string[] {
  const folder = dirname(path);
  const stem = basename(path, extname(path));
  return readdirSync(folder)
    .filter((name) => name.startsWith(stem) && name.endsWith(extname(path)))
    .map((name) => join(folder, name));
}

async function untilReady(url: string, waitMsMax = 60_000): Promise<void> {
  const deadline = Date.now() + waitMsMax;
  for (let last = 'no answer'; ; ) {
    try {
      const response = await fetch(url);
      if (response.status === 200) return;
      last = `${response.status} ${await response.text()}`;
    } catch (error) {
      last = String(error);
    }
    if (Date.now() > deadline) throw new Error(`server must become ready: url=${url}, last=${last}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
