/** Memory tier: the entries that this acceptor has served last, as many as fit. */
import type { Entry } from './entry.ts';

/** Of an entry beside its body: its texts, its headers, its places in maps. */
const ENTRY_BYTES = 2048;

export class MemoryTier {
  readonly #bytesMax: number;
  readonly #evicted: () => void;
  readonly #left: (entry: Entry) => void;
  /** The one that came, or was given its second chance, longest ago first (clock algorithm): a use only marks. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** `left`: told of each entry that goes, for whatever reason. */
  constructor(bytesMax: number, evicted: () => void, left: (entry: Entry) => void = () => undefined) {
    this.#bytesMax = bytesMax;
    this.#evicted = evicted;
    this.#left = left;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.used = true;
    return entry;
  }

  holds(entry: Entry): boolean {
    return this.#entries.get(entry.meta.key) === entry;
  }

  put(entry: Entry): void {
    const { key } = entry.meta;
    this.delete(key);
    const bytes = entry.body.length + ENTRY_BYTES;
    if (bytes > this.#bytesMax) return;
    this.#entries.set(key, entry);
    this.#bytes += bytes;
    for (const [oldest, one] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      if (one.used || one === entry) {
        // Behind all others, where this walk meets it again, unmarked.
        one.used = false;
        this.#entries.delete(oldest);
        this.#entries.set(oldest, one);
        continue;
      }
      this.delete(oldest);
      this.#evicted();
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.body.length + ENTRY_BYTES;
    this.#left(entry);
  }

  /** Drops those that are purged. */
  prune(purged: (entry: Entry) => boolean): void {
    for (const [key, entry] of this.#entries) if (purged(entry)) this.delete(key);
  }
}
