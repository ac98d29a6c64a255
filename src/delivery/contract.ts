/**
 * The contract of a sink. A sink is a small folder: config, encode, sink. Batching, naps, back-off, bisection, dead letters, checkpoints
 * and drain live once, in the runner (runner.ts).
 *
 *   kind    what a sink is before it runs: name, options, how it classifies errors
 *   target  an open sink: takes batches
 *
 * What the runner promises a target: write() is called with whole batches of one lane, in order per lane; a batch that failed with
 * `retry` comes again, unchanged; its buffers stay untouched until write() has settled.
 * What a target promises: write() resolves only when the records are delivered; it never keeps a slice of the batch afterwards.
 */
import type { Mark } from '../engine/checkpoint.ts';
import type { LaneId } from '../engine/segment.ts';
import type { ConfigSet } from '../kernel/config.ts';
import type { Logger } from '../kernel/log.ts';

/** Records of one lane, read through events/record.ts. */
export interface SinkBatch {
  readonly lane: LaneId;
  /** Records in it; 0 when it only moves the cursor. */
  readonly count: number;
  readonly buffer: Buffer;
  /** Where record i begins in `buffer`, i < count. */
  readonly offsets: Int32Array;
  /** Where record i begins in the lane. */
  readonly positions: Float64Array;
  readonly from: Mark;
  readonly to: Mark;
  /** True: a target that holds its own cursor moves it from `from` to `to` in the same transaction. Parts of a bisected batch have false. */
  readonly commit: boolean;
}

/** retry: the same batch later. split: some record is refused; halve. stop: only an operator can help; retried slowly. */
export type ErrorClass = 'retry' | 'split' | 'stop';

/** Thrown by write() of a target that holds its own cursors when they are not where the runner believed (failover, second process). */
export class CursorMoved extends Error {
  /** The target's cursors by laneKey, up to date whenever nothing is under way; a lane that is missing stands at 0. */
  readonly cursors: ReadonlyMap<string, Mark>;
  constructor(cursors: ReadonlyMap<string, Mark>, message: string) {
    super(message);
    this.cursors = cursors;
  }
}

/**
 * Thrown by write() or settle() of a target that cannot know any more what of the records since the last checkpoint it still has (a
 * failed fdatasync). The run ends; the sink's thread starts again from its checkpoint.
 */
export class TargetLost extends Error {}

/**
 * Thrown by write() before anything of the batch was written: what the target writes to is not what the last checkpoint describes (its
 * file was cut, or the name leads to another one). The runner settles, writes the checkpoint, and only then hands over the same batch
 * again, so a crash at any moment finds a checkpoint that fits. For targets with inFlightMax 1.
 */
export class SettleFirst extends Error {}

export interface SinkTarget {
  /** Batches that may be under way at once. */
  readonly inFlightMax: number;
  /**
   * Delivers a batch. `previous` settles with the batch before it on the same lane: a target that commits in order awaits it before its
   * own commit, and gives up its try when it rejects.
   */
  write(batch: SinkBatch, previous: Promise<void>): Promise<void>;
  /** Makes everything delivered durable and returns what the checkpoint must hold (JSON). Called with nothing under way. */
  settle?(): Promise<unknown>;
  /** The state of the last settle() is durable now (or there is no journal that could hold it). */
  settled?(): Promise<void>;
  /** True: wants settle() now rather than at the next checkpoint. */
  readonly settleDue?: boolean;
  /**
   * The target's own cursors, by laneKey; they win over the checkpoint. From now on this process alone moves them. `lanes`: only those of
   * these lanes, for a source that shares its lanes with other processes.
   */
  cursors?(lanes?: readonly LaneId[]): Promise<ReadonlyMap<string, Mark>>;
  /** SIGHUP: open files anew. Called between two checkpoints, with nothing under way. */
  reopen?(): Promise<void>;
  /** Lets go of everything; never throws. */
  close(): Promise<void>;
}

export interface SinkContext {
  /** Name of the output. Several outputs may be of one kind: what a target leaves in a foreign system carries this name. */
  readonly name: string;
  /** 32 hex digits; a random one without a journal. */
  readonly logId: string;
  /** kind postgres: URL of the module that loads the batches of this output (Output.load), and the values of its service. */
  readonly load?: { readonly module: string; readonly values: unknown };
  /** False: memory only; nothing can be delivered again after a crash. */
  readonly journal: boolean;
  /** Target state of the last checkpoint. */
  readonly state: unknown;
  readonly log: Logger;
  /**
   * For a target that holds its own cursors and finds them moved while nothing is being written (it connects again after a
   * failover): the runner does what it does when write() throws it. Left out by callers that do not follow lanes.
   */
  readonly moved?: (moved: CursorMoved) => void;
  /**
   * For a target that sees its connection go (the reason) and come back (undefined) while nothing is being written: readiness
   * must not wait for the next event to tell.
   */
  readonly connection?: (lost: Error | undefined) => void;
  /** Aborted when the sink has to end now. Fires between two turns of the event loop; a blocking loop asks `ended`. */
  readonly signal: AbortSignal;
  /** Whether the sink has to end now. */
  readonly ended: () => boolean;
}

export interface Batching {
  /** Records per batch; a frame is never split, so a batch may hold a few more. */
  readonly records: number;
  /** Bytes per batch, at least one frame. */
  readonly bytes: number;
  /** Longest wait of a record for others to join it, ms. */
  readonly flushMs: number;
}

export interface SinkKind<C> {
  /** Name of the kind; an output has a name of its own. */
  readonly name: string;
  readonly config: ConfigSet;
  /** blocking: its thread may block (files). event-loop: it waits with timers only. */
  readonly waits: 'blocking' | 'event-loop';
  batching(config: C): Batching;
  /** Opens the target, or throws; retried by the runner after back-off, classified like a write. */
  open(config: C, context: SinkContext): Promise<SinkTarget>;
  classify(error: unknown): ErrorClass;
}
