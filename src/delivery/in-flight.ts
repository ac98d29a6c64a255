/**
 * In flight: the batches that are handed to a target and not passed yet. Those of one lane form a queue: whichever ends first, they leave
 * it in the order in which they entered, so a cursor never jumps over a batch that is still under way.
 */
import type { Batch } from '../engine/batch.ts';
import type { Entry } from './delivery.ts';
import type { Strand } from './source.ts';

export class InFlight {
  readonly #entries: Entry[] = [];

  get count(): number {
    return this.#entries.length;
  }

  /** Takes a batch in; `deliver` works on it and settles when nobody does any more (`ended`). */
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

  /** Takes the head of the lane's queue out if nobody works on it any more. */
  takeEnded(strand: Strand): Entry | undefined {
    const at = this.#entries.findIndex((entry) => entry.strand === strand);
    if (at < 0 || !this.#entries[at].ended) return undefined;
    return this.#entries.splice(at, 1)[0];
  }

  /** The batch that the lane's queue waits for. */
  head(strand: Strand): Batch | undefined {
    return this.#entries.find((entry) => entry.strand === strand)?.batch;
  }

  /** Resolves when one has ended that somebody works on: one that has ended behind an unfinished one would be no news, again and again. */
  async oneEnds(): Promise<void> {
    await Promise.race(this.#entries.filter(({ ended }) => !ended).map(({ done }) => done));
  }

  /** Resolves when nobody works on any of them. */
  async allEnd(): Promise<void> {
    await Promise.all(this.#entries.map(({ done }) => done));
  }
}
