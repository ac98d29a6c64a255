/**
 * What Routing keeps of one operator: its window, its rate, its breaker and its driver. A place in the window holds a
 * piece of the rate, too.
 */
import { type Clock, systemClock } from '../../kernel/clock.ts';
import { type Lane, normalPart, type OutgoingMessage } from '../model.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import type { Operator, OperatorState, Place, QueryResult, SendResult } from './contract.ts';
import type { GivenOperator } from './operator-option.ts';
import { Rate } from './rate.ts';

export type Driver = Operator & { close(): Promise<void> };
export type SendOutcome = SendResult['kind'];

/** Told of what happens; metrics and the log listen. */
export interface OperatorEvents {
  ended(operator: string, outcome: SendOutcome, ms: number): void;
  failed(operator: string, reason: string): void;
  answered(operator: string): void;
}

/** A full window is asked again after this; nobody is told when a place becomes free. */
const FULL_WAIT_MS = 2;
const AWAY_WAIT_MS = 100;
/** A pause that the operator asks for holds all its messages, so it has a bound. */
const PAUSE_MS_MAX = 60_000;

export class OperatorLane implements Operator {
  readonly name: string;
  readonly receiptsBear: Operator['receiptsBear'];
  readonly given: GivenOperator;
  readonly query: Operator['query'];
  readonly #driver: Driver;
  readonly #events: OperatorEvents;
  readonly #clock: Clock;
  readonly #breaker: Breaker;
  readonly #rate: Rate;
  readonly #normalMax: number;
  #busy = 0;
  #pausedUntilMs = 0;
  /** Since when it has been asked for, and away. */
  #awaySinceMs: number | undefined;

  constructor(
    given: GivenOperator,
    driver: Driver,
    means: { readonly events: OperatorEvents; readonly expressShare: number; readonly clock?: Clock },
  ) {
    const { clock = systemClock, expressShare } = means;
    this.name = given.name;
    this.given = given;
    this.receiptsBear = driver.receiptsBear;
    this.#driver = driver;
    this.#events = means.events;
    this.#clock = clock;
    this.#breaker = new Breaker(clock);
    this.#rate = new Rate(given.tps, clock);
    this.#normalMax = normalPart(given.window, expressShare);
    this.query =
      driver.query === undefined
        ? undefined
        : (messageId, operatorId, signal): Promise<QueryResult> => driver.query!(messageId, operatorId, signal);
  }

  get busy(): number {
    return this.#busy;
  }

  get breaker(): BreakerState {
    return this.#breaker.state;
  }

  state(): OperatorState {
    return this.#breaker.state === 'open' ? 'away' : this.#driver.state();
  }

  async send(message: OutgoingMessage, signal: AbortSignal): Promise<SendResult> {
    const begin = this.#clock.elapsed();
    const result = await this.#driver.send(message, signal);
    this.#events.ended(this.name, result.kind, this.#clock.elapsed() - begin);
    return result;
  }

  /** Ms until it can take a message of this lane; 0: now. */
  waitMs(lane: Lane): number {
    const now = this.#clock.elapsed();
    const paused = this.#pausedUntilMs - now;
    if (this.#driver.state() === 'away' || this.#breaker.waitMs > 0) {
      this.#awaySinceMs ??= now;
      // As long again as it has been away: nobody knows better, and its messages must not keep others waiting in memory.
      return Math.max(AWAY_WAIT_MS, paused, now - this.#awaySinceMs);
    }
    // A trial tells.
    if (this.#breaker.state === 'closed') this.#awaySinceMs = undefined;
    if (this.#busy >= (lane === 'express' ? this.given.window : this.#normalMax)) return FULL_WAIT_MS;
    return Math.max(0, paused, this.#rate.waitMs());
  }

  /** Takes a place; call it only while waitMs is 0. `segments`: what the message takes of the rate. */
  take(segments: number): Place {
    const cost = this.given.driver === 'smpp' ? segments : 1;
    const era = this.#breaker.begin();
    this.#rate.take(cost);
    this.#busy += 1;
    let held = true;
    return {
      kind: 'place',
      operator: this,
      release: (result) => {
        if (!held) return;
        held = false;
        this.#busy -= 1;
        if (result === undefined) {
          this.#rate.giveBack(cost);
          this.#breaker.undone(era);
        } else this.#learn(era, result);
      },
    };
  }

  #learn(era: number, result: SendResult): void {
    if (result.kind === 'taken' || result.kind === 'rejected') {
      this.#breaker.done(era, true);
      this.#events.answered(this.name);
      return;
    }
    // Who says when to come again works, and is obeyed.
    if (result.kind === 'later' && result.afterMs !== undefined) {
      this.#pausedUntilMs = this.#clock.elapsed() + Math.min(result.afterMs, PAUSE_MS_MAX);
      this.#breaker.done(era, true);
      return;
    }
    this.#breaker.done(era, false);
    this.#events.failed(this.name, result.reason);
  }

  close(): Promise<void> {
    return this.#driver.close();
  }
}
