/** Announce: main says in the log what its threads only count. */
import type { EngineShared } from '../engine/engine.ts';
import { SinkBoard, type SinkFigure } from '../engine/sink-board.ts';
import type { Logger } from '../kernel/log.ts';
import { Announcer, type Growing, growingIn, type MetricSet } from '../kernel/metrics.ts';

const LOOK_MS = 1000;

export interface AnnounceDeps {
  readonly sets: readonly MetricSet[];
  readonly metrics: SharedArrayBuffer;
  readonly engine: Pick<EngineShared, 'board'>;
  /** Names of the outputs, in the order of their seats. */
  readonly outputs: readonly string[];
  readonly log: Logger;
}

/** Returns what ends it, with a last look. */
export function announce({ sets, metrics, engine, outputs, log }: AnnounceDeps): () => void {
  const board = new SinkBoard(engine.board);
  const figure =
    (now: SinkFigure, before: SinkFigure, sentence: string) =>
    (sink: string, i: number): Growing => ({
      level: 'warn',
      sentence,
      fields: { sink },
      // The two are not set at once: what an earlier process has counted must not look like a restart of the counter.
      read: () => Math.max(0, board.get(i, now) - board.get(i, before)),
    });
  const announcer = new Announcer(
    [
      ...growingIn(sets, metrics),
      ...outputs.map(
        figure('dead', 'deadBefore', 'the target rejected events for good; they are in the dead-letter file'),
      ),
      ...outputs.map(
        figure(
          'givenUp',
          'givenUpBefore',
          'events were given up: damaged on disk, dropped because of lag, or deleted before the sink got to them',
        ),
      ),
    ],
    log,
  );
  const timer = setInterval(() => announcer.look(), LOOK_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    announcer.look(true);
  };
}
