/**
 * Delivery: the parts of a worker put together, from its sessions to its end.
 *
 *   ownership > which shards     feeder, one per lane > fair queues > courier > settler     held messages
 *
 * It lives while Postgres is away: nothing is sent then, and what was sent waits here to be written down.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import type { Lane } from '../model.ts';
import type { Routing } from '../operators/contract.ts';
import { Buckets } from './buckets.ts';
import type { WorkerConfig } from './config.ts';
import { Courier } from './courier.ts';
import { FairQueue } from './fair-queue.ts';
import { Feeder } from './feeder.ts';
import { HeldMessages } from './held.ts';
import type { Kind, Outcome, Settlement } from './outcomes.ts';
import { Ownership } from './ownership.ts';
import { type ExpressPromise, type Judged, promiseOf } from './promise.ts';
import type { Queued } from './queued.ts';
import { Settler } from './settler.ts';
import type { Rules } from './verdict.ts';

const OWNERSHIP_MS = 1000;
/** The whole drain, in times of what calls have. */
const DRAIN_PARTS = 1.8;
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 5000;
/** Part of QUEUE_SIZE for express. */
const EXPRESS_PART = 0.25;
/** Pauses of the feeders: shortly after a message, and later. */
const LOOK_MS: Readonly<Record<Lane, readonly [number, number]>> = { express: [5, 20], normal: [25, 100] };

/** What is counted. */
export interface Told {
  attempted: ConstructorParameters<typeof Courier>[0]['attempted'];
  recorded(held: number, gone: number): void;
  settled(lane: Lane, kind: Kind): void;
  /** The first word of an operator about a message, or its end without one. */
  handOver(judged: Judged): void;
}

export interface DeliveryDeps {
  readonly open: (purpose: string) => Promise<PostgresLink>;
  readonly routing: Routing;
  readonly config: WorkerConfig;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  readonly told: Told;
  /** Whether it can do its work, and why not. */
  readonly standing: (away: string | undefined) => void;
  /** Ms since 1970. */
  readonly now: () => number;
  readonly random?: () => number;
}

export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #told: Transitions;
  readonly #buckets = new Buckets();
  readonly #queues = { express: new FairQueue(this.#buckets), normal: new FairQueue(this.#buckets) } as const;
  readonly #known = new Map<string, Queued>();
  /** Shards that are taken from, and since when. */
  readonly #shards = new Map<number, number>();
  readonly #feeders: Readonly<Record<Lane, Feeder>>;
  readonly #ownership: Ownership;
  readonly #courier: Courier;
  readonly #settler: Settler;
  readonly #held: HeldMessages;
  readonly #rules: Rules;
  readonly #promise: ExpressPromise;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
    this.#told = new Transitions(deps.log);
    const { config, routing, now, log, open } = deps;
    this.#rules = {
      ...config,
      unknownHoldMs: 1000 * config.unknownHoldS,
      random: deps.random ?? Math.random,
    };
    this.#promise = promiseOf(config);
    this.#settler = new Settler({
      open: () => open('outcomes'),
      options: { unknown: config.unknown, express: this.#promise },
      log,
      settled: (outcomes, changed) => this.#settled(outcomes, changed),
    });
    this.#ownership = new Ownership({
      open: () => open('shards'),
      busy: (shard) => this.#courier.busy(shard),
      gained: (shard) => this.#shards.set(shard, performance.now()),
      leaving: (shard) => this.#leave(shard),
      lost: () => {
        this.#courier.lost();
        for (const shard of [...this.#shards.keys()]) this.#leave(shard);
      },
    });
    this.#courier = new Courier({
      queues: this.#queues,
      routing,
      open: () => open('attempts'),
      rules: this.#rules,
      numWorkers: config.numWorkers,
      expressShare: config.expressShare / 100,
      callTimeoutMs: config.callTimeoutMs,
      holds: () => this.#ownership.holds,
      settle: (outcome) => this.#settler.add(outcome),
      unsettled: () => this.#settler.waiting,
      release: ({ messageId, lane }) => this.#feeders[lane].release(messageId),
      attempted: deps.told.attempted,
      recorded: deps.told.recorded,
      log,
      now,
    });
    this.#feeders = { express: this.#feeder('express'), normal: this.#feeder('normal') };
    this.#held = new HeldMessages({
      operators: routing.operators,
      rules: this.#rules,
      shards: () => this.#shards.keys(),
      underWay: (messageId) => this.#known.has(messageId),
      settle: (outcome) => this.#settler.add(outcome),
      now,
    });
  }

  /** How it stands, for gauges. */
  get figures() {
    const { express, normal } = this.#queues;
    return {
      waiting: { express: express.waiting, normal: normal.waiting },
      customers: { express: express.customers, normal: normal.customers },
      calls: this.#courier.calls,
      unsettled: this.#settler.waiting,
      shards: this.#shards.size,
    };
  }

  /**
   * Works until the signal fires; then takes nothing more, waits for the calls that run (`drainMs`, then their signal
   * fires), writes their outcomes, and gives its shards back; within twice as long, whatever hangs. Never rejects.
   */
  async run(signal: AbortSignal, drainMs: number): Promise<void> {
    const feeds = new AbortController();
    const { signal: fed } = feeds;
    const loops = [
      this.#own(fed),
      this.#session('express', fed, (link) => this.#feeders.express.run(link, fed)),
      this.#session('normal', fed, (link) => this.#feeders.normal.run(link, fed)),
      this.#session('held', fed, (link) => this.#held.run(link, fed)),
    ];
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    feeds.abort();
    this.#courier.stop();
    const cut = setTimeout(() => this.#courier.abort(), drainMs);
    const late = AbortSignal.timeout(DRAIN_PARTS * drainMs);
    // A loop ends with its statement, and a database that hangs answers none: the process does not wait for that.
    await Promise.race([Promise.all(loops), once(late, 'abort')]);
    while (this.#courier.calls > 0 && !late.aborted) await delay(5);
    clearTimeout(cut);
    await this.#settler.idle(late);
    await Promise.all([this.#settler.close(), this.#courier.close(), this.#ownership.close()]);
  }

  #feeder(lane: Lane): Feeder {
    const { config, now } = this.#deps;
    const part = lane === 'express' ? EXPRESS_PART : 1 - EXPRESS_PART;
    return new Feeder({
      lane,
      queue: this.#queues[lane],
      size: Math.floor(config.queueSize * part),
      shards: () => this.#shards,
      known: this.#known,
      rate: config.ratePerS,
      lookMs: LOOK_MS[lane],
      fed: () => this.#courier.dispatch(),
      now,
    });
  }

  #leave(shard: number): void {
    this.#shards.delete(shard);
    for (const lane of ['express', 'normal'] as const)
      for (const id of this.#queues[lane].dropShard(shard)) this.#feeders[lane].release(id);
  }

  #settled(outcomes: readonly Outcome[], changed: Settlement): void {
    const { told } = this.#deps;
    for (const outcome of outcomes) {
      const message = this.#courier.settled(outcome);
      this.#held.settled(outcome);
      const change = changed.get(outcome.messageId);
      if (change?.kind === 'held') {
        told.recorded(1, 0);
        continue;
      }
      const { verdict, lane = message?.lane ?? change?.lane ?? 'normal' } = outcome;
      if (change !== undefined || verdict.kind === 'held') told.settled(lane, verdict.kind);
      if (change !== undefined) told.handOver(change);
    }
    this.#courier.dispatch();
  }

  async #own(signal: AbortSignal): Promise<void> {
    const { standing } = this.#deps;
    while (!signal.aborted) {
      try {
        await this.#ownership.look();
        this.#told.up('shards', 'shards are held again');
        standing(undefined);
      } catch (error) {
        const reason = describeFault(error);
        this.#told.down('shards', 'shards cannot be held: nothing is sent', { reason });
        standing(`the database of the queue is away: ${reason}`);
      }
      await delay(OWNERSHIP_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Runs `work` on a session, and again on another one when it fails. */
  async #session(name: string, signal: AbortSignal, work: (link: PostgresLink) => Promise<void>): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (!signal.aborted) {
      let link: PostgresLink | undefined;
      try {
        link = await this.#deps.open(name);
        this.#told.up(name, `the queue is read again: ${name}`);
        retryMs = RETRY_MS_MIN;
        await work(link);
      } catch (error) {
        this.#told.down(name, `the queue cannot be read: ${name}`, { reason: describeFault(error) });
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
        retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs);
      } finally {
        await link?.close();
      }
    }
  }
}
