/**
 * Fair queue: whose message goes next, in one lane of a worker. Deficit round robin over customers, each behind a token
 * bucket that it has in common with its line in the other lane. Source: Shreedhar and Varghese, "Efficient Fair Queuing
 * using Deficit Round Robin", 1995.
 *
 *   ready    has messages and tokens, stands in the ring
 *   resting  has messages, and waits for a token, or for an operator with room
 *   idle     has none here; it is forgotten when none is under way either and its bucket is full again
 *
 * Always true: of customers that have messages and tokens, none is ahead of another by more than one round; a customer
 * costs the others nothing while it rests. A message counts as many units as it has segments.
 */
import type { Bucket } from './bucket.ts';
import { Buckets } from './buckets.ts';
import type { Queued } from './queued.ts';
import { Resting } from './resting.ts';

/** Units that a turn gives. */
const QUANTUM = 1;
/** Messages of a customer that are looked at when the operator of the first has no room. */
const AHEAD = 8;
/** A customer none of whose messages could go is asked again after this long. */
const BLOCKED_MS = 10;
/** After so many customers in a row that could not go, operators have no room: the look ends. */
const BLOCKED_MAX = 64;

/** taken: it goes. dropped: it leaves the queue, and costs neither turn nor token. no_room: not now. */
export type Chance = 'taken' | 'dropped' | 'no_room';

class Line {
  readonly customerId: string;
  readonly shard: number;
  readonly bucket: Bucket;
  readonly rows: Queued[] = [];
  /** Rows of it that were handed out and are not settled. */
  out = 0;
  deficit = 0;
  /** The turn has been counted. */
  turn = false;
  /** It is to be forgotten, once its bucket is full. */
  fading = false;
  state: 'idle' | 'ready' | 'resting' = 'idle';

  constructor(customerId: string, shard: number, bucket: Bucket) {
    this.customerId = customerId;
    this.shard = shard;
    this.bucket = bucket;
  }
}

export interface LineView {
  readonly customerId: string;
  readonly shard: number;
  /** Messages here that wait. */
  readonly waiting: number;
  /** Messages that are under way. */
  readonly out: number;
}

export class FairQueue {
  readonly #lines = new Map<string, Line>();
  readonly #resting = new Resting<Line>();
  readonly #fading = new Resting<Line>();
  /** Lines in their order; those before #front have gone. */
  #ring: Line[] = [];
  #front = 0;
  #waiting = 0;
  readonly #buckets: Buckets;

  constructor(buckets = new Buckets()) {
    this.#buckets = buckets;
  }

  /** Messages that wait here. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Customers that are known here. */
  get customers(): number {
    return this.#lines.size;
  }

  has(customerId: string): boolean {
    return this.#lines.has(customerId);
  }

  *lines(): Iterable<LineView> {
    for (const { customerId, shard, rows, out } of this.#lines.values())
      yield { customerId, shard, waiting: rows.length, out };
  }

  setRate(customerId: string, rate: number, nowMs: number): void {
    this.#lines.get(customerId)?.bucket.setRate(rate, nowMs);
  }

  /**
   * Messages of one customer, behind those that it has here. For a customer that is new here: its rate, and since when
   * this process owns its shard, because its bucket was empty then.
   */
  add(rows: readonly Queued[], rate: number, ownedMs: number): void {
    const [first] = rows;
    if (first === undefined) return;
    let line = this.#lines.get(first.customerId);
    if (line === undefined) {
      line = new Line(first.customerId, first.shard, this.#buckets.join(first.customerId, rate, ownedMs));
      this.#lines.set(line.customerId, line);
    }
    line.rows.push(...rows);
    this.#waiting += rows.length;
    if (line.state === 'idle') this.#ready(line);
  }

  /** The next message that `chance` says goes; undefined: none can go now. */
  take(nowMs: number, chance: (message: Queued) => Chance): Queued | undefined {
    for (let line = this.#resting.take(nowMs); line !== undefined; line = this.#resting.take(nowMs)) this.#ready(line);
    for (let line = this.#fading.take(nowMs); line !== undefined; line = this.#fading.take(nowMs)) {
      line.fading = false;
      this.#fade(line, nowMs);
    }
    let blocked = 0;
    while (this.#front < this.#ring.length && blocked < BLOCKED_MAX) {
      const line = this.#ring[this.#front]!;
      if (line.rows.length === 0) {
        this.#pop();
        this.#idle(line, nowMs);
        continue;
      }
      const wait = line.bucket.waitMs(nowMs);
      if (wait > 0) {
        this.#pop();
        this.#rest(line, nowMs + wait);
        continue;
      }
      if (!line.turn) {
        line.turn = true;
        line.deficit += QUANTUM;
      }
      if (line.deficit < line.rows[0]!.segments) {
        this.#pop();
        this.#ready(line);
        continue;
      }
      const found = this.#first(line, chance);
      if (found === 'none') {
        this.#pop();
        this.#rest(line, nowMs + BLOCKED_MS);
        blocked += 1;
      } else if (found !== undefined) {
        line.bucket.take();
        line.deficit -= found.segments;
        return found;
      }
    }
    return undefined;
  }

  /** A message that was handed out is settled, or goes back to the database. */
  settled({ customerId }: Pick<Queued, 'customerId'>, nowMs: number): void {
    const line = this.#lines.get(customerId);
    if (line === undefined) return;
    line.out -= 1;
    if (line.state === 'idle') this.#idle(line, nowMs);
  }

  /** Lets go of the waiting messages of a shard, and returns their ids. */
  dropShard(shard: number): string[] {
    const dropped: string[] = [];
    for (const line of this.#lines.values()) {
      if (line.shard !== shard) continue;
      for (const { messageId } of line.rows.splice(0)) dropped.push(messageId);
    }
    this.#waiting -= dropped.length;
    return dropped;
  }

  /** When somebody who rests may go on; undefined: nobody rests. */
  get nextMs(): number | undefined {
    return this.#front < this.#ring.length ? 0 : this.#resting.nextMs;
  }

  /** none: all that were looked at have no room. undefined: what was looked at is gone; look again. */
  #first(line: Line, chance: (message: Queued) => Chance): Queued | 'none' | undefined {
    for (let at = 0; at < Math.min(AHEAD, line.rows.length); at += 1) {
      const message = line.rows[at]!;
      const answer = chance(message);
      if (answer === 'no_room') continue;
      line.rows.splice(at, 1);
      line.out += 1;
      this.#waiting -= 1;
      return answer === 'taken' ? message : undefined;
    }
    return 'none';
  }

  #ready(line: Line): void {
    line.state = 'ready';
    line.turn = false;
    this.#ring.push(line);
  }

  #rest(line: Line, untilMs: number): void {
    line.state = 'resting';
    line.deficit = 0;
    this.#resting.add(line, untilMs);
  }

  #idle(line: Line, nowMs: number): void {
    line.state = 'idle';
    line.deficit = 0;
    if (line.out > 0) return;
    this.#fade(line, nowMs);
  }

  #fade(line: Line, nowMs: number): void {
    if (line.fading || line.state !== 'idle' || line.out > 0) return;
    const fullMs = line.bucket.fullMs(nowMs);
    if (fullMs > nowMs) {
      line.fading = true;
      this.#fading.add(line, fullMs);
      return;
    }
    if (this.#lines.delete(line.customerId)) this.#buckets.leave(line.customerId);
  }

  #pop(): void {
    this.#front += 1;
    if (this.#front < 1024 || 2 * this.#front < this.#ring.length) return;
    this.#ring = this.#ring.slice(this.#front);
    this.#front = 0;
  }
}
