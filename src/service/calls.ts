/**
 * Calls: how a route on an acceptor thread asks a worker of its process and waits for the answer. Main makes a message
 * channel for each pair of an acceptor and a worker thread and gives each its end; after that the two talk without
 * main.
 *
 *   acceptor -> worker   { id, question }
 *   worker -> acceptor   { id, answer } or { id, failed }
 *
 * Bounded on both sides: an acceptor has at most WAITING_MAX questions under way per worker and refuses more
 * (WORKER_BUSY); a worker that has died is known by its closed port, and every question that waits for it is answered
 * WORKER_GONE at once. Nobody knows then what became of a change.
 */
import type { MessagePort } from 'node:worker_threads';
import { errorOf, type Failure, failureOf } from '../kernel/errors.ts';
import { serviceErrors } from './errors.ts';

/** Questions of one acceptor that wait for one worker at most. */
const WAITING_MAX = 10_000;

/** What a question does to what the worker holds. */
export type Effect = 'reads' | 'changes';

/** Answers a question; `leave` gives its place among those that are answered at a time to the next one. */
export type Answer = (question: unknown, leave: () => void) => Promise<unknown> | unknown;

/** Main -> acceptor: an end of a channel to a worker's thread. */
export interface ConnectWorker {
  readonly connect: MessagePort;
  /** Name of the worker, as in its spec. */
  readonly worker: string;
}
/** Main -> worker: an end of a channel to an acceptor. */
export interface ConnectAcceptor {
  readonly connect: MessagePort;
  /** Seat of the worker that it leads to: several may share a thread. */
  readonly seat: number;
}

interface Question {
  readonly id: number;
  readonly question: unknown;
}
type Told = { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly failed: Failure };

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
  readonly deadline: number;
  readonly effect: Effect;
}

interface Line {
  readonly port: MessagePort;
  readonly waiting: Map<number, Waiting>;
}

/** The acceptor's side. */
export class Asker {
  readonly #lines = new Map<string, Line[]>();
  #next = 0;

  connect({ connect: port, worker }: ConnectWorker): void {
    const line: Line = { port, waiting: new Map() };
    const lines = this.#lines.get(worker) ?? [];
    this.#lines.set(worker, [...lines, line]);
    port.on('message', (told: Told) => {
      const waiting = line.waiting.get(told.id);
      if (waiting === undefined) return;
      line.waiting.delete(told.id);
      if ('failed' in told) waiting.reject(errorOf(told.failed));
      else waiting.resolve(told.answer);
    });
    port.on('close', () => {
      this.#lines.set(
        worker,
        (this.#lines.get(worker) ?? []).filter((other) => other !== line),
      );
      for (const { reject, effect: left } of line.waiting.values()) reject(serviceErrors.WORKER_GONE({ worker, left }));
      line.waiting.clear();
    });
    // An open channel keeps no thread from ending.
    port.unref();
  }

  /** Asks the thread of the worker that has the fewest questions. `effect`: what an error says of the outcome. */
  ask(worker: string, question: unknown, timeoutMs: number, effect: Effect): Promise<unknown> {
    const lines = this.#lines.get(worker);
    if (lines === undefined || lines.length === 0)
      return Promise.reject(serviceErrors.WORKER_GONE({ worker, left: 'unasked' }));
    const line = lines.reduce((least, other) => (other.waiting.size < least.waiting.size ? other : least));
    if (line.waiting.size >= WAITING_MAX)
      return Promise.reject(serviceErrors.WORKER_BUSY({ worker, waiting: WAITING_MAX }));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      line.waiting.set(id, { resolve, reject, deadline: performance.now() + timeoutMs, effect });
      line.port.postMessage({ id, question } satisfies Question);
    });
  }

  /** Ends the waits whose time is over; called every few ms, so that no question needs a timer of its own. */
  tick(): void {
    const now = performance.now();
    for (const [worker, lines] of this.#lines)
      for (const { waiting } of lines)
        for (const [id, wait] of waiting) {
          if (wait.deadline > now) continue;
          waiting.delete(id);
          wait.reject(serviceErrors.WORKER_TIMEOUT({ worker, left: wait.effect }));
        }
  }

  /** Questions under way. */
  get waiting(): number {
    let sum = 0;
    for (const lines of this.#lines.values()) for (const { waiting } of lines) sum += waiting.size;
    return sum;
  }

  close(): void {
    for (const lines of this.#lines.values()) for (const { port } of lines) port.close();
  }
}

/** The worker's side. */
export class Answerer {
  readonly #ports = new Set<MessagePort>();
  readonly #queue: { readonly port: MessagePort; readonly asked: Question }[] = [];
  #answer: Answer | undefined;
  #concurrency = Number.POSITIVE_INFINITY;
  /** Questions that count against #concurrency. */
  #running = 0;
  /** Questions that are being answered. */
  #open = 0;
  #idle: (() => void) | undefined;

  connect({ connect: port }: Pick<ConnectAcceptor, 'connect'>): void {
    this.#ports.add(port);
    port.on('message', (asked: Question) => {
      this.#queue.push({ port, asked });
      this.#go();
    });
    port.on('close', () => this.#ports.delete(port));
    port.unref();
  }

  serve(answer: Answer, concurrency = Number.POSITIVE_INFINITY): void {
    this.#answer = answer;
    this.#concurrency = concurrency;
    this.#go();
  }

  #go(): void {
    while (this.#answer !== undefined && this.#running < this.#concurrency && this.#queue.length > 0) {
      const { port, asked } = this.#queue.shift()!;
      this.#running += 1;
      this.#open += 1;
      void this.#run(port, asked, this.#answer);
    }
  }

  async #run(port: MessagePort, { id, question }: Question, answer: Answer): Promise<void> {
    let placed = true;
    const leave = (): void => {
      if (!placed) return;
      placed = false;
      this.#running -= 1;
      this.#go();
    };
    let told: Told;
    try {
      told = { id, answer: await answer(question, leave) };
    } catch (error) {
      told = { id, failed: failureOf(error) };
    }
    port.postMessage(told);
    this.#open -= 1;
    leave();
    if (this.#open === 0 && this.#queue.length === 0) this.#idle?.();
  }

  /** Resolves when no question is being answered and none waits. */
  async settled(): Promise<void> {
    if (this.#open === 0 && this.#queue.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  close(): void {
    for (const port of this.#ports) port.close();
  }
}
