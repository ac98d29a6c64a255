/**
 * Collect: the intake routes of an acceptor, for every service that takes events from browsers, SDKs and servers.
 *
 *   GET|HEAD  /px.gif      pixel-route.ts
 *   POST      /collect     batch-route.ts
 *   GET|HEAD  /robots.txt  keeps crawlers that meet a pixel away from it
 */
import type { BatchResult } from '../events/batch-result.ts';
import { CollectEncoder } from '../events/collect-encoder.ts';
import { PixelEncoder } from '../events/pixel-encoder.ts';
import { answerBody } from '../http/answer.ts';
import { addressReader, schemeReader } from '../http/client-address.ts';
import { Cors } from '../http/cors.ts';
import { headerText } from '../http/header-text.ts';
import type { Handler, Route } from '../http/router.ts';
import { wireText } from '../http/wire-text.ts';
import { SidMaker, UuidMaker } from '../kernel/ids.ts';
import type { AcceptorFrame, Mounted } from '../service/contract.ts';
import type { FrameValues } from '../service/values.ts';
import type { VisitorConfig } from '../visitor/config.ts';
import { noLookups, openLookups } from '../visitor/lookups.ts';
import { visitorMetrics } from '../visitor/metrics.ts';
import { ipFilter, type SaltSource } from '../visitor/privacy.ts';
import { Visitor } from '../visitor/visitor.ts';
import { BatchRoute, type BatchRouteDeps } from './batch-route.ts';
import { acceptedBody } from './collect-answer.ts';
import { CollectSender } from './collect-sender.ts';
import type { CollectConfig } from './config.ts';
import { RouteMeters } from './meters.ts';
import { collectMetrics, type IntakeMetrics } from './metrics.ts';
import { PixelRoute, type PixelRouteDeps } from './pixel-route.ts';

export interface CollectRouteValues extends FrameValues {
  readonly collect: CollectConfig;
}

export interface CollectValues extends CollectRouteValues {
  readonly visitor: VisitorConfig;
}

/** What all acceptors must agree on. */
export interface CollectShared {
  /** For IP_MODE=hash: read once by main, so that all acceptors hash alike. */
  readonly salts: SaltSource | undefined;
}

/** Seconds after which a refused client may try again: room comes back within a sync or a sink's batch. */
export const RETRY_AFTER_S = 1;
const ACCEPTED_COUNT = wireText('X-Gotrack-Accepted');
const EXPOSED = 'X-Gotrack-Accepted, Ringmain-Ack, Retry-After';
/** Source id of the records; there is one source. */
const SOURCE = 0;

const robots: Handler = (res, _req, at) =>
  answerBody(res, at, 200, 'text/plain; charset=utf-8', 'User-agent: *\nDisallow: /\n');

/**
 * Makes the routes. Rejects with CONFIG when GEOIP_DB is no database, which is looked at every `geoCheckMs`. `metrics`:
 * the set that the role declares, when it has other intake routes beside these.
 */
export async function openCollect(
  frame: AcceptorFrame<CollectValues, CollectShared>,
  geoCheckMs?: number,
  metrics: IntakeMetrics = collectMetrics,
): Promise<Mounted> {
  const { values, shared, log, secure } = frame;
  const { http, visitor: options } = values;
  const lookups = frame.rehearsing
    ? noLookups
    : await openLookups(
        options,
        frame.meters(visitorMetrics),
        (error) =>
          log.warn({ error: String(error) }, 'the GeoIP database cannot be reloaded; the previous one stays in use'),
        geoCheckMs,
      );
  const visitor = new Visitor({
    ...options,
    secure,
    scheme: schemeReader(http),
    address: addressReader(http),
    filter: ipFilter(options.ipMode, shared.salts),
    geo: lookups.geo,
    device: lookups.device,
  });
  const encoders = encodersOf(frame);
  const ways = {
    pixel: { visitor, encoder: encoders.pixel },
    batch: { sender: new CollectSender(visitor, SOURCE), encoder: encoders.batch },
  };
  return { routes: collectRoutes(frame, ways, metrics), close: () => lookups.close() };
}

/** The encoders of the event model, with ids of one source. */
export function encodersOf({ values, intake }: Pick<AcceptorFrame<CollectRouteValues>, 'values' | 'intake'>): {
  readonly pixel: PixelEncoder;
  readonly batch: CollectEncoder;
} {
  const { maxEventBytes } = values.collect;
  const options = { ids: new UuidMaker(), sids: new SidMaker(), eventBytesMax: maxEventBytes, headerText };
  return {
    pixel: new PixelEncoder(options),
    batch: new CollectEncoder({ ...options, batchBytesMax: intake.draftBytesMax }),
  };
}

/** Who sends the events of each route, and how they become records. */
export interface Ways<Input, Result extends BatchResult> {
  readonly pixel: Pick<PixelRouteDeps, 'visitor' | 'encoder'>;
  readonly batch: Pick<BatchRouteDeps<Input, Result>, 'sender' | 'encoder'>;
}

/** The routes, for any events that come by them. */
export function collectRoutes<S, Input, Result extends BatchResult>(
  frame: AcceptorFrame<CollectRouteValues, S>,
  ways: Ways<Input, Result>,
  metrics: IntakeMetrics,
): readonly Route[] {
  const { values, intake, bodies, wire, faults, now } = frame;
  const { http, collect } = values;
  const meters = frame.meters(metrics);
  const common = { intake, wire, retryAfterS: RETRY_AFTER_S, now };
  const pixelCors = new Cors(http.corsOrigins, { intake: true });
  const pixelMeters = new RouteMeters(meters, 'px');
  const pixel = new PixelRoute({
    ...common,
    ...ways.pixel,
    source: SOURCE,
    cors: pixelCors,
    meters: pixelMeters,
    tally: frame.tally('px'),
    level: collect.ackPixel ?? collect.ack,
  });
  const collectCors = new Cors(http.corsOrigins, { intake: true, exposed: EXPOSED });
  const batchMeters = new RouteMeters(meters, 'collect');
  const batches = new BatchRoute({
    ...common,
    ...ways.batch,
    answers: { body: acceptedBody, countHeader: ACCEPTED_COUNT },
    bodies,
    faults,
    cors: collectCors,
    meters: batchMeters,
    tally: frame.tally('collect'),
    level: collect.ackCollect ?? collect.ack,
  });
  return [
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
}
