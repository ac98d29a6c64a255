/** What a process tells operators: /readyz and /metrics, computed from shared memory by any acceptor. */
import { sinkCollector } from '../delivery/metrics.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { JournalFigures, journalCollector, laneCollector, laneProblem } from '../engine/metrics.ts';
import { publishedIn, Ring } from '../engine/ring.ts';
import { type Collector, type MetricSet, metricsText, processMetrics } from '../kernel/metrics.ts';
import type { ThreadBoard } from '../kernel/threads/board.ts';
import type { Roster, Seat } from '../kernel/threads/roster.ts';
import { readVersion } from '../kernel/version.ts';
import type { Missing, OpsSource, Readiness } from './routes-ops.ts';

export interface ObserverDeps {
  readonly engine: EngineShared;
  readonly metrics: SharedArrayBuffer;
  readonly sets: readonly MetricSet[];
  readonly roster: Roster;
  readonly board: ThreadBoard;
  /** Names of the outputs, in the order of their seats. */
  readonly outputs: readonly string[];
}

export function observer(deps: ObserverDeps): OpsSource {
  const { engine, metrics, sets, roster, outputs } = deps;
  const controls = engine.lanes.map((lane) => new LaneControl(lane.control));
  const rings = engine.lanes.map((lane) => new Ring(lane.ring));
  // Outputs behind those of the lanes read a topic: nobody else sees how much that holds.
  const published = (sink: number) => publishedIn(sink < engine.sinks.length ? rings : []);
  const collectors: Collector[] = [
    ...(outputs.length > 0 ? [sinkCollector(engine.board, outputs, published, Date.now)] : []),
    laneCollector(rings, engine.journal !== undefined),
    processMetrics(readVersion()),
  ];
  if (engine.keeper !== undefined) collectors.push(journalCollector(new JournalFigures(engine.keeper.figures)));
  const slotNames = roster.map(({ name }) => name);
  return {
    readiness: () => readiness(deps, controls),
    metrics: () => metricsText(sets, metrics, collectors, { slotNames }),
  };
}

function readiness({ engine, board, roster, outputs }: ObserverDeps, controls: readonly LaneControl[]): Readiness {
  const intake: Missing[] = [];
  const sinks: Missing[] = [];
  const stage = board.stage();
  if (stage !== 'serving') intake.push({ part: 'process', reason: stage });
  for (const seat of roster) {
    if (seat.kind === 'keeper' && engine.keeper === undefined) continue;
    const reason = seatProblem(board, seat);
    if (reason === undefined) continue;
    if (seat.kind === 'output') sinks.push({ part: outputs[seat.number]!, reason });
    else intake.push({ part: seat.name, reason });
  }
  controls.forEach((control, k) => {
    const reason = laneProblem(control);
    if (reason !== undefined) intake.push({ part: `journal, lane ${k}`, reason });
  });
  return { intake, sinks };
}

function seatProblem(board: ThreadBoard, { index, kind }: Seat): string | undefined {
  const state = board.state(index);
  switch (kind) {
    case 'keeper':
      return board.running(index) && state === 'up' ? undefined : 'is being started';
    case 'acceptor':
      return state === 'up' ? undefined : 'does not listen';
    case 'output':
    case 'worker':
      if (!board.running(index)) return 'its thread is being started';
      // fluent-bit#11847: alive, and doing nothing.
      if (board.silent(index)) {
        return `no sign of life for ${Math.floor(board.quietMs(index) / 1000)} s: one call holds it up`;
      }
      return state === 'up' ? undefined : board.reason(index) || state;
  }
}
