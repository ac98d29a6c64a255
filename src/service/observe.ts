/** What an acceptor tells operators: /readyz and /metrics, computed from shared memory. */

import { collectMetricSets } from '../collect/collect.ts';
import { collectRouteNames } from '../collect/metrics.ts';
import { sinkCollector, sinkMetrics } from '../delivery/metrics.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { JournalFigures, journalCollector, keeperMetrics, laneCollector, laneProblem } from '../engine/metrics.ts';
import { publishedIn, Ring } from '../engine/ring.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import {
  type Collector,
  counter,
  defineMetrics,
  gauge,
  histogram,
  loopMetrics,
  metricsText,
  processMetrics,
} from '../kernel/metrics.ts';
import type { ProcessBoard } from '../kernel/threads/process-board.ts';
import { readVersion } from '../kernel/version.ts';
import { frameMetrics } from './metrics.ts';
import type { Missing, OpsSource, Readiness } from './routes-ops.ts';

export const threadMetrics = defineMetrics({
  ringmain_journal_write_seconds: histogram({
    help: 'Time of one write of an acceptor to its segment, every 16th measured.',
    buckets: [0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.0001, 0.001, 0.01, 0.1, 1],
  }),
  ringmain_defer_pipeliners_total: counter({
    help: 'How often a client that pipelines switched an acceptor to in-handler answers.',
  }),
  ringmain_gathering: gauge({ help: 'Acceptors that gather the requests of a loop iteration now.' }),
  ringmain_sync_waiting: gauge({ help: 'Answers that wait for a sync.' }),
});

export const pixelFrameMetrics = frameMetrics(collectRouteNames);

/** Every set on the board of the pixel service. */
export const allMetrics = (outputs: readonly string[]) =>
  [pixelFrameMetrics, ...collectMetricSets, sinkMetrics(outputs), keeperMetrics, threadMetrics, loopMetrics] as const;

export interface ObserverDeps {
  readonly engine: EngineShared;
  readonly metrics: SharedArrayBuffer;
  readonly slotNames: readonly string[];
  readonly board: ProcessBoard;
}

export function observer(parts: ObserverDeps): OpsSource {
  const { engine, metrics, slotNames, board } = parts;
  const sinks = new SinkBoard(engine.board);
  const sets = allMetrics(engine.sinks);
  const controls = engine.lanes.map((lane) => new LaneControl(lane.control));
  const rings = engine.lanes.map((lane) => new Ring(lane.ring));
  const collectors: Collector[] = [
    sinkCollector(engine.board, engine.sinks, () => publishedIn(rings), Date.now),
    laneCollector(rings, engine.journal !== undefined),
    processMetrics(readVersion()),
  ];
  if (engine.keeper !== undefined) collectors.push(journalCollector(new JournalFigures(engine.keeper.figures)));
  return {
    readiness: () => readiness(engine, board, controls, sinks),
    metrics: () => metricsText(sets, metrics, collectors, { slotNames }),
  };
}

function readiness(
  engine: EngineShared,
  board: ProcessBoard,
  controls: readonly LaneControl[],
  sinks: SinkBoard,
): Readiness {
  const intake: Missing[] = [];
  const stage = board.stage();
  if (stage !== 'serving') intake.push({ part: 'process', reason: stage });
  for (let k = 0; k < board.acceptors; k++)
    if (!board.acceptorUp(k)) intake.push({ part: `acceptor-${k}`, reason: 'does not listen' });
  if (engine.keeper !== undefined && !board.keeperUp()) intake.push({ part: 'keeper', reason: 'is being started' });
  controls.forEach((control, k) => {
    const reason = laneProblem(control);
    if (reason !== undefined) intake.push({ part: `journal, lane ${k}`, reason });
  });
  const away = engine.sinks.flatMap((part, i): Missing[] => {
    const state = sinks.state(i);
    if (!board.sinkUp(i)) return [{ part, reason: 'its thread is being started' }];
    // fluent-bit#11847: alive, and doing nothing.
    if (sinks.silent(i))
      return [{ part, reason: `no sign of life for ${Math.floor(sinks.quietMs(i) / 1000)} s: one call holds it up` }];
    return state === 'up' ? [] : [{ part, reason: sinks.reason(i) || state }];
  });
  return { intake, sinks: away };
}
