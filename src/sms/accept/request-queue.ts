/**
 * Request queue: what waits for a group, in turns of customers, express before everything else. A customer's requests
 * keep their order; a batch of several customers has the turn of its first.
 *
 * A customer takes at most as many places as are free, so a flood of one leaves room for others, and one who is alone
 * has half. (Choudhury and Hahne, Dynamic queue length thresholds for shared-memory packet switches, 1998.)
 */
import type { Wanted } from './wanted.ts';

export interface QueuedRequest {
  /** At least one. */
  readonly wanted: readonly Wanted[];
  /** Since when, by performance.now(). */
  readonly atMs: number;
}

/** Requests by customer; whose turn is next is first. */
type Turns<R> = Map<string, R[]>;

export class RequestQueue<R extends QueuedRequest> {
  readonly #express: Turns<R> = new Map();
  readonly #normal: Turns<R> = new Map();
  /** Messages of each customer that wait or are under way. */
  readonly #held = new Map<string, number>();
  #messages = 0;
  #waiting = 0;

  /** Messages that wait or are under way. */
  get messages(): number {
    return this.#messages;
  }

  /** Messages that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether so many messages of the customer have room. */
  hasRoom(customerId: string, messages: number, limit: number): boolean {
    const free = limit - this.#messages;
    const held = this.#held.get(customerId) ?? 0;
    return messages <= free && (held === 0 || held + messages <= free);
  }

  push(request: R): void {
    const { wanted } = request;
    const turns = wanted.some(({ lane }) => lane === 'express') ? this.#express : this.#normal;
    const customer = ownerOf(request);
    const mine = turns.get(customer);
    if (mine === undefined) turns.set(customer, [request]);
    else mine.push(request);
    this.#waiting += wanted.length;
    this.#hold(customer, wanted.length);
  }

  /** Since when the one waits whose turn is next; undefined: nobody waits. */
  get nextMs(): number | undefined {
    const [first] = this.#express.values().next().value ?? this.#normal.values().next().value ?? [];
    return first?.atMs;
  }

  /** Whole requests with at most `most` messages, but at least one. They are held until ended(). */
  take(most: number): R[] {
    const taken: R[] = [];
    let messages = 0;
    for (const turns of [this.#express, this.#normal])
      while (turns.size > 0) {
        const [customer, mine] = turns.entries().next().value!;
        const [request] = mine as [R];
        if (taken.length > 0 && messages + request.wanted.length > most) return taken;
        taken.push(request);
        messages += request.wanted.length;
        this.#waiting -= request.wanted.length;
        mine.shift();
        turns.delete(customer);
        if (mine.length > 0) turns.set(customer, mine);
      }
    return taken;
  }

  /** A request that was taken has its answers. */
  ended(request: R): void {
    this.#hold(ownerOf(request), -request.wanted.length);
  }

  #hold(customer: string, messages: number): void {
    const held = (this.#held.get(customer) ?? 0) + messages;
    if (held === 0) this.#held.delete(customer);
    else this.#held.set(customer, held);
    this.#messages += messages;
  }
}

const ownerOf = ({ wanted }: QueuedRequest): string => wanted[0]!.customerId;
