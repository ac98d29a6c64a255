/** A thread of gcra-table.test.ts: takes from the table so many times, and tells how many passed. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Cell, GcraTable } from '../../src/access/gcra-table.ts';

const { shared, cells, tries, gate, threads } = workerData as {
  readonly shared: SharedArrayBuffer;
  readonly cells: readonly Cell[];
  readonly tries: number;
  readonly gate: SharedArrayBuffer;
  readonly threads: number;
};
const table = new GcraTable(shared);
const arrived = new Int32Array(gate);
Atomics.add(arrived, 0, 1);
Atomics.notify(arrived, 0);
for (let count = Atomics.load(arrived, 0); count < threads; count = Atomics.load(arrived, 0))
  Atomics.wait(arrived, 0, count, 1000);
let passed = 0;
for (let i = 0; i < tries; i += 1) if (table.take(cells) === -1) passed += 1;
parentPort!.postMessage(passed);
