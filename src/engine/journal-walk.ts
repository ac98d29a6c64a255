/** Walks through a log for the tools: batch by batch, lane by lane, reading only. Works beside a running process. */
import { Batch } from './batch.ts';
import { lanesFolder } from './journal.ts';
import { type FinishedLane, LaneReader } from './lane-reader.ts';

export interface WalkRange {
  /** Position to begin at; default: the oldest byte on disk. */
  readonly from?: number;
  /** Position to end before; default: the end of the lane. */
  readonly to?: number;
}

/**
 * The batches of a lane, losses included, in order. The batch is the same object each time: use it before asking for the next. A
 * `from` inside a frame begins with the frame that holds it; frames at or after `to` are left out.
 */
export function* walkLane(
  dir: string,
  logId: Buffer,
  lane: FinishedLane,
  bytes: number,
  range: WalkRange = {},
): Generator<Batch> {
  const end =
    range.to === undefined ? lane.end : { position: Math.min(range.to, lane.end.position), record: lane.end.record };
  const reader = new LaneReader({ ...lane, end }, 0, lane.begin, { lanes: lanesFolder(dir), logId });
  const batch = new Batch(bytes);
  try {
    for (;;) {
      batch.begin(lane.id, reader.mark);
      if (!reader.fill(batch, Number.POSITIVE_INFINITY)) return;
      if (range.from === undefined || batch.to.position > range.from) yield batch;
    }
  } finally {
    reader.close();
  }
}
