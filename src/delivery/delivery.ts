/**
 * Delivery: one batch on its way into the target, however long it takes. Tried again after a pause, for ever; halved when a record is
 * refused, until that record stands alone and goes to the dead-letter file; the cursor moves last.
 */
import type { Batch } from '../engine/batch.ts';
import {
  CursorMoved,
  type ErrorClass,
  SettleFirst,
  type SinkBatch,
  type SinkKind,
  type SinkTarget,
  TargetLost,
} from './contract.ts';
import type { Strand } from './source.ts';
import type { Standing } from './standing.ts';

/** Where refused records go; append() has synced them when it returns. */
export interface DeadLetterSink {
  append(letters: readonly { lane: string; position: number; reason: string; event: Uint8Array }[]): number;
  /** The sink's durable cursor of a lane. */
  passed(lane: string, position: number): void;
  close(): void;
}

export interface RunnerMeters {
  /** A batch was delivered. */
  batch(records: number, bytes: number, seconds: number): void;
  failure(kind: ErrorClass): void;
}

/** A batch that is under way. */
export interface Entry {
  readonly strand: Strand;
  readonly batch: Batch;
  readonly before: Entry | undefined;
  /** Settles with the first try. */
  tried: Promise<void>;
  triedOk: () => void;
  triedFailed: (error: unknown) => void;
  /** Settles when delivered, or when the run is over. */
  done: Promise<void>;
  failed: boolean;
  delivered: boolean;
  /** Nobody works on it any more. */
  ended: boolean;
  dead: number;
}

/** The run is over while something was still under way; the journal has it. */
export class Ended extends Error {}

export interface DeliveryDeps {
  readonly kind: SinkKind<never>;
  readonly target: () => SinkTarget;
  readonly deadLetters: DeadLetterSink;
  readonly meters: RunnerMeters;
  readonly line: (buffer: Buffer, offset: number) => Uint8Array;
  readonly standing: Standing;
  /** The target's cursors have moved: no try makes sense any more. */
  readonly moved: () => boolean;
  /** Settles the target and writes the checkpoint while a batch waits for that; the error when it could not be done. */
  readonly settle: () => Promise<unknown>;
}

export class Delivery {
  readonly #deps: DeliveryDeps;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  /** Resolves when the batch is delivered. Throws Ended, CursorMoved or TargetLost when this run cannot deliver it. */
  async run(entry: Entry): Promise<void> {
    let previous = entry.before?.tried ?? Promise.resolve();
    const whole = part(entry.batch, 0, entry.batch.count, true);
    for (let attempt = 0; ; attempt++) {
      this.#check(entry);
      try {
        await this.#write(entry, whole, previous);
        entry.triedOk();
        return;
      } catch (error) {
        entry.triedFailed(error);
        if (error instanceof CursorMoved || error instanceof TargetLost || error instanceof Ended) throw error;
        if (entry.before !== undefined && !entry.before.delivered) {
          await entry.before.done;
          if (!entry.before.delivered) throw new Ended('the batch before was not delivered');
          previous = Promise.resolve();
          if (entry.before.failed) {
            attempt = -1;
            continue;
          }
        }
        entry.failed = true;
        previous = Promise.resolve();
        const kind = this.#deps.kind.classify(error);
        this.#deps.meters.failure(kind);
        if (kind === 'split') {
          await this.#bisect(entry);
          return;
        }
        await this.#backOff(entry, attempt, error);
      }
    }
  }

  /** A batch that this run cannot deliver any more is given up: whoever delivers its strand next reads it again. */
  #check({ strand }: Entry): void {
    if (this.#deps.moved()) throw new Ended('the cursors moved');
    if (strand.recalled) throw new Ended('the strand was called back');
  }

  async #backOff(entry: Entry, attempt: number, error: unknown): Promise<void> {
    const { standing } = this.#deps;
    standing.down(error);
    const goOn = await standing.backOff(attempt, error, () => entry.strand.recalled);
    this.#check(entry);
    if (!goOn) throw new Ended('ended during back-off');
  }

  /** One try, after as many checkpoints as the target asks for first. */
  async #write(entry: Entry, batch: SinkBatch, previous: Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#deps.target().write(batch, previous);
      } catch (error) {
        if (!(error instanceof SettleFirst)) throw error;
      }
      const failure = await this.#deps.settle();
      if (failure === undefined) continue;
      if (failure instanceof TargetLost) throw failure;
      await this.#backOff(entry, attempt, failure);
    }
  }

  /** Delivers what can be delivered of a refused batch; the rest is dead. The cursor moves last, with an empty batch. */
  async #bisect(entry: Entry): Promise<void> {
    const { batch } = entry;
    const deps: [number, number][] = [[0, batch.count]];
    for (let attempt = 0; deps.length > 0; ) {
      const [from, to] = deps[deps.length - 1];
      this.#check(entry);
      try {
        if (to > from) await this.#write(entry, part(batch, from, to, false), Promise.resolve());
        deps.pop();
        attempt = 0;
      } catch (error) {
        if (error instanceof CursorMoved || error instanceof TargetLost || error instanceof Ended) throw error;
        const kind = this.#deps.kind.classify(error);
        this.#deps.meters.failure(kind);
        if (kind !== 'split') {
          await this.#backOff(entry, attempt++, error);
          continue;
        }
        deps.pop();
        const middle = (from + to) >>> 1;
        if (to - from > 1) deps.push([middle, to], [from, middle]);
        else await this.#bury(entry, from, error);
      }
    }
    await this.#moveCursor(entry);
  }

  async #moveCursor(entry: Entry): Promise<void> {
    const empty = part(entry.batch, 0, 0, true);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#write(entry, empty, Promise.resolve());
      } catch (error) {
        if (error instanceof CursorMoved || error instanceof TargetLost || error instanceof Ended) throw error;
        this.#deps.meters.failure('retry');
        await this.#backOff(entry, attempt, error);
      }
    }
  }

  async #bury(entry: Entry, i: number, error: unknown): Promise<void> {
    const { batch } = entry;
    const letter = {
      lane: entry.strand.key,
      position: batch.positions[i],
      reason: String((error as Error).message ?? error),
      event: this.#deps.line(batch.buffer, batch.offsets[i]),
    };
    for (let attempt = 0; ; attempt++) {
      try {
        this.#deps.deadLetters.append([letter]);
        entry.dead += 1;
        return;
      } catch (failure) {
        // Without a place for it the event stays where it is: nothing is passed over.
        await this.#backOff(entry, attempt, failure);
      }
    }
  }
}

/** Records [from, to) of a batch, as a target sees them. */
function part(batch: Batch, from: number, to: number, commit: boolean): SinkBatch {
  return {
    lane: batch.lane,
    count: to - from,
    buffer: batch.buffer,
    offsets: from === 0 ? batch.offsets : batch.offsets.subarray(from),
    positions: from === 0 ? batch.positions : batch.positions.subarray(from),
    from: batch.from,
    to: batch.to,
    commit,
  };
}
