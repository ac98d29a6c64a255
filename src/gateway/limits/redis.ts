/**
 * Redis limiter: decides across hosts (redis-script.ts), and by the process alone while Redis is away.
 *
 *   pipelined  decisions of one turn of the event loop go out together, each as one EVALSHA
 *   floods     what Redis has said stands in the table of the process as well, never longer than it holds. A window
 *              that is full there is full in Redis, so its refusals are answered at once: a flood does not reach Redis
 *   bounded    an answer that takes longer than REDIS_TIMEOUT_MS is not waited for, and neither are any while
 *              WAITING_MAX decisions wait: the process decides
 *   away       after a lost connection, a time-out or an error the process decides alone, at once, by what Redis has
 *              said before, so nobody starts anew: n gateways let pass at most n times the limit, and not a burst more.
 *              It is said once per process in the log, and in metrics; /readyz stays green
 *   back       the connection is opened again by itself; then Redis decides again. What passed meanwhile it has not
 *              seen
 *   cluster    one node that has all slots decides like any other Redis. One of several has the slots of some users
 *              alone: that is as good as away
 */
import type { Redis } from 'ioredis';
import type { CounterCell, GaugeCell } from '../../kernel/metrics.ts';
import type { Limiter, Verdict, Window } from './limiter.ts';
import { type LocalLimiter, verdictOf } from './local.ts';
import { intervalTicksOf, NS_PER_TICK, script, TICKS_PER_MS } from './redis-script.ts';

const WAITING_MAX = 10_000;
const TICK_MS = 10;
/** After an error of the server that does not end the connection. */
const PAUSE_MS = 1000;
/** After MOVED: it is one node of a cluster of several, and soon somebody's slot is at another one again. */
const ELSEWHERE_PAUSE_MS = 60_000;
/** Clocks of two machines do not run alike: a window that Redis may see end so soon is asked for. */
const DRIFT_MS = 10;

/**
 * The keys of a decision lie in one slot of a cluster: that of the outermost window, which is the user's behind each of
 * its keys.
 */
const keysOf = (prefix: string, windows: readonly Window[]): readonly string[] => {
  const slot = `${prefix}:limit:{${windows.at(-1)!.subject}}`;
  return windows.map(({ subject, windowS }) => `${slot}:${subject}:${windowS}`);
};

interface Decision {
  readonly windows: readonly Window[];
  readonly resolve: (verdict: Verdict | undefined) => void;
}

interface Round {
  readonly sentMs: number;
  /** Undefined once they are decided. */
  decisions: readonly Decision[] | undefined;
  /** The time has passed; what lies in the socket may still be read. */
  late: boolean;
}

export interface RedisLimiterParts {
  readonly redis: Redis;
  readonly local: LocalLimiter;
  /** REDIS_PREFIX */
  readonly prefix: string;
  readonly timeoutMs: number;
  /** Acceptors of this process that are without Redis, i32. */
  readonly awayShared: SharedArrayBuffer;
  readonly away: GaugeCell;
  readonly byRedis: CounterCell;
  readonly known: CounterCell;
  readonly byProcess: CounterCell;
  /** Told by the first acceptor that is without Redis, and by the last one that has it again (undefined). */
  told(reason: string | undefined): void;
}

export class RedisLimiter implements Limiter {
  readonly #parts: RedisLimiterParts;
  readonly #awayCount: Int32Array;
  readonly #timer: NodeJS.Timeout;
  #sha = '';
  #begun: Promise<void> | undefined;
  #up = false;
  #away = false;
  #closed = false;
  #cause = '';
  #pending: Decision[] = [];
  #waiting = 0;
  #rounds: Round[] = [];
  readonly #ahead = new Float64Array(8);

  constructor(parts: RedisLimiterParts) {
    this.#parts = parts;
    this.#awayCount = new Int32Array(parts.awayShared);
    const { redis } = parts;
    redis.on('error', (error: Error) => {
      this.#cause = error.message;
    });
    redis.on('ready', () => {
      this.#begun = this.#begin();
    });
    redis.on('close', () => this.#lost(this.#cause || 'the connection was lost'));
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Resolves when Redis decides, or cannot be reached; never rejects. */
  async connect(): Promise<void> {
    try {
      await this.#parts.redis.connect();
      await this.#begun;
    } catch (error) {
      // ioredis tells the cause in its event alone.
      this.#lost(this.#cause || (error as Error).message);
    }
  }

  take(windows: readonly Window[]): Verdict | undefined | Promise<Verdict | undefined> {
    if (windows.length === 0) return undefined;
    if (!this.#up || this.#waiting >= WAITING_MAX) return this.#decideAlone(windows);
    const known = this.#parts.local.look(windows);
    if (known !== undefined && known.retryAfterMs > DRIFT_MS) {
      this.#parts.known.add(1);
      return known;
    }
    if (this.#pending.length === 0) setImmediate(() => this.#send());
    this.#waiting += 1;
    return new Promise((resolve) => this.#pending.push({ windows, resolve }));
  }

  /** By what Redis has told last. */
  look(windows: readonly Window[]): Verdict | undefined {
    return this.#parts.local.look(windows);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#parts.redis.disconnect();
    this.#decideAll();
  }

  /** The connection is there: the script is put in its place. */
  async #begin(): Promise<void> {
    const { redis } = this.#parts;
    try {
      this.#sha = (await redis.script('LOAD', script)) as string;
      this.#up = redis.status === 'ready';
      if (!this.#up || !this.#away) return;
      this.#away = false;
      this.#tellAway(-1);
    } catch (error) {
      this.#lost((error as Error).message);
      if (redis.status === 'ready') redis.disconnect(true);
    }
  }

  #lost(reason: string): void {
    this.#up = false;
    if (!this.#away && !this.#closed) {
      this.#away = true;
      this.#cause = reason;
      this.#tellAway(1);
    }
    this.#decideAll();
  }

  #tellAway(by: 1 | -1): void {
    const before = Atomics.add(this.#awayCount, 0, by);
    this.#parts.away.set(by === 1 ? 1 : 0);
    if (by === 1 && before === 0) this.#parts.told(this.#cause);
    if (by === -1 && before === 1) this.#parts.told(undefined);
  }

  #decideAlone(windows: readonly Window[]): Verdict | undefined {
    this.#parts.byProcess.add(1);
    return this.#parts.local.take(windows);
  }

  #send(): void {
    const decisions = this.#pending;
    if (decisions.length === 0) return;
    this.#pending = [];
    const round: Round = { sentMs: performance.now(), decisions, late: false };
    this.#rounds.push(round);
    const pipeline = this.#parts.redis.pipeline();
    for (const { windows } of decisions) {
      pipeline.evalsha(
        this.#sha,
        windows.length,
        ...keysOf(this.#parts.prefix, windows),
        ...windows.flatMap((window) => [intervalTicksOf(window), window.burst]),
      );
    }
    pipeline.exec().then(
      (answers) => this.#answered(round, answers ?? []),
      (error: Error) => this.#end(round, error.message),
    );
  }

  #answered(round: Round, answers: readonly [error: Error | null, result: unknown][]): void {
    const { decisions } = round;
    if (decisions === undefined) return;
    this.#forget(round);
    let failure: Error | undefined;
    for (const [i, { windows, resolve }] of decisions.entries()) {
      const [error, reply] = answers[i] ?? [new Error('no answer'), undefined];
      if (error !== null) {
        failure = error;
        resolve(this.#decideAlone(windows));
      } else resolve(this.#verdict(windows, reply as readonly number[], round.sentMs));
    }
    if (failure !== undefined) this.#refused(failure);
  }

  #verdict(windows: readonly Window[], [full = -1, ...ahead]: readonly number[], sentMs: number): Verdict {
    this.#parts.byRedis.add(1);
    // Redis has decided after it was asked: by now so much may be forgiven.
    const agoNs = (performance.now() - sentMs) * 1e6;
    for (let i = 0; i < ahead.length; i += 1) this.#ahead[i] = ahead[i]! * NS_PER_TICK - agoNs;
    this.#parts.local.raise(windows, this.#ahead);
    return verdictOf(windows, ahead, full, { perMs: TICKS_PER_MS, intervalOf: intervalTicksOf });
  }

  /** The server has answered with an error: the next decisions are made here, then it is asked again. */
  #refused({ message }: Error): void {
    if (!this.#up) return;
    this.#lost(message);
    // Somebody has emptied its scripts: ours is put there again at once.
    if (message.startsWith('NOSCRIPT')) void this.#begin();
    else setTimeout(() => void this.#begin(), message.startsWith('MOVED') ? ELSEWHERE_PAUSE_MS : PAUSE_MS).unref();
  }

  #tick(): void {
    const [oldest] = this.#rounds;
    if (oldest === undefined || performance.now() - oldest.sentMs < this.#parts.timeoutMs) return;
    if (!oldest.late) {
      oldest.late = true;
      return;
    }
    this.#lost(`no answer within ${this.#parts.timeoutMs} ms`);
    this.#parts.redis.disconnect(true);
  }

  #end(round: Round, reason: string): void {
    if (round.decisions === undefined) return;
    this.#decideRound(round);
    this.#lost(reason);
  }

  /** All that wait are decided here. */
  #decideAll(): void {
    for (const round of [...this.#rounds]) this.#decideRound(round);
    const pending = this.#pending;
    this.#pending = [];
    this.#waiting -= pending.length;
    for (const { windows, resolve } of pending) resolve(this.#decideAlone(windows));
  }

  #decideRound(round: Round): void {
    const { decisions = [] } = round;
    this.#forget(round);
    for (const { windows, resolve } of decisions) resolve(this.#decideAlone(windows));
  }

  #forget(round: Round): void {
    this.#waiting -= round.decisions?.length ?? 0;
    round.decisions = undefined;
    this.#rounds = this.#rounds.filter((one) => one !== round);
  }
}
