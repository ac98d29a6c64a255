/**
 * Intake: what the routes need of the engine, one per acceptor. Structural: the engine's LaneWriter and Acknowledger fit, and so does a
 * fake of a few lines, so that the routes are tested without threads or disks.
 *
 *   refusal?  ->  mark  ->  encode into the lane  ->  refusal?  ->  settle  ->  now: answer | later: hold | failed: 503
 *
 * Room is asked for twice. Before, so that a full lane costs no encoding; and when the records are in the draft and their size is
 * known, for a guess that is safe beforehand is ten times too high and would refuse what fits.
 */
import type { AckLevel, Answerable } from '../engine/acknowledger.ts';
import { DraftTooLarge, type Refusal } from '../engine/lane.ts';
import type { Draft } from '../events/draft.ts';

export type { AckLevel, Answerable, Outcome } from '../engine/acknowledger.ts';

export interface IntakeLane extends Draft {
  /** The most bytes that one publish may hold; begin() throws DraftTooLarge beyond. */
  readonly draftBytesMax: number;
  /** Why what is in the draft and `bytes` more cannot be taken now; undefined: they can. */
  refusal(bytes: number): Refusal | undefined;
  mark(): number;
  /** Forgets what was committed since the mark. */
  rewind(mark: number): void;
}

export interface IntakeAcknowledger {
  settle(level: AckLevel): 'now' | 'later' | 'failed';
  /** `answer.settled()` comes exactly once, outside of this handler, also after the connection has gone. */
  hold(level: AckLevel, answer: Answerable): void;
  /** The connection of a held answer is gone. */
  dropped(answer: Answerable): void;
  /** Publishes the draft now, for a request that does not fit behind the others of this iteration. */
  flush(): void;
}

/**
 * What to do when encoding threw: nothing of it stays in the draft. True: try again, the draft is empty now and the records of other
 * requests are published. False: it does not fit an empty draft either. Any other error goes on.
 */
export function mayEncodeAgain(
  error: unknown,
  mark: number,
  lane: IntakeLane,
  acknowledger: IntakeAcknowledger,
  attempt: number,
): boolean {
  lane.rewind(mark);
  if (!(error instanceof DraftTooLarge)) throw error;
  if (attempt > 0) return false;
  acknowledger.flush();
  return true;
}
