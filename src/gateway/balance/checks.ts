/**
 * Checks: GET /health of each backend every so often, over a connection of its own, so that one that takes no new
 * connection is found out. What it says is put into the shared table; acceptors see it with their next request.
 */
import { Agent, request } from 'undici';
import type { Logger } from '../../kernel/log.ts';
import { type BackendTable, Health, type Placed, Reason, reasons, Slot } from './backend-table.ts';
import type { BackendHealth } from './health.ts';

const PATH = '/health';
/** In a row. A dead backend is out after two intervals more than the time to the next check. */
const BAD_MAX = 3;
const GOOD_MIN = 2;
const ANSWER_BYTES_MAX = 64 * 1024;

export interface ChecksOptions {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** What a check has found: 0 when all is well, else a number of Reason. */
type Found = number;

interface Checked {
  readonly placed: Placed;
  good: number;
  bad: number;
  dueMs: number;
  running: boolean;
}

export class Checks {
  readonly #table: BackendTable;
  readonly #health: BackendHealth;
  readonly #options: ChecksOptions;
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  readonly #agent: Agent;
  #placed: readonly Placed[] | undefined;
  #checked = new Map<string, Checked>();

  constructor(table: BackendTable, health: BackendHealth, options: ChecksOptions, log: Pick<Logger, 'info' | 'warn'>) {
    this.#table = table;
    this.#health = health;
    this.#options = options;
    this.#log = log;
    const { timeoutMs } = options;
    // pipelining 0: every check has a connection of its own.
    this.#agent = new Agent({ pipelining: 0, allowH2: false, connect: { timeout: timeoutMs } });
  }

  /** The backends as they were checked last, and whether each one is up. */
  get found(): readonly { readonly id: number; readonly up: boolean }[] {
    return this.#table.placed.map(({ id, at }) => ({
      id,
      up: Atomics.load(this.#table.words, at + Slot.HEALTH) !== Health.DOWN,
    }));
  }

  /** Starts the checks that are due. Call it a few times in each interval. */
  look(): void {
    const { placed } = this.#table;
    if (placed !== this.#placed) this.#follow(placed);
    const now = performance.now();
    for (const one of this.#checked.values()) {
      if (one.running || now < one.dueMs) continue;
      one.running = true;
      one.dueMs = now + this.#options.intervalMs;
      void this.#check(one);
    }
  }

  #follow(placed: readonly Placed[]): void {
    const before = this.#checked;
    this.#placed = placed;
    this.#checked = new Map(
      placed.map((one) => {
        const name = `${one.at} ${one.id} ${one.origin}`;
        return [name, before.get(name) ?? { placed: one, good: 0, bad: 0, dueMs: 0, running: false }];
      }),
    );
  }

  async #check(one: Checked): Promise<void> {
    const found = await this.#ask(one.placed.origin);
    one.running = false;
    // The slot may be another one's by now.
    if (this.#checked.get(`${one.placed.at} ${one.placed.id} ${one.placed.origin}`) !== one) return;
    this.#note(one, found);
  }

  #note(one: Checked, found: Found): void {
    const { id, origin, at } = one.placed;
    const health = Atomics.load(this.#table.words, at + Slot.HEALTH);
    const first = health === Health.UNKNOWN;
    if (found === 0) {
      one.good += 1;
      one.bad = 0;
      if (health === Health.UP || (!first && one.good < GOOD_MIN)) return;
      this.#health.up(at);
      this.#log.info({ backend: id, url: origin }, 'a backend is up');
      return;
    }
    one.bad += 1;
    one.good = 0;
    if (health === Health.DOWN || (!first && one.bad < BAD_MAX)) return;
    this.#health.down(at, found);
    this.#log.warn({ backend: id, url: origin, reason: reasons[found] }, 'a backend is down');
  }

  async #ask(origin: string): Promise<Found> {
    const { timeoutMs } = this.#options;
    try {
      const { statusCode, body } = await request(`${origin}${PATH}`, {
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(timeoutMs),
        headers: { 'user-agent': 'ringmain-gateway' },
      });
      await body.dump({ limit: ANSWER_BYTES_MAX });
      return statusCode >= 200 && statusCode < 300 ? 0 : Reason.ERROR;
    } catch (error) {
      const { code, name } = error as { readonly code?: string; readonly name?: string };
      return name === 'TimeoutError' || code === 'UND_ERR_CONNECT_TIMEOUT' ? Reason.SILENT : Reason.UNREACHABLE;
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}
