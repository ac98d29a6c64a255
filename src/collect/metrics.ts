/**
 * Collect metrics: what the intake routes count. Labels come from closed lists. Names without a prefix are the
 * contract's.
 */
import { refusals } from '../engine/refusal.ts';
import { keysWhere } from '../events/schema.ts';
import { counter, defineMetrics, histogram, type Meters } from '../kernel/metrics.ts';
import { visitorMetrics } from '../visitor/metrics.ts';

/** Names of the routes, for the role's list. */
export const collectRouteNames = ['px', 'collect'] as const;

/** Why events were not taken; a client that sends them again later may succeed. */
export const refusedReasons = [...refusals, 'body_memory'] as const;
export type RefusedReason = (typeof refusedReasons)[number];

/** Why events are not recorded, for good. */
const ignoredReasons = ['dnt'] as const;

/** Why a request was turned away, for good. */
export const rejectedReasons = [
  'framing',
  'origin',
  'media_type',
  'encoding',
  'body_too_large',
  'body_timeout',
  'bad_json',
  'bad_event',
  'event_too_large',
  'internal',
] as const;
export type RejectedReason = (typeof rejectedReasons)[number];

/** Keys of the line that a client may set. */
export const mendedKeys = keysWhere((field) => field.collect === 'take');

const latencyBuckets = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];

/**
 * What routes that take events count: `routes` are their names, `keys` what a client may set in an event. Named once
 * per process, with all of its intake routes.
 */
export const intakeMetrics = (routes: readonly string[], keys: readonly string[]) =>
  defineMetrics({
    ingest_latency_seconds: histogram({
      help: 'From the complete request to its answer, for requests whose events were stored.',
      labels: { route: routes },
      buckets: latencyBuckets,
    }),
    ringmain_accepted_events_total: counter({
      help: 'Events acknowledged with a 2xx.',
      labels: { route: routes },
    }),
    ringmain_refused_events_total: counter({
      help:
        'Events refused under backpressure (429, 503), by reason. A batch counts once, as does a body without ' +
        'memory.',
      labels: { reason: refusedReasons },
      told: { level: 'warn', sentence: 'refusing events: there is no room for them at the moment' },
    }),
    ringmain_ignored_events_total: counter({
      help: 'Events answered as usual and not recorded, by reason.',
      labels: { reason: ignoredReasons },
    }),
    ringmain_rejected_total: counter({
      help: 'Requests, and events of a batch (bad_event, event_too_large), rejected for good, by reason.',
      labels: { reason: rejectedReasons },
      told: { level: 'info', sentence: 'rejecting requests or events for good' },
    }),
    ringmain_mended_total: counter({
      help:
        'Recorded events with a value that was not of the kind of its key and was taken as near as it could be, or as ' +
        'absent, by key.',
      labels: { key: keys },
    }),
    ringmain_unanswered_events_total: counter({
      help:
        'Events recorded whose client saw no 2xx: it was gone (gone), or the write failed or took too long (unknown, ' +
        '503).',
      labels: { reason: ['gone', 'unknown'] },
      told: { level: 'warn', sentence: 'events were recorded but their clients saw no 2xx and may send them again' },
    }),
  });
export type IntakeMetrics = ReturnType<typeof intakeMetrics>;
export type IntakeMeters = Meters<IntakeMetrics>;

export const collectMetrics: IntakeMetrics = intakeMetrics(collectRouteNames, mendedKeys);

/** The metric sets that a role with these routes declares. */
export const collectMetricSets = [collectMetrics, visitorMetrics] as const;
