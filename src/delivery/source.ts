/**
 * Source: where the records of an output come from. It hands out strands; a strand is a sequence of records whose
 * positions only grow. The runner asks the source and never looks behind it.
 *
 *   lane-source.ts   the lanes of a log: a strand is a lane, its position is a byte of it, and the checkpoint of the
 *                    output holds the progress
 *   kafka-source.ts  topics of Kafka: a strand is a partition, its position is an offset, and the group holds the
 *                    progress
 *
 * What the runner promises a source: it delivers the records of a strand in order, moves `delivered` only over records
 * that the target has, and calls advance() and commit() after that (L4).
 */
import type { Batch } from '../engine/batch.ts';
import type { CheckpointState, Ledger, Mark } from '../engine/checkpoint.ts';
import { type LaneId, laneKey } from '../engine/segment.ts';
import type { ErrorClass } from './contract.ts';

export const ZERO: Mark = { position: 0, record: 0 };

/** Reads one strand. No call waits: what is not there yet comes with a later fill(). */
export interface StrandReader {
  /** Read up to here. */
  readonly mark: Mark;
  /** Everything there will ever be is read. */
  readonly finished: boolean;
  /** End of what can be read now; may be late. */
  end(): Mark;
  /**
   * Adds records to the batch, which must be of this strand, until it holds `recordsMax` or a few more, is full, or
   * nothing more is there. Returns whether anything was added, losses included.
   */
  fill(batch: Batch, recordsMax: number): boolean;
  /**
   * Gives up the oldest unread records until about `bytesMax` stay. Adds the loss to the batch, which must be empty.
   */
  drop(batch: Batch, bytesMax: number): void;
  /** The target has everything before this mark. */
  advance(mark: Mark): void;
  close(): void;
}

/** One strand in the hands of the runner. */
export class Strand {
  readonly id: LaneId;
  /** Name of the strand in dead letters and logs. */
  readonly key: string;
  readonly reader: StrandReader;
  /** Delivered up to here: what the checkpoint may hold. */
  delivered: Mark;
  /** The batch being filled. */
  filling: Batch | undefined;
  /** When its first record was put in. */
  fillingSince = 0;
  /** A batch was left undelivered: `delivered` must not move any more. */
  broken = false;
  /** The source calls the strand back: the runner makes no new batch of it and no further try of those under way. */
  recalled = false;

  constructor(id: LaneId, reader: StrandReader, key = laneKey(id)) {
    this.id = id;
    this.key = key;
    this.reader = reader;
    this.delivered = reader.mark;
  }

  /** Everything there will ever be is delivered. */
  get done(): boolean {
    return this.reader.finished && this.delivered.position >= this.reader.mark.position;
  }
}

/** Records and bytes of a stretch. */
export interface Amount {
  readonly records: number;
  readonly bytes: number;
}

/** The ledger while it is counted. */
export type RunningLedger = { -readonly [F in keyof Required<Ledger>]: number };

export const EMPTY_LEDGER: Required<Ledger> = { passed: 0, delivered: 0, dead: 0, givenUp: 0, skipped: 0 };

/**
 * How many records of a strand at [from, to) have a dead letter. The cursor of a target moves over them too, and only
 * the dead-letter files say that they were not delivered.
 */
export type DeadIn = (strand: string, from: number, to: number) => number;

export interface Source {
  readonly strands: readonly Strand[];
  /** Counted by the runner as batches pass (L5). */
  readonly ledger: RunningLedger;
  /** Everything there will ever be is delivered. */
  readonly exhausted: boolean;
  /** With every strand done: goes on to the next ones. Returns whether there are any. */
  advance(): boolean;
  /** Goes where the target says it stands; the ledger follows. */
  follow(cursors: ReadonlyMap<string, Mark>, deadIn: DeadIn): void;
  /** Not delivered yet. */
  lag(): Amount;
  /** What there is in all; 0 when that cannot be seen from other threads. */
  published(): Amount;
  /** What the checkpoint holds. */
  state(target: unknown): CheckpointState;
  /** Left out by a source whose strands are its own. */
  readonly membership?: Membership;
  close(): Promise<void> | void;
}

/**
 * The part of a source that shares its strands with other processes: strands come and are called back. It works beside
 * the runner and never makes it wait; the runner looks at it between two batches.
 */
export interface Membership {
  /**
   * All strands are called back. The runner delivers nothing more of them, stores their progress, and calls released().
   */
  readonly recalling: boolean;
  /** Called when no batch of the strands is under way and their progress is stored, as far as that was possible. */
  released(): void;
  /** Strands that belong to this process now and wait for begin(). The list is another object whenever it changes. */
  readonly arrived: readonly LaneId[];
  /** Starts the arrived strands: at the target's cursors, or where the group stands. */
  begin(cursors: ReadonlyMap<string, Mark>): void;
  /** Stores the progress of all strands with the group. Called when the checkpoint is durable. */
  commit(): Promise<void>;
  /** Why no records come; undefined: nothing is wrong. */
  readonly problem: Error | undefined;
  /** The class of an error of its own; undefined: it is not the source's. */
  classify(error: unknown): ErrorClass | undefined;
}
