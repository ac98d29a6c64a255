/**
 * The contract of a sink. A sink is a small folder: config, encode, sink. Batching, naps, back-off, bisection, dead
 * letters, checkpoints and drain live once, in the runner (runner.ts).
 *
 *   kind    what a sink is before it runs: name, options, how it classifies errors
 *   target  an open sink: takes batches
 *   output  a sink by a name of its own, as a service declares it (service/contract.ts)
 *
 * What the runner promises a target: write() gets whole batches of one strand, in the strand's order. A batch that
 * failed with `retry` comes again, unchanged. The buffers of a batch stay untouched until write() has settled. What a
 * target promises: write() resolves only when the records are delivered. The target keeps no slice of a batch
 * afterwards.
 */
import type { Mark } from '../engine/checkpoint.ts';
import type { LaneId } from '../engine/segment.ts';
import type { ConfigSet } from '../kernel/config.ts';
import type { Logger } from '../kernel/log.ts';
import type { Meters, MetricSet } from '../kernel/metrics.ts';

/** Records of one strand, read through events/record.ts. */
export interface SinkBatch {
  /** Id of the strand: a lane of the log, or a partition of a topic. */
  readonly lane: LaneId;
  /** Records in it; 0 when it only moves the cursor. */
  readonly count: number;
  readonly buffer: Buffer;
  /** Where record i begins in `buffer`, i < count. */
  readonly offsets: Int32Array;
  /** Where record i stands on the strand: byte of the lane, offset of the partition. */
  readonly positions: Float64Array;
  readonly from: Mark;
  readonly to: Mark;
  /**
   * True: a target that holds its own cursor moves it from `from` to `to` in the same transaction. False for the pieces
   * of a bisected batch.
   */
  readonly commit: boolean;
  /** What a target calls the batch to others, when strand and positions do not say which records it holds. */
  readonly name?: string;
}

/**
 * retry: the same batch later. split: a record is refused, so halve. stop: only an operator can help; retried slowly.
 */
export type ErrorClass = 'retry' | 'split' | 'stop';

/** Thrown by write() of a target that holds its own cursors, when they are elsewhere: a failover, a second process. */
export class CursorMoved extends Error {
  /**
   * The target's cursors by laneKey, up to date whenever nothing is under way. A strand without one stands at its
   * start.
   */
  readonly cursors: ReadonlyMap<string, Mark>;
  constructor(cursors: ReadonlyMap<string, Mark>, message: string) {
    super(message);
    this.cursors = cursors;
  }
}

/**
 * Thrown by write() or settle() of a target that cannot know which records since the last checkpoint it still has
 * (after a failed fdatasync). The run ends, and the thread starts again from its checkpoint.
 */
export class TargetLost extends Error {}

/**
 * Thrown by write() before it has written anything: the last checkpoint does not describe what the target writes to
 * (its file was cut, or the name leads to another file). The runner settles, writes the checkpoint, and then hands over
 * the same batch again. So a crash at any moment finds a checkpoint that fits. For targets with inFlightMax 1.
 */
export class SettleFirst extends Error {}

/**
 * Thrown by write() of a target that knows which records of the batch it refuses; classified as split. Their letters
 * are written at once, and the others come again together: nothing has to be halved.
 */
export class RecordsRefused extends Error {
  /** Index in the batch -> reason. */
  readonly reasons: ReadonlyMap<number, string>;
  constructor(reasons: ReadonlyMap<number, string>) {
    super(`${reasons.size} records are refused: ${reasons.values().next().value}`);
    this.reasons = reasons;
  }
}

export interface SinkTarget {
  /** Batches that may be under way at once. */
  readonly inFlightMax: number;
  /**
   * Delivers a batch. `previous` settles with the batch before it on the same strand. A target that commits in order
   * awaits `previous` before its own commit, and fails this try when `previous` rejects.
   */
  write(batch: SinkBatch, previous: Promise<void>): Promise<void>;
  /**
   * Makes everything delivered durable and returns what the checkpoint must hold (JSON). Called with nothing under way.
   * `last`: the run ends, nothing is written after it.
   */
  settle?(last?: boolean): Promise<unknown>;
  /**
   * Looks whether somebody else has changed what the target writes to; called twice a second. True: it wants settle()
   * and a checkpoint now.
   */
  look?(): Promise<boolean>;
  /** The state of the last settle() is durable now (or there is no journal that could hold it). */
  settled?(): Promise<void>;
  /** True: wants settle() now rather than at the next checkpoint. */
  readonly settleDue?: boolean;
  /**
   * Claims the target's own cursors for this process and returns them by laneKey; they win over the checkpoint. With
   * `lanes`, claims the cursors of these strands alone, because other processes have the others.
   */
  cursors?(lanes?: readonly LaneId[]): Promise<ReadonlyMap<string, Mark>>;
  /**
   * Asks whether events would be taken, without sending any. Called with pauses while the sink is away and nothing is
   * under way; it may run beside a write. Left out: a sink that is away stays so until it has taken an event.
   */
  probe?(): Promise<void>;
  /** SIGHUP: open files anew. Called between two checkpoints, with nothing under way. */
  reopen?(): Promise<void>;
  /** Lets go of everything; never throws. */
  close(): Promise<void>;
}

export interface SinkContext {
  /** Name of the output. Several outputs may be of one kind, so what a target leaves elsewhere carries this name. */
  readonly name: string;
  /**
   * Names the source of the records, 32 hex digits: the log (a random one without a journal), or a group on a cluster.
   */
  readonly logId: string;
  /**
   * The life of this process in that log. A target that keeps cursors lets the life that claimed them last move them.
   * Left out by a source whose strands are claimed one by one.
   */
  readonly life?: Omit<LaneId, 'lane'>;
  /**
   * kind postgres: URL of the module that loads batches (Output.load), and the values of its service. `shared`: what
   * its role has prepared, `meters`: the cells of the thread; both are left out by tools.
   */
  readonly load?: {
    readonly module: string;
    readonly values: unknown;
    readonly shared?: unknown;
    readonly meters?: <M extends MetricSet>(set: M) => Meters<M>;
  };
  /** False: memory only; nothing can be delivered again after a crash. */
  readonly journal: boolean;
  /**
   * Records behind the checkpoint that will come again. A target that takes back what it has behind its checkpoint may
   * take back so many: of others this process has no copy. Left out: unknown.
   */
  readonly repeats?: number;
  /** Target state of the last checkpoint. */
  readonly state: unknown;
  readonly log: Logger;
  /**
   * A target that holds its own cursors calls it when it finds them moved between two writes (it connected again after
   * a failover). The runner acts as if write() had thrown the error. Left out by callers that do not follow cursors.
   */
  readonly moved?: (moved: CursorMoved) => void;
  /**
   * A target with probe() calls it when its connection ends between two writes. probe() is called soon then, and when
   * that fails readiness tells it before the next event comes.
   */
  readonly lost?: () => void;
  /**
   * Aborted when the target has to end now. It fires between two turns of the event loop; a blocking loop asks `ended`.
   */
  readonly signal: AbortSignal;
  /** Whether the target has to end now. */
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
  /** Where the target is, as reasons name it: each host:port, or the path of the file. Nothing secret. */
  places(config: C): readonly string[];
  /** Opens the target, or throws; retried by the runner after back-off, classified like a write. */
  open(config: C, context: SinkContext): Promise<SinkTarget>;
  classify(error: unknown): ErrorClass;
}
