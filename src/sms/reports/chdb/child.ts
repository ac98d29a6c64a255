/** Child: starts the process of chdb, says when it is ready, and ends it. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { sibling } from '../../../service/sibling.ts';
import type { ServerOrder, ServerSays } from './contract.ts';

const READY_MS_MAX = 120_000;
const END_MS_MAX = 5000;

export interface ChdbProcess {
  readonly pid: number;
  /** Resolves when it has ended, whatever ended it. */
  readonly ended: Promise<void>;
  end(): Promise<void>;
}

/** Resolves when it answers. Rejects with the reason when it cannot, and has ended then. */
export async function startChdb(order: ServerOrder): Promise<ChdbProcess> {
  const child = fork(fileURLToPath(sibling(import.meta, './server.ts')), [], {
    // Its own words go with it: what matters comes over the channel.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'json',
  });
  // Not `close`: it does not come to a parent that has closed the channel.
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let last = '';
  child.stderr?.on('data', (piece: Buffer) => {
    last = (last + piece.toString('utf8')).slice(-500);
  });
  try {
    await ready(child, order, () => last);
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    throw error;
  }
  return { pid: child.pid ?? 0, ended, end: () => end(child, ended) };
}

function ready(child: ChildProcess, order: ServerOrder, last: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`chdb must be ready within ${READY_MS_MAX} ms`)), READY_MS_MAX);
    child.once('message', (said) => {
      clearTimeout(timer);
      const told = said as ServerSays;
      if ('ready' in told) resolve();
      else reject(new Error(told.failed));
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`chdb has ended: ${signal ?? code} ${last()}`.trim()));
    });
    child.send(order);
  });
}

/** It keeps what it has answered: a part is whole on the disk before an insert is. */
async function end(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.connected) child.disconnect();
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  await ended;
  clearTimeout(timer);
}
