/**
 * POST /events: the route of the room collect/ (batch-route.ts) with the events of analytics.
 *
 *   one object   202 {"message":"Event accepted"}
 *   an array     202 {"message":"Events accepted","accepted":N}, with `rejected` and `errors` when some were bad
 *
 * Everything else is answered as POST /collect does: 400, 403, 413, 415, 429 and 503 as problems.
 */
import { BatchRoute } from '../../collect/batch-route.ts';
import { RETRY_AFTER_S } from '../../collect/collect.ts';
import type { CollectConfig } from '../../collect/config.ts';
import { RouteMeters } from '../../collect/meters.ts';
import { Cors } from '../../http/cors.ts';
import type { Route } from '../../http/router.ts';
import { UuidMaker } from '../../kernel/ids.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { FrameValues } from '../../service/values.ts';
import { EVENTS_PATH } from '../config.ts';
import { E } from './event-plan.ts';
import { EventsEncoder, type EventsResult } from './events-encoder.ts';
import { analyticsIntakeMetrics } from './metrics.ts';
import type { OriginReader } from './origin.ts';
import { serializeEventsAccepted } from './schemas.generated.ts';

export interface EventsValues extends FrameValues {
  readonly collect: CollectConfig;
}

export interface EventsRouteOptions {
  readonly origins: OriginReader;
  /** How old a timestamp may be, ms (clock.ts). */
  readonly ageMs: number;
}

const NAME = 'events';
const EXPOSED = 'Ringmain-Ack, Retry-After';
const ONE = serializeEventsAccepted({ message: 'Event accepted' });

/** The body of a 202. */
function eventsBody({ one, accepted, rejected, errors }: EventsResult): string {
  if (one) return ONE;
  const message = 'Events accepted';
  return serializeEventsAccepted(rejected === 0 ? { message, accepted } : { message, accepted, rejected, errors });
}

/** Makes the route of one acceptor. */
export function eventsRoute<S>(frame: AcceptorFrame<EventsValues, S>, options: EventsRouteOptions): Route {
  const { values, intake, bodies, wire, faults, now } = frame;
  const { http, collect } = values;
  const cors = new Cors(http.corsOrigins, { intake: true, exposed: EXPOSED });
  const meters = new RouteMeters(frame.meters(analyticsIntakeMetrics), NAME, E);
  const route = new BatchRoute({
    intake,
    encoder: new EventsEncoder({
      eventBytesMax: collect.maxEventBytes,
      batchBytesMax: intake.draftBytesMax,
      ageMs: options.ageMs,
      ids: new UuidMaker(),
    }),
    sender: options.origins,
    answers: { body: eventsBody },
    bodies,
    cors,
    meters,
    tally: frame.tally(NAME),
    faults,
    wire,
    level: collect.ack,
    retryAfterS: RETRY_AFTER_S,
    now,
  });
  return {
    name: NAME,
    path: EVENTS_PATH,
    cors,
    takesBody: true,
    on: { POST: (res, req, at) => route.handle(res, req, at.framing) },
    onBadFraming: () => meters.rejected.framing.add(1),
  };
}
