/** Filler: fills the batch of each strand from its reader. Batches are made once and used again; L8 bounds their number. */
import { Batch } from '../engine/batch.ts';
import type { Batching } from './contract.ts';
import type { Source, Strand } from './source.ts';

export interface FillerDeps {
  readonly source: Pick<Source, 'strands'>;
  readonly batching: Batching;
  /** Kinds of records that the output takes; undefined: all. The others are passed over. */
  readonly records?: readonly number[];
  /** ON_LAG=drop: undelivered bytes kept at most; 0: no limit. */
  readonly lagBytesMax?: number;
  /** Batches that the target takes at a time. */
  readonly inFlightMax: () => number;
}

export class Filler {
  readonly #deps: FillerDeps;
  readonly #kinds: ReadonlySet<number> | undefined;
  readonly #free: Batch[] = [];
  #made = 0;
  #came = 0;

  constructor(deps: FillerDeps) {
    this.#deps = deps;
    this.#kinds = deps.records && new Set(deps.records);
  }

  /** Adds what is there to the strand's batch. Returns whether anything was added. */
  fill(strand: Strand, now: number): boolean {
    const filling = strand.filling ?? this.#begin(strand);
    if (filling === undefined) return false;
    if (filling.count + filling.skipped === 0) {
      strand.fillingSince = now;
      const { lagBytesMax = 0 } = this.#deps;
      if (lagBytesMax > 0 && filling.losses.length === 0) strand.reader.drop(filling, lagBytesMax);
    }
    const { bytes, count } = filling;
    const added = strand.reader.fill(filling, this.#deps.batching.records);
    if (this.#kinds !== undefined) filling.passOver(count, this.#kinds);
    this.#came += filling.bytes - bytes;
    return added;
  }

  /** Bytes that have come since it was asked last. */
  takeCame(): number {
    const came = this.#came;
    this.#came = 0;
    return came;
  }

  /** The batch that the strand was filling is free again. */
  release(strand: Strand): void {
    if (strand.filling !== undefined) this.#free.push(strand.filling);
    strand.filling = undefined;
  }

  /** A batch that was under way is free again. */
  free(batch: Batch): void {
    this.#free.push(batch);
  }

  #begin(strand: Strand): Batch | undefined {
    // A batch for each of many idle strands would be memory for nothing.
    if (strand.reader.end().position <= strand.reader.mark.position) return undefined;
    const batch = this.#free.pop() ?? this.#make();
    batch?.begin(strand.id, strand.reader.mark);
    strand.filling = batch;
    return batch;
  }

  #make(): Batch | undefined {
    const { source, inFlightMax, batching } = this.#deps;
    if (this.#made >= source.strands.length + inFlightMax()) return undefined;
    this.#made += 1;
    return new Batch(batching.bytes);
  }
}
