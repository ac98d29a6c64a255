/**
 * Courier: takes messages out of the fair queues, strictly express first, and sees each to its outcome:
 *
 *   take > a place at an operator > the attempt is recorded, many in one statement > the call > the outcome
 *   (settler.ts)
 *
 * NUM_WORKERS messages at most are between the place and the end of the call; a part of them is for express alone. A
 * message is called for only if its attempt is recorded and this process has held its shards since it was taken.
 */
import { randomInt } from 'node:crypto';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { KeptLink } from '../../store/postgres/kept-link.ts';
import { type Lane, normalPart } from '../model.ts';
import type { Place, Routing, SendResult } from '../operators/contract.ts';
import { type Attempt, type Planned, recordAttempts } from './attempts.ts';
import { callOperator, outgoing } from './call.ts';
import { Deferral } from './deferral.ts';
import type { Chance, FairQueue } from './fair-queue.ts';
import type { Outcome, Verdict } from './outcomes.ts';
import type { Queued } from './queued.ts';
import { SHARDS } from './shard.ts';
import { type Rules, verdictOf } from './verdict.ts';

/** Attempts of one statement. */
const BATCH = 500;
/** Outcomes that may wait for the database before dispatch stops. */
const UNSETTLED_MAX = 5000;
/** Operators that have no room for so long are not waited for in memory. */
const DEFER_MS = 1000;
const TICK_MS_MAX = 50;
const TOKENS = 2 ** 47;
/** Attempts in doubt that are remembered; one that is forgotten is held, and asked about. */
const DOUBTFUL_MAX = 10_000;

export interface CourierDeps {
  readonly queues: Readonly<Record<Lane, FairQueue>>;
  readonly routing: Routing;
  readonly open: () => Promise<PostgresLink>;
  readonly rules: Rules;
  readonly numWorkers: number;
  /** Part of numWorkers for express alone, 0 to 1. */
  readonly expressShare: number;
  readonly callTimeoutMs: number;
  /** Whether the locks of the shards are held. */
  readonly holds: () => boolean;
  readonly settle: (outcome: Outcome) => void;
  /** Outcomes that are not written yet. */
  readonly unsettled: () => number;
  /** Forgets a message; its row in the queue says what is next. */
  readonly release: (message: Queued) => void;
  readonly attempted: (message: Queued, result: SendResult) => void;
  readonly recorded: (held: number, gone: number) => void;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Ms since 1970. */
  readonly now: () => number;
}

interface Going extends Planned {
  readonly place: Place;
  /** Sessions of the locks that were lost before it was taken. */
  readonly era: number;
}

export class Courier {
  readonly #deps: CourierDeps;
  readonly #told: Transitions;
  readonly #planned: Going[] = [];
  /** Taken out of a queue and not settled, by shard. */
  readonly #out = new Int32Array(SHARDS);
  /** Between their place and the end of their call. */
  #calls = 0;
  /** Outcomes of messages that are under way here, until they are written. */
  readonly #ending = new Map<Outcome, Queued>();
  /** Tokens of attempts that a statement may have written though it failed, by message. */
  readonly #doubtful = new Map<string, number>();
  #era = 0;
  readonly #link: KeptLink;
  #recording = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #deferral: Deferral;
  readonly #abort = new AbortController();

  constructor(deps: CourierDeps) {
    this.#deps = deps;
    this.#link = new KeptLink(() => deps.open());
    this.#deferral = new Deferral(deps.rules.retryMaxMs);
    this.#told = new Transitions(deps.log);
  }

  get calls(): number {
    return this.#calls;
  }

  /** Messages of the shard that are taken and not settled. */
  busy(shard: number): boolean {
    return this.#out[shard]! > 0;
  }

  /** The session of the locks was lost: others may have had the shards since. */
  lost(): void {
    this.#era += 1;
  }

  /** Takes what can go now. Called whenever something has changed; it calls itself when time alone changes things. */
  dispatch(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const { queues, numWorkers, expressShare, unsettled } = this.#deps;
    const normalMax = normalPart(numWorkers, expressShare);
    const nowMs = performance.now();
    while (this.#calls < numWorkers && unsettled() < UNSETTLED_MAX) {
      if (this.#takeOne(queues.express, nowMs)) continue;
      if (this.#calls >= normalMax || !this.#takeOne(queues.normal, nowMs)) break;
    }
    void this.#record();
    const next = Math.min(queues.express.nextMs ?? Infinity, queues.normal.nextMs ?? Infinity);
    this.#timer = setTimeout(() => this.dispatch(), Math.min(TICK_MS_MAX, Math.max(2, next - nowMs)));
  }

  /** An outcome is written: the message that it ends here; undefined: it is about none that is under way here. */
  settled(outcome: Outcome): Queued | undefined {
    const message = this.#ending.get(outcome);
    if (message === undefined) return undefined;
    this.#ending.delete(outcome);
    this.#free(message);
    return message;
  }

  #free(message: Queued): void {
    this.#out[message.shard]! -= 1;
    this.#deps.queues[message.lane].settled(message, performance.now());
    this.#deps.release(message);
  }

  /** Takes nothing any more; what is planned and not recorded goes back. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (!this.#recording) this.#giveBack(this.#planned.splice(0));
  }

  /** Ends calls that still run. */
  abort(): void {
    this.#abort.abort();
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  #takeOne(queue: FairQueue, nowMs: number): boolean {
    let place: Place | undefined;
    const message = queue.take(nowMs, (candidate) => {
      const found = this.#chance(candidate);
      if (typeof found === 'string') return found;
      place = found;
      return 'taken';
    });
    if (message === undefined || place === undefined) return false;
    this.#out[message.shard]! += 1;
    this.#calls += 1;
    const token = this.#doubtful.get(message.messageId) ?? randomInt(TOKENS);
    this.#doubtful.delete(message.messageId);
    this.#planned.push({ message, place, operator: place.operator.name, token, era: this.#era });
    return true;
  }

  #chance(message: Queued): Place | Chance {
    const nowMs = this.#deps.now();
    // Asked as late as after a record that finds the attempt of a dead worker: its call may still be under way.
    const askMs = nowMs + this.#deps.callTimeoutMs + DEFER_MS;
    if (message.validMs <= nowMs) return this.#drop(message, { kind: 'failed', reason: 'expired', askMs });
    const found = this.#deps.routing.reserve(message, message.tried);
    if (found.kind === 'place') return found;
    if (found.kind === 'none') return this.#drop(message, { kind: 'failed', reason: found.reason, askMs });
    const awayMs = found.ms < DEFER_MS ? undefined : this.#deferral.take(found.ms, performance.now());
    if (awayMs === undefined) return 'no_room';
    // When its validity ends first, it is looked at then, and expires.
    return this.#drop(message, { kind: 'deferred', dueMs: Math.min(nowMs + awayMs, message.validMs) });
  }

  /** Its outcome is known without an attempt. */
  #drop(message: Queued, verdict: Verdict): Chance {
    this.#out[message.shard]! += 1;
    this.#end(message, { verdict, operator: undefined, attempt: 0, atMs: this.#deps.now() });
    return 'dropped';
  }

  #end(message: Queued, fields: Omit<Outcome, 'messageId'>): void {
    const outcome = { messageId: message.messageId, ...fields };
    this.#ending.set(outcome, message);
    this.#deps.settle(outcome);
  }

  /** Records what is planned, batch after batch, and starts the calls. */
  async #record(): Promise<void> {
    if (this.#recording || this.#planned.length === 0) return;
    this.#recording = true;
    try {
      while (this.#planned.length > 0) await this.#recordBatch(this.#nextBatch());
    } finally {
      this.#recording = false;
    }
  }

  /** Express goes with the next statement, however many wait. */
  #nextBatch(): Going[] {
    if (this.#planned.length <= BATCH) return this.#planned.splice(0);
    this.#planned.sort((a, b) => Number(b.message.lane === 'express') - Number(a.message.lane === 'express'));
    return this.#planned.splice(0, BATCH);
  }

  async #recordBatch(taken: readonly Going[]): Promise<void> {
    const { now, callTimeoutMs, recorded } = this.#deps;
    // What was taken before the locks were lost may be somebody else's by now.
    const stands = ({ era }: Going): boolean => !this.#stopped && era === this.#era;
    const batch = taken.filter(stands);
    this.#giveBack(taken.filter((going) => !stands(going)));
    if (batch.length === 0) return;
    try {
      const link = await this.#link.get();
      const askMs = now() + callTimeoutMs + DEFER_MS;
      const { go, held, gone } = await recordAttempts(link, batch, now(), askMs);
      recorded(held, gone);
      this.#told.up('attempts', 'attempts are recorded again');
      for (const going of batch) {
        const attempt = go.get(going.message.messageId);
        if (attempt === undefined) this.#giveBack([going]);
        else void this.#call(going, attempt);
      }
    } catch (error) {
      this.#told.down('attempts', 'attempts cannot be recorded: nothing is sent', { reason: describeFault(error) });
      for (const { message, token } of batch) this.#doubt(message.messageId, token);
      this.#giveBack(batch);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  #doubt(messageId: string, token: number): void {
    this.#doubtful.set(messageId, token);
    if (this.#doubtful.size > DOUBTFUL_MAX) this.#doubtful.delete(this.#doubtful.keys().next().value!);
  }

  /** Nothing was sent: place and turn are free again, and the row of the queue is read again. */
  #giveBack(batch: readonly Going[]): void {
    for (const { message, place } of batch) {
      place.release();
      this.#calls -= 1;
      this.#free(message);
    }
  }

  async #call({ message, place, operator, era }: Going, { number, sender, text }: Attempt): Promise<void> {
    const { attempted, now, rules } = this.#deps;
    let result: SendResult | undefined;
    // Somebody else may own the shard by now, and ask about this attempt: it must not begin.
    if (this.#deps.holds() && era === this.#era)
      result = await callOperator(
        place.operator,
        outgoing(message, sender, text),
        { signal: this.#abort.signal, timeoutMs: this.#deps.callTimeoutMs },
        (id) => this.#proven(place.operator, message, id),
      );
    place.release(result);
    this.#calls -= 1;
    const atMs = now();
    if (result !== undefined) attempted(message, result);
    const verdict = verdictOf(message, { number, operator: place.operator }, result, rules, atMs, (tried) =>
      this.#hasAnother(message, tried),
    );
    this.#end(message, { verdict, operator, attempt: number, atMs });
    this.dispatch();
  }

  #proven({ name, receiptsBear }: Place['operator'], { messageId }: { readonly messageId: string }, id: string): void {
    const bears = receiptsBear === 'operator_id';
    const verdict: Verdict = { kind: 'sent', operatorId: id, bears };
    this.#deps.settle({ messageId, verdict, operator: name, attempt: 0, atMs: this.#deps.now() });
  }

  /** Whether an operator beside `tried` has room for it now. */
  #hasAnother(message: Queued, tried: readonly string[]): boolean {
    const found = this.#deps.routing.reserve(message, tried);
    if (found.kind !== 'place') return false;
    found.release();
    return true;
  }
}
