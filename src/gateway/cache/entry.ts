/**
 * Entry: a picture in the cache, and how long it may be served (RFC 9111; stale-while-revalidate and stale-if-error of
 * RFC 5861). Times are ms since 1970, because entries outlast the process.
 */
import { createHash } from 'node:crypto';
import { flat } from '../../http/wire-text.ts';
import { type Headers, headerLines } from '../front/exchange.ts';
import { LargeBody } from './collect.ts';

const NONE = Buffer.alloc(0);

export interface EntryMeta {
  readonly key: string;
  readonly source: string;
  /** Headers of the backend that clients get. */
  readonly headers: readonly (readonly [string, string])[];
  /** Of the body, strong: it is ours, because backends may make theirs in different ways. */
  readonly etag: string;
  /** ETag of the backend, to ask it again by; empty: it gave none. */
  readonly validator: string;
  readonly storedAtMs: number;
  readonly freshUntilMs: number;
  /** Until then it is served while it is asked for again. */
  readonly staleUntilMs: number;
  /** Until then it is served when the backend fails. */
  readonly errorUntilMs: number;
  /** The newest purge that was known when the backend was asked: a later one ends it. */
  readonly purgeId: number;
  /** Seconds that clients may keep it; 0: they ask each time. */
  readonly maxAgeS: number;
  /** Accept has chosen the format. */
  readonly varies: boolean;
}

export type CacheState = 'HIT' | 'MISS' | 'STALE';

export class Entry {
  readonly meta: EntryMeta;
  /** Empty when it is large. */
  readonly body: Buffer;
  /** Too large to be kept: lives as long as it is being sent. */
  readonly large: LargeBody | undefined;
  /** Since the memory tier has looked at it last (memory.ts). */
  used = false;
  #headers: Headers = [];
  #lines = '';
  #second = -1;
  #state: CacheState = 'MISS';

  constructor(meta: EntryMeta, body: Buffer | LargeBody) {
    this.meta = meta;
    this.large = body instanceof LargeBody ? body : undefined;
    this.body = body instanceof LargeBody ? NONE : body;
  }

  /** Of the body. */
  get bytes(): number {
    return this.large?.bytes ?? this.body.length;
  }

  /** Headers of an answer at this time; made once a second. */
  headers(state: CacheState, nowMs: number): Headers {
    this.#make(state, nowMs);
    return this.#headers;
  }

  /** The same as lines of a head (exchange.ts). */
  lines(state: CacheState, nowMs: number): string {
    this.#make(state, nowMs);
    return this.#lines;
  }

  #make(state: CacheState, nowMs: number): void {
    const second = Math.max(0, Math.floor((nowMs - this.meta.storedAtMs) / 1000));
    if (second !== this.#second || state !== this.#state) {
      const { headers, etag, maxAgeS, varies } = this.meta;
      this.#second = second;
      this.#state = state;
      this.#headers = [
        ...headers,
        ['ETag', etag],
        // Whoever has no key must not get it from a cache on the way.
        ['Cache-Control', maxAgeS > 0 ? `private, max-age=${maxAgeS}` : 'private, no-cache'],
        ['Age', String(second)],
        ['Accept-Ranges', 'bytes'],
        ['X-Content-Type-Options', 'nosniff'],
        ['X-Cache', state],
        ...(varies ? [['Vary', 'Accept'] as const] : []),
      ];
      this.#lines = flat(headerLines(this.#headers));
    }
  }
}

export const etagOf = (body: Uint8Array): string =>
  `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;

/** Headers that travel from the backend to the client; the others are the gateway's, or nobody's business. */
const passed = new Map(['Content-Type', 'Content-Disposition', 'Last-Modified'].map((n) => [n.toLowerCase(), n]));

/** What a source is served as by `raw`, or an SVG, may have scripts; beside /admin they must not run. */
const harmless = ['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; sandbox"] as const;

/** `owner`: the file of an upload is as old as its newest upload, and that may be somebody else's. */
export const passedHeaders = (headers: Headers, { owner }: { readonly owner: number | undefined }): Headers => [
  ...headers.flatMap(([name, value]) => {
    const spelled = name === 'last-modified' && owner !== undefined ? undefined : passed.get(name);
    return spelled === undefined ? [] : [[spelled, value] as const];
  }),
  harmless,
];

export interface Lives {
  readonly ttlMs: number;
  readonly staleMs: number;
  readonly staleErrorMs: number;
}

export type Freshness = Pick<EntryMeta, 'freshUntilMs' | 'staleUntilMs' | 'errorUntilMs' | 'maxAgeS'> & {
  /** False: no-store or private. */
  readonly keeps: boolean;
};

const S_MAXAGE = /(?:^|[,\s])s-maxage\s*=\s*"?(\d{1,10})/;
const MAX_AGE = /(?:^|[,\s])max-age\s*=\s*"?(\d{1,10})/;
const NO_CACHE = /(?:^|[,\s])no-cache\b/;
/** Whatever is stale must be asked for again: RFC 9111, 5.2.2; s-maxage says so of shared caches. */
const NEVER_STALE = /(?:^|[,\s])(?:no-cache|must-revalidate|proxy-revalidate|s-maxage)\b/;
/** Seconds that the answer itself allows: RFC 5861. */
const WHILE_REVALIDATE = /(?:^|[,\s])stale-while-revalidate\s*=\s*"?(\d{1,10})/;
const IF_ERROR = /(?:^|[,\s])stale-if-error\s*=\s*"?(\d{1,10})/;
const NO_STORE = /(?:^|[,\s])(?:no-store|private)\b/;
const LIFE_MS_MAX = 30 * 86_400_000;

/** How long an answer may be kept. `endMs`: nothing is served from then on (the option `expires`). */
export function freshnessOf(headers: Headers, lives: Lives, nowMs: number, endMs: number): Freshness {
  const of = (name: string) => headers.find(([one]) => one === name)?.[1];
  const control = (of('cache-control') ?? '').toLowerCase();
  const seconds = (S_MAXAGE.exec(control) ?? MAX_AGE.exec(control))?.[1];
  const expires = of('expires');
  let lifeMs = lives.ttlMs;
  if (NO_CACHE.test(control)) lifeMs = 0;
  else if (seconds !== undefined) lifeMs = Number(seconds) * 1000;
  // A date that is none has passed (RFC 9111, 5.3).
  else if (expires !== undefined)
    lifeMs = Math.max(0, (/^[A-Z][a-z]+,? .* GMT$/.test(expires) ? Date.parse(expires) || 0 : 0) - nowMs);
  const allowed = (pattern: RegExp, otherwiseMs: number): number => {
    if (NEVER_STALE.test(control)) return 0;
    const given = pattern.exec(control)?.[1];
    return given === undefined ? otherwiseMs : Math.min(Number(given) * 1000, LIFE_MS_MAX);
  };
  const staleMs = allowed(WHILE_REVALIDATE, lives.staleMs);
  const errorMs = allowed(IF_ERROR, lives.staleErrorMs);
  const until = (ms: number) => Math.min(nowMs + ms, endMs);
  const fresh = Math.min(lifeMs, LIFE_MS_MAX);
  return {
    keeps: !NO_STORE.test(control) && endMs > nowMs,
    freshUntilMs: until(fresh),
    staleUntilMs: until(fresh + staleMs),
    errorUntilMs: until(fresh + Math.max(staleMs, errorMs)),
    maxAgeS: Math.max(0, Math.floor((until(fresh) - nowMs) / 1000)),
  };
}
