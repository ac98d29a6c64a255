/**
 * Checkpoint writer: makes the progress of an output durable, at most once per second. First the target settles, then
 * the checkpoint is written, then target, group and dead letters are told: no checkpoint runs ahead of its target (L4).
 */
import type { CheckpointFile } from '../engine/checkpoint.ts';
import type { SinkBoard } from '../engine/sink-board.ts';
import type { DeadLetterSink, RunnerMeters } from './batch-delivery.ts';
import { type SinkTarget, TargetLost } from './contract.ts';
import type { InFlight } from './in-flight.ts';
import type { Source } from './source.ts';
import type { Standing } from './standing.ts';

const CHECKPOINT_MS = 1000;

export interface CheckpointWriterDeps {
  readonly source: Source;
  readonly target: () => SinkTarget | undefined;
  readonly checkpoint: CheckpointFile | undefined;
  readonly deadLetters: DeadLetterSink;
  readonly board: SinkBoard;
  readonly index: number;
  readonly inFlight: InFlight;
  readonly standing: Standing;
  readonly meters: RunnerMeters;
  /** The target is lost: the run has to end. */
  readonly lost: () => void;
}

export class CheckpointWriter {
  readonly #deps: CheckpointWriterDeps;
  /** There is progress that no checkpoint holds. */
  dirty = false;
  /** A checkpoint must not claim what the target may have lost: with this, none is written any more. */
  lost: TargetLost | undefined;
  #last = Number.NEGATIVE_INFINITY;

  constructor(deps: CheckpointWriterDeps) {
    this.#deps = deps;
  }

  /** Ms until the next one is due. */
  dueMs(now: number): number {
    return Math.max(0, this.#last + CHECKPOINT_MS - now);
  }

  /** Writes one if there is progress, and it is time or the target asks for it. */
  async look(now: number): Promise<void> {
    if (this.dirty && (this.#deps.target()?.settleDue || this.dueMs(now) === 0)) await this.saveDue(now);
  }

  /** Writes the one that is due; the next one is due a second from now, whether it succeeds or not. */
  async saveDue(now: number): Promise<void> {
    this.#last = now;
    await this.save();
  }

  /** Settles the target and writes the checkpoint, with nothing under way. Returns the error if one failed. */
  async save(last = false): Promise<unknown> {
    if (this.#deps.target()?.settle !== undefined) await this.#deps.inFlight.allEnd();
    return this.settle(last);
  }

  /** The same for a batch under way that waits for the checkpoint. */
  async settle(last = false): Promise<unknown> {
    const { checkpoint, board, index, deadLetters, source, standing, meters } = this.#deps;
    const target = this.#deps.target();
    try {
      if (this.lost !== undefined) return this.lost;
      const settled = await target?.settle?.(last);
      const state = source.state(settled);
      const durable = source.strands.map(({ key, delivered }) => ({ key, position: delivered.position }));
      // Cleared now, not at the end: a batch that is delivered during the waits below makes it dirty again.
      this.dirty = false;
      if (checkpoint !== undefined) {
        checkpoint.write(state);
        board.setCheckpoint(index, checkpoint.sequence);
      }
      await target?.settled?.();
      await source.membership?.commit();
      for (const { key, position } of durable) deadLetters.passed(key, position);
      standing.transitions.up('checkpoint', 'the checkpoint can be written again');
      return undefined;
    } catch (error) {
      this.dirty = true;
      if (error instanceof TargetLost) {
        this.lost = error;
        this.#deps.lost();
      }
      standing.transitions.down('checkpoint', 'the checkpoint cannot be written; retrying', { error: String(error) });
      meters.failure('retry');
      return error;
    }
  }
}
