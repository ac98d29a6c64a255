/**
 * Thread of one worker: gives the service's module its frame, tells the board how it stands, and ends it in the order
 * of the drain.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type AckLevel, Acknowledger } from '../engine/acknowledger.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneWriter } from '../engine/lane.ts';
import { watchLoop } from '../kernel/metrics.ts';
import { watchSeat } from '../kernel/threads/board.ts';
import { Answerer, type ConnectAcceptor } from './calls.ts';
import type { Worker } from './contract.ts';
import { type SeatShared, takeSeat } from './seat.ts';

export interface WorkerData extends SeatShared {
  readonly engine: EngineShared;
  readonly role: string;
  /** Address of the worker's module. */
  readonly module: string;
  readonly data: unknown;
}

/** Between two signs of life. */
const TELL_MS = 1000;
/** Between two looks of the lane's writer at what waits for a sync or for a repeated write. */
const TICK_MS = 25;

async function main(data: WorkerData): Promise<void> {
  const { engine, role, seat, values } = data;
  const { board, wake, log, meters } = await takeSeat(data);
  const { default: worker } = (await import(data.module)) as { default: Worker };
  const answerer = new Answerer();
  const drain = new AbortController();
  parentPort?.on('message', (order: ConnectAcceptor) => answerer.connect(order));
  void watchSeat(board, wake, seat.index, {
    phase(phase) {
      drain.abort();
      if (phase === 'stop' || phase === 'abort') process.exit(0);
    },
  });
  watchLoop(data.metrics, seat.index);
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
    publish: (level) => publish(acknowledger, level),
  });
  await answerer.settled();
  // Returning before the drain is a death like any other: main starts it again, or ends the process.
  board.setState(seat.index, 'ended');
  acknowledger?.flush();
  clearInterval(tell);
  clearInterval(tick);
  answerer.close();
  parentPort?.close();
  process.exit(0);
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

await main(workerData as WorkerData);
