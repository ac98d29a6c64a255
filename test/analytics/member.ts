/** A process of analytics that dies and comes back, as under a supervisor: its folder outlasts it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestScope, temporaryFolder } from '../servers/process.ts';
import { type Running, startAnalytics, type Wishes } from './running.ts';

export class Member {
  readonly #scope: TestScope;
  readonly #wishes: Wishes;
  #running: Running | undefined;
  #starting: Promise<void> | undefined;

  constructor(scope: TestScope, wishes: Wishes) {
    this.#scope = scope;
    const { folder, remove } = temporaryFolder('ringmain-analytics-');
    scope.onTestFinished(remove);
    this.#wishes = { folder, ready: '/healthz', ...wishes };
  }

  get url(): string {
    return this.#running?.url ?? '';
  }

  /** Whether its process runs. */
  get up(): boolean {
    return this.#running?.process.running ?? false;
  }

  get log(): string {
    return this.#running?.process.log ?? '';
  }

  /**
   * Starts it; a start that ends because something is away is tried again. Faults that overlap share one start: of two
   * processes on one port and folder the second ends at once, and its test would take the first one's answers for its own.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    const end = performance.now() + 90_000;
    while (!this.up) {
      try {
        this.#running = await startAnalytics(this.#scope, this.#wishes);
      } catch (error) {
        if (performance.now() > end) throw error;
        await sleep(200);
      }
    }
  }

  async kill(): Promise<void> {
    this.#running?.process.signal('SIGKILL');
    await this.#running?.process.exited;
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    await this.#running?.process.end('SIGTERM');
  }
}
