/**
 * Publishes events into one lane at a fixed rate while N threads read them as sinks do (their own waiter, batches of 512), and
 * prints what the whole process used per event.
 *   node lane-readers.ts <readers> <events per second> <seconds>
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Waiter } from '../../src/delivery/waiter.ts';
import { Batch } from '../../src/engine/batch.ts';
import { LaneReader } from '../../src/engine/lane-reader.ts';
import { createWakeWords, WakeWords } from '../../src/kernel/threads/wake.ts';
import { benchLane, id, ringBytes } from '../rig/lane-rig.ts';

interface Task {
  readonly ring: SharedArrayBuffer;
  readonly reader: number;
  readonly stop: SharedArrayBuffer;
}

async function read({ ring, reader, stop }: Task): Promise<void> {
  const stopped = new Int32Array(stop);
  const lane = new LaneReader({ id, ring }, reader, { position: 0, record: 0 }, undefined);
  // Nobody wakes it here: at this rate there is always work before it would sleep deeply.
  const waiter = new Waiter(new WakeWords(createWakeWords(1)), 0, 'blocking', ringBytes);
  const batch = new Batch(512 * 1024);
  let seen = 0;
  while (Atomics.load(stopped, 0) === 0) {
    batch.begin(id, lane.mark);
    if (lane.fill(batch, 512)) {
      lane.advance(lane.mark);
      continue;
    }
    // As the runner does: what has come since the last nap decides how long the next one is.
    const { position } = lane.mark;
    if (position > seen) waiter.busy(position - seen);
    seen = position;
    await waiter.rest(performance.now(), Number.POSITIVE_INFINITY, () => false);
  }
}

async function publish(readers: number, rate: number, seconds: number): Promise<void> {
  const lane = benchLane(false, readers);
  const stop = new SharedArrayBuffer(4);
  const threads = Array.from({ length: readers }, (_, reader) => {
    const task: Task = { ring: lane.ring, reader, stop };
    return new Worker(new URL(import.meta.url), { workerData: task });
  });
  await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('online', resolve))));
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
  const run = async (ms: number): Promise<number> => {
    const start = performance.now();
    let published = 0;
    for (let now = start; now - start < ms; now = performance.now()) {
      for (
        const due = Math.floor(((now - start) / 1000) * rate);
        published + 16 <= due && lane.hasRoom(16);
        published += 16
      )
        lane.publish(16);
      await turn();
    }
    return published;
  };
  await run(500);
  const before = process.cpuUsage();
  const events = await run(seconds * 1000);
  const { user, system } = process.cpuUsage(before);
  Atomics.store(new Int32Array(stop), 0, 1);
  console.log(JSON.stringify({ events, cpuUs: user + system }));
}

if (isMainThread) {
  const [readers, rate, seconds] = process.argv.slice(2).map(Number) as [number, number, number];
  await publish(readers, rate, seconds);
} else await read(workerData as Task);
