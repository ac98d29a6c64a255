/**
 * Thread of one acceptor: its lane, its acknowledger, the routes of every role of the process, their listeners. Never
 * waits for anything but its own write into the page cache. The addon aborts the process when a thread ends with a
 * socket open, so every way out closes the listeners first.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Acknowledger } from '../engine/acknowledger.ts';
import { type Disk, realDisk } from '../engine/disk.ts';
import type { EngineShared } from '../engine/engine.ts';
import { LaneWriter } from '../engine/lane.ts';
import type { Wire } from '../http/answer.ts';
import { Assets } from '../http/assets.ts';
import { BodyReader } from '../http/body.ts';
import { tlsFiles } from '../http/config.ts';
import { ADMIN_CONNECTIONS_MAX, ConnectionRoom, RESERVE_SEATS } from '../http/connection-room.ts';
import { parseEndpoint } from '../http/endpoint.ts';
import { Fairness } from '../http/fairness.ts';
import { FaultLog } from '../http/handlers.ts';
import type { OnClose } from '../http/hold-back.ts';
import { Listener, type TlsFiles } from '../http/listen.ts';
import { Renewal } from '../http/renewal.ts';
import { mountRoutes, type Route, type RouterDeps } from '../http/router.ts';
import { systemClock } from '../kernel/clock.ts';
import { type Failure, failureOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/log.ts';
import { type HistogramCell, type Meters, prepareMetricsText, watchLoop } from '../kernel/metrics.ts';
import { type Phase, watchSeat } from '../kernel/threads/board.ts';
import { type SpanNews, TraceSampler, type TracingConfig } from '../kernel/tracing.ts';
import { Asker, type ConnectWorker } from './calls.ts';
import type { Acceptor, AcceptorFrame, Mounted } from './contract.ts';
import { type Intake, LaneIntake } from './intake.ts';
import { acceptorMetrics, routesOf, WEB_ROUTE } from './metric-sets.ts';
import { type FrameMeters, frameMetrics, talliesOf } from './metrics.ts';
import { observer } from './observe.ts';
import { rehearse } from './rehearsal.ts';
import { RequestTracing } from './request-tracing.ts';
import { opsRoutes } from './routes-ops.ts';
import { addressesOf, type NamedRole, type SeatShared, type SeatTools, takeSeat } from './seat.ts';

export interface AcceptorData extends SeatShared {
  readonly engine: EngineShared;
  /** Connections that this acceptor may have open. */
  readonly connectionsMax: number;
  /** Undefined: no tracing. */
  readonly tracing: TracingConfig | undefined;
}

/** Acceptor -> main: it could not begin, or cannot go on. Everything else stands on the thread board. */
export interface AcceptorNews {
  readonly failed: Failure;
}

const failure = (error: unknown): AcceptorNews => ({ failed: failureOf(error) });

const TICK_MS = 25;
/**
 * Without events and without anybody who waits: forty wake-ups a second would be a third of what an idle server costs.
 */
const IDLE_TICK_MS = 100;
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
    renewed: () => log.info({ cert: tls.cert }, 'new connections use the renewed certificate'),
    problem: (error) =>
      log.error({ error: String(error) }, 'the renewed certificate cannot be loaded; the previous one stays in use'),
  });
}

/** Of a process without an output that reads lanes: a route that publishes there is a defect of the service. */
const noIntake: Intake = {
  draftBytesMax: 0,
  take() {
    throw new TypeError('a route that publishes needs an output of its process that reads lanes');
  },
  dropped: () => undefined,
};

/** A role's routes and where they are served. */
interface Served {
  readonly role: NamedRole;
  readonly module: Acceptor;
  readonly mounted: Mounted;
}

class AcceptorThread {
  readonly #data: AcceptorData;
  readonly #tools: SeatTools;
  /** Attached once: attaching sets gauges to zero. */
  readonly #httpMeters: FrameMeters;
  readonly #meters: Meters<typeof acceptorMetrics>;
  readonly #lane: LaneWriter | undefined;
  readonly #acknowledger: Acknowledger | undefined;
  readonly #asker = new Asker();
  readonly #wire: Wire;
  #draining = false;
  readonly #bodies: BodyReader;
  readonly #listeners: Listener[] = [];
  readonly #served: Served[] = [];
  readonly #router: RouterDeps;
  readonly #tracing: RequestTracing | undefined;
  readonly #tls: TlsFiles | undefined;
  #renewal: Renewal | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(data: AcceptorData, tools: SeatTools) {
    const { engine, seat, values } = data;
    this.#data = data;
    this.#tools = tools;
    this.#httpMeters = tools.meters(frameMetrics(routesOf(tools.roles)));
    this.#meters = tools.meters(acceptorMetrics);
    const shared = engine.lanes[seat.lane];
    if (shared !== undefined) {
      this.#lane = new LaneWriter(shared, timedDisk(this.#meters.ringmain_journal_write_seconds.at()));
      this.#acknowledger = new Acknowledger(this.#lane, tools.wake, values.engine);
    }
    const closed = this.#httpMeters.ringmain_http_connections_closed_total;
    const cells = { pipelined: closed.at({ reason: 'pipelined' }), unread: closed.at({ reason: 'unread' }) };
    const onClose: OnClose = (reason) => cells[reason].add(1);
    const fairness = new Fairness(onClose);
    this.#wire = { closing: values.http.proxyProtocol, onClose };
    this.#bodies = new BodyReader(values.http, systemClock, fairness);
    this.#tls = tlsFiles(values.http);
    this.#tracing =
      data.tracing === undefined
        ? undefined
        : new RequestTracing(new TraceSampler(data.tracing), (span) =>
            parentPort?.postMessage({ span } satisfies SpanNews),
          );
    const { log } = tools;
    const faults = new FaultLog((error, more, requestId) =>
      log.error({ error: String((error as Error)?.stack ?? error), more, requestId }, 'a handler failed'),
    );
    const tracing = this.#tracing;
    this.#router = {
      ...(values.http.proxyProtocol ? { single: onClose } : { fairness }),
      tally: talliesOf(this.#httpMeters),
      wire: this.#wire,
      faults,
      traced: tracing === undefined ? undefined : (method, path, handler) => tracing.traced(method, path, handler),
    };
  }

  /** What a role's module gets; a rehearsal puts parts of its own in place of those that count and keep. */
  #frame(role: NamedRole): AcceptorFrame {
    const lane = this.#lane;
    return {
      values: this.#data.values,
      shared: this.#data.prepared[role.name],
      log: this.#tools.log,
      rehearsing: false,
      intake:
        lane === undefined || this.#acknowledger === undefined
          ? noIntake
          : new LaneIntake(this.#tracing?.lane(lane) ?? lane, this.#acknowledger),
      tally: this.#router.tally,
      bodies: this.#bodies,
      wire: this.#wire,
      faults: this.#router.faults,
      secure: this.#tls !== undefined,
      meters: this.#tools.meters,
      ask: (worker, question, timeoutMs, effect) => this.#asker.ask(worker, question, timeoutMs, effect),
      now: Date.now,
    };
  }

  async open(): Promise<void> {
    const { values } = this.#data;
    for (const role of this.#tools.roles) {
      if (role.acceptor === undefined) continue;
      const { default: module } = (await import(role.acceptor.href)) as { default: Acceptor };
      const frame = this.#frame(role);
      await rehearse(module, frame, this.#router, values.engine);
      this.#served.push({ role, module, mounted: await module.open(frame) });
    }
  }

  listen(): void {
    const { values, engine, metrics, roster, outputs } = this.#data;
    const { board, sets, roles } = this.#tools;
    const ops = opsRoutes(observer({ engine, metrics, sets, roster, board, outputs }), values.service.metricsEnabled);
    const admin = values.http.adminAddr !== '';
    const room = new ConnectionRoom({
      max: this.#data.connectionsMax,
      reserve: RESERVE_SEATS,
      onCrowd: (crowded) => {
        this.#wire.closing = this.#draining || crowded || values.http.proxyProtocol;
      },
    });
    addressesOf(roles, values).forEach((address, i) => {
      const served = this.#served[i];
      const own = [...(served?.mounted.routes ?? []), ...(admin ? [] : ops)];
      const { web, webCsp: csp } = served?.role ?? {};
      const pages = web === undefined ? [] : [new Assets(web, csp === undefined ? {} : { csp }).route(WEB_ROUTE)];
      this.#listen(address, [...own, ...pages], room, true);
    });
    if (this.#tls !== undefined) this.#renewal = watch(this.#listeners[0]!, this.#tls, this.#tools.log);
    if (admin) this.#listen(values.http.adminAddr, ops, new ConnectionRoom({ max: ADMIN_CONNECTIONS_MAX }), false);
    this.#tick();
    board.setState(this.#data.seat.index, 'up');
  }

  #listen(address: string, routes: readonly Route[], room: ConnectionRoom, secure: boolean): void {
    const endpoint = parseEndpoint(address);
    if (endpoint === undefined) throw new Error(`address must be host:port: found=${address}`);
    const shed = this.#httpMeters.ringmain_http_connections_shed_total.at();
    this.#listeners.push(
      new Listener({
        endpoint,
        room,
        routes: (app) => mountRoutes(app, routes, this.#router),
        onShed: () => shed.add(1),
        ...(secure && this.#tls !== undefined ? { tls: this.#tls } : {}),
      }),
    );
  }

  /**
   * Looks after what waits for a sync, puts gauges on the board, and says when the last connection of a drain has gone.
   */
  readonly #tick = (() => {
    let gaugesMs = 0;
    let records = 0;
    return (): void => {
      const lane = this.#lane;
      this.#acknowledger?.tick();
      this.#asker.tick();
      const now = performance.now();
      if (now - gaugesMs >= IDLE_TICK_MS) {
        gaugesMs = now;
        this.#tellGauges();
      }
      const closing = this.#draining;
      if (closing && this.#listeners.every((listener) => listener.connections === 0))
        this.#tools.board.setState(this.#data.seat.index, 'stopped', 'drained');
      const idle =
        (lane === undefined || (lane.records === records && lane.stuck === undefined)) &&
        (this.#acknowledger?.waiting ?? 0) === 0 &&
        this.#asker.waiting === 0;
      records = lane?.records ?? 0;
      this.#timer = setTimeout(this.#tick, idle && !closing ? IDLE_TICK_MS : TICK_MS);
    };
  })();

  #tellGauges(): void {
    const http = this.#httpMeters;
    const cells = this.#meters;
    http.ringmain_http_body_bytes.at().set(this.#bodies.heldBytes);
    http.ringmain_http_connections.at().set(this.#listeners.reduce((sum, listener) => sum + listener.connections, 0));
    for (const { mounted } of this.#served) mounted.gauges?.();
    const acknowledger = this.#acknowledger;
    if (acknowledger === undefined) return;
    cells.ringmain_gathering.at().set(acknowledger.gathering ? 1 : 0);
    cells.ringmain_sync_waiting.at().set(acknowledger.waiting);
    const pipeliners = cells.ringmain_defer_pipeliners_total.at();
    pipeliners.add(acknowledger.pipeliners - pipeliners.value);
  }

  phase(phase: Phase): void {
    if (phase === 'drain') {
      // Each answer closes its connection from now on, and no new one is taken.
      this.#draining = true;
      this.#wire.closing = true;
      for (const listener of this.#listeners) listener.stop();
      for (const { mounted } of this.#served) mounted.drain?.();
    } else if (phase === 'stop') this.#close(performance.now() + this.#data.values.engine.ackTimeoutMs);
    else this.end();
  }

  reload(): void {
    this.#renewal?.renew();
  }

  /** Publishes and answers what is held, then ends; at the deadline in any case. */
  #close(deadline: number): void {
    this.#acknowledger?.flush();
    this.#lane?.tick();
    const open = this.#lane?.stuck !== undefined || (this.#acknowledger?.waiting ?? 0) > 0 || this.#asker.waiting > 0;
    if (open && performance.now() < deadline) {
      setTimeout(() => this.#close(deadline), 10);
      return;
    }
    this.end();
    // What still keeps the loop alive (a reloading database, a timer of the addon) must not hold up the end.
    setTimeout(() => process.exit(0), 500).unref();
  }

  end(): void {
    this.#tools.board.setState(this.#data.seat.index, 'ended');
    clearTimeout(this.#timer);
    this.#renewal?.close();
    for (const listener of this.#listeners) listener.close();
    for (const { mounted } of this.#served) mounted.close?.();
    this.#bodies.close();
    this.#asker.close();
    parentPort?.close();
  }

  connect(order: ConnectWorker): void {
    this.#asker.connect(order);
  }
}

async function main(data: AcceptorData): Promise<void> {
  const tools = await takeSeat(data);
  const thread = new AcceptorThread(data, tools);
  parentPort?.on('message', (order: ConnectWorker) => thread.connect(order));
  watchLoop(data.metrics, data.seat.index);
  process.on('uncaughtException', (error) => {
    tools.log.fatal({ error: error.stack ?? String(error) }, 'the acceptor cannot continue');
    parentPort?.postMessage(failure(error));
    thread.end();
  });
  await prepareMetricsText();
  try {
    await thread.open();
    thread.listen();
  } catch (error) {
    parentPort?.postMessage(failure(error));
    thread.end();
    return;
  }
  void watchSeat(tools.board, tools.wake, data.seat.index, thread);
}

try {
  await main(workerData as AcceptorData);
} catch (error) {
  parentPort?.postMessage(failure(error));
}
