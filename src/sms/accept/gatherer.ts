/**
 * Gatherer: makes groups (group.ts) of the requests of one acceptor. While its sessions (ACCEPT_SESSIONS) have a
 * transaction each, the next group gathers, so groups grow with the load by themselves; where a session is free a group
 * begins GROUP_MS after its first request.
 *
 *   request > queue (request-queue.ts), bounded by ACCEPT_QUEUE > a group of at most GROUP_MESSAGES > verdicts, in order
 *
 * A key is under way from the moment its request waits until its group has ended: the same key is refused with 409
 * meanwhile. In another acceptor or process it waits for the lock of the customer instead, and is a replay.
 */
import { type Problem, problemOf } from '../../kernel/errors.ts';
import { faultOf } from '../../store/postgres/fault.ts';
import { smsErrors } from '../errors.ts';
import { type Decision, keyName, refused, type Verdict } from './decide.ts';
import { type QueuedRequest, RequestQueue } from './request-queue.ts';
import type { Wanted } from './wanted.ts';

export interface GathererOptions {
  readonly groupMs: number;
  readonly groupMessages: number;
  readonly acceptQueue: number;
  /** Groups that may be under way at the same time. */
  readonly acceptSessions: number;
  /** Commits a group on the session of this number, from 0. */
  commit(group: readonly Wanted[], session: number): Promise<Decision>;
  /** What the clients of a group are told that was not committed. */
  failed(error: unknown): Problem;
}

/** A request that waits for its messages. */
interface Waiting extends QueuedRequest {
  readonly open: () => boolean;
  readonly done: (verdicts: readonly Verdict[]) => void;
}

export class Gatherer {
  readonly #options: GathererOptions;
  readonly #queue = new RequestQueue<Waiting>();
  readonly #keys = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  /** Numbers of the sessions that have no group. */
  readonly #free: number[];

  constructor(options: GathererOptions) {
    this.#options = options;
    this.#free = Array.from({ length: options.acceptSessions }, (_, i) => i);
  }

  /** Messages that wait or are under way. */
  get waiting(): number {
    return this.#queue.messages;
  }

  /**
   * The verdicts of a request, in its order, at least one message. Never rejects. `open`: whether anybody waits for the answer still; a
   * request whose client has gone before its group begins is left out, and never resolves.
   */
  accept(wanted: readonly Wanted[], open: () => boolean = () => true): Promise<readonly Verdict[]> {
    const { acceptQueue: limit } = this.#options;
    if (!this.#queue.hasRoom(wanted[0]!.customerId, wanted.length, limit))
      return Promise.resolve(wanted.map(() => refused(problemOf(smsErrors.ACCEPT_BUSY, { limit }))));
    const mine = wanted.map((one) => this.#enter(one));
    const fresh = wanted.filter((_, i) => mine[i]);
    if (fresh.length === 0) return Promise.resolve(wanted.map(inFlight));
    return new Promise((resolve) => {
      this.#queue.push({
        atMs: performance.now(),
        wanted: fresh,
        open,
        done: (verdicts) => {
          let at = 0;
          resolve(
            fresh.length === wanted.length
              ? verdicts
              : wanted.map((one, i) => (mine[i] ? verdicts[at++]! : inFlight(one))),
          );
        },
      });
      this.#schedule();
    });
  }

  /** Whether the key of the message is free; then it is taken. */
  #enter({ customerId, key }: Wanted): boolean {
    if (key === undefined) return true;
    const name = keyName(customerId, key);
    if (this.#keys.has(name)) return false;
    this.#keys.add(name);
    return true;
  }

  /** Begins a group when there is a session: at once when it is full or has waited, else when its time is over. */
  #schedule(): void {
    const { groupMs, groupMessages } = this.#options;
    for (let sinceMs = this.#queue.nextMs; sinceMs !== undefined; sinceMs = this.#queue.nextMs) {
      if (this.#free.length === 0) return;
      const leftMs = this.#queue.waiting >= groupMessages ? 0 : sinceMs + groupMs - performance.now();
      if (leftMs > 0) {
        this.#timer ??= setTimeout(() => {
          this.#timer = undefined;
          this.#schedule();
        }, leftMs);
        return;
      }
      void this.#run(this.#free.pop()!);
    }
  }

  async #run(session: number): Promise<void> {
    const open: Waiting[] = [];
    for (const request of this.#queue.take(this.#options.groupMessages)) {
      if (request.open()) open.push(request);
      else this.#end(request);
    }
    if (open.length > 0) await this.#commit(open, session);
    this.#free.push(session);
    this.#schedule();
  }

  async #commit(requests: readonly Waiting[], session: number): Promise<void> {
    const group = requests.flatMap(({ wanted }) => wanted);
    let verdicts: readonly Verdict[];
    try {
      ({ verdicts } = await this.#options.commit(group, session));
    } catch (error) {
      if (requests.length > 1 && faultOf(error) === 'row') {
        // The server refuses what one of them says: the others are not to suffer for it.
        for (const request of requests) await this.#commit([request], session);
        return;
      }
      const said = refused(this.#options.failed(error));
      verdicts = group.map(() => said);
    }
    let at = 0;
    for (const request of requests) {
      const { wanted, done } = request;
      this.#end(request);
      done(verdicts.slice(at, at + wanted.length));
      at += wanted.length;
    }
  }

  #end(request: Waiting): void {
    this.#queue.ended(request);
    for (const { customerId, key } of request.wanted)
      if (key !== undefined) this.#keys.delete(keyName(customerId, key));
  }
}

const inFlight = ({ key }: Wanted): Verdict => refused(problemOf(smsErrors.IDEMPOTENCY_IN_FLIGHT, { key: key! }));
