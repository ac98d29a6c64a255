/**
 * Batch delivery: takes one batch into the target, however long that takes.
 *   retry  the same batch again after a pause, for ever
 *   split  a refused batch is halved until the refused record stands alone; that record goes to the dead-letter file.
 *          Records that the target names (RecordsRefused) go there at once
 * The target's cursor moves last, so a crash in between repeats the batch.
 */
import type { Batch } from '../engine/batch.ts';
import { headOf } from '../events/record.ts';
import { keyOf } from '../events/record-key.ts';
import {
  CursorMoved,
  type ErrorClass,
  RecordsRefused,
  SettleFirst,
  type SinkBatch,
  type SinkKind,
  type SinkTarget,
  TargetLost,
} from './contract.ts';
import type { DeadLetter } from './dead-letter-format.ts';
import type { Strand } from './source.ts';
import type { Standing } from './standing.ts';

/** Where refused records go; append() has synced them when it returns. */
export interface DeadLetterSink {
  append(letters: readonly DeadLetter[]): number;
  /** How many records of the strand at [from, to) have a letter. */
  count(strand: string, from: number, to: number): number;
  /** The strand is delivered up to here, and that is durable. */
  passed(strand: string, position: number): void;
  close(): void;
}

export interface RunnerMeters {
  /** A batch was delivered. */
  batch(records: number, bytes: number, seconds: number): void;
  /** A try has failed: a write, by what follows; or to connect, which covers opening and asking an idle target. */
  failure(kind: ErrorClass | 'connect'): void;
}

/** A batch between the runner and the target. */
export interface Entry {
  readonly strand: Strand;
  readonly batch: Batch;
  readonly before: Entry | undefined;
  /** Settles with the first try: the batch behind it on the strand may commit then. */
  tried: Promise<void>;
  triedOk: () => void;
  triedFailed: (error: unknown) => void;
  /** Settles when the batch is delivered, or given up by this run. */
  done: Promise<void>;
  failed: boolean;
  delivered: boolean;
  /** Its delivery is over, one way or the other. */
  ended: boolean;
  dead: number;
}

/** This run gives a batch up before it is delivered. The source still has it. */
export class Ended extends Error {}

export interface BatchDeliveryDeps {
  readonly kind: SinkKind<never>;
  readonly target: () => SinkTarget;
  readonly deadLetters: DeadLetterSink;
  readonly meters: RunnerMeters;
  readonly line: (buffer: Buffer, offset: number) => Uint8Array;
  readonly standing: Standing;
  /** The target's cursors have moved: what is under way is read again from there. */
  readonly moved: () => boolean;
  /** Settles the target and writes the checkpoint while a batch waits for both. Returns the error if one failed. */
  readonly settle: () => Promise<unknown>;
}

export class BatchDelivery {
  readonly #deps: BatchDeliveryDeps;

  constructor(deps: BatchDeliveryDeps) {
    this.#deps = deps;
  }

  /** Resolves when the batch is delivered. Throws Ended, CursorMoved or TargetLost when this run cannot deliver it. */
  async run(entry: Entry): Promise<void> {
    let previous = entry.before?.tried ?? Promise.resolve();
    const whole = pieceOf(entry.batch, 0, entry.batch.count, true);
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
          await this.#bisect(entry, error);
          return;
        }
        await this.#backOff(entry, attempt, error);
      }
    }
  }

  /** Gives the batch up when its strand is read again from elsewhere, or by another process. */
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

  /** Tries once. A target may first ask for a checkpoint, more than once. */
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

  /**
   * Delivers a refused batch piece by piece; records refused alone are dead letters. An empty batch moves the cursor
   * last.
   */
  async #bisect(entry: Entry, refusal: unknown): Promise<void> {
    const whole = pieceOf(entry.batch, 0, entry.batch.count, false);
    // Without its cursor the batch is tried once more, unless it is known what is refused.
    const pieces = refusal instanceof RecordsRefused ? await this.#apart(entry, whole, refusal) : [whole];
    for (let attempt = 0; pieces.length > 0; ) {
      const piece = pieces.at(-1)!;
      this.#check(entry);
      try {
        if (piece.count > 0) await this.#write(entry, piece, Promise.resolve());
        pieces.pop();
        attempt = 0;
      } catch (error) {
        if (error instanceof CursorMoved || error instanceof TargetLost || error instanceof Ended) throw error;
        const kind = this.#deps.kind.classify(error);
        this.#deps.meters.failure(kind);
        if (kind !== 'split') {
          await this.#backOff(entry, attempt++, error);
          continue;
        }
        pieces.pop();
        pieces.push(...(await this.#apart(entry, piece, error)));
      }
    }
    await this.#moveCursor(entry);
  }

  /** What a refused piece leaves to deliver, the last first. */
  async #apart(entry: Entry, piece: SinkBatch, error: unknown): Promise<SinkBatch[]> {
    if (error instanceof RecordsRefused) {
      await this.#bury(entry, piece, error.reasons);
      return [without(piece, error.reasons)];
    }
    if (piece.count === 1) {
      await this.#bury(entry, piece, new Map([[0, String((error as Error).message ?? error)]]));
      return [];
    }
    const middle = piece.count >>> 1;
    return [pieceOf(piece, middle, piece.count, false), pieceOf(piece, 0, middle, false)];
  }

  async #moveCursor(entry: Entry): Promise<void> {
    const empty = pieceOf(entry.batch, 0, 0, true);
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

  /** `reasons`: by the index of the record in the piece. */
  async #bury(
    entry: Entry,
    { buffer, offsets, positions }: SinkBatch,
    reasons: ReadonlyMap<number, string>,
  ): Promise<void> {
    const letters = Array.from(reasons, ([i, reason]): DeadLetter => {
      const key = keyOf(buffer, offsets[i]);
      return {
        lane: entry.strand.key,
        position: positions[i],
        reason,
        event: this.#deps.line(buffer, offsets[i]),
        head: headOf(buffer, offsets[i]),
        ...(key === undefined ? {} : { key }),
      };
    });
    for (let attempt = 0; ; attempt++) {
      try {
        this.#deps.deadLetters.append(letters);
        entry.dead += letters.length;
        return;
      } catch (failure) {
        // While the letter cannot be written, nothing behind the record is passed.
        await this.#backOff(entry, attempt, failure);
      }
    }
  }
}

/** Records [from, to) of a batch, as a target sees them. */
function pieceOf(batch: Batch | SinkBatch, from: number, to: number, commit: boolean): SinkBatch {
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

/** The records of a piece but for those at some indexes. */
function without(piece: SinkBatch, left: ReadonlyMap<number, unknown>): SinkBatch {
  const stays = (_: number, i: number) => i < piece.count && !left.has(i);
  const offsets = piece.offsets.filter(stays);
  return { ...piece, count: offsets.length, offsets, positions: piece.positions.filter(stays) };
}
