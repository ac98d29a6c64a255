/**
 * Rehearsal: before an acceptor listens, it serves itself over a loopback port of its own for a moment, with a lane in memory that no
 * sink reads and meters that nobody sees. So the code is compiled when the first real request comes, and nothing is recorded.
 */
import { connect } from 'node:net';
import { Acknowledger } from '../engine/acknowledger.ts';
import type { EngineConfig } from '../engine/config.ts';
import { LaneWriter } from '../engine/lane.ts';
import { createLaneControl } from '../engine/lane-control.ts';
import { createRing } from '../engine/ring.ts';
import { Listener } from '../http/listen.ts';
import { attachBoard, createBoard } from '../kernel/metrics.ts';
import { createWakeWords, WakeWords } from '../kernel/threads/wake.ts';
import { type PixelMeters, pixelMetrics } from '../pixel/metrics.ts';
import type { Routes } from '../pixel/routes.ts';

/** Requests written at once; they are answered in place, in order. */
const BURST = 32;
/** It ends after so many requests, or when its time is over. */
const REQUESTS_MAX = 3000;
const RING_BYTES = 2 ** 20;

const event = '{"e":"rehearsal","uid":"u1","url":"https://example.com/a?b=1","props":{"n":1,"text":"a\\"b"}}';
const body = `[${Array.from({ length: 20 }, () => event).join(',')}]`;
const browser = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const pixel =
  'GET /px.gif?e=rehearsal&url=https%3A%2F%2Fexample.com%2Fa%3Fb%3D1&utm_source=a&utm_medium=b&uid=u1&w=1920&q=caf%C3%A9+%22x%22 HTTP/1.1\r\n' +
  `Host: localhost\r\nUser-Agent: ${browser}\r\nReferer: https://example.com/\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: a=1; sid=s_0\r\n\r\n`;
const collect = `POST /collect HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ${browser}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** `build` makes the routes over the given parts; they are closed again. Never rejects: a rehearsal that fails costs only its purpose. */
export async function rehearse(
  build: (lane: LaneWriter, acknowledger: Acknowledger, meters: PixelMeters) => Routes,
  config: EngineConfig,
  msMax: number,
): Promise<void> {
  const wake = createWakeWords(1);
  const lane = new LaneWriter({
    id: { life: 0, lane: 0 },
    ring: createRing(RING_BYTES, 0),
    control: createLaneControl(),
    wake,
    journal: undefined,
    logId: new Uint8Array(16),
  });
  const acknowledger = new Acknowledger(lane, new WakeWords(wake), { ...config, defer: 'off' });
  const routes = build(lane, acknowledger, attachBoard(pixelMetrics, createBoard([pixelMetrics], 1), 0));
  const listener = new Listener({
    endpoint: { host: '127.0.0.1', port: 0 },
    connectionsMax: 4,
    routes: (app) => routes.mount(app),
  });
  try {
    await play(listener.port, performance.now() + msMax);
  } finally {
    listener.close();
    routes.close();
  }
}

function play(port: number, deadline: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let answered = 0;
    let sent = 0;
    const send = () => {
      // One batch for every burst of pixels.
      socket.write(pixel.repeat(BURST - 1) + collect);
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
