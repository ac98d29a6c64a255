/**
 * Enrich: what look-ups of addresses (geo.ts) and user agents (device.ts) share: finished JSON for the encoder, behind
 * a bounded cache.
 */

/** Finds what is known about a key. */
export interface Lookup {
  /** A JSON object; undefined when nothing is known. */
  find(key: string): Buffer | undefined;
}

/** Entries of each cache. */
export const CACHE_ENTRIES_MAX = 20_000;

/** What a cache counts. */
export interface CacheMeters {
  readonly hits: { add(count: number): void };
  readonly misses: { add(count: number): void };
}

/**
 * A bounded cache of two generations: when the younger is full, the older is dropped whole. No list is kept per entry.
 */
export class BoundedCache<V> {
  readonly #half: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  constructor(entriesMax: number) {
    this.#half = Math.max(1, entriesMax >>> 1);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
  }
}
