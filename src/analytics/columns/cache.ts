/** Columns that were read or built, by site, day and revision; the least recently used go first. Bounded in bytes. */

import { type ColumnName, Day, type DayCounts, type PackedColumns } from './format.ts';
import type { SiteDay } from './raw.ts';

/** What an entry costs beside its columns. */
const ENTRY_BYTES = 1024;

interface Entry {
  readonly revision: number;
  readonly counts: DayCounts;
  readonly packed: PackedColumns;
  readonly bytes: number;
}

export class ColumnCache {
  readonly #bytesMax: number;
  /** By age of use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The day, when all of the columns are here. */
  get(of: SiteDay, revision: number, names: Iterable<ColumnName>): Day | undefined {
    const key = keyOf(of);
    const entry = this.#entries.get(key);
    if (entry?.revision !== revision) return undefined;
    for (const name of names) if (!entry.packed.has(name)) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return new Day(entry.counts, entry.packed);
  }

  put(of: SiteDay, revision: number, day: Day): void {
    const key = keyOf(of);
    const old = this.#entries.get(key);
    const packed = new Map([...(old?.revision === revision ? old.packed : []), ...day.packed]);
    let bytes = ENTRY_BYTES;
    for (const column of packed.values()) bytes += column.length;
    this.#remove(key);
    if (bytes > this.#bytesMax) return;
    this.#entries.set(key, { revision, counts: day.counts, packed, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

const keyOf = ({ site, day }: SiteDay): string => `${site}/${day}`;
