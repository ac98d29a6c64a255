/**
 * Thread of one acceptor: its lane, its acknowledger, its routes, its listener. Never waits for anything but its own write into the page
 * cache. The addon aborts the process when a thread ends with a socket open, so every way out closes the listener first.
 */

import type { TemplatedApp } from 'uWebSockets.js';
import { parentPort, workerData } from 'node:worker_threads';
import { type CollectShared, type CollectValues, collectMetricSets, openCollect } from '../collect/collect.ts';
import { collectRehearsal } from '../collect/rehearsal.ts';
import { Acknowledger } from '../engine/acknowledger.ts';
import { type Disk, realDisk } from '../engine/disk.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneWriter } from '../engine/lane.ts';
import type { Wire } from '../http/answer.ts';
import { BodyReader } from '../http/body.ts';
import { tlsFiles } from '../http/config.ts';
import { parseEndpoint } from '../http/endpoint.ts';
import { FaultLog } from '../http/handlers.ts';
import { Listener, type TlsFiles } from '../http/listen.ts';
import { Renewal } from '../http/renewal.ts';
import { mountRoutes, type RouterDeps } from '../http/router.ts';
import { type Failure, failureOf } from '../kernel/errors.ts';
import { createLog, type Logger, type LogLevel } from '../kernel/log.ts';
import { attachBoard, createBoard, type HistogramCell, prepareMetricsText, watchLoop } from '../kernel/metrics.ts';
import { ProcessBoard } from '../kernel/threads/process-board.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import { type SpanNews, TraceSampler, type TracingConfig } from '../kernel/tracing.ts';
import type { AcceptorFrame, Mounted } from './contract.ts';
import { type IntakeAcknowledger, type IntakeLane, LaneIntake } from './intake.ts';
import { talliesOf } from './metrics.ts';
import { observer, pixelFrameMetrics, threadMetrics } from './observe.ts';
import { rehearse } from './rehearsal.ts';
import { RequestTracing } from './request-tracing.ts';
import { opsRoutes } from './routes-ops.ts';

export interface AcceptorData {
  readonly engine: EngineShared;
  readonly acceptor: number;
  readonly values: CollectValues;
  readonly shared: CollectShared;
  readonly board: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
  readonly slot: number;
  readonly slotNames: readonly string[];
  readonly log: { readonly level: LogLevel; readonly destination: 1 | 2 };
  /** Undefined: no tracing. */
  readonly tracing: TracingConfig | undefined;
}

/** Main -> acceptor. drain: answers close their connections, no new ones; close: publish, answer, end; now: end at once. */
export type AcceptorOrder = 'renew' | 'drain' | 'close' | 'now';
/** Acceptor -> main. */
export type AcceptorNews =
  | { readonly listening: true }
  /** Draining, and the last connection has gone. */
  | { readonly idle: true }
  | { readonly failed: Failure };

const TICK_MS = 25;
/** Without events and without anybody who waits: forty wake-ups a second would be a third of what an idle server costs. */
const IDLE_TICK_MS = 100;
/** Longest time of the rehearsal: a start must stay below half a second. */
const REHEARSAL_MS = 60;
const WRITE_SAMPLE = 16;

function timedDisk(cell: HistogramCell): Disk {
  let count = 0;
  return {
    ...realDisk,
    write(fd, buffer, offset, bytes, position) {
      if (++count % WRITE_SAMPLE !== 0) {
        realDisk.write(fd, buffer, offset, bytes, position);
        return;
      }
      const begin = performance.now();
      realDisk.write(fd, buffer, offset, bytes, position);
      cell.observe((performance.now() - begin) / 1000, WRITE_SAMPLE);
    },
  };
}

function watch(listener: Listener, tls: TlsFiles, log: Logger): Renewal {
  return new Renewal(listener, tls, {
    renewed: () => log.info({ cert: tls.cert }, 'new connections get the renewed certificate'),
    problem: (error) =>
      log.error({ error: String(error) }, 'the certificate cannot be renewed; the last one stays in use'),
  });
}

async function main(data: AcceptorData): Promise<void> {
  const { engine, acceptor, values, shared } = data;
  const { engine: engineConfig, http } = values;
  const log = createLog({ ...data.log, name: `acceptor-${acceptor}` });
  const board = new ProcessBoard(data.board);
  const meters = attachBoard(pixelFrameMetrics, data.metrics, data.slot);
  const thread = attachBoard(threadMetrics, data.metrics, data.slot);
  const lane = new LaneWriter(engine.lanes[acceptor], timedDisk(thread.ringmain_journal_write_seconds.at()));
  const acknowledger = new Acknowledger(lane, new WakeWords(engine.wake), engineConfig);
  const tls = tlsFiles(http);
  const ops = opsRoutes(observer({ engine, metrics: data.metrics, slotNames: data.slotNames, board }));
  const faults = new FaultLog((error, more) =>
    log.error({ error: String((error as Error)?.stack ?? error), more }, 'a handler failed'),
  );
  const tracing =
    data.tracing === undefined
      ? undefined
      : new RequestTracing(new TraceSampler(data.tracing), (span) =>
          parentPort?.postMessage({ span } satisfies SpanNews),
        );
  const traced: RouterDeps['traced'] =
    tracing === undefined ? undefined : (method, path, handler) => tracing.traced(method, path, handler);
  const wire: Wire = { closing: false };
  const bodies = new BodyReader(http);
  const open = async (
    lane: IntakeLane,
    acknowledger: IntakeAcknowledger,
    metrics: SharedArrayBuffer,
    slot: number,
    rehearsing: boolean,
  ): Promise<Mounted & { mount(app: TemplatedApp): void; mountOps(app: TemplatedApp): void }> => {
    const tally = talliesOf(attachBoard(pixelFrameMetrics, metrics, slot));
    const frame: AcceptorFrame<CollectValues, CollectShared> = {
      values,
      shared,
      log,
      rehearsing,
      intake: new LaneIntake(lane, acknowledger),
      bodies,
      wire,
      faults,
      secure: tls !== undefined,
      tally,
      meters: (set) => attachBoard(set, metrics, slot),
      ask: () => Promise.reject(new Error('the collector has no workers')),
      now: Date.now,
    };
    const mounted = await openCollect(frame);
    const deps = { tally, wire, faults, traced: rehearsing ? undefined : traced };
    const routes = http.adminAddr === '' ? [...mounted.routes, ...ops] : mounted.routes;
    return {
      ...mounted,
      mount: (app) => mountRoutes(app, routes, deps),
      mountOps: (app) => mountRoutes(app, ops, deps),
    };
  };
  await prepareMetricsText();
  const unseen = createBoard([pixelFrameMetrics, ...collectMetricSets], 1);
  await rehearse((l, a) => open(l, a, unseen, 0, true), collectRehearsal, engineConfig, REHEARSAL_MS);
  const routes = await open(tracing?.lane(lane) ?? lane, acknowledger, data.metrics, data.slot, false);
  const connectionsMax = Math.max(1, Math.floor(http.maxConnections / engine.lanes.length));
  const shed = meters.ringmain_http_connections_shed_total.at();
  const listeners: Listener[] = [];
  let renewal: Renewal | undefined;
  const listen = (address: string, mount: (app: TemplatedApp) => void, secure: boolean): void => {
    const endpoint = parseEndpoint(address);
    if (endpoint === undefined) throw new Error(`address must be host:port: found=${address}`);
    listeners.push(
      new Listener({
        endpoint,
        connectionsMax,
        routes: mount,
        onShed: () => shed.add(1),
        ...(secure && tls !== undefined ? { tls } : {}),
      }),
    );
  };

  watchLoop(data.metrics, data.slot);
  const connections = meters.ringmain_http_connections.at();
  const bodyBytes = meters.ringmain_http_body_bytes.at();
  const gathering = thread.ringmain_gathering.at();
  const waiting = thread.ringmain_sync_waiting.at();
  const pipeliners = thread.ringmain_defer_pipeliners_total.at();
  let gaugesMs = 0;
  let records = lane.records;
  let timer: NodeJS.Timeout;
  const tick = (): void => {
    acknowledger.tick();
    const now = performance.now();
    if (now - gaugesMs >= IDLE_TICK_MS) {
      gaugesMs = now;
      bodyBytes.set(bodies.heldBytes);
      connections.set(listeners.reduce((sum, listener) => sum + listener.connections, 0));
      gathering.set(acknowledger.gathering ? 1 : 0);
      waiting.set(acknowledger.waiting);
      pipeliners.add(acknowledger.pipeliners - pipeliners.value);
    }
    if (wire.closing && listeners.every((listener) => listener.connections === 0))
      parentPort?.postMessage({ idle: true } satisfies AcceptorNews);
    const idle = lane.records === records && lane.stuck === undefined && acknowledger.waiting === 0;
    records = lane.records;
    timer = setTimeout(tick, idle && !wire.closing ? IDLE_TICK_MS : TICK_MS);
  };
  tick();

  const end = (): void => {
    board.setAcceptor(acceptor, false);
    clearTimeout(timer);
    renewal?.close();
    for (const listener of listeners) listener.close();
    routes.close();
    bodies.close();
    parentPort?.close();
  };
  const close = (deadline: number): void => {
    acknowledger.flush();
    lane.tick();
    const open = lane.stuck !== undefined || acknowledger.waiting > 0;
    if (!open || performance.now() >= deadline) {
      end();
      // What still keeps the loop alive (a reloading database, a timer of the addon) must not hold up the end.
      setTimeout(() => process.exit(0), 500).unref();
      return;
    }
    setTimeout(() => close(deadline), 10);
  };
  parentPort?.on('message', (order: AcceptorOrder) => {
    if (order === 'renew') renewal?.renew();
    else if (order === 'drain') {
      wire.closing = true;
      for (const listener of listeners) listener.stop();
    } else if (order === 'close') close(performance.now() + engineConfig.ackTimeoutMs);
    else end();
  });
  process.on('uncaughtException', (error) => {
    log.fatal({ error: error.stack ?? String(error) }, 'the acceptor cannot go on');
    parentPort?.postMessage({ failed: failureOf(error) } satisfies AcceptorNews);
    end();
  });

  try {
    listen(http.serverAddr, (app) => routes.mount(app), true);
    if (tls !== undefined) renewal = watch(listeners[0]!, tls, log);
    if (http.adminAddr !== '') listen(http.adminAddr, (app) => routes.mountOps(app), false);
  } catch (error) {
    parentPort?.postMessage({ failed: failureOf(error) } satisfies AcceptorNews);
    end();
    return;
  }
  board.setAcceptor(acceptor, true);
  parentPort?.postMessage({ listening: true } satisfies AcceptorNews);
}

try {
  await main(workerData as AcceptorData);
} catch (error) {
  parentPort?.postMessage({ failed: failureOf(error) } satisfies AcceptorNews);
}
