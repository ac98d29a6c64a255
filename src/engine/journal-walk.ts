/**
 * Journal walk: reads a log for the tools, lane by lane and batch by batch. It writes nothing, so it may run beside the
 * collector.
 */
import { Batch } from './batch.ts';
import { lanesFolder } from './journal.ts';
import { type FinishedLane, LaneReader } from './lane-reader.ts';

export interface WalkRange {
  /** Position to begin at. Default: the oldest byte on disk. */
  readonly from?: number;
  /** Position to end before. Default: the end of the lane. */
  readonly to?: number;
}

/**
 * The batches of a lane in order, losses included. All are the same object: use one before asking for the next. When
 * `from` lies inside a frame, that frame comes first; frames at or behind `to` are left out.
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
