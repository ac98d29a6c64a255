/**
 * Pixel metrics: what the routes count. Label values are closed lists. The names without a prefix are the contract's.
 */
import { refusals } from '../engine/lane.ts';
import { counter, defineMetrics, gauge, histogram, type Meters } from '../kernel/metrics.ts';

export const routes = ['px', 'collect', 'preflight', 'ops', 'other'] as const;
export type Route = (typeof routes)[number];

export const statuses = ['2xx', '3xx', '4xx', '429', '5xx'] as const;

/** Why events that came were not taken; a client that sends them again later may succeed. */
export const refusedReasons = refusals;

/** Why events that came are not recorded, for good. */
export const ignoredReasons = ['dnt'] as const;

/** Why a request was turned away, for good. */
export const rejectedReasons = [
  'framing',
  'origin',
  'media_type',
  'encoding',
  'body_too_large',
  'body_timeout',
  'body_memory',
  'bad_json',
  'bad_event',
  'event_too_large',
  'internal',
] as const;
export type RejectedReason = (typeof rejectedReasons)[number];

const latencyBuckets = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];

export const pixelMetrics = defineMetrics({
  requests_total: counter({
    help: 'Requests answered, by route and class of status; 429 stands apart.',
    labels: { route: routes, status: statuses },
  }),
  ingest_latency_seconds: histogram({
    help: 'From the moment the request is complete to its answer, for requests whose events were stored.',
    labels: { route: ['px', 'collect'] },
    buckets: latencyBuckets,
  }),
  ringmain_accepted_events_total: counter({
    help: 'Events that a 2xx was given for.',
    labels: { route: ['px', 'collect'] },
  }),
  ringmain_refused_events_total: counter({
    help: 'Events refused under back-pressure (429, 503), by reason. A batch counts once.',
    labels: { reason: refusedReasons },
  }),
  ringmain_ignored_events_total: counter({
    help: 'Events answered as usual and not recorded, by reason.',
    labels: { reason: ignoredReasons },
  }),
  ringmain_rejected_total: counter({
    help: 'Requests, and events of a batch (bad_event, event_too_large), turned away for good, by reason.',
    labels: { reason: rejectedReasons },
  }),
  ringmain_unanswered_events_total: counter({
    help: 'Events recorded whose client saw no 2xx: it was gone (gone), or the write failed or took too long (unknown, 503).',
    labels: { reason: ['gone', 'unknown'] },
  }),
  ringmain_http_connections: gauge({ help: 'Open connections.' }),
  ringmain_http_connections_shed_total: counter({ help: 'Connections closed at once because of MAX_CONNECTIONS.' }),
  ringmain_http_body_bytes: gauge({ help: 'Memory that bodies on their way hold.' }),
  ringmain_cache_hits_total: counter({ help: 'Look-ups answered by a cache.', labels: { cache: ['geo', 'device'] } }),
  ringmain_cache_misses_total: counter({
    help: 'Look-ups a cache did not have.',
    labels: { cache: ['geo', 'device'] },
  }),
});
export type PixelMeters = Meters<typeof pixelMetrics>;
