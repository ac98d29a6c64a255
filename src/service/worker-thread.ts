/**
 * Thread of a worker, or of several that share one: gives each module its frame, tells the board how it stands, and
 * ends it in the order of the drain.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type AckLevel, Acknowledger } from '../engine/acknowledger.ts';
import { type EngineShared, watchedLanes } from '../engine/engine.ts';
import { LaneWriter } from '../engine/lane.ts';
import { LaneWatcher } from '../engine/lane-watcher.ts';
import { watchLoop } from '../kernel/metrics.ts';
import { watchSeat } from '../kernel/threads/board.ts';
import { settleLater } from '../kernel/threads/settle.ts';
import { Answerer, type ConnectAcceptor } from './calls.ts';
import type { Worker } from './contract.ts';
import { outputStandings } from './observe.ts';
import { type SeatShared, takeSeat } from './seat.ts';

export interface WorkerData extends SeatShared {
  readonly engine: EngineShared;
  readonly role: string;
  /** Address of the worker's module. */
  readonly module: string;
  readonly data: unknown;
}

export interface WorkerThreadData {
  /** One at least. */
  readonly seats: readonly WorkerData[];
}

/** Between two signs of life. */
const TELL_MS = 1000;
/** Between two looks of the lane's writer at what waits for a sync or for a repeated write. */
const TICK_MS = 25;

async function main({ seats }: WorkerThreadData): Promise<void> {
  const answerers = new Map(seats.map(({ seat }) => [seat.index, new Answerer()]));
  parentPort?.on('message', (order: ConnectAcceptor) => answerers.get(order.seat)?.connect(order));
  watchLoop(seats[0]!.metrics, ...answerers.keys());
  settleLater();
  await Promise.all(seats.map((data) => sit(data, answerers.get(data.seat.index)!)));
  parentPort?.close();
  process.exit(0);
}

/** Runs one worker until the drain. */
async function sit(data: WorkerData, answerer: Answerer): Promise<void> {
  const { engine, role, seat, values } = data;
  const { board, wake, log, meters } = await takeSeat(data);
  const { default: worker } = (await import(data.module)) as { default: Worker };
  const drain = new AbortController();
  void watchSeat(board, wake, seat.index, {
    phase(phase) {
      drain.abort();
      if (phase === 'stop' || phase === 'abort') process.exit(0);
    },
  });
  board.tell(seat.index);
  const tell = setInterval(() => board.tell(seat.index), TELL_MS);
  const shared = engine.lanes[seat.lane];
  const lane = shared === undefined ? undefined : new LaneWriter(shared);
  const acknowledger =
    lane === undefined ? undefined : new Acknowledger(lane, wake, { ...values.engine, defer: 'off' });
  const tick = setInterval(() => acknowledger?.tick(), TICK_MS);
  if (lane === undefined) clearInterval(tick);
  await worker.run({
    values,
    shared: data.prepared[role],
    log,
    index: seat.number,
    data: data.data,
    signal: drain.signal,
    meters,
    ready: () => board.setState(seat.index, 'up'),
    away: (reason) => board.setState(seat.index, 'down', reason),
    serve: (answer, concurrency) => answerer.serve(answer, concurrency),
    lane,
    journal: {
      id: engine.log,
      lasting: engine.journal !== undefined,
      outputs: outputStandings(engine),
      watch: () => new LaneWatcher(watchedLanes(engine)),
    },
    publish: (level) => publish(acknowledger, level),
  });
  await answerer.settled();
  board.setState(seat.index, 'ended');
  acknowledger?.flush();
  clearInterval(tell);
  clearInterval(tick);
  answerer.close();
  // It is a death like any other, also of those that share the thread: main starts them again, or ends the process.
  if (!drain.signal.aborted) throw new Error(`a worker must run until the drain: worker=${seat.name}`);
}

function publish(acknowledger: Acknowledger | undefined, level: AckLevel): Promise<void> {
  if (acknowledger === undefined)
    return Promise.reject(
      new TypeError('publish needs a lane: its spec must say `publishes`, and an output must read lanes'),
    );
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error('the write failed; whether the records are stored is unknown'));
    const when = acknowledger.settle(level);
    if (when === 'now') resolve();
    else if (when === 'failed') failed();
    else acknowledger.hold(level, { settled: (outcome) => (outcome === 'stored' ? resolve() : failed()) });
  });
}

await main(workerData as WorkerThreadData);
