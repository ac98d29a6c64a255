/**
 * Supervisor: spawns threads and watches them. A thread of its own kind is restarted after a pause that doubles to 30 s
 * (its successor goes on from checkpoints and shared memory), or ends the process, as its spec says.
 */
import { type Transferable, Worker } from 'node:worker_threads';
import type { Logger } from '../log.ts';

export interface ThreadSpec {
  readonly name: string;
  readonly file: URL;
  readonly data: unknown;
  /** restart: start it again. fatal: the process cannot go on without it. */
  readonly onDeath: 'restart' | 'fatal';
  /** It is started, for the first time or again. */
  readonly onStart?: () => void;
  /** Its thread exists now, for the first time or again, and takes messages. */
  readonly onStarted?: () => void;
  /** It has ended and will be started again: clean up, now, what it held in shared memory. */
  readonly onEnd?: () => void;
  readonly onMessage?: (message: unknown) => void;
  /** Environment of the thread; default: the process's. */
  readonly env?: NodeJS.ProcessEnv;
  /** The most its young generation takes, MiB: three semi-spaces. Default: YOUNG_MIB. */
  readonly youngMiB?: number;
  /**
   * The most its old generation takes, MiB; the process ends when it needs more. The larger it is, the further V8 lets the
   * heap grow before it collects: to 1.3 times of what lives for 256, twice for 2047, four times from 2048 on
   * (MemoryController::MaxGrowingFactor in V8's heap-controller.cc). Default: V8's own, some 4 GiB.
   */
  readonly oldMiB?: number;
}

/**
 * V8 lets a young generation grow to 48 MiB before it looks whether anything in it is alive; under load every thread
 * ends there. What our threads allocate dies at once, so a small one costs no more CPU and saves some 10 MiB of a
 * server (measured: 140 to 145 MiB against 155).
 */
const YOUNG_MIB = 3;
const RESTART_MS_MIN = 100;
const RESTART_MS_MAX = 30_000;
/** A thread that has lived this long begins at the shortest pause again. */
const STEADY_MS = 60_000;

interface Thread {
  readonly spec: ThreadSpec;
  worker: Worker | undefined;
  restarts: number;
  startedMs: number;
  ended: Promise<void>;
}

export class Supervisor {
  readonly #log: Logger;
  readonly #fatal: (thread: string, reason: string) => void;
  readonly #threads = new Map<string, Thread>();
  #stopping = false;
  /** How often a thread was started again. */
  restarts = 0;

  /** `fatal` must end the process. */
  constructor(log: Logger, fatal: (thread: string, reason: string) => void) {
    this.#log = log;
    this.#fatal = fatal;
  }

  spawn(spec: ThreadSpec): void {
    const thread: Thread = { spec, worker: undefined, restarts: 0, startedMs: 0, ended: Promise.resolve() };
    this.#threads.set(spec.name, thread);
    this.#start(thread);
  }

  #start(thread: Thread): void {
    const { spec } = thread;
    thread.startedMs = performance.now();
    spec.onStart?.();
    // Files opened in a thread stay open when it ends: an acceptor writes to segments that the keeper has opened.
    const worker = new Worker(spec.file, {
      workerData: spec.data,
      name: spec.name,
      trackUnmanagedFds: false,
      env: spec.env,
      resourceLimits: {
        maxYoungGenerationSizeMb: spec.youngMiB ?? YOUNG_MIB,
        ...(spec.oldMiB === undefined ? {} : { maxOldGenerationSizeMb: spec.oldMiB }),
      },
    });
    thread.worker = worker;
    spec.onStarted?.();
    let reason = 'it returned';
    worker.on('error', (error: Error) => {
      reason = error.stack ?? String(error);
    });
    if (spec.onMessage !== undefined) worker.on('message', spec.onMessage);
    thread.ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        thread.worker = undefined;
        resolve();
        if (!this.#stopping) this.#died(thread, code, reason);
      });
    });
  }

  #died(thread: Thread, code: number, reason: string): void {
    const { spec } = thread;
    if (spec.onDeath === 'fatal') {
      this.#fatal(spec.name, `code ${code}: ${reason}`);
      return;
    }
    if (performance.now() - thread.startedMs > STEADY_MS) thread.restarts = 0;
    const pauseMs = Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** thread.restarts);
    thread.restarts += 1;
    this.restarts += 1;
    this.#log.error({ thread: spec.name, code, reason, pauseMs }, 'a thread died; restarting it');
    spec.onEnd?.();
    setTimeout(() => {
      if (this.#stopping) return;
      this.#start(thread);
    }, pauseMs);
  }

  /** Threads that are not running now. */
  missing(): string[] {
    return [...this.#threads.values()]
      .filter((thread) => thread.worker === undefined)
      .map((thread) => thread.spec.name);
  }

  /** From now on an ended thread is what was wanted. */
  stop(): void {
    this.#stopping = true;
  }

  /** Whether the thread is there. */
  runs(name: string): boolean {
    return this.#threads.get(name)?.worker !== undefined;
  }

  post(name: string, message: unknown, transfer: readonly Transferable[] = []): void {
    this.#threads.get(name)?.worker?.postMessage(message, transfer);
  }

  /** Waits until the named threads have ended, at most `ms`. Returns those that have not. */
  async join(names: readonly string[], ms: number): Promise<string[]> {
    const waits = names.map((name) => this.#threads.get(name)?.ended ?? Promise.resolve());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([Promise.all(waits), late]);
    clearTimeout(timer);
    return names.filter((name) => this.#threads.get(name)?.worker !== undefined);
  }
}
