/** Who an event is counted for: an id of 128 bits, from SHA-256. Ids of the last visitors are kept. */
import { hash } from 'node:crypto';
import { BoundedCache } from '../../visitor/enrich.ts';
import { dayOf } from '../dimensions.ts';
import type { AnalyticsEvent } from '../event.ts';

/** Those of the last minutes: an id costs a microsecond, and keeping all of a day's would cost the heap 20 MiB. */
const KEPT_MAX = 8192;
const ID_BYTES = 16;

export class Visitors {
  readonly #kept = new BoundedCache<string>(KEPT_MAX);

  /** 32 hex digits, as CountedEvent.visitor has them; undefined: nobody knows. */
  of({ userId, visitor, timestampMs }: AnalyticsEvent): string | undefined {
    if (userId !== undefined) return this.#idOf(userId);
    // U+0000 stands in no user id, so no user is taken for a visitor of a day.
    return visitor === undefined ? undefined : this.#idOf(`${dayOf(timestampMs)}\0${visitor}`);
  }

  #idOf(text: string): string {
    const kept = this.#kept.get(text);
    if (kept !== undefined) return kept;
    const id = hash('sha256', text, 'buffer').toString('hex', 0, ID_BYTES);
    this.#kept.set(text, id);
    return id;
  }
}
