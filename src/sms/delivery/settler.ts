/**
 * Settler: gathers outcomes and writes them, batch after batch, on a session of its own. What gathers while a batch is
 * written is the next one. While the database is away outcomes wait here; dispatch stops when too many do.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault, faultOf } from '../../store/postgres/fault.ts';
import { KeptLink } from '../../store/postgres/kept-link.ts';
import { type Outcome, type Settlement, type SettleOptions, settleOutcomes } from './outcomes.ts';

const BATCH = 1000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5000;
/** Tries of a single outcome that the database refuses. */
const REFUSED_MAX = 3;

export interface SettlerDeps {
  readonly open: () => Promise<PostgresLink>;
  readonly options: SettleOptions;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** They are written. */
  settled(outcomes: readonly Outcome[], changed: Settlement): void;
}

export class Settler {
  readonly #deps: SettlerDeps;
  readonly #told: Transitions;
  #waiting: Outcome[] = [];
  readonly #link: KeptLink;
  #running: Promise<void> | undefined;
  /** Outcomes of the batch that is being written. */
  #writing = 0;
  /** Size of the next batch: halved when the database refuses one. */
  #batch = BATCH;
  #refused = 0;

  constructor(deps: SettlerDeps) {
    this.#deps = deps;
    this.#link = new KeptLink(() => deps.open());
    this.#told = new Transitions(deps.log);
  }

  /** Outcomes that are not written yet. */
  get waiting(): number {
    return this.#waiting.length + this.#writing;
  }

  add(outcome: Outcome): void {
    this.#waiting.push(outcome);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when nothing waits, or when the signal fires. */
  async idle(signal: AbortSignal): Promise<void> {
    while (this.waiting > 0 && !signal.aborted) await delay(5);
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async #run(): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    // What comes in this turn of the loop goes with it.
    await delay(1);
    while (this.#waiting.length > 0) {
      const batch = this.#next();
      this.#writing = batch.length;
      try {
        const changed = await settleOutcomes(await this.#link.get(), batch, this.#deps.options);
        this.#told.up('settle', 'outcomes are written again');
        this.#writing = 0;
        this.#batch = BATCH;
        this.#refused = 0;
        retryMs = RETRY_MS_MIN;
        this.#deps.settled(batch, changed);
      } catch (error) {
        this.#writing = 0;
        if (this.#giveUp(batch, error)) continue;
        this.#waiting.unshift(...batch);
        this.#told.down('settle', 'outcomes cannot be written now; they wait', { reason: describeFault(error) });
        await delay(retryMs);
        retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs);
      }
    }
  }

  /** The first outcomes, each message once; a second one of a message waits for the next batch. */
  #next(): Outcome[] {
    const batch: Outcome[] = [];
    const seen = new Set<string>();
    const rest: Outcome[] = [];
    for (const outcome of this.#waiting) {
      if (batch.length < this.#batch && !seen.has(outcome.messageId)) {
        seen.add(outcome.messageId);
        batch.push(outcome);
      } else rest.push(outcome);
    }
    this.#waiting = rest;
    return batch;
  }

  /** Whether the batch is one outcome that the database will never take: its message stays held in the queue. */
  #giveUp(batch: readonly Outcome[], error: unknown): boolean {
    if (this.#link.broken || faultOf(error) !== 'row') return false;
    if (batch.length > 1) {
      this.#batch = Math.max(1, batch.length >> 1);
      return false;
    }
    this.#refused += 1;
    if (this.#refused < REFUSED_MAX) return false;
    this.#refused = 0;
    const [outcome] = batch;
    const fields = { message: outcome?.messageId, outcome: outcome?.verdict.kind, reason: describeFault(error) };
    this.#deps.log.error(fields, 'the database refuses the outcome of a message; it stays in the queue');
    this.#deps.settled(batch, new Map());
    return true;
  }
}
