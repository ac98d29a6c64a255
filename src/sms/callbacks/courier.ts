/**
 * Courier: carries callbacks from the queue to customers. A round writes down what became of the last ones, then claims
 * as many as there is room for, going round among customers.
 *
 *   at least once  a callback stays in the queue until its receiver has answered 2xx
 *   retries        after 2 s, 4 s, 8 s and so on up to an hour, each with jitter; given up after CALLBACK_RETRY_MS
 */
import { setTimeout as delay } from 'node:timers/promises';
import { serializerOf } from '../../http/json.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { type Callback, claimCallbacks, customersBehind, dropCallbacks, type Retry, retryCallbacks } from './queue.ts';
import type { Receivers } from './receivers.ts';
import type { CallbackSender } from './sender.ts';

const RETRY_MS = 2000;
const RETRY_MS_MAX = 3_600_000;
/** Customers of a page, and pages of one round at most. */
const CUSTOMERS_MAX = 1000;
const PAGES_MAX = 10;

export interface CourierParts {
  readonly sender: Pick<CallbackSender, 'send'>;
  readonly receivers: Receivers;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly retryMs: number;
  readonly random?: () => number;
  ended(outcome: 'sent' | 'failed' | 'given_up'): void;
}

interface CallbackBody {
  readonly message_id: string;
  readonly customer_id: string;
  readonly status: string;
  readonly operator: string | null;
  readonly reason: string | null;
  readonly at: string;
}

const nullableText = { type: 'string', nullable: true } as const;
const text = { type: 'string' } as const;
export const callbackBody = serializerOf<CallbackBody>({
  $id: 'smsCallback',
  type: 'object',
  properties: {
    message_id: text,
    customer_id: text,
    status: text,
    operator: nullableText,
    reason: nullableText,
    at: text,
  },
});

export class Courier {
  readonly #parts: CourierParts;
  readonly #running = new Set<Promise<void>>();
  /** Ends of callbacks that are not in the database yet; bounded, for nothing is claimed before they are. */
  #done: string[] = [];
  #retries: Retry[] = [];
  #last = '';

  constructor(parts: CourierParts) {
    this.#parts = parts;
  }

  get running(): number {
    return this.#running.size;
  }

  /** One round; resolves with whether there was anything to do. */
  async round(link: PostgresLink, signal: AbortSignal): Promise<boolean> {
    const settled = await this.settle(link);
    const free = this.#parts.concurrency - this.#running.size;
    if (free <= 0 || signal.aborted) return settled;
    const claimed = await this.#claim(link, free);
    for (const callback of claimed) this.#start(callback, signal);
    return settled || claimed.length > 0;
  }

  /** Writes down what became of callbacks. Others may end meanwhile: they are for the next time. */
  async settle(link: PostgresLink): Promise<boolean> {
    const [done, retries] = [this.#done.length, this.#retries.length];
    await dropCallbacks(link, this.#done.slice(0, done));
    this.#done = this.#done.slice(done);
    await retryCallbacks(link, this.#retries.slice(0, retries));
    this.#retries = this.#retries.slice(retries);
    return done + retries > 0;
  }

  /** Resolves when a callback has ended, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (this.#running.size === 0) await delay(ms);
    else {
      const late = new AbortController();
      await Promise.race([...this.#running, delay(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
      late.abort();
    }
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Looks through customers, from where the last round has come to, until some have a callback that is due. */
  async #claim(link: PostgresLink, free: number): Promise<readonly Callback[]> {
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const customers = await customersBehind(link, this.#last, CUSTOMERS_MAX);
      const end = customers.length < CUSTOMERS_MAX;
      this.#last = end ? '' : customers.at(-1)!;
      const claimed = await this.#claimOf(link, customers, free);
      if (claimed.length > 0 || end) return claimed;
    }
    return [];
  }

  async #claimOf(link: PostgresLink, customers: readonly string[], free: number): Promise<readonly Callback[]> {
    const { receivers, leaseMs } = this.#parts;
    const rooms = customers.map((customerId) => ({ customerId, rows: receivers.room(customerId) }));
    const wishes = shared(
      rooms.filter(({ rows }) => rows > 0),
      free,
    );
    return wishes.length === 0 ? [] : claimCallbacks(link, wishes, leaseMs);
  }

  #start(callback: Callback, signal: AbortSignal): void {
    const { receivers } = this.#parts;
    receivers.begin(callback.customerId);
    const work = this.#carry(callback, signal).finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async #carry(callback: Callback, signal: AbortSignal): Promise<void> {
    const { sender, receivers, ended, retryMs, random = Math.random } = this.#parts;
    const { id, messageId: message_id, customerId: customer_id, status, operator, reason, at, url, secret } = callback;
    const body = Buffer.from(callbackBody({ message_id, customer_id, status, operator, reason, at }));
    const failure = await sender.send({ id: `${message_id}-${id}`, url, body, secret }, signal);
    receivers.end(customer_id, failure === undefined);
    if (failure === undefined) {
      this.#done.push(id);
      ended('sent');
    } else if (callback.ageMs >= retryMs) {
      this.#done.push(id);
      ended('given_up');
    } else {
      const pause = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(callback.tries - 1, 12));
      this.#retries.push({ id, afterMs: pause * (0.75 + random() / 2) });
      ended('failed');
    }
  }
}

/** Shares `free` places among customers, one each in turn. */
export function shared<T extends { readonly rows: number }>(wishes: readonly T[], free: number): readonly T[] {
  let left = free;
  const given = wishes.map(() => 0);
  for (let round = 0; left > 0; round += 1) {
    let gave = false;
    for (const [at, { rows }] of wishes.entries()) {
      if (rows <= round || left === 0) continue;
      given[at]! += 1;
      left -= 1;
      gave = true;
    }
    if (!gave) break;
  }
  return wishes.map((wish, at) => ({ ...wish, rows: given[at]! })).filter(({ rows }) => rows > 0);
}
