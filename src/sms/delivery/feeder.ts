/**
 * Feeder: keeps the fair queue of one lane filled from sms_queue, within its part of QUEUE_SIZE. Every customer has a
 * window of equal size. While more customers wait than have room, windows are not refilled: their customers leave when
 * they are empty, and the next ones come in the order of the shards.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { Lane } from '../model.ts';
import type { FairQueue } from './fair-queue.ts';
import { type Customer, findCustomers, readMessages, readRates } from './feed.ts';
import type { Queued } from './queued.ts';

const WINDOW_MIN = 4;
const WINDOW_MAX = 1000;
const RATES_MS = 2000;
/** Customers of one look. */
const FOUND_MAX = 4000;
/** A look is followed by a pause of so many times its cost, */
const LOOK_SHARE = 10;
/** and by no longer one: a look that had to wait, for a lock or a busy database, did not cost what it took. */
const LOOK_PAUSE_MS_MAX = 1000;

export interface FeederDeps {
  readonly lane: Lane;
  readonly queue: FairQueue;
  /** Messages of this lane in memory at most. */
  readonly size: number;
  /** Shards of this process, and since when (monotonic ms). */
  readonly shards: () => ReadonlyMap<number, number>;
  /** Messages that this process holds, waiting or under way. */
  readonly known: Map<string, Queued>;
  /** RATE_PER_S. */
  readonly rate: number;
  /** Pause between two looks for customers, ms: shortly after one was found, and later. */
  readonly lookMs: readonly [number, number];
  /** Messages have come. */
  readonly fed: () => void;
  /** Ms since 1970. */
  readonly now: () => number;
}

export class Feeder {
  readonly #deps: FeederDeps;
  readonly #after = new Map<number, string>();
  #rates = new Map<string, number>();
  #ratesMs = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #lookPauseMs = 0;
  #foundMs = Number.NEGATIVE_INFINITY;
  #crowded = false;
  /** Messages that are settled: forgotten before the next read, for one that runs may still see their rows. */
  #released: string[] = [];

  constructor(deps: FeederDeps) {
    this.#deps = deps;
  }

  release(messageId: string): void {
    this.#released.push(messageId);
  }

  /** Reads until the signal fires; rejects when the session fails. */
  async run(link: PostgresLink, signal: AbortSignal): Promise<void> {
    const [busyMs, idleMs] = this.#deps.lookMs;
    while (!signal.aborted) {
      const came = await this.step(link);
      const pauseMs = came > 0 ? 1 : performance.now() - this.#foundMs < 2000 ? busyMs : idleMs;
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One look; returns how many messages came. @internal for tests */
  async step(link: PostgresLink): Promise<number> {
    const { known, queue, shards } = this.#deps;
    for (const id of this.#released.splice(0)) known.delete(id);
    if (shards().size === 0) return 0;
    const fresh = await this.#look(link);
    const wanted = this.#wanted(fresh);
    if (wanted.length === 0) return 0;
    await this.#readRates(link, wanted);
    const rows = await readMessages(link, this.#deps.lane, wanted, this.#deps.now());
    const owned = shards();
    const byCustomer = new Map<string, Queued[]>();
    let came = 0;
    for (const row of rows) {
      // What came while the shard was given back is its next owner's.
      if (known.has(row.messageId) || !owned.has(row.shard)) continue;
      known.set(row.messageId, row);
      const list = byCustomer.get(row.customerId);
      if (list === undefined) byCustomer.set(row.customerId, [row]);
      else list.push(row);
      came += 1;
    }
    for (const [customerId, list] of byCustomer)
      queue.add(list, this.#rates.get(customerId) ?? this.#deps.rate, owned.get(list[0]!.shard)!);
    if (came > 0) {
      this.#foundMs = performance.now();
      this.#deps.fed();
    }
    return came;
  }

  /** Customers with messages that are not here; undefined: it was not looked for them now, because the look has its cost. */
  async #look(link: PostgresLink): Promise<readonly Customer[] | undefined> {
    const began = performance.now();
    const [busyMs] = this.#deps.lookMs;
    if (began - this.#lookedMs < Math.max(busyMs, this.#lookPauseMs)) return undefined;
    const owned = [...this.#deps.shards().keys()];
    const perShard = Math.max(1, Math.ceil(FOUND_MAX / owned.length));
    const found = await findCustomers(
      link,
      this.#deps.lane,
      owned.map((shard) => ({ shard, after: this.#after.get(shard) ?? '' })),
      perShard,
    );
    this.#lookedMs = performance.now();
    this.#lookPauseMs = Math.min(LOOK_PAUSE_MS_MAX, LOOK_SHARE * (this.#lookedMs - began));
    const counts = new Map<number, { count: number; last: string }>();
    for (const { shard, customerId } of found)
      counts.set(shard, { count: (counts.get(shard)?.count ?? 0) + 1, last: customerId });
    for (const shard of owned) {
      const of = counts.get(shard);
      this.#after.set(shard, of !== undefined && of.count === perShard ? of.last : '');
    }
    return found.filter(({ customerId }) => !this.#deps.queue.has(customerId));
  }

  /** How many of the first messages of whom to read. */
  #wanted(looked: readonly Customer[] | undefined): readonly (Customer & { readonly count: number })[] {
    const { queue, size } = this.#deps;
    const fresh = looked ?? [];
    const room = size - queue.waiting;
    const admitted = fresh.slice(0, Math.max(0, Math.floor(room / WINDOW_MIN)));
    // The first who found no room are looked for first.
    for (const { shard, customerId } of fresh.slice(admitted.length).reverse())
      this.#after.set(shard, previous(customerId));
    if (looked !== undefined) this.#crowded = admitted.length < fresh.length;
    const window = Math.min(
      WINDOW_MAX,
      Math.max(WINDOW_MIN, Math.floor(size / Math.max(1, queue.customers + admitted.length))),
    );
    const count = Math.min(window, Math.max(WINDOW_MIN, Math.floor(room / Math.max(1, admitted.length))));
    const wanted: (Customer & { readonly count: number })[] = admitted.map((one) => ({ ...one, count }));
    if (this.#crowded) return wanted;
    let left = room - admitted.length * count;
    for (const { customerId, shard, waiting, out } of queue.lines()) {
      if (2 * waiting >= window || left <= 0) continue;
      // Rows of what is here stand first in the queue, so they are read along.
      wanted.push({ customerId, shard, count: window + out });
      left -= window - waiting;
    }
    return wanted;
  }

  async #readRates(link: PostgresLink, wanted: readonly Customer[]): Promise<void> {
    const { queue, rate } = this.#deps;
    const nowMs = performance.now();
    const due = nowMs - this.#ratesMs > RATES_MS;
    const ids = new Set(wanted.filter(({ customerId }) => !queue.has(customerId)).map(({ customerId }) => customerId));
    if (due) for (const { customerId } of queue.lines()) ids.add(customerId);
    if (ids.size === 0) return;
    const found = await readRates(link, [...ids]);
    if (due) {
      this.#ratesMs = nowMs;
      this.#rates = found;
      for (const { customerId } of queue.lines()) queue.setRate(customerId, found.get(customerId) ?? rate, nowMs);
    } else for (const [customerId, own] of found) this.#rates.set(customerId, own);
  }
}

/** A text that sorts before this id and, as good as always, behind the ids before it. */
const previous = (id: string): string => `${id.slice(0, -1) + String.fromCharCode(id.charCodeAt(id.length - 1) - 1)}~`;
