/**
 * Rehearsal: before an acceptor listens, it serves a role's routes over a loopback port of its own for a moment, with a
 * lane in memory that no sink reads and meters that nobody sees. So the code is compiled when the first real request
 * comes, and nothing is recorded.
 */
import { connect } from 'node:net';
import { Acknowledger } from '../engine/acknowledger.ts';
import type { EngineConfig } from '../engine/config.ts';
import { LaneWriter } from '../engine/lane.ts';
import { createLaneControl } from '../engine/lane-control.ts';
import { createRing } from '../engine/ring.ts';
import { BodyReader } from '../http/body.ts';
import { ConnectionRoom } from '../http/connection-room.ts';
import { Listener } from '../http/listen.ts';
import { mountRoutes, type RouterDeps } from '../http/router.ts';
import { attachBoard, createBoard } from '../kernel/metrics.ts';
import { createWakeWords, WakeWords } from '../kernel/threads/wake.ts';
import type { Acceptor, AcceptorFrame } from './contract.ts';
import { serviceErrors } from './errors.ts';
import { LaneIntake } from './intake.ts';

/** Longest time of the rehearsal: a start must stay below half a second. */
const MS_MAX = 60;
/** Requests written at once; they are answered in place, in order. */
const BURST = 32;
/** It ends after so many requests, or when its time is over. */
const REQUESTS_MAX = 3000;
const RING_BYTES = 2 ** 20;

/** Plays the module's requests against its routes. Never rejects: a rehearsal that fails costs only its purpose. */
export async function rehearse(
  module: Acceptor,
  frame: AcceptorFrame,
  router: RouterDeps,
  config: EngineConfig,
): Promise<void> {
  const { rehearsal = [] } = module;
  if (rehearsal.length === 0) return;
  const wake = createWakeWords(1);
  const lane = new LaneWriter({
    id: { life: 0, lane: 0 },
    ring: createRing(RING_BYTES, 0),
    control: createLaneControl(),
    wake,
    journal: undefined,
    logId: new Uint8Array(16),
  });
  const silent = { answered: () => undefined };
  const bodies = new BodyReader(frame.values.http);
  const mounted = await module.open({
    ...frame,
    rehearsing: true,
    intake: new LaneIntake(lane, new Acknowledger(lane, new WakeWords(wake), { ...config, defer: 'off' })),
    tally: () => silent,
    bodies,
    meters: (set) => attachBoard(set, createBoard([set], 1), 0),
    ask: (worker) => Promise.reject(serviceErrors.WORKER_GONE({ worker, left: 'unasked' })),
  });
  const listener = new Listener({
    endpoint: { host: '127.0.0.1', port: 0 },
    room: new ConnectionRoom({ max: 4 }),
    routes: (app) => mountRoutes(app, mounted.routes, { ...router, tally: () => silent, traced: undefined }),
  });
  try {
    await play(rehearsal, listener.port, performance.now() + MS_MAX);
  } finally {
    listener.close();
    mounted.close?.();
    bodies.close();
  }
}

/** Writes the last request once for every burst of the first: of the collector, one batch for many pixels. */
function play(requests: readonly string[], port: number, deadline: number): Promise<void> {
  const burst = Array.from({ length: BURST }, (_, i) => requests[i < requests.length ? i : 0]!)
    .reverse()
    .join('');
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let answered = 0;
    let sent = 0;
    const send = () => {
      socket.write(burst);
      sent += BURST;
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
