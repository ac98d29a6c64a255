/**
 * Routes: everything one acceptor answers, put together from its deps.
 *
 *   GET|HEAD  /px.gif      routes-pixel.ts            GET|HEAD  /healthz /readyz /metrics   routes-ops.ts (or on ADMIN_ADDR)
 *   POST      /collect     routes-collect.ts          GET|HEAD  /robots.txt
 *   OPTIONS   both         preflight, records nothing
 *   anything else          405 with Allow on a known path, 404
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { CollectRoute } from '../collect/collect-route.ts';
import { PixelRoute } from '../collect/pixel-route.ts';
import { CollectEncoder } from '../events/collect-encoder.ts';
import { PixelEncoder } from '../events/pixel-encoder.ts';
import { answerProblem, shown, type Wire } from '../http/answer.ts';
import { BodyReader } from '../http/body.ts';
import { addressReader, trustsNobody } from '../http/client-address.ts';
import type { HttpConfig } from '../http/config.ts';
import { Cors } from '../http/cors.ts';
import { answerUnread } from '../http/guards.ts';
import { type Faults, guarded, type Handler } from '../http/handlers.ts';
import { headerText } from '../http/header-text.ts';
import { SidMaker, UuidMaker } from '../kernel/ids.ts';
import type { CounterCell } from '../kernel/metrics.ts';
import type { IntakeAcknowledger, IntakeLane } from '../service/intake.ts';
import { IngestMeters } from '../service/intake-meters.ts';
import { type OpsSource, opsRoutes, robotsRoute } from '../service/routes-ops.ts';
import type { Lookup } from '../visitor/enrich.ts';
import { ipFilter, type SaltSource } from '../visitor/privacy.ts';
import { Visitor } from '../visitor/visitor.ts';
import type { PixelConfig } from './config.ts';
import type { PixelMeters } from './metrics.ts';

export interface RoutesDeps {
  readonly http: HttpConfig;
  readonly pixel: PixelConfig;
  readonly lane: IntakeLane;
  readonly acknowledger: IntakeAcknowledger;
  readonly meters: PixelMeters;
  readonly ops: OpsSource;
  readonly faults: Faults;
  /** TLS ends in this process. */
  readonly secure: boolean;
  /** For IP_MODE=hash. */
  readonly salts: SaltSource | undefined;
  readonly geo: Lookup | undefined;
  readonly device: Lookup | undefined;
  /** Source id of the records; 0 for the only source. */
  readonly source?: number;
  readonly now?: () => number;
}

/** Seconds after which a refused client may try again: room comes back within a sync or a sink's batch. */
const RETRY_AFTER_S = 1;
const EXPOSED = 'X-Gotrack-Accepted, Ringmain-Ack, Retry-After';

export class Routes {
  /** Set `closing` when the drain begins: each answer then closes its connection. */
  readonly wire: Wire = { closing: false };
  readonly bodies: BodyReader;
  readonly #deps: RoutesDeps;
  readonly #pixel: PixelRoute;
  readonly #collect: CollectRoute;
  readonly #pixelCors: Cors;
  readonly #collectCors: Cors;

  constructor(deps: RoutesDeps) {
    this.#deps = deps;
    const {
      http,
      pixel,
      lane,
      acknowledger,
      meters,
      salts,
      geo,
      device,
      secure,
      faults,
      source = 0,
      now = Date.now,
    } = deps;
    this.bodies = new BodyReader(http);
    this.#pixelCors = new Cors(http.corsOrigins, 'GET, HEAD', '');
    this.#collectCors = new Cors(http.corsOrigins, 'POST', EXPOSED);
    const visitor = new Visitor({
      ...pixel,
      secure,
      trustProto: !trustsNobody(http.trustProxy),
      address: addressReader(http),
      filter: ipFilter(pixel.ipMode, salts),
      geo,
      device,
    });
    const ids = { ids: new UuidMaker(), sids: new SidMaker(), eventBytesMax: pixel.maxEventBytes, headerText };
    const shared = { lane, acknowledger, visitor, wire: this.wire, retryAfterS: RETRY_AFTER_S, source, now };
    this.#pixel = new PixelRoute({
      ...shared,
      encoder: new PixelEncoder(ids),
      cors: this.#pixelCors,
      meters: new IngestMeters(meters, 'px'),
      level: pixel.ackPixel ?? pixel.ack,
    });
    this.#collect = new CollectRoute({
      ...shared,
      encoder: new CollectEncoder({ ...ids, batchBytesMax: lane.draftBytesMax }),
      bodies: this.bodies,
      faults,
      cors: this.#collectCors,
      meters: new IngestMeters(meters, 'collect'),
      level: pixel.ackCollect ?? pixel.ack,
    });
  }

  /** The routes of SERVER_ADDR. */
  mount(app: TemplatedApp): void {
    const guard = (handler: Handler) => guarded(handler, this.#deps.faults);
    app.get(
      '/px.gif',
      guard((res, req) => this.#pixel.handle(res, req, false)),
    );
    app.head(
      '/px.gif',
      guard((res, req) => this.#pixel.handle(res, req, true)),
    );
    app.post(
      '/collect',
      guard((res, req) => this.#collect.handle(res, req)),
    );
    app.options(
      '/px.gif',
      guard((res, req) => this.#preflight(res, req, this.#pixelCors)),
    );
    app.options(
      '/collect',
      guard((res, req) => this.#preflight(res, req, this.#collectCors)),
    );
    app.any(
      '/px.gif',
      guard((res, req) => this.#refuseMethod(res, req, 'GET, HEAD, OPTIONS')),
    );
    app.any(
      '/collect',
      guard((res, req) => this.#refuseMethod(res, req, 'POST, OPTIONS')),
    );
    robotsRoute(app, this.wire, this.#counted(guard));
    app.any(
      '/robots.txt',
      guard((res, req) => this.#refuseMethod(res, req, 'GET, HEAD')),
    );
    if (this.#deps.http.adminAddr === '') this.#mountOps(app, guard);
    this.#mountRest(app, guard);
  }

  /** The routes of ADMIN_ADDR. */
  mountAdmin(app: TemplatedApp): void {
    const guard = (handler: Handler) => guarded(handler, this.#deps.faults);
    this.#mountOps(app, guard);
    this.#mountRest(app, guard);
  }

  close(): void {
    this.bodies.close();
  }

  #mountOps(app: TemplatedApp, guard: (handler: Handler) => Handler): void {
    opsRoutes(app, this.#deps.ops, this.wire, this.#counted(guard));
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      app.any(
        path,
        guard((res, req) => this.#refuseMethod(res, req, 'GET, HEAD')),
      );
    }
  }

  #mountRest(app: TemplatedApp, guard: (handler: Handler) => Handler): void {
    app.any(
      '/*',
      guard((res, req) => {
        const path = shown(req.getUrl());
        const head = req.getMethod() === 'head';
        this.#count('other', '4xx');
        answerUnread(res, req, (close) =>
          answerProblem(res, 'NOT_FOUND', { path }, { head, close: close || this.wire.closing }),
        );
      }),
    );
  }

  #counted(guard: (handler: Handler) => Handler): (handler: Handler) => Handler {
    const cell = this.#deps.meters.requests_total.at({ route: 'ops', status: '2xx' });
    return (handler) =>
      guard((res, req) => {
        cell.add(1);
        handler(res, req);
      });
  }

  #count(route: 'preflight' | 'other', status: '2xx' | '4xx'): void {
    this.#cells[`${route} ${status}`] ??= this.#deps.meters.requests_total.at({ route, status });
    this.#cells[`${route} ${status}`]!.add(1);
  }
  readonly #cells: Record<string, CounterCell> = {};

  #preflight(res: HttpResponse, req: HttpRequest, cors: Cors): void {
    const origin = req.getHeader('origin');
    const verdict = cors.judge(origin);
    const asked = req.getHeader('access-control-request-headers');
    this.#count('preflight', verdict === 'foreign' ? '4xx' : '2xx');
    answerUnread(res, req, (close) => {
      if (verdict === 'foreign') {
        const headers = () => cors.write(res, verdict, origin);
        answerProblem(
          res,
          'ORIGIN_FORBIDDEN',
          { origin: shown(origin) },
          { headers, close: close || this.wire.closing },
        );
      } else cors.preflight(res, asked, verdict, origin, close || this.wire.closing);
    });
  }

  #refuseMethod(res: HttpResponse, req: HttpRequest, allow: string): void {
    const method = shown(req.getCaseSensitiveMethod());
    const headers = () => void res.writeHeader('Allow', allow);
    this.#count('other', '4xx');
    answerUnread(res, req, (close) =>
      answerProblem(res, 'METHOD_NOT_ALLOWED', { method, allow }, { headers, close: close || this.wire.closing }),
    );
  }
}
