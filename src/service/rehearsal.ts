/**
 * Rehearsal: before an acceptor listens, it serves itself for a moment over a loopback port of its own, with a lane in memory that no sink
 * reads and meters that nobody sees. So the code is compiled when the first real request comes, and nothing is recorded.
 */

import type { TemplatedApp } from 'uWebSockets.js';
import { connect } from 'node:net';
import { Acknowledger, type AcknowledgerOptions } from '../engine/acknowledger.ts';
import { LaneWriter } from '../engine/lane.ts';
import { createLaneControl } from '../engine/lane-control.ts';
import { createRing } from '../engine/ring.ts';
import { Listener } from '../http/listen.ts';
import { createWakeWords, WakeWords } from '../kernel/threads/wake.ts';
import type { IntakeAcknowledger, IntakeLane } from './intake.ts';

/** The rehearsal ends after so many requests, or when its time is over. */
const REQUESTS_MAX = 3000;
const RING_BYTES = 2 ** 20;

/** Routes over the lane of the rehearsal. */
export interface Rehearsed {
  mount(app: TemplatedApp): void;
  close(): void;
}

/**
 * Plays the requests, as they stand on the wire, again and again for at most `msMax`. All are written at once and must be answered in place.
 * `open` makes the routes over the given lane; they are closed again. A request that gets no answer costs the rest of the time.
 */
export async function rehearse(
  open: (lane: IntakeLane, acknowledger: IntakeAcknowledger) => Promise<Rehearsed> | Rehearsed,
  requests: readonly string[],
  options: AcknowledgerOptions,
  msMax: number,
): Promise<void> {
  if (requests.length === 0) return;
  const wake = createWakeWords(1);
  const lane = new LaneWriter({
    id: { life: 0, lane: 0 },
    ring: createRing(RING_BYTES, 0),
    control: createLaneControl(),
    wake,
    journal: undefined,
    logId: new Uint8Array(16),
  });
  const acknowledger = new Acknowledger(lane, new WakeWords(wake), { ...options, defer: 'off' });
  const routes = await open(lane, acknowledger);
  try {
    const listener = new Listener({
      endpoint: { host: '127.0.0.1', port: 0 },
      connectionsMax: 4,
      routes: (app) => routes.mount(app),
    });
    try {
      await play(listener.port, requests, performance.now() + msMax);
    } finally {
      listener.close();
    }
  } finally {
    routes.close();
  }
}

function play(port: number, requests: readonly string[], deadline: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let answered = 0;
    let sent = 0;
    const burst = requests.join('');
    const send = () => {
      socket.write(burst);
      sent += requests.length;
    };
    socket.setTimeout(Math.max(1, deadline - performance.now()), () => socket.destroy());
    socket.on('connect', send);
    socket.on('data', (chunk) => {
      for (let at = chunk.indexOf('HTTP/1.1 '); at >= 0; at = chunk.indexOf('HTTP/1.1 ', at + 1)) answered += 1;
      if (answered < sent) return;
      if (sent >= REQUESTS_MAX || performance.now() >= deadline) socket.destroy();
      else send();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve());
  });
}
