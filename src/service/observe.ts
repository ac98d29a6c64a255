/** What a process tells operators: /readyz and /metrics, computed from shared memory by any acceptor. */
import { sinkCollector } from '../delivery/metrics.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { JournalFigures, journalCollector, laneCollector, laneProblem } from '../engine/metrics.ts';
import { publishedIn, Ring } from '../engine/ring.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import { type Collector, type MetricSet, metricsText, processMetrics } from '../kernel/metrics.ts';
import type { ThreadBoard } from '../kernel/threads/board.ts';
import type { Roster, Seat } from '../kernel/threads/roster.ts';
import { readVersion } from '../kernel/version.ts';
import type { OutputStanding } from './contract.ts';
import type { OpsSource } from './routes-ops.ts';
import type { Part } from './schemas.ts';

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
    readiness: () => partsOf(deps, controls),
    metrics: () => metricsText(sets, metrics, collectors, { slotNames }),
  };
}

/** How the outputs stand that read the lanes. What came since their threads last told counts as not dealt with. */
export function outputStandings(engine: EngineShared): () => readonly OutputStanding[] {
  const board = new SinkBoard(engine.board);
  const rings = engine.lanes.map((lane) => new Ring(lane.ring));
  return () => {
    const published = publishedIn(rings).records;
    return engine.sinks.flatMap((name, sink) => {
      if (!board.told(sink)) return [];
      const since = Math.max(0, published - board.get(sink, 'seenRecords'));
      const lag = board.get(sink, 'lagRecords') + since;
      return [{ name, passed: board.get(sink, 'passed'), lag, oldestMs: board.get(sink, 'oldestMs') }];
    });
  };
}

function partsOf({ engine, board, roster, outputs }: ObserverDeps, controls: readonly LaneControl[]): readonly Part[] {
  const stage = board.stage();
  const parts: Part[] = [
    stage === 'serving'
      ? { part: 'process', kind: 'process', state: 'up' }
      : { part: 'process', kind: 'process', state: stage, reason: stage },
  ];
  for (const seat of roster) {
    if (seat.kind === 'keeper' && engine.keeper === undefined) continue;
    const [kind, part] = seat.kind === 'output' ? (['sink', outputs[seat.number]!] as const) : [seat.kind, seat.name];
    parts.push({ part, kind, ...standingOf(board, seat) });
  }
  controls.forEach((control, k) => {
    const reason = laneProblem(control);
    const state = reason === undefined ? ({ state: 'up' } as const) : ({ state: 'down', reason } as const);
    parts.push({ part: `journal, lane ${k}`, kind: 'journal', ...state });
  });
  return parts;
}

function standingOf(board: ThreadBoard, { index, kind }: Seat): Pick<Part, 'state' | 'reason'> {
  const state = board.state(index);
  if (kind === 'acceptor') return state === 'up' ? { state } : { state, reason: 'does not listen' };
  if (!board.running(index)) return { state: 'starting', reason: 'its thread is being started' };
  if (kind === 'keeper') return state === 'up' ? { state } : { state, reason: 'is being started' };
  // fluent-bit#11847: alive, and doing nothing.
  if (board.silent(index)) {
    const seconds = Math.floor(board.quietMs(index) / 1000);
    return { state: 'silent', reason: `no sign of life for ${seconds} s: one call holds it up` };
  }
  return state === 'up' ? { state } : { state, reason: board.reason(index) || state };
}
