/**
 * Picture cache of an acceptor: memory, then the disk tier that all threads share, then the backend; each picture is
 * asked of a backend once at a time (flights.ts). It answers after key, quota and ownership were looked at.
 *
 *   hit in memory   answered inside the handler: no promise, no copy
 *   stale           answered so, and asked for again behind the client's back
 *   miss            the first one flies; who wants the same picture meanwhile waits for it. The disk is written behind
 *                   the answers; threads that wait for the flight read it there
 *   too large       to be kept: those who wait for it read it from one file (collect.ts)
 *   failed          what is not too old is served all the same
 */
import { problem } from '../../kernel/errors.ts';
import type { Exchange } from '../front/exchange.ts';
import type { PurgeRule } from '../model.ts';
import type { Upstream } from '../proxy/upstream.ts';
import { answerEntry, type Conditions } from './answer-entry.ts';
import { collect, LargeBody } from './collect.ts';
import type { DiskTier } from './disk.ts';
import { type CacheState, Entry, etagOf, freshnessOf, type Lives, passedHeaders } from './entry.ts';
import { discard, type PictureRequest, passThrough, refusalOf } from './fetch.ts';
import type { Flights } from './flights.ts';
import type { MemoryTier } from './memory.ts';
import type { CacheResult } from './metrics.ts';
import { Purges } from './purges.ts';
import type { SlowBodies } from './slow-bodies.ts';

export interface CacheParts {
  readonly upstream: Upstream;
  readonly memory: MemoryTier;
  readonly disk: DiskTier;
  readonly flights: Flights;
  readonly slow: SlowBodies;
  readonly now: () => number;
  readonly count: (result: CacheResult) => void;
}

export interface CacheOptions extends Lives {
  readonly entryBytesMax: number;
  /** IMGPROXY_SECRET, as the header has it. */
  readonly secret: string | undefined;
}

interface Waiter {
  readonly exchange: Exchange;
  readonly conditions: Conditions | undefined;
}

interface Flight {
  readonly request: PictureRequest;
  readonly waiters: Waiter[];
  readonly purgeId: number;
  /** Its source is gone: what comes is not kept. */
  gone: boolean;
}

interface Landed {
  readonly entry: Entry;
  readonly state: CacheState;
  readonly result: CacheResult;
  readonly outcome: string;
  readonly backendId?: number;
}

/** Keys of pictures that are not kept, too large or marked so: for a while each client gets them as they come. */
const PASSED_MAX = 4096;
const PASSED_MS = 60_000;

export class PictureCache {
  readonly #parts: CacheParts;
  readonly #options: CacheOptions;
  readonly #purges = new Purges();
  readonly #flying = new Map<string, Flight>();
  /** Those that have landed and whose file is being written. */
  readonly #writing = new Set<Flight>();
  /** Until when, ms. */
  readonly #passed = new Map<string, number>();

  constructor(parts: CacheParts, options: CacheOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  serve(exchange: Exchange, request: PictureRequest, conditions: Conditions | undefined): void {
    const { memory, slow, now, count } = this.#parts;
    const entry = memory.get(request.key);
    if (entry !== undefined) {
      const at = now();
      const { freshUntilMs, staleUntilMs } = entry.meta;
      if (at < staleUntilMs) {
        const fresh = at < freshUntilMs;
        exchange.outcome = fresh ? 'hit' : 'stale';
        count(fresh ? 'memory' : 'stale');
        answerEntry(exchange, entry, fresh ? 'HIT' : 'STALE', at, conditions, slow);
        if (!fresh) this.#refresh(request, entry);
        return;
      }
    }
    if (this.#isPassed(request.key)) this.#pass({ exchange, conditions }, request);
    else this.#wait({ exchange, conditions }, request, entry);
  }

  /** All rules of purges that are in force. Files of the disk tier are judged by them when they are read. */
  begin(rules: readonly PurgeRule[]): void {
    this.#purges.begin(rules);
    this.#end();
  }

  /** Rules that are new or have changed, and those that are gone: what a rule ends is served no more. */
  take(rules: readonly PurgeRule[], gone: readonly number[]): void {
    const { newest } = this.#purges;
    for (const id of gone) this.#purges.drop(id);
    for (const rule of rules) this.#purges.put(rule);
    if (rules.length > 0) this.#end();
    for (const { id, source, prefix } of rules) if (id > newest && !prefix) void this.#parts.disk.removeSource(source);
  }

  /** Drops what is kept of sources that are gone, and keeps nothing of what flies or is being written. */
  forget(sources: ReadonlySet<string>): void {
    if (sources.size === 0) return;
    const { memory, disk } = this.#parts;
    memory.prune(({ meta }) => sources.has(meta.source));
    for (const [key, flight] of this.#flying) {
      if (!sources.has(flight.request.source)) continue;
      flight.gone = true;
      this.#flying.delete(key);
    }
    for (const flight of this.#writing) if (sources.has(flight.request.source)) flight.gone = true;
    for (const source of sources) void disk.removeSource(source);
  }

  #end(): void {
    this.#parts.memory.prune(({ meta }) => this.#purges.ends(meta));
    // What flies now began before; who comes from now on flies anew.
    for (const [key, { request, purgeId }] of this.#flying)
      if (this.#purges.ends({ source: request.source, purgeId })) this.#flying.delete(key);
  }

  #isPassed(key: string): boolean {
    if (this.#passed.size === 0) return false;
    const untilMs = this.#passed.get(key);
    if (untilMs === undefined) return false;
    if (this.#parts.now() < untilMs) return true;
    this.#passed.delete(key);
    return false;
  }

  #notePassed(key: string): void {
    if (this.#passed.size >= PASSED_MAX) this.#passed.clear();
    this.#passed.set(key, this.#parts.now() + PASSED_MS);
  }

  #wait(waiter: Waiter, request: PictureRequest, stale: Entry | undefined): void {
    const flight = this.#flying.get(request.key);
    if (flight !== undefined) flight.waiters.push(waiter);
    else this.#start(request, [waiter], stale);
  }

  #refresh(request: PictureRequest, stale: Entry): void {
    if (!this.#flying.has(request.key)) this.#start(request, [], stale);
  }

  #start(request: PictureRequest, waiters: Waiter[], stale: Entry | undefined): void {
    const flight: Flight = { request, waiters, purgeId: this.#purges.newest, gone: false };
    this.#flying.set(request.key, flight);
    void this.#fly(flight, stale).then(
      (landed) => this.#land(flight, landed),
      (error: unknown) => {
        this.#forget(flight);
        for (const { exchange } of flight.waiters.splice(0)) exchange.fail(error);
      },
    );
  }

  #forget(flight: Flight): void {
    const { key } = flight.request;
    if (this.#flying.get(key) === flight) this.#flying.delete(key);
  }

  /** Answers those who wait. Once: who comes later finds another flight. */
  #land(flight: Flight, landed: Landed | undefined): void {
    this.#forget(flight);
    const { slow, now, count } = this.#parts;
    if (landed === undefined) {
      for (const waiter of flight.waiters.splice(0)) this.#pass(waiter, flight.request);
      return;
    }
    const { entry, state, result, outcome, backendId } = landed;
    const at = now();
    flight.waiters.splice(0).forEach(({ exchange, conditions }, i) => {
      // One request has cost a backend's; those who waited for it have cost none.
      const first = i === 0;
      count(first ? result : 'coalesced');
      if (!exchange.open) return;
      exchange.outcome = first ? outcome : 'coalesced';
      if (first && backendId !== undefined) exchange.backendId = backendId;
      try {
        answerEntry(exchange, entry, state, at, conditions, slow);
      } catch (error) {
        exchange.fail(error);
      }
    });
  }

  #pass({ exchange }: Waiter, request: PictureRequest): void {
    this.#parts.count('passed');
    if (!exchange.open) return;
    exchange.outcome = 'miss';
    const headers = { accept: request.accept, 'x-request-id': exchange.requestId };
    passThrough(this.#parts.upstream, exchange, headers, request, this.#options.secret).catch((error: unknown) => {
      if (exchange.open) exchange.outcome = 'ok';
      exchange.fail(error);
    });
  }

  /** Undefined: it is too large to keep, and for the disk. */
  async #fly(flight: Flight, inMemory: Entry | undefined): Promise<Landed | undefined> {
    const { flights, disk } = this.#parts;
    const { hash } = flight.request;
    let stale = inMemory;
    if (disk.may(hash)) {
      const kept = await this.#fromDisk(flight, stale);
      if (kept.landed !== undefined) return kept.landed;
      stale = kept.stale;
    }
    const claim = flights.claim(hash);
    if (claim.kind === 'alone') return this.#ask(flight, stale);
    try {
      if (claim.kind === 'other') await claim.landed;
      // Another thread has landed, or may have, between the look and the claim.
      if (disk.may(hash)) {
        const after = await this.#fromDisk(flight, stale);
        if (after.landed !== undefined) return after.landed;
        stale = after.stale;
      }
      // What the other thread found was too large, not to be kept, or failed: this one asks for itself.
      return await this.#ask(flight, stale);
    } finally {
      if (claim.kind === 'mine') flights.land(hash);
    }
  }

  async #fromDisk(
    flight: Flight,
    stale: Entry | undefined,
  ): Promise<{ readonly landed?: Landed; readonly stale: Entry | undefined }> {
    const { disk, memory, now } = this.#parts;
    const { request } = flight;
    const entry = await disk.read(request.key, request.source);
    if (entry === undefined) return { stale };
    const at = now();
    if (this.#purges.ends(entry.meta) || at >= entry.meta.errorUntilMs) {
      await disk.remove(request.key, request.source);
      return { stale };
    }
    if (at < entry.meta.freshUntilMs) {
      if (!flight.gone) memory.put(entry);
      return { landed: { entry, state: 'HIT', result: 'disk', outcome: 'hit' }, stale };
    }
    return { stale: stale === undefined || stale.meta.storedAtMs < entry.meta.storedAtMs ? entry : stale };
  }

  async #ask(flight: Flight, stale: Entry | undefined): Promise<Landed | undefined> {
    const { now, memory } = this.#parts;
    try {
      return await this.#askBackend(flight, stale);
    } catch (error) {
      const serves = stale !== undefined && now() < stale.meta.errorUntilMs && !this.#purges.ends(stale.meta);
      if (!serves || problem(error).status < 500) throw error;
      if (!flight.gone) memory.put(stale);
      return { entry: stale, state: 'STALE', result: 'stale', outcome: 'stale' };
    }
  }

  async #askBackend(flight: Flight, stale: Entry | undefined): Promise<Landed | undefined> {
    const { upstream, now, memory, disk } = this.#parts;
    const { entryBytesMax, secret } = this.#options;
    const { request, waiters, purgeId } = flight;
    const validator = stale?.meta.validator ?? '';
    const answer = await upstream.get({
      method: 'GET',
      path: request.path(),
      headers: {
        accept: request.accept,
        ...(waiters[0] === undefined ? {} : { 'x-request-id': waiters[0].exchange.requestId }),
        ...(validator === '' ? {} : { 'if-none-match': validator }),
      },
      ...(secret === undefined ? {} : { authorization: secret }),
    });
    const { backendId } = answer;
    const fresh = freshnessOf(answer.headers, this.#options, now(), request.expiresAtMs);
    const { keeps, ...lives } = fresh;
    let entry: Entry;
    const same = answer.status === 304 && stale !== undefined;
    if (same) {
      discard(answer);
      entry = new Entry({ ...stale.meta, ...lives, storedAtMs: now(), purgeId }, stale.body);
    } else {
      if (answer.status !== 200) {
        discard(answer);
        throw refusalOf(answer);
      }
      const body = await collect(answer, { bytesMax: entryBytesMax, spool: () => disk.spool() });
      if (body === undefined) {
        this.#notePassed(request.key);
        return undefined;
      }
      const headers = passedHeaders(answer.headers, request);
      const theirs = answer.headers.find(([name]) => name === 'etag')?.[1] ?? '';
      const { key, source, varies } = request;
      const etag = body instanceof LargeBody ? body.etag : etagOf(body);
      const meta = { key, source, headers, etag, validator: theirs, storedAtMs: now(), ...lives };
      entry = new Entry({ ...meta, purgeId, varies }, body);
    }
    const { large } = entry;
    const outcome = same ? 'revalidated' : 'miss';
    const result = large === undefined ? outcome : 'passed';
    const landed: Landed = { entry, state: 'MISS', result, outcome, backendId };
    if (large !== undefined) {
      // It lives on for those who read it now.
      this.#land(flight, landed);
      large.release();
    } else if (!keeps) this.#notePassed(request.key);
    else if (!flight.gone && !this.#purges.ends({ source: request.source, purgeId })) {
      memory.put(entry);
      // A disk that is slow, or hangs, holds up nobody of this thread.
      this.#land(flight, landed);
      this.#writing.add(flight);
      await disk.write(entry);
      this.#writing.delete(flight);
      // Its file may have come behind the removal of the others.
      if (flight.gone) await disk.remove(request.key, request.source);
    }
    return landed;
  }
}
