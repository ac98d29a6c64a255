/**
 * Collect: the intake routes of an acceptor, for every service that takes events from browsers, SDKs and servers.
 *
 *   GET|HEAD  /px.gif      pixel-route.ts
 *   POST      /collect     collect-route.ts
 *   GET|HEAD  /robots.txt  keeps crawlers that meet a pixel away from it
 */
import { CollectEncoder } from '../events/collect-encoder.ts';
import { PixelEncoder } from '../events/pixel-encoder.ts';
import { answerBody } from '../http/answer.ts';
import { addressReader, schemeReader } from '../http/client-address.ts';
import { Cors } from '../http/cors.ts';
import { headerText } from '../http/header-text.ts';
import type { Handler, Route } from '../http/router.ts';
import { SidMaker, UuidMaker } from '../kernel/ids.ts';
import type { AcceptorFrame, Mounted } from '../service/contract.ts';
import type { FrameValues } from '../service/values.ts';
import type { VisitorConfig } from '../visitor/config.ts';
import { noLookups, openLookups } from '../visitor/lookups.ts';
import { visitorMetrics } from '../visitor/metrics.ts';
import { ipFilter, type SaltSource } from '../visitor/privacy.ts';
import { Visitor } from '../visitor/visitor.ts';
import { CollectRoute } from './collect-route.ts';
import type { CollectConfig } from './config.ts';
import { RouteMeters } from './meters.ts';
import { collectMetrics } from './metrics.ts';
import { PixelRoute } from './pixel-route.ts';

export interface CollectValues extends FrameValues {
  readonly collect: CollectConfig;
  readonly visitor: VisitorConfig;
}

/** What all acceptors must agree on. */
export interface CollectShared {
  /** For IP_MODE=hash: read once by main, so that all acceptors hash alike. */
  readonly salts: SaltSource | undefined;
}

/** Seconds after which a refused client may try again: room comes back within a sync or a sink's batch. */
const RETRY_AFTER_S = 1;
const EXPOSED = 'X-Gotrack-Accepted, Ringmain-Ack, Retry-After';
/** Source id of the records; there is one source. */
const SOURCE = 0;

const robots: Handler = (res, _req, at) =>
  answerBody(res, at, 200, 'text/plain; charset=utf-8', 'User-agent: *\nDisallow: /\n');

/** Makes the routes. Rejects with CONFIG when GEOIP_DB is no database, which is looked at every `geoCheckMs`. */
export async function openCollect(
  frame: AcceptorFrame<CollectValues, CollectShared>,
  geoCheckMs?: number,
): Promise<Mounted> {
  const { values, shared, log, intake, bodies, wire, faults, secure, now } = frame;
  const { http, collect, visitor: options } = values;
  const lookups = frame.rehearsing
    ? noLookups
    : await openLookups(
        options,
        frame.meters(visitorMetrics),
        (error) =>
          log.warn({ error: String(error) }, 'the GeoIP database cannot be reloaded; the previous one stays in use'),
        geoCheckMs,
      );
  const meters = frame.meters(collectMetrics);
  const visitor = new Visitor({
    ...options,
    secure,
    scheme: schemeReader(http),
    address: addressReader(http),
    filter: ipFilter(options.ipMode, shared.salts),
    geo: lookups.geo,
    device: lookups.device,
  });
  const ids = { ids: new UuidMaker(), sids: new SidMaker(), eventBytesMax: collect.maxEventBytes, headerText };
  const common = { intake, visitor, wire, retryAfterS: RETRY_AFTER_S, source: SOURCE, now };
  const pixelCors = new Cors(http.corsOrigins, { intake: true });
  const pixelMeters = new RouteMeters(meters, 'px');
  const pixel = new PixelRoute({
    ...common,
    encoder: new PixelEncoder(ids),
    cors: pixelCors,
    meters: pixelMeters,
    tally: frame.tally('px'),
    level: collect.ackPixel ?? collect.ack,
  });
  const collectCors = new Cors(http.corsOrigins, { intake: true, exposed: EXPOSED });
  const batchMeters = new RouteMeters(meters, 'collect');
  const batches = new CollectRoute({
    ...common,
    encoder: new CollectEncoder({ ...ids, batchBytesMax: intake.draftBytesMax }),
    bodies,
    faults,
    cors: collectCors,
    meters: batchMeters,
    tally: frame.tally('collect'),
    level: collect.ackCollect ?? collect.ack,
  });
  const routes: readonly Route[] = [
    {
      name: 'px',
      path: '/px.gif',
      hot: true,
      cors: pixelCors,
      on: {
        GET: (res, req) => pixel.handle(res, req, false),
        HEAD: (res, req) => pixel.handle(res, req, true),
      },
      onBadFraming: () => pixelMeters.rejected.framing.add(1),
    },
    {
      name: 'collect',
      path: '/collect',
      cors: collectCors,
      takesBody: true,
      on: { POST: (res, req, at) => batches.handle(res, req, at.framing) },
      onBadFraming: () => batchMeters.rejected.framing.add(1),
    },
    { name: 'ops', path: '/robots.txt', on: { GET: robots, HEAD: robots }, untraced: true },
  ];
  return { routes, close: () => lookups.close() };
}
