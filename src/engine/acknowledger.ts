/**
 * Acknowledger: decides when the answers of one acceptor may leave. It knows no HTTP: an answer is what settled() does.
 *
 *   memory   in the handler; the event is published at the end of the loop iteration
 *   journal  after publish(). Below DEFER_RATE in the handler: lowest latency, and clients that pipeline or half-close
 *            work. Above it, when an iteration of the loop brings three events or more, they are gathered, published in
 *            setImmediate, then answered
 *   sync     when `synced` has passed the publish; one armed wait on the keeper's group commit serves all that wait
 */

import { KEEPER_SEAT } from '../kernel/threads/roster.ts';
import type { WakeWords } from '../kernel/threads/wake.ts';
import type { LaneWriter } from './lane.ts';

const ackLevels = ['memory', 'journal', 'sync'] as const;
export type AckLevel = (typeof ackLevels)[number];

/** stored: the promise of the level holds. unknown: the write failed or took too long, so nobody can say (503). */
export type Outcome = 'stored' | 'unknown';

export interface Answerable {
  settled(outcome: Outcome): void;
}

export interface AcknowledgerOptions {
  /** auto: gather above deferRate; off: always answer in the handler. */
  readonly defer: 'auto' | 'off';
  /**
   * Events per second above which requests are gathered. 0: also when an iteration brings a single one, now and then.
   */
  readonly deferRate: number;
  /** After a client that pipelines was seen, the acceptor answers in the handler for this long, ms. */
  readonly deferHoldMs: number;
  /** Longest wait for a sync, ms. */
  readonly ackTimeoutMs: number;
}

/**
 * A draft of this size is published at once, whatever else the iteration brings. Its answers still leave at the end of
 * the iteration: inside the handler of one connection the answers to others cannot be corked, and each would cost
 * several small sends, seven times as much (measured with 1,000 connections).
 */
const DRAFT_BYTES_SOFT = 256 * 1024;
/** With fewer events per loop iteration gathering costs more than it saves. */
const GATHER_MIN = 3;
/** The mode is chosen so often: a burst of some hundred events is not yet a rate. */
const MODE_MS = 100;

/** Iterations of this thread's event loop so far. */
const loopIterations = (): number => performance.nodeTiming.uvMetricsInfo.loopCount;

export class Acknowledger {
  readonly #lane: LaneWriter;
  readonly #wake: WakeWords;
  readonly #options: AcknowledgerOptions;
  readonly #now: () => number;
  readonly #iterations: () => number;
  #gathering = false;
  #scheduled = false;
  #held: Answerable[] = [];
  #heldSync: Answerable[] = [];
  #spare: Answerable[] = [];
  readonly #waiting: { slot: Answerable; position: number; deadline: number }[] = [];
  #armed = false;
  #events = 0;
  #lastIteration: number;
  #lastTick: number;
  #calmUntil = 0;
  /** How often a pipelining client has switched this acceptor to in-handler answers. */
  pipeliners = 0;

  constructor(
    lane: LaneWriter,
    wake: WakeWords,
    options: AcknowledgerOptions,
    now: () => number = () => performance.now(),
    iterations: () => number = loopIterations,
  ) {
    this.#lane = lane;
    this.#wake = wake;
    this.#options = options;
    this.#now = now;
    this.#iterations = iterations;
    this.#lastIteration = iterations();
    this.#lastTick = now();
  }

  /** Whether requests are being gathered now. */
  get gathering(): boolean {
    return this.#gathering;
  }
  /** Answers that wait for a sync. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Call after lane.commit(). now: answer in this handler. later: hand the answer to hold(). failed: answer 503. */
  settle(level: AckLevel): 'now' | 'later' | 'failed' {
    this.#events += 1;
    if (level === 'journal' && !this.#gathering) {
      if (!this.#scheduled) return this.#lane.publish() ? 'now' : 'failed';
      // The draft holds records of other requests of this iteration too; flush() answers them with this one.
      this.flush();
      return this.#lane.stuck === undefined ? 'now' : 'failed';
    }
    this.#schedule();
    if (level !== 'memory') return 'later';
    this.#publishLarge();
    return 'now';
  }

  /** Keeps an answer until its level's promise holds. */
  hold(level: AckLevel, slot: Answerable): void {
    (level === 'sync' ? this.#heldSync : this.#held).push(slot);
    this.#publishLarge();
  }

  #publishLarge(): void {
    // After a failed write the draft stays, and the flush at the end of this iteration answers everybody `unknown`.
    if (this.#lane.draftBytes >= DRAFT_BYTES_SOFT) this.#lane.publish();
  }

  /**
   * The connection of a held answer is gone. In the iteration of its own request that means that the client pipelines.
   */
  dropped(slot: Answerable): void {
    if (!this.#held.includes(slot) && !this.#heldSync.includes(slot)) return;
    this.pipeliners += 1;
    this.#calmUntil = this.#now() + this.#options.deferHoldMs;
    this.#gathering = false;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  /** Publishes the draft and settles the answers that waited for it. */
  flush(): void {
    this.#scheduled = false;
    const stored = this.#lane.publish();
    if (this.#heldSync.length > 0) this.#queueSync(stored);
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = this.#spare;
    this.#spare = held;
    const outcome = stored ? 'stored' : 'unknown';
    for (let i = 0; i < held.length; i++) held[i].settled(outcome);
    held.length = 0;
  }

  #queueSync(stored: boolean): void {
    const held = this.#heldSync;
    this.#heldSync = [];
    const position = this.#lane.tail;
    const deadline = this.#now() + this.#options.ackTimeoutMs;
    // The keeper was woken for requests that have all timed out since; it does not know of these yet.
    const stale = this.#armed && this.#waiting.length === 0;
    for (const slot of held) {
      if (stored) this.#waiting.push({ slot, position, deadline });
      else slot.settled('unknown');
    }
    if (!stored) return;
    this.#lane.control.want(position);
    if (stale) this.#wake.wake(KEEPER_SEAT);
    this.#arm();
  }

  #arm(): void {
    if (this.#armed || this.#waiting.length === 0) return;
    const { ring } = this.#lane;
    const count = Atomics.load(ring.words, ring.syncCountIndex);
    // Read `synced` after the count: a sync between the two reads makes the wait return at once.
    if (ring.synced() >= this.#waiting[0].position) {
      this.#release();
      return;
    }
    this.#armed = true;
    this.#wake.wake(KEEPER_SEAT);
    // No time-out here; tick() expires late waits. Each time-out would keep a timer until it fires, and Node scans all
    // timers when one fires. At thousands of syncs/s that stopped the loop for 40 to 90 ms every few seconds
    // (measured).
    const wait = Atomics.waitAsync(ring.words, ring.syncCountIndex, count);
    const released = () => {
      this.#armed = false;
      this.#release();
    };
    if (wait.async) void wait.value.then(released);
    else queueMicrotask(released);
  }

  #release(): void {
    const synced = this.#lane.ring.synced();
    const waiting = this.#waiting;
    let done = 0;
    while (done < waiting.length && waiting[done].position <= synced) waiting[done++].slot.settled('stored');
    waiting.splice(0, done);
    this.#expire();
    this.#arm();
  }

  #expire(): void {
    const now = this.#now();
    let late = 0;
    while (late < this.#waiting.length && this.#waiting[late].deadline <= now)
      this.#waiting[late++].slot.settled('unknown');
    this.#waiting.splice(0, late);
  }

  /** Call every 25 ms or so: lets the lane repeat a failed write, ends waits that took too long, chooses the mode. */
  tick(): void {
    this.#lane.tick();
    this.#expire();
    const now = this.#now();
    const elapsed = now - this.#lastTick;
    if (elapsed < MODE_MS) return;
    const { defer, deferRate } = this.#options;
    const iteration = this.#iterations();
    const many = this.#events >= GATHER_MIN * (iteration - this.#lastIteration) && this.#events > 0;
    // On few processors, shared ones above all, an iteration brings many events long before the rate is high.
    if (this.#gathering) this.#gathering = many;
    else {
      const busy = (this.#events * 1000) / elapsed > deferRate;
      this.#gathering = defer === 'auto' && busy && (many || deferRate === 0) && now >= this.#calmUntil;
    }
    this.#events = 0;
    this.#lastIteration = iteration;
    this.#lastTick = now;
  }
}
