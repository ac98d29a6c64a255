/**
 * A server process of a test: started, watched, stopped by its id, and never left behind.
 *
 * Always true: the process ends no later than this one. In order it is stopped when its test is finished; when this process
 * exits, by an exit handler; when this process is killed, by a guard: a shell that waits for the end of a pipe held here.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The part of a test context that servers need: the `t` of a test fits. */
export interface TestScope {
  onTestFinished(fn: () => unknown): void;
}

const LOG_BYTES_MAX = 64 * 1024;
const atExit = new Set<() => void>();
process.on('exit', () => {
  for (const undo of atExit) undo();
});
// Without a handler a signal ends Node before 'exit' handlers run; a second one of the same kind ends it at once.
for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const])
  process.once(signal, () => process.exit(code));

/** Registers a synchronous undo for the exit of this process; the returned function takes it back. */
export function onExit(undo: () => void): () => void {
  atExit.add(undo);
  return () => atExit.delete(undo);
}

/** A temporary folder that is gone when this process exits, or earlier by the returned function. */
export function temporaryFolder(prefix: string): { readonly folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const forget = onExit(remove);
  return {
    folder,
    remove: () => {
      forget();
      remove();
    },
  };
}

const AGENT = Symbol.for('undici.globalDispatcher.1');
const UNDICI_AGENT = Symbol.for('undici.globalDispatcher.2');

/**
 * Closes the connections that `fetch` keeps open without a request: a server that ends in order waits for those of its clients, and each end
 * in a test would cost that time. Requests under way are not touched.
 */
export function leaveIdleConnections(): void {
  const place = globalThis as { [AGENT]?: Agent; [UNDICI_AGENT]?: Agent };
  const { [AGENT]: agent, [UNDICI_AGENT]: inner } = place;
  if (agent === undefined) return;
  // Where undici of npm is loaded, its agent is behind a wrapper that Node's fetch understands.
  const renewed = inner === undefined ? new agent.constructor() : new agent.constructor(new inner.constructor());
  place[AGENT] = renewed;
  void agent.close();
}

interface Agent {
  close(): Promise<void>;
  readonly constructor: new (inner?: Agent) => Agent;
}

/** Also a Node with an environment of its own finds what others have compiled (vitest.config.ts). */
function withCompiled(command: string, options: SpawnOptions): SpawnOptions {
  const { NODE_COMPILE_CACHE: folder } = process.env;
  if (command !== process.execPath || folder === undefined || options.env === undefined) return options;
  return { ...options, env: { NODE_COMPILE_CACHE: folder, ...options.env } };
}

export class ServerProcess {
  readonly command: string;
  readonly pid: number;
  readonly exited: Promise<string>;
  #child: ChildProcess;
  #guard: ChildProcess;
  #running = true;
  #log = '';

  /** `folder` is removed as well when this process is killed. */
  constructor(command: string, args: readonly string[], options: SpawnOptions, folder: string) {
    this.command = command;
    this.#child = spawn(command, args, { ...withCompiled(command, options), stdio: ['ignore', 'pipe', 'pipe'] });
    if (this.#child.pid === undefined) {
      this.#child.on('error', () => {});
      throw new Error(`server could not be started: command=${command}`);
    }
    this.pid = this.#child.pid;
    const keep = (text: string) => {
      this.#log = (this.#log + text).slice(-LOG_BYTES_MAX);
    };
    this.#child.stdout?.setEncoding('utf8').on('data', keep);
    this.#child.stderr?.setEncoding('utf8').on('data', keep);
    const guard = 'read -r word; [ "$word" = ended ] || { kill -9 "$1"; sleep 1; rm -rf "$2"; }';
    this.#guard = spawn('sh', ['-c', guard, 'guard', String(this.pid), folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true, // a Ctrl-C meant for this process must not end its guard first
    });
    this.#guard.stdin?.on('error', () => {});
    this.#guard.unref();
    const forget = onExit(() => this.signal('SIGKILL'));
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#running = false;
        forget();
        this.#guard.stdin?.end('ended\n');
        resolve(signal ?? String(code));
      });
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** The newest output, for messages. */
  get log(): string {
    return this.#log;
  }

  signal(name: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(name);
  }

  /** Asks the process to end by `name`, and kills it when it has not done so in time. */
  async end(name: NodeJS.Signals, waitMsMax = 15_000): Promise<void> {
    leaveIdleConnections();
    this.signal('SIGCONT'); // a frozen process takes no other signal than SIGKILL
    this.signal(name);
    const late = setTimeout(() => this.signal('SIGKILL'), waitMsMax);
    await this.exited;
    clearTimeout(late);
  }

  /** Waits until `ready` holds; an early end of the process or the time limit is an error that shows its output. */
  async until(ready: () => boolean | Promise<boolean>, waitMsMax: number): Promise<void> {
    const deadline = Date.now() + waitMsMax;
    while (!(await ready())) {
      const why = !this.#running ? 'ended before it was ready' : Date.now() > deadline ? 'was not ready in time' : '';
      if (why) throw new Error(`server ${why}: command=${this.command}, output:\n${this.#log.slice(-4000)}`);
      await sleep(50);
    }
  }
}

/** Runs a program to its end and returns what it printed; a failure is an error that shows it. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<string> {
  const child = spawn(command, args, { ...withCompiled(command, options), stdio: ['ignore', 'pipe', 'pipe'] });
  const forget = onExit(() => child.kill('SIGKILL'));
  let output = '';
  // Decoded as a stream: a character may be split between two chunks.
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(status ?? signal ?? 'unknown'));
  }).finally(forget);
  if (code !== 0)
    throw new Error(
      `program failed: command=${command} ${args.join(' ')}, status=${code}, output:\n${output.slice(-4000)}`,
    );
  return output;
}
