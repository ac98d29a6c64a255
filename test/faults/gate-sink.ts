/**
 * Gate sink: a kind that exists in tests only. Its write() waits at a gate in shared memory, without an end: as a thread that hangs in
 * a system call (`blocking`), or as a target that never answers (`event-loop`); or the thread ends there (`dies`). Behind the gate it
 * appends the lines to GATE_PATH.
 */
import { appendFileSync } from 'node:fs';
import { getEnvironmentData } from 'node:worker_threads';
import type { SinkBatch, SinkKind } from '../../src/delivery/contract.ts';
import { jsonLength, jsonStart } from '../../src/events/record.ts';
import { type HttpSinkConfig, httpSinkConfig } from '../../src/sinks/http/config.ts';

const gate = getEnvironmentData('gate') as unknown as Int32Array;
const at = process.env['GATE_WAITS'] as 'blocking' | 'event-loop' | 'dies';

async function pass(): Promise<void> {
  while (Atomics.load(gate, 0) === 0) {
    if (at === 'dies') process.exit(1);
    if (at === 'blocking') Atomics.wait(gate, 0, 0);
    else await Atomics.waitAsync(gate, 0, 0).value;
  }
}

async function write({ buffer, offsets, count }: SinkBatch): Promise<void> {
  if (count === 0) return;
  await pass();
  let lines = '';
  for (let i = 0; i < count; i++) {
    const from = jsonStart(offsets[i]);
    lines += `${buffer.toString('utf8', from, from + jsonLength(buffer, offsets[i]))}\n`;
  }
  appendFileSync(process.env['GATE_PATH'] as string, lines);
}

export const httpSink: SinkKind<HttpSinkConfig> = {
  name: 'http',
  config: httpSinkConfig,
  waits: at === 'event-loop' ? 'event-loop' : 'blocking',
  places: () => ['gate'],
  batching: () => ({ records: 1000, bytes: 512 * 1024, flushMs: 10 }),
  open: async () => ({ inFlightMax: 1, write, close: async () => undefined }),
  classify: () => 'retry',
};
