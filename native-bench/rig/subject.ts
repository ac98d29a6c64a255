/**
 * A subject is a server under measurement: one process (tree) pinned to the server's core, with the file it writes.
 *
 *   freeze / thaw   between its rounds a subject is stopped (SIGSTOP): all of them are started once and stay warm, and
 *                   none costs anything while another is measured
 *   lines           every subject that logs is asked how many lines it really wrote; a row whose lines do not match the
 *                   answers is void, however fast it was
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { processTree } from './proc.ts';

export const serverCore = 0;
export const loadCore = 1;

export interface Subject {
  readonly name: string;
  readonly pid: number;
  readonly url: string;
  /** Files that hold one line per event; none: the subject writes nothing (a floor, not a logger). */
  readonly logs: readonly string[];
  /** Makes the subject write out what it buffers. */
  flush?(): void;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  // With their children: a worker that stands still would outlive its master and keep the port.
  for (const { pid } of running) if (pid !== undefined) signalTree(pid, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

export interface Start {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Where its own messages go; shown when it does not start. */
  readonly messages: string;
  /** One core, or a list as taskset takes it. */
  readonly core?: number | string;
}

/** Starts a process on a core. taskset replaces itself, so the pid is the server's. */
export function startPinned({ command, args, env, cwd, messages, core = serverCore }: Start): ChildProcess {
  const log = openSync(messages, 'a');
  const child = spawn('taskset', ['-c', String(core), command, ...args], {
    env: { PATH: process.env['PATH'], ...env },
    ...(cwd ? { cwd } : {}),
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Resolves when the port accepts a connection; rejects with the process's last words when it ends first. */
export async function untilListening(
  child: ChildProcess,
  port: number,
  messages: string,
  waitMsMax = 15_000,
): Promise<void> {
  const deadline = Date.now() + waitMsMax;
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    if (await connects(port)) return;
    await sleep(10);
  }
  const words = existsSync(messages) ? readFileSync(messages, 'utf8').slice(-2000) : '';
  throw new Error(`server must listen: port=${port}, exit=${child.exitCode ?? child.signalCode}, said:\n${words}`);
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Asks it to end; kills it when it has not after the time. Resolves with the milliseconds it took. */
export async function stopChild(
  child: ChildProcess,
  signal: NodeJS.Signals = 'SIGTERM',
  waitMsMax = 30_000,
): Promise<number> {
  const start = performance.now();
  if (child.exitCode !== null || child.signalCode !== null) return 0;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // Its children, too: nginx waits three seconds for a worker that stands still, then kills it.
  signalTree(child.pid!, 'SIGCONT');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), waitMsMax);
  await ended;
  clearTimeout(timer);
  return performance.now() - start;
}

export const freeze = (subject: Subject): void => signalTree(subject.pid, 'SIGSTOP');
export const thaw = (subject: Subject): void => signalTree(subject.pid, 'SIGCONT');

/** Puts a running subject on another core, or on several: a list as taskset takes it. */
export function move({ pid }: Pick<Subject, 'pid'>, core: number | string): void {
  for (const one of processTree(pid))
    execFileSync('taskset', ['-acp', String(core), String(one.pid)], { stdio: 'ignore' });
}

function signalTree(root: number, signal: NodeJS.Signals): void {
  for (const { pid } of processTree(root)) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has ended meanwhile
    }
  }
}

/** Counts the lines that files grew by since it last looked; a file that is replaced by a rotation is read anew. */
export class LineCounter {
  readonly #buffer = Buffer.allocUnsafe(1 << 20);
  readonly #read = new Map<string, { inode: number; bytes: number; lines: number }>();

  count(paths: readonly string[]): number {
    let lines = 0;
    for (const path of paths) lines += this.#countOne(path);
    return lines;
  }

  #countOne(path: string): number {
    if (!existsSync(path)) return 0;
    const file = openSync(path, 'r');
    const inode = statSync(path).ino;
    const seen = this.#read.get(path);
    const state = seen?.inode === inode ? seen : { inode, bytes: 0, lines: 0 };
    for (;;) {
      const length = readSync(file, this.#buffer, 0, this.#buffer.length, state.bytes);
      if (length === 0) break;
      for (let at = this.#buffer.indexOf(10); at !== -1 && at < length; at = this.#buffer.indexOf(10, at + 1))
        state.lines += 1;
      state.bytes += length;
    }
    closeSync(file);
    this.#read.set(path, state);
    return state.lines;
  }
}

/** Waits until the files stop growing for `quietMs`: the work of a round is done only then. */
export async function untilWritten(paths: readonly string[], quietMs = 150, waitMsMax = 20_000): Promise<void> {
  const bytes = (): number => paths.reduce((sum, path) => sum + (existsSync(path) ? statSync(path).size : 0), 0);
  const deadline = Date.now() + waitMsMax;
  for (let last = -1; Date.now() < deadline; ) {
    const now = bytes();
    if (now === last) return;
    last = now;
    await sleep(quietMs);
  }
}
