/**
 * In flight: the batches that the runner has handed to the target and not passed yet. The batches of one strand form a
 * queue and leave it in the order in which they entered, whichever ends first. So a cursor never jumps over a batch
 * that is still under way.
 */
import type { Batch } from '../engine/batch.ts';
import type { Entry } from './batch-delivery.ts';
import type { Strand } from './source.ts';

export class InFlight {
  readonly #entries: Entry[] = [];

  get count(): number {
    return this.#entries.length;
  }

  /** Adds a batch. `deliver` works on it; when it has settled, the entry is `ended`. */
  add(strand: Strand, batch: Batch, deliver: (entry: Entry) => Promise<void>): Entry {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => undefined);
    const entry: Entry = {
      strand,
      batch,
      before: this.#entries.findLast((entry) => entry.strand === strand),
      tried: promise,
      triedOk: resolve,
      triedFailed: reject,
      done: Promise.resolve(),
      failed: false,
      delivered: false,
      ended: false,
      dead: 0,
    };
    this.#entries.push(entry);
    entry.done = deliver(entry);
    return entry;
  }

  /** Removes and returns the head of the strand's queue if it has ended. */
  takeEnded(strand: Strand): Entry | undefined {
    const at = this.#entries.findIndex((entry) => entry.strand === strand);
    if (at < 0 || !this.#entries[at].ended) return undefined;
    return this.#entries.splice(at, 1)[0];
  }

  /** The batch at the head of the strand's queue. */
  head(strand: Strand): Batch | undefined {
    return this.#entries.find((entry) => entry.strand === strand)?.batch;
  }

  /**
   * Resolves when the next running delivery ends. Entries that have ended but still queue behind a running one are left
   * out: racing on their settled promises would resolve at once, every time.
   */
  async oneEnds(): Promise<void> {
    await Promise.race(this.#entries.filter(({ ended }) => !ended).map(({ done }) => done));
  }

  /** Resolves when every delivery has ended. */
  async allEnd(): Promise<void> {
    await Promise.all(this.#entries.map(({ done }) => done));
  }
}
